"""The map of the activation memory: buffers as rectangles, address by time, a figure for each bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldwave.report.facts import Facts, Residency
from fieldwave.report.style import TENSORS, new_figure, short_names

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

__all__ = ["memory_figure"]

NAMED_WIDTH, NAMED_HEIGHT = 0.12, 0.06
"""Rectangles that take at least this share of the figure have their name written in."""


def memory_figure(facts: Facts, bank: int, x_range: Range1d) -> figure:
    """The buffers of one bank."""
    from bokeh.models import ColumnDataSource, HoverTool, Span

    size = facts.configuration.bank_bytes[bank]
    here = [one for one in facts.residencies if one.bank == bank]
    peak = max((one.last for one in here), default=0)
    made = new_figure(
        f"Activation bank {bank}: {peak / 1024:,.0f} of {size / 1024:,.0f} KiB used at most", 240, x_range
    )
    time = facts.board.microseconds
    source = ColumnDataSource(
        {
            "left": [time(one.start) for one in here],
            "right": [time(one.end) for one in here],
            "bottom": [one.first / 1024 for one in here],
            "top": [one.last / 1024 for one in here],
            "colour": [TENSORS[one.layer % len(TENSORS)] for one in here],
            "hatch": ["/" if one.strip else " " for one in here],
            "layer": [facts.layers[one.layer].name for one in here],
            "bytes": [one.last - one.first for one in here],
            "first": [one.first for one in here],
            "tensors": [", ".join(one.tensors[:4]) + (", …" if len(one.tensors) > 4 else "") for one in here],
        }
    )
    rectangles = made.quad(
        "left", "right", "top", "bottom", source=source, fill_color="colour", fill_alpha=0.65,
        line_color="white", line_width=0.6, hatch_pattern="hatch", hatch_alpha=0.35, hover_fill_alpha=0.95,
    )  # fmt: skip
    made.add_tools(
        HoverTool(
            renderers=[rectangles],
            tooltips=[
                ("", "@tensors"),
                ("filled by or for", "@layer"),
                ("size", "@bytes{0,0} bytes from @first{0,0}"),
                ("from, to", "@left{0,0.0} to @right{0,0.0} µs"),
            ],
        )
    )
    names = short_names([layer.name for layer in facts.layers])
    named = [(one, names[one.layer]) for one in here if _large(one, facts, size)]
    made.text(
        [time(one.start + one.end) / 2 for one, _ in named],
        [(one.first + one.last) / 2048 for one, _ in named],
        [name for _, name in named],
        text_align="center", text_baseline="middle", text_font_size="9px",
    )  # fmt: skip
    made.add_layout(Span(location=size / 1024, dimension="width", line_color="black", line_width=1))
    made.y_range.start, made.y_range.end = 0, size / 1024 * 1.04
    made.yaxis.axis_label = "KiB"
    made.xaxis.axis_label = "µs"
    return made


def _large(one: Residency, facts: Facts, size: int) -> bool:
    wide = one.end - one.start > NAMED_WIDTH * facts.cycles
    return wide and one.last - one.first > NAMED_HEIGHT * size
