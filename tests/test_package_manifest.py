import json

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.package import FileDigest, Manifest, TensorSpec
from fieldwave.package.manifest import check_file_name

DIGEST = FileDigest(sha256="0" * 64, size=0)
text = st.text(min_size=1, max_size=20)
specs = st.builds(
    TensorSpec,
    name=text,
    aliases=st.lists(text, max_size=3),
    dtype=st.sampled_from(["float32", "uint8"]),
    shape=st.lists(st.none() | st.integers(1, 1000), max_size=5),
)


def manifest(**changes: object) -> Manifest:
    arguments: dict[str, object] = {
        "network": "digits",
        "version": "0.1.0",
        "inputs": (TensorSpec(name="x:0", shape=(None, 8)),),
        "outputs": (TensorSpec(name="y:0", shape=(None, 10)),),
        "files": {"model.onnx": DIGEST},
    }
    return Manifest.model_validate({**arguments, **changes})


def test_names_are_the_name_the_aliases_and_each_without_its_index() -> None:
    spec = TensorSpec(name="Placeholder:0", aliases=("images", "input_1:0"), shape=(None, 224, 224, 3))
    assert spec.names() == ("Placeholder:0", "images", "input_1:0", "Placeholder", "input_1")


def test_names_are_listed_once() -> None:
    assert TensorSpec(name="x:0", aliases=("x", "x:0"), shape=()).names() == ("x:0", "x")


def test_a_tensor_prints_as_users_read_it() -> None:
    assert str(TensorSpec(name="x:0", dtype="uint8", shape=(None, 8, 8, 3))) == "x:0 uint8 [N, 8, 8, 3]"


@settings(deadline=None)
@given(st.lists(specs, min_size=1, max_size=1), text)
def test_json_and_back(inputs: list[TensorSpec], network: str) -> None:
    written = manifest(inputs=tuple(inputs), network=network)
    assert Manifest.model_validate_json(written.to_json(), strict=True) == written


def test_equal_manifests_are_equal_bytes() -> None:
    files = {"model.onnx": DIGEST, "a.json": DIGEST}
    assert manifest(files=files).to_json() == manifest(files=dict(reversed(files.items()))).to_json()


def test_the_json_is_ascii_with_sorted_keys() -> None:
    data = manifest(labels=("zwölf",)).to_json()
    assert data.isascii()
    assert data == (json.dumps(json.loads(data), indent=2, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": (TensorSpec(name="x:0", shape=()), TensorSpec(name="x", shape=()))},
            "inputs has two tensors that answer to 'x'",
        ),
        (
            {"outputs": (TensorSpec(name="y", shape=()), TensorSpec(name="z", aliases=("y",), shape=()))},
            "outputs has two tensors that answer to 'y'",
        ),
        ({"files": {}}, "files has no model.onnx"),
        (
            {"files": {"model.onnx": DIGEST, "manifest.json": DIGEST}},
            "files names manifest.json, which cannot hold its own digest",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(
        pydantic.ValidationError, match=f"^1 validation error for Manifest\n  Value error, {message}"
    ):
        manifest(**changes)


@settings(deadline=None)
@given(st.text())
def test_file_names_are_plain_or_refused(name: str) -> None:
    plain = 0 < len(name) <= 100 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    if plain and name[0] not in "._-":
        assert check_file_name(name) == name
    else:
        with pytest.raises(ValueError, match="is no file name of a package"):
            check_file_name(name)
