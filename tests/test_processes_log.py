from __future__ import annotations

from pathlib import Path

from fieldwave.processes.log import BoundedLog, follow, last_lines


def test_the_log_is_bounded_and_keeps_the_part_before(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    log = BoundedLog(path, limit=40)
    for number in range(10):
        log.write(b"line %d 890\n" % number)
    log.close()
    assert path.read_text() == "line 9 890\n"
    assert path.with_name("service.log.1").read_text() == "line 6 890\nline 7 890\nline 8 890\n"
    assert last_lines(path, 100) == [f"line {number} 890" for number in range(6, 10)]
    assert last_lines(path, 2) == ["line 8 890", "line 9 890"]
    assert last_lines(path, 0) == []


def test_an_existing_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    for text in (b"first\n", b"second\n"):
        log = BoundedLog(path)
        log.write(text)
        log.close()
    assert last_lines(path, 10) == ["first", "second"]


def test_a_log_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "gone" / "service.log")
    log.write(b"lost\n")
    log.close()
    assert last_lines(tmp_path / "gone" / "service.log", 10) == []


def test_a_full_disk_is_no_error() -> None:
    log = BoundedLog(Path("/dev/full"))
    log.write(b"lost\n")
    log.close()


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "service.log").write_bytes(b"\xff\xfe good\n")
    assert last_lines(tmp_path / "service.log", 1) == ["\ufffd\ufffd good"]


def test_following_goes_from_file_to_file_without_a_gap(tmp_path: Path) -> None:
    folder = tmp_path / "rn50"
    folder.mkdir()
    path = folder / "service.log"
    log = BoundedLog(path, limit=60)
    log.write(b"zero\none\ntwo\nthr")
    lines = follow(path, lines=2)
    assert [next(lines), next(lines)] == ["one", "two"]
    log.write(b"ee\n")
    assert next(lines) == "three"
    log.write(b"four, of which the end is in the ")
    log.write(b"next file, as it may be\nfive\n")
    assert next(lines) == "four, of which the end is in the next file, as it may be"
    assert next(lines) == "five"
    log.close()
    folder.rename(tmp_path / "deleted")
    assert list(lines) == []


def test_following_nothing_ends_at_once(tmp_path: Path) -> None:
    assert list(follow(tmp_path / "gone" / "service.log", lines=3)) == []


def test_following_ends_when_nobody_writes_any_more(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"one\ntwo\nth")
    ended = False
    lines = follow(path, 1, lambda: ended)
    assert next(lines) == "two"
    with path.open("ab") as file:
        file.write(b"ree\nhalf")
    assert next(lines) == "three"
    ended = True
    assert list(lines) == ["half"]


def test_following_what_was_never_written(tmp_path: Path) -> None:
    assert list(follow(tmp_path / "x.log", 1, lambda: True)) == []
