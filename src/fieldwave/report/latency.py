"""Layers: their time by what it is spent on, against the roofline; and the roofline itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fieldwave.report.facts import PARTS, Facts, Layer
from fieldwave.report.style import COLOURS, new_figure, short_names

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure

__all__ = ["latency_figure", "roofline_figure"]

MOST_NAMES = 64
"""Bars beyond this have a name only now and then."""


def latency_figure(facts: Facts) -> figure:
    """A bar a layer, stacked by what its cycles are spent on; a line where the roofline is."""
    from bokeh.models import HoverTool, Legend, NumeralTickFormatter

    source = _source(facts)
    made = new_figure("Time of every layer, in order", 440, x_range=(-0.7, len(facts.layers) - 0.3))
    parts = list(facts.parts())
    bars = made.vbar_stack(
        parts, x="x", width=0.86, source=source, color=[COLOURS[part] for part in parts], line_color=None
    )
    bound = made.segment("left", "bound", "right", "bound", source=source, line_width=2, line_color="black")
    whole = made.vbar("x", 1.0, "frame", source=source, fill_alpha=0.0, line_color=None, hover_fill_alpha=0.08)
    items = [(part, [bar]) for part, bar in zip(parts, bars, strict=True)]
    legend = Legend(items=[*items, ("roofline", [bound])], orientation="horizontal", border_line_color=None)
    legend.ncols = "auto"
    made.add_layout(legend, "above")
    made.add_tools(
        HoverTool(
            renderers=[whole],
            tooltips=[
                ("layer", "@name"),
                ("computes", "@kind, @result"),
                ("time", "@total{0,0.0} µs, @cycles{0,0} cycles"),
                ("roofline", "@bound{0,0.0} µs, by the @limit"),
                ("of the array", "@share{0.0} %"),
                ("memory", "@read{0,0} bytes read, @written{0,0} written"),
                ("spent", "@spent"),
                ("nodes", "@nodes"),
            ],
        )
    )
    step = -(-len(facts.layers) // MOST_NAMES)
    ticks = list(range(0, len(facts.layers), step))
    made.xaxis.ticker = ticks
    names = short_names([layer.name for layer in facts.layers])
    made.xaxis.major_label_overrides = {at: names[at] for at in ticks}
    made.xaxis.major_label_orientation = 1.1
    made.xaxis.major_label_text_font_size = "9px"
    made.xgrid.grid_line_color = None
    made.yaxis.axis_label = "µs"
    made.yaxis.formatter = NumeralTickFormatter(format="0,0")
    made.y_range.start = 0
    return made


def roofline_figure(facts: Facts) -> figure:
    """Multiply-accumulates a cycle over multiply-accumulates a byte, both logarithmic (Williams et al., 2009)."""
    from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter

    layers = [(number, layer) for number, layer in enumerate(facts.layers) if layer.macs and layer.cycles]
    peak, slope = facts.configuration.multipliers, facts.board.bytes_per_cycle(facts.configuration)
    intensity = [layer.macs / max(1, layer.read + layer.written) for _, layer in layers]
    rate = [layer.macs / layer.cycles for _, layer in layers]
    low, high = min([*intensity, peak / slope]) / 2, max([*intensity, peak / slope]) * 2
    made = new_figure(
        "Roofline: multiply-accumulates a cycle against multiply-accumulates a byte of memory traffic",
        360,
        x_axis_type="log",
        y_axis_type="log",
        x_range=(low, high),
        y_range=(min([*rate, peak]) / 2, peak * 2),
    )
    made.line([low, peak / slope, high], [low * slope, peak, peak], line_width=2, line_color="black")
    most = max(layer.cycles for _, layer in layers)
    source = ColumnDataSource(
        {
            "x": intensity,
            "y": rate,
            "size": [6 + 26 * (layer.cycles / most) ** 0.5 for _, layer in layers],
            "name": [layer.name for _, layer in layers],
            "kind": [layer.kind for _, layer in layers],
            "share": [100 * value / peak for value in rate],
            "time": [facts.board.microseconds(layer.cycles) for _, layer in layers],
        }
    )
    dots = made.scatter("x", "y", size="size", source=source, color=COLOURS["multiply"], alpha=0.45)
    made.add_tools(
        HoverTool(
            renderers=[dots],
            tooltips=[
                ("layer", "@name"),
                ("computes", "@kind"),
                ("time", "@time{0,0.0} µs"),
                ("of the array", "@share{0.0} %"),
                ("macs a byte", "@x{0,0.0}"),
            ],
        )
    )
    made.xaxis.formatter, made.yaxis.formatter = (NumeralTickFormatter(format="0,0.[0]") for _ in range(2))
    made.xaxis.axis_label = "multiply-accumulates a byte; a dot's area is its time"
    made.yaxis.axis_label = "multiply-accumulates a cycle"
    return made


def _source(facts: Facts) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    layers, time = facts.layers, facts.board.microseconds
    bounds = [layer.bounds(facts.configuration, facts.board) for layer in layers]
    numbers = range(len(layers))
    columns: dict[str, Any] = {part: [time(layer.parts.get(part, 0)) for layer in layers] for part in PARTS}
    columns |= {
        "x": list(numbers),
        "left": [number - 0.48 for number in numbers],
        "right": [number + 0.48 for number in numbers],
        "bound": [time(max(bound)) for bound in bounds],
        "limit": ["array" if array >= memory else "memory" for array, memory in bounds],
        "frame": [time(max(layer.cycles for layer in layers))] * len(layers),
        "total": [time(layer.cycles) for layer in layers],
        "cycles": [layer.cycles for layer in layers],
        "share": [100 * bound[0] / max(1, layer.cycles) for bound, layer in zip(bounds, layers, strict=True)],
        "name": [layer.name for layer in layers],
        "nodes": [_few(layer) for layer in layers],
        "kind": [layer.kind for layer in layers],
        "result": [layer.result for layer in layers],
        "read": [layer.read for layer in layers],
        "written": [layer.written for layer in layers],
        "spent": [", ".join(f"{part} {cycles:,}" for part, cycles in layer.parts.items()) for layer in layers],
    }
    return ColumnDataSource(columns)


def _few(layer: Layer) -> str:
    return ", ".join(layer.nodes[1:4]) + (", …" if len(layer.nodes) > 4 else "")
