"""Images for containers, built without a daemon: a base, the runtime's wheels, and a package as the last layer."""

from __future__ import annotations

from fieldwave.images.base import Base, add_base, bases, find_base, make_base
from fieldwave.images.image import Image
from fieldwave.images.images import Images

__all__ = ["Base", "Image", "Images", "add_base", "bases", "find_base", "make_base"]
