"""Pulling from a server on this machine that does what servers and networks do."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fieldwave.errors import NotFoundError, ServiceError, WeightsError
from fieldwave.zoo.weights import PublishedSet, cache_folder, cached, published, published_names, pull
from fieldwave.zoo.weights.publishers import _SETS

CONTENT = bytes(range(256)) * 4000
FILE = "net-0.pth"


@dataclass
class Server:
    """A server of one file; the fields say how it behaves, and it notes the Range of every request."""

    port: int = 0
    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    status: int = 0
    breaks_after: list[int] = field(default_factory=list)
    stalls: threading.Event | None = None
    requests: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{FILE}"


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append(asked)
            if state.status:
                self.send_error(state.status)
                return
            start = 0
            if asked and state.ranges and self.headers.get("If-Range") == state.etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(state.content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            if state.etag:
                self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            part = state.content[start:]
            if state.breaks_after:
                self.wfile.write(part[: state.breaks_after.pop(0)])
                if state.stalls is not None:
                    self.wfile.flush()
                    state.stalls.wait(20)
            else:
                self.wfile.write(part)

        def log_message(self, *arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass  # a client that left

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        state.port = listening.server_port
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        if state.stalls is not None:
            state.stalls.set()
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> PublishedSet:
    """The set ``net``, published at the server, and a cache of its own."""
    found = PublishedSet("net", "resnet50", "somebody", server.url, "sha256", digest(CONTENT)[:8])
    monkeypatch.setitem(_SETS, "net", found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FIELDWAVE_WEIGHTS_MIRROR", raising=False)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def left() -> set[str]:
    return {path.name for path in cache_folder().iterdir()}


ADVICE = f"put {FILE} into a folder and give it with --mirror FOLDER, or in FIELDWAVE_WEIGHTS_MIRROR"
LOCK = f".{FILE}.lock"


def test_a_pull_and_the_next(server: Server) -> None:
    shares: list[float] = []
    assert cached("net") is None
    pulled = pull("net", progress=lambda what, share: shares.append(share))
    assert (pulled.path, pulled.sha256, pulled.fresh) == (cache_folder() / FILE, digest(CONTENT), True)
    assert pulled.path.read_bytes() == CONTENT
    assert cached("net") == pulled.path
    assert left() == {FILE, LOCK}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 2
    assert pull("net").fresh is False
    assert server.requests == [None]


def test_what_broke_off_is_taken_up_at_once(server: Server) -> None:
    server.breaks_after = [300_000, 400_000]
    assert pull("net").path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=700000-"]


def test_what_broke_off_for_good_is_taken_up_by_the_next_pull(server: Server) -> None:
    server.breaks_after = [300_000, 0]
    with pytest.raises(ServiceError) as error:
        pull("net")
    assert str(error.value) == (
        f"{server.url} broke off after 300000 bytes (300000 of 1024000 bytes came): "
        f"run it again to go on from there, or {ADVICE}"
    )
    assert left() == {f".{FILE}.part", f".{FILE}.part.json", LOCK}
    server.requests.clear()
    assert pull("net").path.read_bytes() == CONTENT
    assert server.requests == ["bytes=300000-"]
    assert left() == {FILE, LOCK}


def test_a_server_without_ranges_sends_all(server: Server) -> None:
    server.ranges = False
    server.breaks_after = [300_000]
    assert pull("net").path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"]


def test_a_file_that_changed_meanwhile_starts_anew(server: Server) -> None:
    server.content = bytes(len(CONTENT))
    server.breaks_after = [300_000, 0]
    with pytest.raises(ServiceError):
        pull("net")
    server.content, server.etag = CONTENT, '"two"'
    assert pull("net").path.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_tag_nothing_is_resumed(server: Server, etag: str) -> None:
    server.etag = etag
    server.breaks_after = [300_000]
    assert pull("net").path.read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_a_beginning_that_is_all_starts_anew(server: Server) -> None:
    server.breaks_after = [300_000, 0]
    with pytest.raises(ServiceError):
        pull("net")
    (cache_folder() / f".{FILE}.part").write_bytes(bytes(len(CONTENT)))
    assert pull("net").path.read_bytes() == CONTENT


def test_a_wrong_digest_is_told_and_nothing_stays(server: Server) -> None:
    server.content = b"something else"
    with pytest.raises(WeightsError) as error:
        pull("net")
    assert str(error.value) == (
        f"{server.url} is not what somebody published, whose SHA-256 begins with {digest(CONTENT)[:8]}: "
        f"here it is {digest(b'something else')}; the file was removed, pull it again or from elsewhere"
    )
    assert left() == {LOCK}


def test_a_cached_file_that_rotted_is_removed(server: Server) -> None:
    path = pull("net").path
    path.write_bytes(b"rotten")
    with pytest.raises(WeightsError, match="the file was removed, pull it again"):
        pull("net")
    assert left() == {LOCK}
    assert pull("net").fresh


def test_md5_where_the_publisher_has_nothing_better(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    one = PublishedSet("net", "resnet50", "somebody", server.url, "md5", md5)
    monkeypatch.setitem(_SETS, "net", one)
    assert one.check == f"MD5 is {md5}"
    assert pull("net").sha256 == digest(CONTENT)


def test_404(server: Server) -> None:
    server.status = 404
    with pytest.raises(NotFoundError) as error:
        pull("net")
    assert str(error.value) == f"{server.url} is not there (404 Not Found); {ADVICE}"


def test_500(server: Server) -> None:
    server.status = 500
    with pytest.raises(ServiceError) as error:
        pull("net")
    assert str(error.value) == (
        f"{server.url}: the server answers 500 Internal Server Error; try again later, or {ADVICE}"
    )
    assert server.requests == [None]


def test_a_server_that_falls_silent(server: Server) -> None:
    server.stalls = threading.Event()
    server.breaks_after = [1000, 0]
    start = time.monotonic()
    with pytest.raises(ServiceError) as error:
        pull("net", timeout=0.2)
    assert time.monotonic() - start < 10
    assert str(error.value).startswith(f"{server.url} broke off after ")
    assert "(no byte came any more): run it again to go on from there" in str(error.value)


def test_nobody_listens() -> None:
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = closed.server_port
    closed.server_close()
    with pytest.raises(ServiceError) as error:
        pull("net", mirror=f"http://127.0.0.1:{port}/")
    assert str(error.value) == (
        f"no way to http://127.0.0.1:{port}/{FILE} (Connection refused): without a network, {ADVICE}"
    )


def test_no_network_at_all() -> None:
    with pytest.raises(ServiceError) as error:
        pull("net", mirror="http://no-such-host.invalid")
    assert str(error.value).startswith(f"no way to http://no-such-host.invalid/{FILE} (")
    assert str(error.value).endswith(f"): without a network, {ADVICE}")


def test_a_mirror_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    with pytest.raises(NotFoundError) as error:
        pull("net", mirror=str(tmp_path))
    assert str(error.value) == f"the mirror {tmp_path} has no file {FILE}: put it there, as {server.url} has it"
    (tmp_path / FILE).write_bytes(CONTENT)
    monkeypatch.setenv("FIELDWAVE_WEIGHTS_MIRROR", str(tmp_path))
    assert pull("net").path.read_bytes() == CONTENT
    assert server.requests == []
    assert (tmp_path / FILE).is_file()


def test_a_damaged_mirror_keeps_its_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"^{tmp_path / FILE} is not what somebody published, whose SHA-256"):
        pull("net", mirror=str(tmp_path))
    assert left() == {LOCK}
    assert (tmp_path / FILE).is_file()


def archive(*members: tuple[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()


@pytest.fixture
def archived(monkeypatch: pytest.MonkeyPatch, server: Server) -> PublishedSet:
    one = PublishedSet("net", "resnet50", "somebody", server.url, "sha256", "", "net.ckpt")
    monkeypatch.setitem(_SETS, "net", one)
    return one


def test_the_one_file_of_an_archive(server: Server, archived: PublishedSet) -> None:
    server.content = archive(("readme", b"hello"), ("../../net.ckpt", CONTENT))
    pulled = pull("net")
    assert (pulled.path, pulled.sha256, pulled.fresh) == (cache_folder() / "net.ckpt", digest(CONTENT), True)
    assert (pulled.path.read_bytes(), left()) == (CONTENT, {"net.ckpt", LOCK})
    assert (pull("net").fresh, archived.check) == (False, "no digest is published")


@pytest.mark.parametrize("what", ["another", "damaged", "cut", "link"])
def test_an_archive_without_the_file(server: Server, archived: PublishedSet, what: str) -> None:
    whole = archive(("net.ckpt", CONTENT))
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w:gz") as tar:
        info = tarfile.TarInfo("net.ckpt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    server.content = {
        "another": archive(("readme", b"hello")),
        "damaged": b"hello",
        "cut": whole[: len(whole) // 2],
        "link": link.getvalue(),
    }[what]
    with pytest.raises(WeightsError) as error:
        pull("net")
    why = "is no whole archive" if what in ("damaged", "cut") else "holds no file net.ckpt"
    assert str(error.value) == f"{server.url} {why}; it was removed, pull it again or from elsewhere"
    assert left() == {LOCK}


def test_two_at_once_fetch_once(server: Server) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(pull("net"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.fresh for one in found) == [False, False, False, True]
    assert server.requests == [None]


def test_the_table_of_published_sets() -> None:
    assert {"densenet121", "resnet152", "resnet50", "vgg16"} < set(published_names())
    for name in set(published_names()) - {"net"}:
        one = published(name)
        assert one.url.startswith("https://")
        assert one.url.endswith(f"/{one.file}")
        if one.publisher == "torchvision":
            assert one.file == f"{one.network}-{one.digest}.pth"
            assert one.check == f"SHA-256 begins with {one.digest}"
    with pytest.raises(NotFoundError) as error:
        published("alexnet")
    assert str(error.value) == f"no published weights 'alexnet': there are {', '.join(published_names())}"
