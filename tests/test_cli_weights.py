from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner, Result

from fieldwave import zoo
from fieldwave.cli import app
from fieldwave.zoo.weights import PublishedSet
from fieldwave.zoo.weights.publishers import _SETS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FIELDWAVE_WEIGHTS_MIRROR", raising=False)
    return tmp_path / "fieldwave" / "weights"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["weights", *arguments])


def test_list_says_what_is_published_and_what_is_here(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "vgg16-397923af.pth").touch()
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "NETWORK", "PUBLISHER", "CHECKED", "HERE"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["resnet50"].split()[2:-1] == ["torchvision", "SHA-256", "begins", "with", "0676ba61"]
    assert (rows["resnet50"].split()[-1], rows["vgg16"].split()[-1]) == ("no", "yes")
    listed = json.loads(run("list", "--json").stdout)
    assert [one["name"] for one in listed] == list(rows)
    assert {one["name"]: one["path"] for one in listed}["vgg16"] == str(cache / "vgg16-397923af.pth")


def test_pull_from_a_folder_refuses_what_was_not_published(tmp_path: Path) -> None:
    (tmp_path / "resnet50-0676ba61.pth").write_bytes(b"hello")
    done = run("pull", "resnet50", "--mirror", str(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert (
        "is not what torchvision published, whose SHA-256 begins with 0676ba61: here it is 2cf24dba" in done.stderr
    )


def test_pull_prints_the_path(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = PublishedSet("net", "digits", "somebody", "https://example.org/hello.pth", "sha256", "2cf24dba")
    monkeypatch.setitem(_SETS, "net", one)
    (tmp_path / "hello.pth").write_bytes(b"hello")
    done = run("pull", "net", "--mirror", str(tmp_path))
    assert (done.exit_code, done.stdout) == (0, f"{cache / 'hello.pth'}\n")
    assert done.stderr.splitlines()[0] == "pulled, checked: its SHA-256 begins with 2cf24dba"
    assert done.stderr.splitlines()[-1].startswith("next: fieldwave convert digits --weights net ")
    again = json.loads(run("pull", "net", "--json").stdout)
    assert (again["path"], again["fresh"]) == (str(cache / "hello.pth"), False)
    assert again["sha256"].startswith("2cf24dba")


def test_show_names_the_network_and_the_variant(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    digits = zoo.network("digits")
    weights = zoo.load_weights(digits, "")
    zoo.save_weights(path, digits, weights)
    lines = run("show", str(path)).stdout.splitlines()
    assert lines[0].split() == ["TENSOR", "SHAPE", "TYPE"]
    assert "digits/conv1/weights 3x3x1x32 float32" in [" ".join(line.split()) for line in lines]
    values = sum(array.size for array in weights.values())
    assert lines[-3:] == [
        f"{len(weights)} tensors, {values:,} values, safetensors",
        "digits, variant slim, 10 classes, in the names of slim",
        "complete",
    ]
    shown = json.loads(run("show", str(path), "--json").stdout)
    assert (shown["network"], shown["variant"], shown["classes"], shown["complaint"]) == ("digits", "slim", 10, "")
    del weights["digits/conv1/weights"]
    path.write_bytes(safetensors.numpy.save(weights))
    assert run("show", str(path)).stdout.splitlines()[-1] == (
        "not usable: digits.safetensors is not for digits: it lacks 'digits/conv1/weights' 3x3x1x32"
    )


def test_show_of_a_stranger_and_of_what_is_not_here(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3, np.float32)}))
    assert run("show", str(path)).stdout.splitlines()[-1] == "of no network of the zoo, as far as the names tell"
    done = run("show", "resnet50")
    assert (done.exit_code, done.stderr) == (
        1,
        "error: the weights 'resnet50' are not here: fieldwave weights pull resnet50\n",
    )
