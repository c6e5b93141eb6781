"""The page stands alone, says what the facts say, and believes no name."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

pytest.importorskip("bokeh", reason="needs bokeh: pip install 'fieldwave[report]'")

from fieldwave.report import Facts, HostNode, collect, page
from fieldwave.report.activity import MOST_POINTS, ring_figure
from fieldwave.report.style import short_names
from tests.test_report_facts import BOARD, compiled, timeline


class Reader(HTMLParser):
    """What a page asks for from elsewhere, its tags, and its text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asked.extend(value or "" for name, value in attrs if name in ("src", "href", "srcset", "data"))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data


@cache
def facts() -> Facts:
    program = compiled()
    ring = replace(timeline(program), ring=tuple((at, at % 1000) for at in range(0, 900, 9)))
    return collect(program, [ring], BOARD)


@cache
def plain() -> str:
    return page(facts())


def test_it_needs_nothing_from_elsewhere() -> None:
    text = plain()
    found = Reader(text)
    assert found.asked == []
    assert not re.search(r"@import|url\(", text[: text.index("<script>")])
    assert len(text) < 1_500_000
    assert found.tags[:6] == ["html", "head", "meta", "meta", "title", "style"]


def test_the_totals_are_the_facts() -> None:
    given = facts()
    text = Reader(plain()).text
    assert f"{given.cycles:,}cycles" in text
    assert f"{100 * given.utilisation:.1f} %of the array's peak" in text
    assert f"{given.cycles / 1e5:.2f} mson the NPU" in text
    assert "8 x 8 multipliers at 100 MHz, memory at 0.4 GB/s (4 bytes a cycle, of which the port takes 4)" in text
    for part, cycles in given.parts().items():
        assert re.search(rf"{part}[\d.]+ %[\d.,]+{cycles:,}\D", text), part


def test_names_are_text_and_nothing_else() -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    given = facts()
    layers = tuple(replace(layer, name=evil, nodes=(evil,) * 3, kind=evil) for layer in given.layers)
    host = (HostNode(evil, evil, evil),)
    residencies = tuple(replace(one, tensors=(evil,)) for one in given.residencies)
    found = Reader(page(replace(given, layers=layers, host=host, residencies=residencies)))
    usual = Reader(plain())
    assert found.asked == [] and "img" not in found.tags
    assert found.tags.count("script") == usual.tags.count("script")
    assert evil in found.text


def test_many_reasons_are_counted() -> None:
    host = tuple(HostNode(f"n{i}", "Reshape", f"reason {i % 4}") for i in range(9))
    text = Reader(page(replace(facts(), host=host))).text
    assert "Reshape9reason 0; reason 1; and 2 moren0; n1; and 7 more" in text


def test_the_ring_is_thinned_to_its_lowest_levels() -> None:
    from bokeh.models import Range1d

    level = tuple((at, 7 if at == 12_345 else 4096) for at in range(20_000))
    drawn = ring_figure(replace(facts(), ring=level), Range1d(0, 1)).renderers[0].data_source.data
    heights = next(values for name, values in drawn.items() if name == "y2")
    assert len(heights) <= MOST_POINTS and min(heights) == 7 / 1024


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            [
                "net/block1/unit_1/v1/conv1/BN:0_quantized",
                "net/block1/unit_1/v1/conv2/BN",
                "net/block2/unit_1/v1/conv1",
            ],
            ["block1/conv1", "block1/conv2", "block2"],
        ),
        (["/same", "/same"], ["same", "same"]),
        (["a" * 40, "b"], ["…" + "a" * 27, "b"]),
        ([], []),
    ],
)
def test_short_names(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short
