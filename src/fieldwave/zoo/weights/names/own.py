"""The zoo's own names, which are TensorFlow-slim's: its checkpoints, and files of Fieldwave itself.

Published as ``resnet_v1_50.ckpt``, ``resnet_v1_152.ckpt``, ``vgg_16.ckpt``
(https://github.com/tensorflow/models/tree/master/research/slim), ``tf-densenet121.ckpt``
(https://github.com/pudae/tensorflow-densenet) and ``VGG_VOC0712_SSD_300x300.ckpt``
(https://github.com/balancap/SSD-Tensorflow).
"""

from __future__ import annotations

import re

from fieldwave.zoo.weights.names.family import Family
from fieldwave.zoo.weights.names.layout import ONNX, TENSORFLOW

__all__ = ["OWN", "OWN_ONNX"]

_IGNORED = re.compile(
    r"(^|/)(global_step|mean_rgb|beta1_power|beta2_power|learning_rate|save_counter)$"
    r"|/(Adam|Adam_1|Momentum|RMSProp|RMSProp_1|Adagrad|ExponentialMovingAverage)$"
)
_OLDER = ((re.compile(r":0$"), ""),)

OWN = Family(
    name="slim",
    variant="slim",
    layout=TENSORFLOW,
    tensor=lambda network, weight: weight,
    aliases=_OLDER,
    ignored=_IGNORED,
)

OWN_ONNX = Family(
    name="slim in ONNX",
    variant="slim",
    layout=ONNX,
    tensor=lambda network, weight: weight,
    aliases=_OLDER,
    ignored=_IGNORED,
)
"""As :func:`fieldwave.zoo.to_onnx` writes them, kernels turned."""
