"""Other people's interfaces over our own rooms."""

__all__: list[str] = []
