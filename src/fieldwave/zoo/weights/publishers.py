"""Weights that others publish: where, and by what digest they are known.

The addresses belong to their publishers, and so do the weights, under the licences that they name. Torchvision's
file names carry the first eight hexadecimal digits of the SHA-256; Keras publishes MD5, which tells a damaged
file from a whole one but not a forged one; TensorFlow-slim publishes no digest, so that its files are as good as
the connection to them. What is not published is not made up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fieldwave.errors import NotFoundError

__all__ = ["PublishedSet", "published", "published_names"]


@dataclass(frozen=True)
class PublishedSet:
    """A file of weights at its publisher's.

    Attributes:
        name: by which it is pulled.
        network: of the zoo.
        publisher: who made it.
        url: where.
        algorithm: of the digest.
        digest: hexadecimal; of SHA-256 it may be the first digits only; empty where none is published.
        member: the file to take out of the archive that is published; empty where it is no archive.
    """

    name: str
    network: str
    publisher: str
    url: str
    algorithm: Literal["sha256", "md5"]
    digest: str
    member: str = ""

    @property
    def file(self) -> str:
        """The file's name at its publisher's and on every mirror."""
        return self.url.rpartition("/")[2]

    @property
    def kept(self) -> str:
        """The file's name in the cache."""
        return self.member or self.file

    @property
    def check(self) -> str:
        """What is checked, for people: ``SHA-256 begins with 0676ba61``."""
        if not self.digest:
            return "no digest is published"
        if self.algorithm == "md5":
            return f"MD5 is {self.digest}"
        return f"SHA-256 {'is' if len(self.digest) == 64 else 'begins with'} {self.digest}"


def published(name: str) -> PublishedSet:
    """The set of that name.

    Raises:
        NotFoundError: there is none; the message lists those there are.
    """
    if name not in _SETS:
        raise NotFoundError(f"no published weights {name!r}: there are {', '.join(published_names())}")
    return _SETS[name]


def published_names() -> tuple[str, ...]:
    """The names that :func:`published` takes, sorted."""
    return tuple(sorted(_SETS))


def _torchvision(name: str, file: str) -> PublishedSet:
    network, digest = re.fullmatch(r"(\w+)-([0-9a-f]{8})\.pth", file).groups()  # type: ignore[union-attr]
    url = f"https://download.pytorch.org/models/{file}"
    return PublishedSet(name, network, "torchvision", url, "sha256", digest)


def _keras(network: str, folder: str, digest: str) -> PublishedSet:
    url = (
        f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/"
        f"{network}_weights_tf_dim_ordering_tf_kernels.h5"
    )
    return PublishedSet(f"{network}-keras", network, "Keras", url, "md5", digest)


def _slim(network: str, model: str) -> PublishedSet:
    url = f"https://storage.googleapis.com/download.tensorflow.org/models/{model}_2016_08_28.tar.gz"
    return PublishedSet(f"{network}-slim", network, "TensorFlow-slim", url, "sha256", "", f"{model}.ckpt")


_SETS = {
    one.name: one
    for one in (
        # The weights of the first training recipe; v2 are torchvision's later and better ones.
        _torchvision("densenet121", "densenet121-a639ec97.pth"),
        _torchvision("resnet152", "resnet152-394f9c45.pth"),
        _torchvision("resnet152-v2", "resnet152-f82ba261.pth"),
        _torchvision("resnet50", "resnet50-0676ba61.pth"),
        _torchvision("resnet50-v2", "resnet50-11ad3fa6.pth"),
        _torchvision("vgg16", "vgg16-397923af.pth"),
        _keras("densenet121", "densenet", "9d60b8095a5708f2dcce2bca79d332c7"),
        _keras("resnet152", "resnet", "100835be76be38e30d865e96f2aaae62"),
        _keras("resnet50", "resnet", "2cb95161c43110f7111970584f804107"),
        _keras("vgg16", "vgg16", "64373286793e3c8b2b4e3219cbf3544b"),
        _slim("resnet152", "resnet_v1_152"),
        _slim("resnet50", "resnet_v1_50"),
        _slim("vgg16", "vgg_16"),
    )
}
