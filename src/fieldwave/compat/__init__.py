"""Other people's interfaces over our own rooms."""
