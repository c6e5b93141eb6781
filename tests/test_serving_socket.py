"""A Unix socket beside the port."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import grpc
import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.errors import ConflictError, InputError
from fieldwave.serving import ServeOptions, Server
from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.requests import encode_request
from tests.served import Affine, affine, package, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def test_it_answers_only_its_user_and_is_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))  # what a process leaves that was killed
    with serving(socket=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with grpc.insecure_channel(f"unix:{path}") as channel:
            data = channel.unary_unary(PREDICT)(encode_request({"images": tensor()}), timeout=10)
        assert list(PredictResponse.FromString(data).outputs["output_alias"].float_val) == (
            affine(tensor())[0].tolist()
        )
        with PredictionClient(f"unix:{path}") as client:
            assert np.array_equal(client.score_numpy_arrays({"images": tensor()}), affine(tensor()))
        second = Server(ServeOptions(package=package(), grpc_port=0, socket=path), Affine())
        with pytest.raises(ConflictError) as caught:
            second.start()
        assert str(caught.value) == f"a process listens on {path}; choose another path for --socket"
        assert path.is_socket()
    assert not path.exists()


def test_paths_that_cannot_be_sockets_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    long = tmp_path / ("x" * 100)
    for path, kind, text in (
        (file, ConflictError, f"{file} exists and is no socket; choose another path for --socket"),
        (long, InputError, f"the path of socket {long} is longer than 107 bytes; choose a shorter one"),
        (
            tmp_path / "no" / "s",
            InputError,
            f"no folder {tmp_path}/no for the socket {tmp_path}/no/s; make it first",
        ),
    ):
        with pytest.raises(kind) as caught:
            Server(ServeOptions(package=package(), grpc_port=0, socket=path), Affine()).start()
        assert str(caught.value) == text
    assert file.read_text() == "precious"
