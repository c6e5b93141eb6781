"""The timeline: what array, weight stream, output pipe and transfers do, and the level of the weight ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fieldwave.report.facts import Activity, Facts
from fieldwave.report.style import COLOURS, KINDS, new_figure

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

__all__ = ["activity_figure", "ring_figure"]

MOST_POINTS = 4000
"""Points of the ring's level that are drawn."""

Height = Callable[[Activity], float]

ROWS: tuple[tuple[str, tuple[str, ...], Height], ...] = (
    ("array", ("CONV",), lambda one: one.useful),
    ("pools", ("MAX", "AVERAGE", "SUM"), lambda one: one.span.vectors / max(1, one.span.cycles)),
    ("output pipe", ("CONV", "MAX", "AVERAGE", "SUM"), lambda one: one.pipe),
    ("weight stream", ("CONV", "SUM"), lambda one: one.stream),
    ("loads", ("LOAD",), lambda one: one.stream),
    ("stores", ("STORE",), lambda one: one.stream),
)
"""Rows from above: their name, the operations in them, and how high a bar is, 0 to 1."""


def activity_figure(facts: Facts, x_range: Range1d) -> figure:
    """A row for every unit; a bar a descriptor, as high as the unit was busy."""
    from bokeh.models import ColumnDataSource, HoverTool

    made = new_figure("What the units do; a bar is as high as its unit is busy", 380, x_range)
    time = facts.board.microseconds
    for number, (_, operations, height) in enumerate(ROWS):
        bottom = len(ROWS) - 1 - number
        chosen = [one for one in facts.activities if one.span.operation in operations]
        source = ColumnDataSource(
            {
                "left": [time(one.span.start) for one in chosen],
                "right": [time(one.span.end) for one in chosen],
                "bottom": [bottom] * len(chosen),
                "top": [bottom + 0.9 * max(0.02, height(one)) for one in chosen],
                "frame": [bottom + 0.9] * len(chosen),
                "busy": [100 * height(one) for one in chosen],
                "colour": [KINDS[one.span.operation] for one in chosen],
                "label": [one.span.label for one in chosen],
                "operation": [one.span.operation for one in chosen],
                "cycles": [one.span.cycles for one in chosen],
                "wait": [one.span.wait for one in chosen],
                "bytes": [one.span.bytes_read + one.span.bytes_written for one in chosen],
                "waits": [_waits(one) for one in chosen],
            }
        )
        whole = made.quad(
            "left", "right", "frame", "bottom", source=source,
            fill_color="colour", fill_alpha=0.12, line_color="white", line_alpha=0.6, hover_fill_alpha=0.35,
        )  # fmt: skip
        made.quad("left", "right", "top", "bottom", source=source, fill_color="colour", line_color=None)
        made.add_tools(
            HoverTool(
                renderers=[whole],
                tooltips=[
                    ("", "@label"),
                    ("descriptor", "@operation, @cycles{0,0} cycles, @busy{0.0} % busy"),
                    ("waited before", "@wait{0,0} cycles"),
                    ("memory", "@bytes{0,0} bytes"),
                    ("not multiplying", "@waits"),
                ],
            )
        )
    made.yaxis.ticker = [len(ROWS) - 1 - number + 0.45 for number in range(len(ROWS))]
    made.yaxis.major_label_overrides = {
        len(ROWS) - 1 - number + 0.45: name for number, (name, _, _) in enumerate(ROWS)
    }
    made.ygrid.grid_line_color = None
    made.y_range.start, made.y_range.end = -0.05, len(ROWS)
    made.xaxis.axis_label = "µs"
    _mark_sections(made, facts)
    return made


def ring_figure(facts: Facts, x_range: Range1d) -> figure:
    """How full the weight ring is: empty where the array waits for weights."""
    made = new_figure("Weights in the ring, KiB", 150, x_range)
    points = _thinned(facts.ring)
    size = facts.configuration.ring_bytes / 1024
    made.varea(
        [facts.board.microseconds(at) for at, _ in points],
        [0.0] * len(points),
        [level / 1024 for _, level in points],
        color=COLOURS["weights"],
        alpha=0.5,
    )
    made.y_range.start, made.y_range.end = 0, size * 1.02
    made.xaxis.axis_label = "µs"
    _mark_sections(made, facts)
    return made


def _mark_sections(made: figure, facts: Facts) -> None:
    """A line where the host works between two sections."""
    from bokeh.models import Span

    for start in facts.starts[1:]:
        made.add_layout(
            Span(location=facts.board.microseconds(start), dimension="height", line_dash="dashed", line_width=1)
        )


def _thinned(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """At most `MOST_POINTS`; the lowest level of each group stays, for that is where the array waits."""
    group = -(-len(points) // MOST_POINTS) or 1
    return [
        min(points[start : start + group], key=lambda point: point[1]) for start in range(0, len(points), group)
    ]


def _waits(one: Activity) -> str:
    return ", ".join(f"{cause} {cycles:,}" for cause, cycles in one.span.waits.items() if cycles) or "-"
