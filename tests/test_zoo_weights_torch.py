"""State dicts written by torch itself, and files made to harm."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.errors import WeightsError
from fieldwave.zoo.weights.torch_file import read_torch

torch = pytest.importorskip("torch", reason="PyTorch writes the files: pip install torch")


def complaint(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        read_torch(path)
    return str(error.value)


@pytest.fixture
def state() -> dict[str, Any]:
    torch.manual_seed(0)
    whole = torch.randn(4, 6, dtype=torch.float64)
    return collections.OrderedDict(
        {
            "conv.weight": torch.randn(8, 3, 3, 3),
            "half": torch.randn(5).half(),
            "brain": torch.randn(2, 3).bfloat16(),
            "transposed": whole.t(),
            "part": whole[1:3, 2:],
            "bn.num_batches_tracked": torch.tensor(7),
            "empty": torch.zeros(0, 4),
            "mask": torch.tensor([True, False]),
        }
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_reads_as_torch_reads_it(
    tmp_path: Path, state: dict[str, Any], zipped: bool, protocol: int
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    file = read_torch(path)
    assert (file.format, list(file.tensors)) == ("torch", list(state))
    for name, tensor in state.items():
        stored = file.tensors[name]
        assert (stored.shape, stored.dtype) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        expected = tensor.float() if name == "brain" else tensor
        np.testing.assert_array_equal(stored.load(), expected.numpy())
    assert file.read("brain").dtype == np.float32


@pytest.mark.parametrize("zipped", [True, False])
def test_a_module_with_its_buffers_and_metadata(tmp_path: Path, zipped: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    tensors = read_torch(tmp_path / "m.pth").tensors
    assert tensors["0.weight"].shape == (4, 3, 3, 3)
    assert tensors["1.running_var"].load().tolist() == [1.0] * 4


def test_the_state_dict_of_a_training_checkpoint(tmp_path: Path, state: dict[str, Any]) -> None:
    adam = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "params": [0], "fused": None}],
    }
    parts = {"epoch": 3, "best": 0.5, "optimizer": adam, "arch": "resnet50"}
    for zipped in (True, False):
        path = tmp_path / "checkpoint.pth"
        renamed = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save(parts | {"state_dict": renamed}, path, _use_new_zipfile_serialization=zipped)
        assert list(read_torch(path).tensors) == list(state)


def test_parameters_saved_without_a_state_dict(tmp_path: Path) -> None:
    torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "p.pth")
    assert read_torch(tmp_path / "p.pth").tensors["w"].load().tolist() == [1.0, 1.0]


def test_the_pickles_of_torch_0_1(tmp_path: Path) -> None:
    """Published files of 2017: parameters by REDUCE and BUILD, ``_rebuild_tensor``, storages behind."""
    path = tmp_path / "old.pth"
    storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x005X\x03\x00\x00\x00cpuK\x06NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n" + storage + b"K\x01K\x02K\x02\x86K\x02K\x01\x86tR"
    parameter = b"ctorch.nn.parameter\nParameter\n" + tensor + b"\x88\x87"[:0] + b"\x85R" + b"\x88\x89N\x87b"
    pickled = b"\x80\x02ccollections\nOrderedDict\n]\x85R(X\x01\x00\x00\x00w" + parameter + b"u."
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    values = struct.pack("<q6f", 6, *range(6))
    path.write_bytes(b"".join([*head, pickled, pickle.dumps(["5"], 2), values]))
    assert read_torch(path).tensors["w"].load().tolist() == [[1.0, 2.0], [3.0, 4.0]]


class _Harm:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_runs_code_is_refused_by_name_and_never_run(
    tmp_path: Path, zipped: bool, protocol: int
) -> None:
    harmed = tmp_path / "harmed"
    path = tmp_path / "evil.pth"
    torch.save(
        {"w": torch.ones(2), "x": _Harm(harmed)},
        path,
        _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )
    assert complaint(path) == (
        f"evil.pth holds {os.system.__module__}.system, which is no tensor: nothing of it was run; "
        "save the tensors alone, with torch.save(model.state_dict(), path)"
    )
    assert not harmed.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_that_runs_code(tmp_path: Path, protocol: int) -> None:
    harmed = tmp_path / "harmed"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(_Harm(harmed), protocol))
    assert complaint(path).startswith(f"evil.pt holds {os.system.__module__}.system, which is no tensor")
    assert not harmed.exists()


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "builtins.eval"),
        (b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x001tR.", "torch.load"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n(X\x01\x00\x00\x001tR.", "torch.storage._load_from_bytes"),
        (b"\x80\x02ccollections\nOrderedDict.__init__\n.", "collections.OrderedDict.__init__"),
        (b"(ios\nsystem\n.", "the pickle instruction INST"),
        (b"\x80\x02ctorch\nSize\n)\x81.", "the pickle instruction NEWOBJ"),
        (b"\x82\x01.", "the pickle instruction EXT1"),
        (b"\x80\x02}(ctorch\nFloatStorage\n)RK\x01u.", "a call of torch.FloatStorage"),
        (b"\x80\x02}K\x01K\x01\x86K\x01s.", "a dictionary whose keys are neither text nor numbers"),
    ],
)
def test_what_is_not_known_is_named(tmp_path: Path, code: bytes, named: str) -> None:
    path = tmp_path / "odd.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", code)
    assert complaint(path).startswith(f"odd.pth holds {named}, which is no tensor: nothing of it was run; ")


def test_a_pickled_module_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    assert complaint(tmp_path / "module.pth").startswith("module.pth holds torch.nn.modules.linear.Linear, ")


def test_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    assert complaint(tmp_path / "w.pth") == (
        "w.pth holds no state dict: save one with torch.save(model.state_dict(), path)"
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_every_truncation_is_told(tmp_path: Path, state: dict[str, Any], zipped: bool) -> None:
    whole = io.BytesIO()
    torch.save(state, whole, _use_new_zipfile_serialization=zipped)
    content = whole.getvalue()
    path = tmp_path / "short.pth"
    for kept in [*range(1, len(content) - 1, 61), len(content) - 1]:
        path.write_bytes(content[:kept])
        assert complaint(path).startswith("short.pth is damaged")


def test_an_empty_file_and_none_at_all(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert complaint(path) == f"cannot read the weights {path}: No such file or directory"
    path.touch()
    assert complaint(path) == f"cannot read the weights {path}: the file is empty"


def _tensor(storage: bytes, numbers: str) -> bytes:
    """The pickle of {"w": tensor}; ``numbers`` are offset, shape and strides, as protocol 0 writes them."""
    offset, shape, strides = numbers.split(";")
    tuples = [b"(" + b"".join(f"I{n}\n".encode() for n in part.split()) + b"t" for part in (shape, strides)]
    return (
        b"}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + f"I{offset}\n".encode()
        + b"".join(tuples)
        + b"I00\n}tRs."
    )


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuI6\ntQ"


def _zip(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
    return path


def test_a_tensor_within_its_storage(tmp_path: Path) -> None:
    path = _zip(tmp_path / "w.pth", _tensor(STORAGE, "0;2 3;3 1"))
    assert read_torch(path).tensors["w"].load().tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.mark.parametrize(
    "numbers",
    ["0;7;1", "1;2 3;3 1", "0;2 3;4 1", "0;99999999999999;0", "6;1;1", "0;1 1 1 1 1 1 1 1 1;1 1 1 1 1 1 1 1 1"],
)
def test_a_tensor_beyond_its_storage(tmp_path: Path, numbers: str) -> None:
    path = _zip(tmp_path / "w.pth", _tensor(STORAGE, numbers))
    assert complaint(path) == "w.pth is damaged: 'w' reaches beyond the 6 values of its storage"


@pytest.mark.parametrize("numbers", ["-1;2;1", "0;-2;1", "0;2;-1", "0;2 3;1", "0;4611686018427387904;1"])
def test_sizes_that_are_none(tmp_path: Path, numbers: str) -> None:
    path = _zip(tmp_path / "w.pth", _tensor(STORAGE, numbers))
    assert complaint(path) == "w.pth is damaged, or not whole: get it again"


def test_a_compressed_file_is_not_unpacked(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb.pth", _tensor(STORAGE, "0;6;1"), zipfile.ZIP_DEFLATED)
    assert complaint(path) == "bomb.pth is compressed, which torch.save never does: it was not read"


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme", "hello")
    assert complaint(tmp_path / "w.pth") == "w.pth is a zip, but none of torch.save: it has no data.pkl"


def test_a_pickle_without_end_stops(tmp_path: Path) -> None:
    path = _zip(tmp_path / "long.pth", b"N" * 1_000_001 + b".")
    assert complaint(path) == "long.pth: its pickle is longer than that of any state dict; it was not read"


def test_tuples_that_double_cost_nothing(tmp_path: Path) -> None:
    doubled = b")" + b"q\x00h\x00\x86" * 200
    path = _zip(tmp_path / "w.pth", b"}(X\x01\x00\x00\x00x" + doubled + b"u.")
    assert complaint(path).startswith("w.pth holds no state dict")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_reads_or_is_told(tmp_path: Path, state: dict[str, Any], zipped: bool) -> None:
    whole = io.BytesIO()
    torch.save(state, whole, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "damaged.pth"
    rng = np.random.default_rng(0)
    for _ in range(200):
        content = bytearray(whole.getvalue())
        for place in rng.integers(0, len(content), rng.integers(1, 9)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            for tensor in read_torch(path).tensors.values():
                tensor.load()
        except WeightsError:
            pass
