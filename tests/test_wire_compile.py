from __future__ import annotations

import importlib.util

import pytest

from fieldwave.wire.compile import DESCRIPTORS, FOLDER, compile_descriptors


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="needs grpcio-tools: pip install 'fieldwave[test]'"
)
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_the_committed_descriptors_are_those_of_the_proto_files(name: str) -> None:
    assert (FOLDER / name).read_bytes() == compile_descriptors(name), "out of date: run 'make wire'"


def test_every_proto_file_is_compiled() -> None:
    compiled = [name for names in DESCRIPTORS.values() for name in names]
    assert sorted(path.name for path in FOLDER.glob("*.proto")) == sorted(compiled)
