"""Two keys, either of which opens a service: one is in use while the other is replaced."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from fieldwave.errors import InputError

__all__ = ["KEY_NAMES", "KeyName", "Keys", "is_key"]

KeyName = Literal["primary", "secondary"]
KEY_NAMES: tuple[KeyName, ...] = get_args(KeyName)

# What RFC 6750 lets a bearer token be, but for the point: that tells a key from a signed token. HMAC with SHA-256
# wants 256 bits (RFC 7518, 3.2); 32 characters are the least that could have them.
_KEY = re.compile(r"[A-Za-z0-9_~+/-]{32,256}={0,2}")
_RANDOM_BYTES = 32


def is_key(text: str) -> bool:
    """Whether a key may look so."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True)
class Keys:
    """The keys of one service. They are never part of its ``repr``, so that no log or traceback has them.

    Attributes:
        primary, secondary: 32 to 256 letters, digits and ``-_~+/``, as RFC 6750 allows them in
            ``authorization: Bearer KEY``.

    Raises:
        InputError: one has another form, or both are the same: then neither could be replaced alone.
    """

    primary: str = field(repr=False)
    secondary: str = field(repr=False)

    def __post_init__(self) -> None:
        for name in KEY_NAMES:
            if not is_key(getattr(self, name)):
                raise InputError(
                    f"the {name} key, which is not shown here, is none: it must have 32 to 256 letters, digits "
                    "and -_~+/"
                )
        if self.primary == self.secondary:
            raise InputError("the primary and the secondary key are the same; regenerate one of them")

    @classmethod
    def generate(cls) -> Keys:
        """Two new keys of 256 random bits each."""
        return cls(_random(), _random())

    def regenerated(self, which: KeyName) -> Keys:
        """These keys with a new one in the place of ``which``.

        Raises:
            InputError: there is no key of that name.
        """
        check_name(which)
        return replace(self, **{which: _random()})


def check_name(which: str) -> None:
    """Raises InputError if ``which`` is no key's name."""
    if which not in KEY_NAMES:
        raise InputError(f"no key is called {which!r}; a service has 'primary' and 'secondary'")


def _random() -> str:
    return secrets.token_urlsafe(_RANDOM_BYTES)
