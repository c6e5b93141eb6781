"""The two names of the retired service's default classifier: documented under both, in a graph under either."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["there", "twin"]

_PREFIXES = ("classifier/", "classifier_1/")


def twin(name: str) -> str:
    """The other name of a tensor or node of that classifier; empty for any other."""
    for one, other in (_PREFIXES, _PREFIXES[::-1]):
        if name.startswith(one):
            return other + name.removeprefix(one)
    return ""


def there(name: str, nodes: Collection[str]) -> str:
    """The name, or its twin where a graph has a node of that name only."""
    other = twin(name)
    return other if other.split(":")[0] in nodes and name.split(":")[0] not in nodes else name
