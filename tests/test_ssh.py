from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fieldwave.errors import HostError, InputError
from fieldwave.ssh import ConnectionLost, Host, Ssh
from tests import edge_box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_box.Box]:
    with edge_box.running(tmp_path_factory.mktemp("box")) as box:
        yield box


@pytest.fixture
def ssh(box: edge_box.Box) -> Iterator[Ssh]:
    with Ssh(box.host) as ssh:
        yield ssh


def test_a_command_gets_its_words_as_they_are_and_its_end_is_told(ssh: Ssh) -> None:
    words = ["a b", "$HOME", "'", '"', "*", "\\", "a\nb", "é", "", "-n"]
    result = ssh.run(["printf", "%s|", *words])
    assert (result.code, result.text, result.error) == (0, "a b|$HOME|'|\"|*|\\|a\nb|é||-n|", "")
    failed = ssh.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (failed.code, failed.text, failed.error) == (3, "out\n", "err\n")
    assert ssh.run(["sh", "-c", "exit 255"]).code == 254, "255 is ssh's own"
    assert ssh.run(["no-such-program"]).code == 127


def test_input_goes_there_byte_for_byte(ssh: Ssh, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    assert ssh.run(["cat"], stdin=data).output == data
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open("rb") as file:
        file.seek(1000)
        assert ssh.run(["cat"], stdin=file).output == data[1000:]
    assert ssh.run(["cat"]).output == b"", "and without any it is not ours that is read"


def test_one_connection_serves_all_commands(ssh: Ssh, box: edge_box.Box) -> None:
    seen = {ssh.run(["sh", "-c", "echo $SSH_CONNECTION"]).text for _ in range(3)}
    assert len(seen) == 1
    assert "127.0.0.1" in seen.pop()
    folder = ssh._folder
    ssh.close()
    assert not folder.exists()
    with pytest.raises(HostError) as caught:
        ssh.run(["true"])
    assert str(caught.value) == "box: the connection was closed"


def test_a_broken_connection_is_told_and_the_next_command_opens_another(ssh: Ssh, box: edge_box.Box) -> None:
    runs = box.folder / "runs"

    def cut() -> None:
        while not runs.exists():
            time.sleep(0.01)
        box.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(ConnectionLost) as caught:
        ssh.run(["sh", "-c", f"touch {runs}; sleep 20"])
    thread.join()
    assert str(caught.value) == "box: the connection broke while 'sh' ran there"
    assert ssh.run(["echo", "again"]).text == "again\n"


def test_a_command_that_does_not_end_is_given_up(ssh: Ssh) -> None:
    with pytest.raises(ConnectionLost) as caught:
        ssh.run(["sleep", "20"], timeout=0.3)
    assert str(caught.value) == "box: no answer to 'sleep' within 0.3 s"
    assert ssh.run(["true"]).code == 0


def test_lines_come_as_they_are_written(ssh: Ssh, box: edge_box.Box) -> None:
    script = "echo one; echo two; sleep 20"
    lines = ssh.lines(["sh", "-c", script])
    start = time.monotonic()
    assert [next(lines), next(lines)] == ["one", "two"]
    assert time.monotonic() - start < 5
    lines.close()
    assert list(ssh.lines(["printf", "a\\n\\nb"])) == ["a", "", "b"]
    lines = ssh.lines(["sh", "-c", script])
    next(lines)
    box.cut()
    with pytest.raises(ConnectionLost, match="the connection broke while 'sh' ran there"):
        list(lines)


def test_a_port_there_is_reached_through_the_connection(ssh: Ssh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path = ssh.forward(port)
        assert ssh.forward(port) == path
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            server.settimeout(5)
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"hello")
                assert client.recv(5) == b"hello"
    ssh.close()


def test_a_forward_is_there_again_after_the_connection_broke(ssh: Ssh, box: edge_box.Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ssh.forward(port)
        box.cut()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            with suppress(ConnectionLost):  # ssh may not have noticed yet
                ssh.run(["true"])
            client.connect(str(ssh.forward(port)))
            server.settimeout(5)
            server.accept()[0].close()


def test_what_a_login_script_prints_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.write_text('#!/bin/sh\necho "Welcome to the plant"\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    noisy.chmod(0o755)
    with edge_box.running(tmp_path / "box", more=f"ForceCommand {noisy}") as box, Ssh(box.host) as ssh:
        assert ssh.run(["echo", "answer"]).text == "answer\n"
        assert list(ssh.lines(["echo", "answer"])) == ["answer"]


def test_an_account_without_a_shell_is_told(tmp_path: Path) -> None:
    with edge_box.running(tmp_path / "box", more="ForceCommand echo 'no commands here'; exit 1") as box:
        with Ssh(box.host) as ssh, pytest.raises(HostError) as caught:
            ssh.run(["true"])
        assert str(caught.value) == "box: no shell there that runs commands: no commands here"


def test_an_unknown_host_key_is_not_accepted(box: edge_box.Box, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text((box.folder / "ssh_config").read_text().replace("known_hosts\n", "nobody\n"))
    with Ssh(replace(box.host, config=str(config))) as ssh, pytest.raises(HostError) as caught:
        ssh.run(["true"])
    assert str(caught.value) == (
        f"box: its host key is not known here; run 'ssh -F {config} box' once, compare the fingerprint with the "
        "one that 'ssh-keygen -lf' shows at the box, and accept it"
    )
    assert not (box.folder / "nobody").exists()


def test_a_changed_host_key_is_not_accepted_whatever_the_settings_say(box: edge_box.Box, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"# the plant\nbox {edge_box.make_key(tmp_path / 'other')}")
    config = tmp_path / "config"
    config.write_text(
        (box.folder / "ssh_config").read_text().replace(f"{box.folder}/known_hosts", str(known))
        + "    StrictHostKeyChecking no\n"
    )
    with Ssh(replace(box.host, config=str(config))) as ssh, pytest.raises(HostError) as caught:
        ssh.run(["true"])
    assert str(caught.value) == (
        f"box: its host key is not the one known here, line 2 of {known}: it is another machine, or was set up "
        f"anew; if that is so, remove the line and run 'ssh -F {config} box' once to compare the new key's "
        "fingerprint"
    )


def test_a_key_that_the_box_does_not_know(box: edge_box.Box, tmp_path: Path) -> None:
    edge_box.make_key(tmp_path / "stranger")
    config = tmp_path / "config"
    config.write_text((box.folder / "ssh_config").read_text().replace("user_key", "nothing"))
    host = Host("someone@box", config=str(config), identity=str(tmp_path / "stranger"))
    with Ssh(host) as ssh, pytest.raises(HostError) as caught:
        ssh.run(["true"])
    options = f"-F {config} -i {tmp_path}/stranger"
    assert str(caught.value) == (
        "someone@box: someone@127.0.0.1 is not let in with any key that ssh has here (it takes: publickey); "
        f"put your public key into the box with 'ssh-copy-id {options} someone@box'"
    )


def test_nobody_answers(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with Ssh(Host("127.0.0.1", port, config=str(config))) as ssh, pytest.raises(HostError) as caught:
            ssh.run(["true"])
    assert str(caught.value) == (
        f"127.0.0.1: no sshd answers on port {port}; is the box up, and is that its port?"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        host = Host("127.0.0.1", port, config=str(config))
        with Ssh(host, connect_seconds=1) as ssh, pytest.raises(HostError) as caught:
            next(ssh.lines(["true"]))
    assert str(caught.value) == (
        f"127.0.0.1: no answer on port {port}; is the box up, and is it reached from this network?"
    )
    with Ssh(Host("no-such-box.invalid", config=str(config))) as ssh, pytest.raises(HostError) as caught:
        ssh.forward(1)
    assert str(caught.value) == (
        "no-such-box.invalid: there is no host 'no-such-box.invalid' by that name; "
        "check the spelling, or give its address"
    )


def test_forwarding_may_be_forbidden_there(tmp_path: Path) -> None:
    with edge_box.running(tmp_path / "box", more="AllowTcpForwarding no") as box, Ssh(box.host) as ssh:
        path = ssh.forward(1)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            assert client.recv(1) == b"", "what is forbidden shows when it is used"


def test_without_ssh_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Ssh(Host("box")) as ssh, pytest.raises(HostError) as caught:
        ssh.run(["true"])
    assert str(caught.value) == "ssh is not installed here: apt-get install openssh-client"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("-oProxyCommand=x",), "'-oProxyCommand=x' is no edge box: expected [user@]name, as ssh takes it"),
        (("a b",), "'a b' is no edge box: expected [user@]name, as ssh takes it"),
        (("",), "'' is no edge box: expected [user@]name, as ssh takes it"),
        (("x@-y",), "'x@-y' is no edge box: expected [user@]name, as ssh takes it"),
        (("box", 70000), "port 70000 of box is not possible; give one from 1 to 65535"),
        (("box", 0, "/nowhere/key"), "/nowhere/key is not there; it was given as a file for ssh to box"),
        (
            ("box", 0, "", "", "/a/../b"),
            "'/a/../b' is no folder on box: an absolute path of letters, digits, . _ -",
        ),
    ],
)
def test_what_is_no_host(fields: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Host(*fields)  # type: ignore[arg-type]
    assert str(caught.value) == message
