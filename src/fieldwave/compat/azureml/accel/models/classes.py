"""The ten classes: five networks, each in float and quantized.

In the graph the two of a network are the same, so that checkpoints of either fit both: the quantization is the
converter's, which measures its scales on images and reports what it costs.
"""

from __future__ import annotations

from fieldwave.compat.azureml.accel.models.model import AccelModel, Family

__all__ = [
    "Densenet121",
    "QuantizedDensenet121",
    "QuantizedResnet50",
    "QuantizedResnet152",
    "QuantizedSsdVgg",
    "QuantizedVgg16",
    "Resnet50",
    "Resnet152",
    "SsdVgg",
    "Vgg16",
]

_RESNET50 = Family("resnet50", "resnet50", "resnet_v1_50/pool5:0", "resnet_v1_50/predictions/Softmax:0")
_RESNET152 = Family("resnet152", "resnet152", "resnet_v1_152/pool5:0", "resnet_v1_152/predictions/Softmax:0")
_VGG16 = Family("vgg16", "vgg16", "vgg_16/fc7/Relu:0", "vgg_16/fc8/squeezed:0")
_DENSENET121 = Family(
    "densenet121",
    "densenet121",
    "densenet121/final_block/global_avg_pool/Mean:0",
    "densenet121/predictions/Softmax:0",
)
_SSD_VGG = Family("ssd_vgg", "ssd_vgg")


class Resnet50(AccelModel):
    """ResNet-50 of TF-slim, 224 x 224."""

    _family, _modelname, version = _RESNET50, "rn50", "1.1.3"


class QuantizedResnet50(AccelModel):
    """ResNet-50 of TF-slim, 224 x 224."""

    _family, _modelname, version = _RESNET50, "msfprn50", "1.1.2"


class Resnet152(AccelModel):
    """ResNet-152 of TF-slim, 224 x 224."""

    _family, _modelname, version = _RESNET152, "rn152", "1.1.2"


class QuantizedResnet152(AccelModel):
    """ResNet-152 of TF-slim, 224 x 224."""

    _family, _modelname, version = _RESNET152, "msfprn152", "1.1.3"


class Vgg16(AccelModel):
    """VGG-16 of TF-slim, 224 x 224; its default classifier gives logits."""

    _family, _modelname, version = _VGG16, "vgg16", "1.1.3"


class QuantizedVgg16(AccelModel):
    """VGG-16 of TF-slim, 224 x 224; its default classifier gives logits."""

    _family, _modelname, version = _VGG16, "msfpvgg16", "1.1.2"


class Densenet121(AccelModel):
    """DenseNet-121, 224 x 224; give ``preprocess_array`` a ``scaling_factor`` of 0.017."""

    _family, _modelname, version = _DENSENET121, "dn121", "1.1.4"


class QuantizedDensenet121(AccelModel):
    """DenseNet-121, 224 x 224; give ``preprocess_array`` a ``scaling_factor`` of 0.017."""

    _family, _modelname, version = _DENSENET121, "msfpdn121", "1.1.4"


class SsdVgg(AccelModel):
    """SSD300 on VGG-16, 300 x 300: six class tensors, then six of boxes."""

    _family, _modelname, version = _SSD_VGG, "vggssd", "1.1.3"


class QuantizedSsdVgg(AccelModel):
    """SSD300 on VGG-16, 300 x 300: six class tensors, then six of boxes."""

    _family, _modelname, version = _SSD_VGG, "msfpvggssd", "1.1.3"
