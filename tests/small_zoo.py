"""The zoo's networks made small: the same descriptions with fewer channels and pixels."""

from __future__ import annotations

from fieldwave import zoo
from fieldwave.zoo import densenet, resnet
from fieldwave.zoo.ssd import ssd_vgg
from fieldwave.zoo.vgg import vgg16

__all__ = ["NAMES", "VARIANTS", "small"]

NAMES = ("densenet121", "resnet152", "resnet50", "ssd_vgg", "vgg16")
VARIANTS = tuple((name, variant) for name in NAMES for variant in zoo.variants(name))
LABELS = tuple(f"class {index}" for index in range(12))


def small(name: str, variant: str = "slim") -> zoo.Network:
    """About a thousandth of the network of that name; SSD keeps its 300x300 pixels, which its grids need."""
    resnets = {one.name: one for one in (resnet.SLIM, resnet.TORCHVISION, resnet.KERAS)}
    densenets = {one.name: one for one in (densenet.SLIM, densenet.TORCHVISION, densenet.KERAS)}
    if name == "densenet121":
        return densenet.densenet121(densenets[variant], size=64, growth=4, blocks=(2, 3, 2), labels=LABELS)
    if name == "resnet152":
        return resnet.resnet152(resnets[variant], size=64, width=4, labels=LABELS)
    if name == "resnet50":
        return resnet.resnet50(resnets[variant], size=64, width=8, labels=LABELS)
    if name == "ssd_vgg":
        return ssd_vgg(width=4)
    return vgg16(variant, size=64, width=4, hidden=32, labels=LABELS)  # type: ignore[arg-type]
