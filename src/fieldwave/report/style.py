"""What the figures have in common: colours that the colour-blind tell apart, axes, tools, hovering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

__all__ = ["COLOURS", "KINDS", "TENSORS", "new_figure", "short_names"]

COLOURS = {
    "multiply": "#0072b2",
    "idle lanes": "#9fd0ee",
    "pool": "#009e73",
    "fill": "#e69f00",
    "weights": "#d55e00",
    "output": "#cc79a7",
    "bank": "#f0e442",
    "drain": "#8c6bb1",
    "lost": "#969696",
    "transfer": "#6b3e26",
    "between": "#d0d0d0",
}
"""Of the parts of a layer's time, after Okabe and Ito's palette (jfly.uni-koeln.de/color)."""
KINDS = {
    "CONV": "#0072b2",
    "MAX": "#009e73",
    "AVERAGE": "#009e73",
    "SUM": "#56b4e9",
    "LOAD": "#e69f00",
    "STORE": "#cc79a7",
}
"""Of descriptors."""
TENSORS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999", "#f0e442")
"""Of buffers, by the layer that fills them."""


def new_figure(title: str, height: int, x_range: Range1d | None = None, **options: Any) -> figure:
    """An empty figure as wide as the page; figures with one ``x_range`` move together."""
    from bokeh.models import NumeralTickFormatter
    from bokeh.plotting import figure

    if x_range is not None:
        options["x_range"] = x_range
    made = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        toolbar_location="right",
        output_backend="canvas",
        **options,
    )
    made.toolbar.logo = None
    made.min_border_left = 90  # wide enough for every label, so that the figures stand one below the other
    made.xaxis.formatter = NumeralTickFormatter(format="0,0")
    made.toolbar.active_scroll = None  # the wheel scrolls the page
    made.grid.grid_line_alpha = 0.4
    made.title.text_font_size = "13px"
    return made


def short_names(names: Sequence[str], most: int = 28) -> list[str]:
    """Paths without what most have, or what stands alone below its parent: ``block1/unit_1/conv2``."""
    paths = [name.removesuffix("_quantized").removesuffix(":0").strip("/").split("/") for name in names]
    often = Counter(part for path in paths for part in set(path))
    children: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        for depth, part in enumerate(path):
            children.setdefault(tuple(path[:depth]), set()).add(part)
    found = []
    for path in paths:
        kept = [
            part
            for depth, part in enumerate(path)
            if len(children[tuple(path[:depth])]) > 1 and often[part] <= 0.8 * len(paths)
        ]
        text = "/".join(kept or path[-1:])
        found.append(text if len(text) <= most else f"…{text[1 - most :]}")
    return found
