"""From what a network gives to what a person reads: the best classes, the objects and where they are."""

from fieldwave.postprocess.detect import detect
from fieldwave.postprocess.detection import Box, Detection
from fieldwave.postprocess.detector import Detector, FeatureMap, ssd300_vgg
from fieldwave.postprocess.drawing import draw
from fieldwave.postprocess.nms import intersection_over_union, suppress
from fieldwave.postprocess.ssd import anchors, decode, encode
from fieldwave.postprocess.topk import Prediction, top_k

__all__ = [
    "Box",
    "Detection",
    "Detector",
    "FeatureMap",
    "Prediction",
    "anchors",
    "decode",
    "detect",
    "draw",
    "encode",
    "intersection_over_union",
    "ssd300_vgg",
    "suppress",
    "top_k",
]
