"""The networks that Fieldwave knows, described once, free of any framework; their weights; float ONNX."""

from __future__ import annotations

from fieldwave.zoo.catalogue import names, network, variants
from fieldwave.zoo.digits import DigitsImages, digit_png, digits_images
from fieldwave.zoo.labels import imagenet_labels, labels
from fieldwave.zoo.network import Network, Task, Tensor
from fieldwave.zoo.onnx_emitter import float_model, to_graph, to_onnx
from fieldwave.zoo.tensorflow_emitter import Part, TensorFlowNetwork, to_tensorflow
from fieldwave.zoo.torch_emitter import to_torch, weights_of
from fieldwave.zoo.weights import check_weights, load, load_weights, save_weights

__all__ = [
    "DigitsImages",
    "Network",
    "Part",
    "Task",
    "Tensor",
    "TensorFlowNetwork",
    "check_weights",
    "digit_png",
    "digits_images",
    "float_model",
    "imagenet_labels",
    "labels",
    "load",
    "load_weights",
    "names",
    "network",
    "save_weights",
    "to_graph",
    "to_onnx",
    "to_tensorflow",
    "to_torch",
    "variants",
    "weights_of",
]
