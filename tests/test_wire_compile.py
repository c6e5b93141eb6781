from __future__ import annotations

import importlib.util

import pytest

from fieldwave.wire.compile import FOLDER, PROTO_FILES, compile_descriptors


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="needs grpcio-tools: pip install 'fieldwave[test]'"
)
def test_the_committed_descriptors_are_those_of_the_proto_files() -> None:
    assert (FOLDER / "messages.pb").read_bytes() == compile_descriptors(), "out of date: run 'make wire'"


def test_every_proto_file_is_compiled() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.proto")) == sorted(PROTO_FILES)
