"""The picture of where a network's time goes on an NPU: one page for a browser."""

from fieldwave.report.collect import collect
from fieldwave.report.facts import Board, Facts, HostNode, Layer, Residency
from fieldwave.report.page import page
from fieldwave.report.timelines import estimate, measure

__all__ = ["Board", "Facts", "HostNode", "Layer", "Residency", "collect", "estimate", "measure", "page"]
