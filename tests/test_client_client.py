from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.client import ModelMetadata, PredictionClient, TensorMetadata
from fieldwave.errors import InputError, NotFoundError, ServiceError, StorageError, TensorError
from fieldwave.serving import Server
from tests.served import FEATURES, SCORES, affine, pixels, png, serving, tensor

FLOAT, STRING = 1, 7


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[PredictionClient]:
    with PredictionClient("127.0.0.1", server.port) as opened:
        yield opened


@pytest.fixture(scope="module")
def two_outputs() -> Iterator[PredictionClient]:
    with serving(None, SCORES, FEATURES) as running, PredictionClient("127.0.0.1", running.port) as opened:
        yield opened


IMAGE = png(pixels()[0])
EXPECTED = affine((pixels().astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5))


def test_one_output_is_an_array(client: PredictionClient) -> None:
    scores = client.score_numpy_arrays({"images": tensor(2)})
    assert scores.dtype == np.float32
    assert np.array_equal(scores, affine(tensor(2)))
    scores += 1  # it is the caller's own


def test_an_image_is_scored_without_the_batch_dimension(client: PredictionClient) -> None:
    assert np.array_equal(client.score_image(IMAGE), EXPECTED[0])
    assert np.array_equal(client.score_image(IMAGE, "Placeholder:0", "output_alias"), EXPECTED[0])


def test_a_list_of_outputs_is_a_list_that_keeps_the_batch_dimension(client: PredictionClient) -> None:
    scores = client.score_image(IMAGE, outputs=["output_alias", "classifier/Softmax:0", "output_alias"])
    assert isinstance(scores, list)
    assert [array.shape for array in scores] == [(1, 10)] * 3
    assert all(np.array_equal(array, EXPECTED) for array in scores)


def test_several_outputs_are_a_dict_by_name(two_outputs: PredictionClient) -> None:
    scores = two_outputs.score_image(IMAGE)
    assert {name: array.shape for name, array in scores.items()} == {
        "classifier/Softmax:0": (1, 10),
        "features:0": (1, 200, 100),
    }


def test_one_of_several_outputs_by_any_name(two_outputs: PredictionClient) -> None:
    assert two_outputs.score_numpy_arrays({"images": tensor()}, "features").shape == (1, 200, 100)


def test_a_file_is_scored(client: PredictionClient, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(IMAGE)
    assert np.array_equal(client.score_file(path), EXPECTED[0])
    assert np.array_equal(client.score_file(str(path), input_name="Placeholder"), EXPECTED[0])


def test_a_file_that_cannot_be_read_is_named(client: PredictionClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.score_file(tmp_path / "missing.png")
    assert str(missing.value) == f"no image {tmp_path / 'missing.png'}; check the path"
    with pytest.raises(StorageError) as folder:
        client.score_file(tmp_path)
    assert str(folder.value) == f"cannot read {tmp_path}: Is a directory"


def test_a_batch_of_image_files(client: PredictionClient) -> None:
    assert np.array_equal(client.score_numpy_arrays({"images": [IMAGE, IMAGE]}), np.repeat(EXPECTED, 2, axis=0))


@pytest.mark.parametrize("dtype", [FLOAT, "float32", np.float32])
def test_raw_tensors(client: PredictionClient, dtype: Any) -> None:
    scores = client.score_tensors({"images": (tensor(2).tobytes(), [2, 4, 5, 3], dtype)})
    assert np.array_equal(scores, affine(tensor(2)))


@pytest.mark.parametrize("dtype", [STRING, "string"])
def test_a_raw_string_tensor_is_one_file(client: PredictionClient, dtype: Any) -> None:
    assert np.array_equal(client.score_tensors({"images": (IMAGE, [1], dtype)}), EXPECTED)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (
            (b"123", [1, 1], FLOAT),
            "input 'images': shape [1, 1] of float32 takes 4 bytes, but 3 are given",
        ),
        (
            (b"", [-1, 0], FLOAT),
            "input 'images': shape [-1, 0] of float32 takes 0 bytes, but 0 are given",
        ),
        (
            (b"", [2], STRING),
            "input 'images': a string tensor has one element here, but shape [2] does not",
        ),
        (
            (b"", [1], 14),
            "input 'images': dtype 14 is not supported; use one of float32, float64, float16, int8, int16, int32, "
            "int64, uint8, uint16, uint32, uint64, bool, string",
        ),
    ],
)
def test_raw_tensors_that_are_none_are_not_sent(client: PredictionClient, raw: Any, text: str) -> None:
    with pytest.raises(TensorError) as caught:
        client.score_tensors({"images": raw})
    assert str(caught.value) == text


def test_the_service_s_words_reach_the_caller(client: PredictionClient) -> None:
    with pytest.raises(TensorError) as caught:
        client.score_image(IMAGE, "imges")
    assert str(caught.value) == (
        "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')"
    )
    with pytest.raises(TensorError) as caught:
        client.score_image(IMAGE, outputs="scores")
    assert str(caught.value) == (
        "unknown output 'scores'; "
        "this model gives 'classifier/Softmax:0' (also 'output_alias', 'classifier/Softmax')"
    )


def test_the_model_s_metadata(client: PredictionClient) -> None:
    assert client.metadata() == ModelMetadata(
        name="affine",
        version=1,
        inputs=(TensorMetadata("images", "Placeholder:0", "float32", (None, 4, 5, 3)),),
        outputs=(TensorMetadata("output_alias", "classifier/Softmax:0", "float32", (None, 10)),),
    )


def test_a_client_is_shared_by_threads(client: PredictionClient) -> None:
    with futures.ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda seed: client.score_numpy_arrays({"images": tensor(1, seed)}), range(100)))
    assert all(np.array_equal(array, affine(tensor(1, seed))) for seed, array in enumerate(scores))


def test_a_closed_client_opens_again(client: PredictionClient) -> None:
    client.score_image(IMAGE)
    client.close()
    client.close()
    assert np.array_equal(client.score_image(IMAGE), EXPECTED[0])


def test_a_service_that_comes_back_on_its_port_is_found_again() -> None:
    with serving() as server:
        port = server.port
        client = PredictionClient("127.0.0.1", port)
        client.score_image(IMAGE)
    with client, serving(grpc_port=port):
        assert np.array_equal(client.score_image(IMAGE), EXPECTED[0])


def test_restarts_under_load_lose_no_call() -> None:
    stop = threading.Event()
    answered: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def score(port: int, seed: int) -> None:
        with PredictionClient("127.0.0.1", port) as client:
            while not stop.is_set():
                scores = client.score_numpy_arrays({"images": tensor(8, seed)})
                answered.put(np.array_equal(scores, affine(tensor(8, seed))))

    with futures.ThreadPoolExecutor(3) as pool:
        with serving() as server:
            port = server.port
            callers = [pool.submit(score, port, seed) for seed in range(3)]
            assert all(answered.get(timeout=30) for _ in range(40))
        for _ in range(4):
            with serving(grpc_port=port):
                assert all(answered.get(timeout=30) for _ in range(40))
        with serving(grpc_port=port):
            stop.set()
            assert [caller.exception(timeout=30) for caller in callers] == [None] * 3


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_there_is_no_call_without_a_deadline(client: PredictionClient, timeout: float) -> None:
    with pytest.raises(InputError) as caught:
        client.score_image(IMAGE, timeout=timeout)
    assert str(caught.value) == f"timeout is {timeout}; give more than 0 seconds"


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300, "10"])
def test_a_deadline_is_a_finite_number(client: PredictionClient, timeout: Any) -> None:
    for call in (lambda: client.score_image(IMAGE, timeout=timeout), lambda: client.wait_until_ready(timeout)):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == f"timeout is {timeout!r}; give a finite number of seconds"


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_an_image_may_be_in_any_buffer(client: PredictionClient, kind: Any) -> None:
    scores = client.score_image(kind(IMAGE), outputs="output_alias")
    assert np.array_equal(scores, client.score_image(IMAGE, outputs="output_alias"))


def test_an_image_is_no_text(client: PredictionClient) -> None:
    with pytest.raises(InputError) as caught:
        client.score_image("photo.jpg")  # type: ignore[arg-type]
    assert str(caught.value) == "the image is a str; give the bytes of its file"


def test_a_dtype_that_nobody_knows(client: PredictionClient) -> None:
    with pytest.raises(TensorError) as caught:
        client.score_tensors({"images": (b"", (0,), "floaty")})
    assert str(caught.value) == (
        "input 'images': dtype 'floaty' is not supported; use one of float32, float64, float16, int8, int16, "
        "int32, int64, uint8, uint16, uint32, uint64, bool, string"
    )


def test_no_address_is_said_at_construction() -> None:
    with pytest.raises(InputError) as caught:
        PredictionClient(None)  # type: ignore[arg-type]
    assert str(caught.value) == "address is None; give the host name or the IP address of the service"


def test_certificates_without_tls_are_a_mistake() -> None:
    with pytest.raises(InputError) as caught:
        PredictionClient("localhost", root_certificates=b"")
    assert str(caught.value) == "root_certificates are given without TLS; set use_ssl=True"


def test_a_batch_that_is_too_large_is_the_service_s_decision() -> None:
    with serving(max_message_bytes=1000) as server, PredictionClient("127.0.0.1", server.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_numpy_arrays({"images": tensor(20)})
        assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_a_client_needs_grpc_protobuf_and_numpy_alone() -> None:
    others = ("pydantic", "onnxruntime", "onnx", "PIL", "simplejpeg", "grpc_health", "grpc_reflection", "typer")
    program = f"import sys; sys.modules.update(dict.fromkeys({others})); import fieldwave.client"
    subprocess.run([sys.executable, "-c", program], check=True)
