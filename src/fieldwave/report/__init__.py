"""The picture of where a network's time goes on an NPU: one page for a browser."""

from fieldwave.report.facts import Board, Facts, HostNode, Layer, Residency, collect
from fieldwave.report.measured import measure
from fieldwave.report.page import page

__all__ = ["Board", "Facts", "HostNode", "Layer", "Residency", "collect", "measure", "page"]
