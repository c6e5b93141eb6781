"""The page in a real browser: real predictions, on wide and narrow screens, and nothing asked of anybody else."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright", reason="needs playwright: pip install playwright")

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion, convert
from fieldwave.keys import Keys, write_keys
from fieldwave.postprocess import top_k
from fieldwave.serving import ServeOptions, Server
from fieldwave.zoo import digit_png, digits_images
from tests import squares
from tests.conftest import PHOTOS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")

SQUARES = [(1, 10, 20), (2, 60, 70), (3, 70, 10)]
MOST_BYTES = 300_000
NO_IMAGE = b"no image".hex()
STAGES = ["decode", "queue", "device", "encode", "network"]
DROP = """([name, type, data, kind]) => {
    const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type}));
    const how = {bubbles: true, cancelable: true};
    if (kind === "paste") document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, ...how}));
    else for (const step of ["dragenter", "dragover", "drop"])
        document.getElementById("drop").dispatchEvent(new DragEvent(step, {dataTransfer: transfer, ...how}));
}"""


@dataclasses.dataclass
class Window:
    """A page, and what it has asked for and complained of."""

    page: Page
    origin: str
    asked: list[str] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)

    def check(self, *refusals: int) -> None:
        """Nothing went wrong but the refusals with these statuses, and nobody else was asked for anything."""
        assert self.asked and all(
            url.startswith((f"{self.origin}/", f"blob:{self.origin}/")) for url in self.asked
        )
        assert [int(re.findall(r"status of (\d+)", line)[0]) for line in self.said] == list(refusals), self.said

    def classes(self) -> list[str]:
        expect(self.page.locator(".bars li")).to_have_count(5)
        return self.page.locator(".bars li").all_inner_texts()

    def tags(self) -> list[str]:
        return sorted(self.page.locator("#tags .tag").all_inner_texts())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(digits: Conversion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The digits, and by turns the squares."""
    folder = tmp_path_factory.mktemp("squares")
    found = convert(squares.model(), calibration=squares.calibration(folder / "c"), output=folder / "squares.zip")
    options = ServeOptions(
        package=digits.package, also=(found.package,), grpc_port=0, http_port=0, max_message_bytes=MOST_BYTES
    )
    with Server(options) as running:
        yield running


@contextmanager
def window(
    browser: Browser, server: Server, width: int = 1280, dark: bool = False, **more: Any
) -> Iterator[Window]:
    size = {"width": width, "height": 844 if width < 500 else 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", **more)
    context.set_default_timeout(10_000)
    opened = Window(context.new_page(), f"http://127.0.0.1:{server.http_port}")
    page = opened.page
    context.on("request", lambda request: opened.asked.append(request.url))
    page.on("pageerror", lambda error: opened.said.append(f"status of 0 {error}"))
    page.on("console", lambda line: opened.said.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(f"{opened.origin}/")
    yield opened
    context.close()


def ready(opened: Window, model: str = "") -> Page:
    opened.page.wait_for_selector("#state[data-state=serving]")
    if model:
        opened.page.select_option("#models", model)
    return opened.page


def upload(name: str, data: bytes, media: str = "image/png") -> Any:
    return {"name": name, "mimeType": media, "buffer": data}


def digit(number: int = 0) -> bytes:
    return digit_png(digits_images().heldout_images[number])


def expected(server: Server, data: bytes) -> list[str]:
    """What the bars are to say, by the other protocol."""
    with PredictionClient("127.0.0.1", server.port) as client:
        found = top_k(client.score_image(data), client.labels(), 5)
    return [f"{one.label}\n{percent(one.probability)}" for one in found]


def percent(score: float) -> str:
    return f"{100 * score:.{1 if score > 0.0995 or score == 0 else 2}f} %"


@pytest.mark.parametrize("way", ["chosen", "drop", "paste"])
def test_the_classes_of_an_image(browser: Browser, server: Server, way: str) -> None:
    data = digit(len(way))
    with window(browser, server) as opened:
        page = ready(opened)
        if way == "chosen":
            page.set_input_files("#file", upload("seven.png", data))
        else:
            page.evaluate(DROP, ["seven.png", "image/png", base64.b64encode(data).decode(), way])
        assert opened.classes() == expected(server, data)
        assert page.locator("#about-image").inner_text().startswith("seven.png · 8 × 8 · ")
        assert page.locator(".legend dt").all_inner_texts() == STAGES
        spent = [float(text.split()[0]) for text in page.locator(".legend dd").all_inner_texts()]
        total = float(page.locator(".total").inner_text().split()[0])
        assert all(value >= 0 for value in spent) and spent[2] > 0
        assert sum(spent) == pytest.approx(total, rel=0.02)
        opened.check()


def test_the_boxes_of_objects_follow_the_slider(browser: Browser, server: Server) -> None:
    data = squares.picture(SQUARES, width=512, height=256)
    with window(browser, server) as opened:
        page = ready(opened, "squares")
        page.set_input_files("#file", upload("squares.png", data))
        expect(page.locator(".objects li")).to_have_count(3)
        assert [tag.split()[0] for tag in opened.tags()] == ["blue", "green", "red"]
        picture = page.locator("#image").bounding_box()
        assert picture is not None
        for index, top, left in SQUARES:
            number = page.locator("#tags .tag", has_text=squares.LABELS[index]).get_attribute("data-number")
            box = page.locator(f"#boxes g[data-number='{number}'] rect").last.bounding_box()
            assert box is not None
            found = [(box["x"] - picture["x"]) / picture["width"], (box["y"] - picture["y"]) / picture["height"]]
            assert np.multiply(found, squares.SIDE) == pytest.approx([left, top], abs=2.5)
        for least, found in (("0.3", 4), ("0.05", 7), ("0.5", 3)):
            page.locator("#threshold").fill(least)
            expect(page.locator("output")).to_have_text(f"{float(least):.2f}")
            expect(page.locator(".objects li")).to_have_count(found)
            assert page.locator("#boxes g").count() == len(opened.tags()) == found
        page.locator("#threshold").focus()
        page.keyboard.press("End")
        expect(page.locator("output")).to_have_text("0.95")
        # The choice holds for the next picture, in which a square is less than certain.
        page.set_input_files("#file", upload("faint.png", squares.picture([(3, 70, 10), (1, 8, 24)])))
        expect(page.locator(".objects li")).to_have_count(1)
        assert opened.tags() == ["blue 100 %"]
        opened.check()


def test_what_the_service_refuses_is_said_in_its_own_words(browser: Browser, server: Server) -> None:
    with window(browser, server) as opened:
        page = ready(opened)
        for name, data, text in (
            (
                "text.png",
                b"no image at all",
                "not an image: the first bytes are 6e6f20696d616765, expected a JPEG or PNG file",
            ),
            ("large.png", bytes(MOST_BYTES + 1), f"the body is larger than {MOST_BYTES} bytes"),
        ):
            page.set_input_files("#file", upload(name, data))
            expect(page.locator("#failure")).to_be_visible()
            expect(page.locator("#failure")).to_have_text(text)
            assert page.locator(".bars").count() == 0
            assert page.locator("#about-image").inner_text().startswith(name)
        page.set_input_files("#file", upload("digit.png", digit()))
        assert opened.classes() == expected(server, digit())
        expect(page.locator("#failure")).to_be_hidden()
        opened.check(400, 413)


def test_a_key_is_asked_for_and_kept_in_memory_only(browser: Browser, digits: Conversion, tmp_path: Path) -> None:
    keys = Keys.generate()
    write_keys(tmp_path / "keys", keys)
    options = ServeOptions(package=digits.package, grpc_port=0, http_port=0, keys=tmp_path / "keys")
    with Server(options) as server, window(browser, server) as opened:
        page = opened.page
        expect(page.locator("#ask")).to_be_visible()
        assert "digits" not in page.content()
        assert not any("/fieldwave/" in url for url in opened.asked)
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#ask-why")).to_have_text(re.compile("^the key is none of this service's keys"))
        page.keyboard.type(keys.primary)
        page.keyboard.press("Enter")
        ready(opened)
        assert page.locator("#name").inner_text() == "digits"
        page.set_input_files("#file", upload("digit.png", digit()))
        assert len(opened.classes()) == 5
        kept = page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]")
        assert kept == ["", 0, 0]
        assert keys.primary not in page.content()
        code = page.locator("#code").inner_text()
        assert '-H "authorization: Bearer $KEY"' in code
        opened.check(401)
        page.reload()
        expect(page.locator("#ask")).to_be_visible()


def test_the_examples_run_as_they_stand(browser: Browser, server: Server, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(digit())
    with window(browser, server) as opened:
        page = ready(opened)
        texts = {}
        for number, name in enumerate(page.locator("#tabs button").all_inner_texts()):
            page.locator("#tabs button").nth(number).click()
            texts[name] = page.locator("#code").inner_text()
        page.keyboard.press("ArrowRight")
        assert page.locator("#tabs button[aria-selected=true]").inner_text() == "curl"
        ready(opened, "squares")
        page.locator("#tabs button").nth(1).click()
        texts["Python, others"] = page.locator("#code").inner_text()
    want = expected(server, digit())
    run = {name: [sys.executable, "-c", text] for name, text in texts.items() if name.startswith("Python")}
    if shutil.which("curl") is not None:
        run |= {name: ["sh", "-c", text] for name, text in texts.items() if name not in run}
    out = {
        name: subprocess.run(line, cwd=tmp_path, capture_output=True, check=True, timeout=60, text=True).stdout
        for name, line in run.items()
    }
    assert [line.split()[-1] for line in out["Python"].splitlines()] == [one.split("\n")[0] for one in want]
    assert "'objects'" in out["Python, others"]
    if "curl" in out:
        found = json.loads(out["curl"])["classes"]
        assert [f"{one['label']}\n{percent(one['score'])}" for one in found] == want
        assert json.loads(out["Open Inference"])["outputs"][0]["shape"] == [1, 10]


def test_who_answers_and_how_busy_it_is(browser: Browser, digits: Conversion) -> None:
    with Server(ServeOptions(package=digits.package, grpc_port=0, http_port=0)) as server:
        with PredictionClient("127.0.0.1", server.port) as client:
            for _ in range(20):
                client.score_image(digit())
        with window(browser, server) as opened:
            page = ready(opened)
            expect(page.locator("#p99")).to_have_text(re.compile(r"^\d[\d.]*ms$"))
            assert page.locator("#p50").inner_text() != "–"
            assert page.locator("#spark .line").get_attribute("d")
            said = page.locator("#who").inner_text()
            assert digits.package.digest[:23] in said and "8 × 8" in said
            assert "bit-exact: this processor's kernels are checked" in said
            figures = page.evaluate("fetch('fieldwave/figures').then(answer => answer.json())")
            assert sum(figures["answered"]) == 20
            opened.check()


def test_a_photograph_is_sent_upright(browser: Browser, server: Server) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.open(PHOTOS / "cat_347.jpg").resize((200, 100)).save(file, "JPEG", exif=exif)
    with window(browser, server) as opened:
        page = ready(opened)
        with page.expect_response("**/read?**") as response:
            page.set_input_files("#file", upload("phone.jpg", file.getvalue(), "image/jpeg"))
        assert response.value.json()["image"] == {"width": 100, "height": 200}
        assert "100 × 200" in page.locator("#about-image").inner_text()
        assert page.locator("#about-image").inner_text().endswith("turned upright")


def test_it_works_without_a_mouse(browser: Browser, server: Server) -> None:
    with window(browser, server) as opened:
        opened.page.on("filechooser", lambda chooser: None)  # the browser is to be told early that one is expected
        page = ready(opened)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "models"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(upload("digit.png", digit()))
        assert len(opened.classes()) == 5
        page.keyboard.press("Tab")
        while page.evaluate("document.activeElement.id") != "again":
            page.keyboard.press("Tab")
        with page.expect_response("**/read?**"):
            page.keyboard.press("Enter")
        unnamed = page.evaluate(
            """[...document.querySelectorAll("input, button, select")].filter(one => !one.labels?.length
               && !one.textContent.trim() && !one.ariaLabel).map(one => one.id)"""
        )
        assert unnamed == []
        opened.check()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_window_has_room_and_its_colours(browser: Browser, server: Server, width: int, dark: bool) -> None:
    phone = {"has_touch": True, "is_mobile": True} if width < 500 else {}
    with window(browser, server, width, dark, **phone) as opened:
        page = ready(opened, "squares")
        page.set_input_files("#file", upload("squares.png", squares.picture(SQUARES, width=512, height=256)))
        expect(page.locator(".objects li")).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        (paper,) = {page.evaluate("getComputedStyle(document.body).backgroundColor")}
        light = sum(map(int, re.findall(r"\d+", paper)))
        assert light < 120 if dark else light > 600
        assert page.locator(".camera").is_visible() == (width < 500)
        shot = Image.open(io.BytesIO(page.locator(".shown").screenshot())).convert("RGB")
        assert shot.size[0] <= width
        opened.check()


@pytest.mark.slow
def test_a_photograph_by_a_large_network(browser: Browser, resnet50: Conversion) -> None:
    photo = PHOTOS / "dog_155.jpg"
    with (
        Server(ServeOptions(package=resnet50.package, grpc_port=0, http_port=0)) as server,
        window(browser, server) as opened,
    ):
        page = ready(opened)
        page.set_input_files("#file", photo)
        assert opened.classes() == expected(server, photo.read_bytes())
        # Of 367 x 393 pixels the shorter side is brought to 256, and 224 x 224 are taken from the middle.
        seen = page.locator("#boxes .outside").get_attribute("d")
        assert seen is not None
        left, top = map(float, re.findall(r"ZM([\d.]+) ([\d.]+)", seen)[0])
        assert (left, top) == pytest.approx(((1 - 224 / 256) / 2 * 367, (393 - 224 / 256 * 367) / 2))
        opened.check()
