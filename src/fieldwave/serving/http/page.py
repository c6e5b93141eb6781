"""The page at ``/``: files of the package, the same for every service, so that they say nothing about this one.

What the page shows it asks for at the service's other addresses, with a key where there are keys.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import PurePosixPath

from fieldwave.serving.http.exchange import Head, HttpCall, Response, Route

__all__ = ["PageFiles"]

_FOLDER = "page_files"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_COMMON = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
_FOR_EVER = "public, max-age=31536000, immutable"
"""For files whose address holds the digest of them all."""


class PageFiles:
    """The page's files in memory, and who answers for them.

    Parameters:
        wants_key: whether the service has keys, so that the page asks for one before it calls.
    """

    def __init__(self, *, wants_key: bool) -> None:
        folder = resources.files(__package__).joinpath(_FOLDER)
        files = {one.name: one.read_bytes() for one in folder.iterdir() if _suffix(one.name) in _TYPES}
        total = hashlib.sha256()
        for name in sorted(files):
            total.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
        at = f"page/{total.hexdigest()[:16]}"
        index = files.pop(_INDEX).decode()
        index = index.replace("{{files}}", at).replace("{{key}}", "wanted" if wants_key else "none")
        self._index = index.encode()
        self._tag = f'"{hashlib.sha256(self._index).hexdigest()[:16]}"'
        self._files = {f"/{at}/{name}": (_TYPES[_suffix(name)], data) for name, data in files.items()}

    def route(self, head: Head) -> Route | None:
        """Who answers for the address; None if it is none of the page's."""
        if head.path == "/":
            known = head.header("if-none-match") == self._tag
            return Route("page", self._unchanged if known else self._answer_index)
        if head.path not in self._files:
            return None
        media, data = self._files[head.path]

        def answer(body: bytes, call: HttpCall) -> Response:
            headers = (("content-type", media), ("cache-control", _FOR_EVER), *_COMMON)
            return Response(body=(data,), headers=headers)

        return Route("page", answer)

    def _answer_index(self, body: bytes, call: HttpCall) -> Response:
        kept = (("cache-control", "no-cache"), ("etag", self._tag))
        return Response(body=(self._index,), headers=(("content-type", _TYPES[".html"]), *kept, *_COMMON))

    def _unchanged(self, body: bytes, call: HttpCall) -> Response:
        return Response(304, headers=(("cache-control", "no-cache"), ("etag", self._tag)))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix
