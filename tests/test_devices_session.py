import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from fieldwave.devices import session
from fieldwave.devices.session import default_threads, one_line, open_session
from fieldwave.errors import DeviceError


def model_with_weights_in(location: str) -> bytes:
    weights = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "spy",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])],
        [weights],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


@pytest.mark.parametrize("location", ["secret.bin", "../{folder}/secret.bin", "{path}/secret.bin"])
def test_a_model_cannot_take_its_weights_from_files_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "secret.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError, match=r"^ONNX Runtime cannot load the model: [^\n]*$"):
        open_session(model_with_weights_in(location.format(path=tmp_path, folder=tmp_path.name)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"", "No graph was found in the protobuf."),
        (b"garbage" * 10, "Failed to load model because protobuf parsing failed."),
        (b"\0\0\0\0ORTM" + bytes(100), "Failed to load model because protobuf parsing failed."),
    ],
)
def test_what_is_no_model_is_one_line(model: bytes, reason: str) -> None:
    with pytest.raises(DeviceError) as error:
        open_session(model)
    assert str(error.value) == f"ONNX Runtime cannot load the model: {reason}"


def test_threads_are_onnxruntimes_choice_where_every_core_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_CPU_QUOTA", tmp_path / "missing")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(os.cpu_count() or 1)))
    assert default_threads() == 0


@pytest.mark.parametrize(
    ("cores", "allowed", "quota", "threads"),
    [
        (64, 64, "max 100000", 0),
        (64, 64, "200000 100000", 2),
        (64, 64, "150000 100000", 2),
        (64, 64, "50000 100000", 1),
        (64, 4, "max 100000", 4),
        (64, 4, "800000 100000", 4),
        (2, 2, "800000 100000", 0),
        (2, 2, "nonsense", 0),
    ],
)
def test_threads_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, allowed: int, quota: str, threads: int
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(session, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)))
    assert default_threads() == threads


def test_an_error_becomes_one_short_line() -> None:
    assert one_line("[ONNXRuntimeError] : 1 : FAIL : it broke\nat\n line 3") == "it broke at line 3"
    assert one_line("plain : text") == "plain : text"
    assert one_line("x" * 1000) == "x" * 299 + "…"
