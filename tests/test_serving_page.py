"""The page's files, and the addresses that it asks, without a browser."""

from __future__ import annotations

import json
import re
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.keys import Keys, write_keys
from fieldwave.package import Package
from fieldwave.serving import ServeOptions, Server
from fieldwave.version import __version__
from tests.served import SCORES, Affine, affine, package, pixels, png, png_header, serving
from tests.test_serving_http import ask

READ = "/fieldwave/models/affine/read"
MOST_BYTES = 60_000
SECRETS = ("affine", __version__, "sha256")


def get(server: Server, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): text for name, text in response.getheaders()}
    finally:
        connection.close()


def files(server: Server) -> dict[str, tuple[bytes, dict[str, str]]]:
    """The page and all that it names, by address."""
    _, index, headers = get(server, "/")
    found = {"/": (index, headers)}
    for address in sorted(set(re.findall(r'(?:href|src)="(page/[^"]+)"', index.decode()))):
        status, data, headers = get(server, f"/{address}")
        assert status == 200
        found[f"/{address}"] = (data, headers)
    return found


def test_the_page_is_small_and_may_ask_this_service_alone() -> None:
    with serving(http_port=0) as server:
        found = files(server)
    assert len(found) > 8
    assert sum(len(data) for data, _ in found.values()) < MOST_BYTES
    for address, (data, headers) in found.items():
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= set(policy)
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        kept = "no-cache" if address == "/" else "public, max-age=31536000, immutable"
        assert headers["cache-control"] == kept
        text = re.sub(rb"http://www\.w3\.org/2000/svg", b"", data)
        assert b"://" not in text and not re.search(rb"\son\w+=|style=|innerHTML|eval\(", text), address
    imported = {name for data, _ in found.values() for name in re.findall(rb'from "\./(\w+\.js)"', data)}
    assert imported <= {address.rpartition("/")[2].encode() for address in found}


def test_the_page_is_sent_once_as_long_as_it_is_the_same() -> None:
    with serving(http_port=0) as server:
        tag = get(server, "/")[2]["etag"]
        status, body, headers = get(server, "/", If_None_Match=tag)
        assert (status, body, headers["etag"], "content-length" in headers) == (304, b"", tag, False)
        assert get(server, "/", If_None_Match='"another"')[0] == 200
        assert get(server, "/page/0000000000000000/page.js")[0] == 404
        assert ask(server, "/", {})[0] == 405


def test_there_is_none_where_it_is_not_wanted() -> None:
    with serving(http_port=0, page=False) as server:
        assert get(server, "/")[0] == 404
        assert "/" not in ask(server, "/openapi.json")[1]["paths"]


def test_with_keys_the_page_gives_nothing_away(tmp_path: Path) -> None:
    keys = Keys.generate()
    write_keys(tmp_path / "keys", keys)
    with serving(http_port=0, keys=tmp_path / "keys") as server, serving(http_port=0) as open_server:
        secured, plain = files(server), files(open_server)
        assert secured.keys() == plain.keys()
        assert b'data-key="wanted"' in secured["/"][0] and b'data-key="none"' in plain["/"][0]
        for address, (data, headers) in secured.items():
            assert address == "/" or data == plain[address][0]
            assert not any(secret in data.decode() or secret in str(headers) for secret in SECRETS), address
        for address in ("/fieldwave/service", "/fieldwave/figures", "/openapi.json", "/page", "/page/", "//"):
            assert get(server, address)[0] == 401, address
        assert ask(server, READ, png(pixels()[0]))[0] == 401
        bearer = f"Bearer {keys.primary}"
        assert ask(server, READ, png(pixels()[0]), authorization=bearer)[0] == 200
        _, said, _ = ask(server, "/fieldwave/service", authorization=bearer)
        assert (said["keys"], said["models"][0]["name"]) == (True, "affine")
        assert keys.primary not in json.dumps(said)


def test_an_image_is_read_as_people_read_it() -> None:
    with serving(http_port=0) as server:
        image = pixels(seed=3)[0]
        status, said, headers = ask(server, READ, png(image))
        assert status == 200
        values = affine(((image - np.array([1, 2, 3], np.float32)) * np.float32(0.5))[np.newaxis])
        (output,) = said.pop("outputs")
        assert said == {"model_name": "affine", "model_version": "1", "image": {"width": 5, "height": 4}}
        assert (output["minimum"], output["maximum"]) == (values.min(), values.max())
        assert re.fullmatch(r"decode;dur=[\d.]+, queue;.*device;.*encode;dur=[\d.]+", headers["server-timing"])
        _, figures, _ = ask(server, "/fieldwave/figures")
        assert (sum(figures["answered"]), sum(figures["refused"]), figures["state"]) == (1, 0, "serving")
        assert 0 < figures["p50_milliseconds"] == figures["p99_milliseconds"]
        assert (figures["in_hand"], figures["places"], figures["waiting"]) == (0, 8, 0)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("top=0", "top is '0'; it is a number from 1 to 1000"),
        ("top=many", "top is 'many'; it is a number from 1 to 1000"),
        ("threshold=2", "threshold is '2'; it is a number from 0 to 1"),
        ("threshold=nan", "threshold is 'nan'; it is a number from 0 to 1"),
        ("best=1", "unknown parameter 'best'; there are top and threshold"),
    ],
)
def test_parameters_that_make_no_sense(query: str, text: str) -> None:
    with serving(http_port=0) as server:
        assert ask(server, f"{READ}?{query}", png(pixels()[0]))[:2] == (400, {"error": text})


def test_what_is_no_image_is_refused() -> None:
    with serving(http_port=0, max_message_bytes=2000) as server:
        for data, text in (
            (b"", "not an image: there are no bytes, expected a JPEG or PNG file"),
            (b"GIF89a", "the image is in GIF format, expected a JPEG or PNG file; convert it"),
            (
                png_header(100_000, 100_000),
                "the image is 100000 x 100000 pixels, the limit is 40000000 pixels; send a smaller one",
            ),
        ):
            assert ask(server, READ, data, "POST")[:2] == (400, {"error": text})
        status, said, _ = ask(server, READ, b"0" * 2001)
        assert (status, said) == (413, {"error": "the body is larger than 2000 bytes"})
        assert ask(server, "/fieldwave/models/other/read", b"")[0] == 404


def test_a_service_that_is_not_ready_says_what_it_waits_for() -> None:
    class Slow(Affine):
        go_on = threading.Event()

        def load(self, loaded: Package) -> None:
            assert self.go_on.wait(10)
            super().load(loaded)

    server = Server(ServeOptions(package=package(), grpc_port=0, http_port=0), Slow())
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        while not server.http_port:
            time.sleep(0.001)
        while ask(server, "/fieldwave/figures")[1]["state"] != "programming":
            time.sleep(0.001)
        _, figures, _ = ask(server, "/fieldwave/figures")
        assert (figures["device"], figures["in_hand"], figures["p50_milliseconds"]) == (None, 0, None)
        (model,) = ask(server, "/fieldwave/service")[1]["models"]
        assert (model["state"], model["device"], model["npu"], model["exact"]) == ("programming", "", None, None)
        assert ask(server, READ, png(pixels()[0]))[0] == 503
        assert get(server, "/")[0] == 200
    finally:
        Slow.go_on.set()
        starting.join()
    try:
        assert ask(server, "/fieldwave/figures")[1]["state"] == "serving"
        assert ask(server, READ, png(pixels()[0]))[0] == 200
    finally:
        server.stop(0)


def test_a_network_without_images_says_what_it_takes() -> None:
    options = ServeOptions(package=package(SCORES, images=None), grpc_port=0, http_port=0)
    with Server(options, Affine()) as server:
        _, said, _ = ask(server, "/fieldwave/service")
        model: Any = said["models"][0]
        assert (model["image"], model["reads"]) == (None, "tensors")
        status, said, _ = ask(server, READ, png(pixels()[0]))
        text = (
            "'affine' takes no image files here; this model takes 'Placeholder:0' (also 'images', 'Placeholder')"
        )
        assert (status, said) == (400, {"error": text})
