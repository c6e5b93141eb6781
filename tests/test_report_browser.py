"""The page in a real browser without a network: it is drawn, answers the mouse, and its figures move together."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="needs bokeh: pip install 'fieldwave[report]'")
pytest.importorskip("playwright", reason="needs playwright: pip install playwright")

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from fieldwave.report.style import COLOURS, KINDS
from tests.test_report_page import facts, plain

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
READY = "() => window.Bokeh && Bokeh.documents.length && Bokeh.documents.every(one => one.is_idle)"
RANGES = """() => Bokeh.documents.flatMap(one => one.roots())
    .filter(one => one.title.text.match(/units|ring|bank/))
    .map(one => [one.x_range.start, one.x_range.end])"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what went wrong on it or was asked for."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(plain(), encoding="utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        found = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}).new_page()
        seen: list[str] = []
        found.on("request", lambda request: seen.append(request.url))
        found.on("pageerror", lambda error: seen.append(f"error {error}"))
        found.on("console", lambda said: seen.append(said.text) if said.type in ("error", "warning") else None)
        found.goto(path.as_uri())
        found.wait_for_function(READY)
        yield found, [line for line in seen if line != path.as_uri()]
        browser.close()


def figures(opened: Page) -> list[Any]:
    return opened.query_selector_all(".bk-Figure")


def test_nothing_is_asked_for_and_nothing_goes_wrong(opened: tuple[Page, list[str]]) -> None:
    assert opened[1] == []
    assert len(figures(opened[0])) == 6
    width = opened[0].evaluate("document.documentElement.scrollWidth")
    assert width <= 1200


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (0, [COLOURS["multiply"], COLOURS["idle lanes"], COLOURS["pool"], COLOURS["drain"]]),
        (2, [KINDS["CONV"], KINDS["AVERAGE"], KINDS["LOAD"], KINDS["STORE"]]),
    ],
)
def test_every_kind_of_bar_is_drawn(opened: tuple[Page, list[str]], number: int, wanted: list[str]) -> None:
    picture = Image.open(io.BytesIO(figures(opened[0])[number].screenshot())).convert("RGB")
    pixels = Counter(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in np.asarray(picture).reshape(-1, 3))
    for colour in wanted:
        assert pixels[colour] > 100, colour


def test_the_mouse_is_told_what_is_under_it(opened: tuple[Page, list[str]]) -> None:
    found = opened[0]
    figures(found)[0].scroll_into_view_if_needed()
    box = figures(found)[0].bounding_box()
    found.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.4)
    tip = found.wait_for_selector(".bk-tooltip-content")
    text = tip.inner_text()
    first = facts().layers[0]
    assert first.name in text and "CONV 3 x 3" in text and f"{first.cycles} cycles" in text


def test_figures_over_time_move_together(opened: tuple[Page, list[str]]) -> None:
    found = opened[0]
    before = found.evaluate(RANGES)
    assert len(before) == 4 and len({tuple(one) for one in before}) == 1
    element = figures(found)[2]
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    found.evaluate(
        """() => { for (const one of Bokeh.documents.flatMap(one => one.roots()))
            if (one.title.text.match(/units/)) one.x_range.setv({start: 1, end: 3}) }"""
    )
    found.wait_for_function(READY)
    middle, height = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
    found.mouse.move(middle, height)
    found.mouse.down()
    found.mouse.move(middle - 100, height, steps=4)
    found.mouse.up()
    after = found.evaluate(RANGES)
    assert len({tuple(one) for one in after}) == 1
    assert after[0][0] > 1 and after[0][1] > 3


def test_narrow_screens(opened: tuple[Page, list[str]], tmp_path: Path) -> None:
    found = opened[0]
    found.set_viewport_size({"width": 500, "height": 800})
    found.wait_for_function(READY)
    assert max(one.bounding_box()["width"] for one in figures(found)) <= 500
