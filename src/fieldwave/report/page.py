"""The page: one file, which needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from fieldwave.errors import MissingExtraError
from fieldwave.report.facts import PARTS, Facts, HostNode
from fieldwave.report.style import COLOURS

if TYPE_CHECKING:
    from bokeh.plotting import figure

__all__ = ["page"]

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1.2em 2em; max-width: 1500px; }
h1 { font-size: 1.5em; margin: 0 0 .2em; } h2 { font-size: 1.15em; margin: 1.8em 0 .4em; }
p { margin: .3em 0 .7em; color: #555; max-width: 75em; }
.totals { display: flex; flex-wrap: wrap; gap: .7em; margin: 1em 0; }
.totals div { background: #f3f6f9; border-radius: 6px; padding: .55em 1em; }
.totals b { display: block; font-size: 1.35em; color: #0b3c5d; }
.parts { display: flex; height: 26px; border-radius: 4px; overflow: hidden; }
table { border-collapse: collapse; margin: .6em 0; font-size: 14px; }
td, th { text-align: left; padding: .2em 1.2em .2em 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
i.c { display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin-right: .45em; }
code { font-size: .92em; overflow-wrap: anywhere; }
"""


def page(facts: Facts) -> str:
    """The report as one HTML document: figures, tables, and the library that draws them.

    Raises:
        MissingExtraError: ``fieldwave[report]`` is not installed.
    """
    try:
        from bokeh.embed import components
        from bokeh.models import Range1d
        from bokeh.resources import Resources
    except ImportError as error:
        raise MissingExtraError("drawing a report", "report") from error
    from fieldwave.report.activity import activity_figure, ring_figure
    from fieldwave.report.latency import latency_figure, roofline_figure
    from fieldwave.report.memory import memory_figure

    end = facts.board.microseconds(facts.cycles)
    x_range = Range1d(0, end, bounds=(0, end), min_interval=end / 5000)
    figures: dict[str, figure] = {
        "latency": latency_figure(facts),
        "activity": activity_figure(facts, x_range),
        **({"ring": ring_figure(facts, x_range)} if facts.ring else {}),
        "bank 0": memory_figure(facts, 0, x_range),
        "bank 1": memory_figure(facts, 1, x_range),
    }
    if any(layer.macs for layer in facts.layers):
        figures["roofline"] = roofline_figure(facts)
    script, places = components(figures)
    library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    title = f"{facts.summary.network} on {facts.summary.configuration}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_subtitle(facts)}</p>",
        _totals(facts),
        "<h2>Where the time goes</h2>",
        _parts(facts),
        "<h2>Layers</h2>",
        "<p>Each bar is one operation of the NPU. The black line is the roofline: the time that the multipliers, "
        "or the memory, need at least; a layer whose weights came during the layers before may lie below it.</p>",
        places["latency"],
        places.get("roofline", ""),
        "<h2>Over time</h2>",
        "<p>These figures move together: drag to look along, or choose a stretch with the box zoom.</p>",
        *(places[name] for name in ("activity", "ring", "bank 0", "bank 1") if name in places),
        "<h2>Host and NPU</h2>",
        _split(facts),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<script>{library}</script>",
            "</head><body>",
            *body,
            script,
            "</body></html>",
            "",
        ]
    )


def _subtitle(facts: Facts) -> str:
    one, board = facts.configuration, facts.board
    lanes = f"{one.input_lanes} x {one.output_lanes}" + (f" x {one.pixel_lanes}" if one.pixel_lanes > 1 else "")
    return escape(
        f"{lanes} multipliers at {board.clock / 1e6:g} MHz, memory at {board.bandwidth / 1e9:g} GB/s "
        f"({board.bandwidth / board.clock:g} bytes a cycle, of which the port takes "
        f"{board.bytes_per_cycle(one):g}), one image; times are {facts.origin}"
    )


def _totals(facts: Facts) -> str:
    summary = facts.summary
    traffic = facts.read + facts.written
    found = [
        (f"{1e3 * facts.seconds:.2f} ms", "on the NPU"),
        (f"{1 / facts.seconds:,.0f} a second", "images, one by one"),
        (f"{100 * facts.utilisation:.1f} %", "of the array's peak"),
        (f"{facts.cycles:,}", "cycles"),
        (f"{summary.npu_macs / 1e9:.3g} G", "multiply-accumulates"),
        (f"{100 * summary.npu_share:.2f} %", "of them on the NPU"),
        (f"{traffic / 1e6:.1f} MB", f"of memory traffic, {traffic / facts.seconds / 1e9:.1f} GB/s"),
        (f"{summary.image_bytes / 1e6:.1f} MB", "of program and weights"),
        (str(len(summary.streamed)), f"tensor{'s' * (len(summary.streamed) != 1)} streamed from memory"),
    ]
    return f'<div class="totals">{"".join(f"<div><b>{escape(a)}</b>{escape(b)}</div>" for a, b in found)}</div>'


def _parts(facts: Facts) -> str:
    parts = facts.parts()
    total = sum(parts.values())
    bar = "".join(
        f'<div title="{escape(part)}" style="width:{100 * cycles / total:.3f}%;background:{COLOURS[part]}"></div>'
        for part, cycles in parts.items()
    )
    rows = [
        [
            f'<i class="c" style="background:{COLOURS[part]}"></i>{escape(part)}',
            f"{100 * cycles / total:.2f} %",
            f"{facts.board.microseconds(cycles):,.1f}",
            f"{cycles:,}",
            escape(PARTS[part]),
        ]
        for part, cycles in parts.items()
    ]
    table = _table(["", "share", "µs", "cycles", ""], rows, numbers={1, 2, 3})
    return f'<div class="parts">{bar}</div>{table}'


def _split(facts: Facts) -> str:
    summary = facts.summary
    text = (
        f"<p>{summary.npu_nodes} of {summary.nodes} nodes run on the NPU, with {100 * summary.npu_share:.2f} % of "
        f"the multiply-accumulates. Sections, in order: {escape(', '.join(summary.sections))}.</p>"
    )
    grouped: dict[str, list[HostNode]] = {}
    for node in facts.host:
        grouped.setdefault(node.op, []).append(node)
    if not grouped:
        return text
    rows = [
        [
            escape(op),
            str(len(nodes)),
            escape(_some(node.reason for node in nodes)),
            f"<code>{escape(_some(node.name for node in nodes))}</code>",
        ]
        for op, nodes in grouped.items()
    ]
    return text + _table(["on the host", "", "why", "nodes"], rows, numbers={1})


def _some(texts: Iterable[str]) -> str:
    """The first two of the texts that differ."""
    different = list(dict.fromkeys(texts))
    return "; ".join(different[:2]) + (f"; and {len(different) - 2} more" if len(different) > 2 else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    """A table of cells that are HTML."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f'<{tag} class="n">{cell}</{tag}>' if at in numbers else f"<{tag}>{cell}</{tag}>"
            for at, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
