"""Several packages that take turns on one device."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from fieldwave.client import AsyncPredictionClient, PredictionClient
from fieldwave.errors import InputError, ServiceError
from fieldwave.package import Package, TensorSpec
from fieldwave.serving import ServeOptions, Server
from fieldwave.wire import messages
from tests.served import SCORES, affine, channel, package, tensor
from tests.test_serving_http import ask
from tests.test_serving_load import Packaged

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"


def numbered(network: str, number: int) -> Package:
    """A package whose scores `Packaged` raises by ``number``, and whose input has a name of its own."""
    made = package(SCORES, inputs=(TensorSpec(name=f"{network}:0", aliases=("images",), shape=(None, 4, 5, 3)),))
    manifest = made.manifest.model_copy(update={"labels": (str(number),), "network": network})
    return Package(manifest, made.files, f"sha256:{number}")


class Counting(Packaged):
    """Counts how often another network takes its turn."""

    exchanges = 0

    def exchange(self, network: Any) -> Any:
        self.exchanges += 1
        return super().exchange(network)


@pytest.fixture
def device() -> Counting:
    return Counting()


@pytest.fixture
def server(device: Counting) -> Iterator[Server]:
    options = ServeOptions(
        package=numbered("one", 1), also=(numbered("two", 2), numbered("three", 3)), grpc_port=0, http_port=0
    )
    with Server(options, device) as running:
        yield running


def predicted(server: Server, name: str) -> float:
    """How much is added to the scores that the model ``name`` gives."""
    request = messages.PredictRequest(model_spec={"name": name})
    request.inputs["images"].dtype = 1
    for size in tensor().shape:
        request.inputs["images"].tensor_shape.dim.add(size=size)
    request.inputs["images"].tensor_content = tensor().tobytes()
    with channel(server) as opened:
        data = opened.unary_unary(PREDICT)(request.SerializeToString(), timeout=10)
    found = np.array(messages.PredictResponse.FromString(data).outputs["output_alias"].float_val, np.float32)
    number = round(float((found - affine(tensor())[0])[0]))
    assert np.array_equal(found, affine(tensor())[0] + np.float32(number))
    return number


def test_a_client_has_the_model_that_it_names_and_what_is_known_of_it(server: Server) -> None:
    for name, number in ("", 1), ("one", 1), ("three", 3):
        expected = affine(tensor()) + np.float32(number)
        with PredictionClient("127.0.0.1", server.port, model=name) as client:
            assert np.array_equal(client.score_numpy_arrays({"images": tensor()}), expected)
            assert client.metadata().name == (name or "one")
            assert client.labels() == (str(number),)

        async def ask(name: str = name, number: int = number) -> Any:
            async with AsyncPredictionClient("127.0.0.1", server.port, model=name) as client:
                assert await client.labels() == (str(number),)
                return await client.score_numpy_arrays({"images": tensor()})

        assert np.array_equal(asyncio.run(ask()), expected)
    with PredictionClient("127.0.0.1", server.port, model="four") as client:
        with pytest.raises(ServiceError) as caught:
            client.score_numpy_arrays({"images": tensor()})
        assert str(caught.value) == (
            f"127.0.0.1:{server.port} answered NOT_FOUND: no model 'four' here; "
            "this service has 'one' and 'two' and 'three'"
        )


def test_each_is_asked_for_by_its_name_and_the_first_without(server: Server, device: Counting) -> None:
    assert [predicted(server, name) for name in ("two", "one", "three", "", "two")] == [2, 1, 3, 1, 2]
    before = device.exchanges
    assert [predicted(server, "two") for _ in range(3)] == [2, 2, 2]
    assert device.exchanges == before  # it was there


def test_so_it_is_in_every_protocol(server: Server) -> None:
    for number, name in enumerate(("one", "two", "three"), 1):
        expected = (affine(tensor()) + np.float32(number)).tolist()
        status, answer, _ = ask(server, f"/v1/models/{name}:predict", {"instances": tensor().tolist()})
        assert (status, answer) == (200, {"predictions": expected})
        given = {"name": "images", "datatype": "FP32", "shape": [1, 4, 5, 3], "data": tensor().ravel().tolist()}
        status, answer, _ = ask(server, f"/v2/models/{name}/infer", {"inputs": [given]})
        assert (status, answer["model_name"], answer["outputs"][0]["data"]) == (200, name, expected[0])
        request = messages.ModelInferRequest(model_name=name, raw_input_contents=[tensor().tobytes()])
        request.inputs.add(name=f"{name}:0", datatype="FP32", shape=tensor().shape)
        with channel(server) as opened:
            data = opened.unary_unary(INFER)(request.SerializeToString(), timeout=10)
            raw = messages.ModelInferResponse.FromString(data).raw_output_contents[0]
            asked = messages.GetModelStatusRequest(model_spec={"name": name}).SerializeToString()
            status = messages.GetModelStatusResponse.FromString(opened.unary_unary(STATUS)(asked, timeout=10))
            asked = messages.GetModelMetadataRequest(model_spec={"name": name}, metadata_field=["manifest"])
            described = opened.unary_unary(METADATA)(asked.SerializeToString(), timeout=10)
        assert np.frombuffer(raw, np.float32).tolist() == expected[0]
        assert status.model_version_status[0].state == 30
        assert messages.GetModelMetadataResponse.FromString(described).model_spec.name == name
    assert ask(server, "/v2/health/ready")[:2] == (200, {"ready": True})
    assert "/v1/models/three:predict" in ask(server, "/openapi.json")[1]["paths"]
    text = ask(server, "/metrics")[1].decode()
    assert text.count("fieldwave_build_info{") == 3
    for name in ("one", "two", "three"):
        [images] = re.findall(rf'^fieldwave_images_total{{model="{name}"}} (\S+)$', text, re.MULTILINE)
        for stage in ("decode", "queue", "device", "encode"):
            series = rf'^fieldwave_stage_seconds_count{{model="{name}",stage="{stage}"}} (\S+)$'
            assert re.findall(series, text, re.MULTILINE) == [images]  # one image in each request
        assert float(images) > 0


def test_another_name_is_refused_with_those_that_there_are(server: Server) -> None:
    text = "no model 'four' here; this service has 'one' and 'two' and 'three'"
    with pytest.raises(grpc.RpcError) as caught:
        predicted(server, "four")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, text)
    assert ask(server, "/v1/models/four:predict", {})[:2] == (404, {"error": text})


def test_two_of_one_name_are_refused() -> None:
    options = ServeOptions(package=numbered("one", 1), also=(numbered("one", 2),), grpc_port=0)
    with pytest.raises(InputError) as caught:
        Server(options, Packaged()).start()
    assert str(caught.value) == (
        "two packages are of model 'one'; serve one of them, or give the first another name"
    )


def test_another_package_takes_the_first_one_s_place_while_others_are_there(server: Server) -> None:
    assert predicted(server, "three") == 3
    server.load(numbered("one", 10))
    assert [predicted(server, name) for name in ("three", "one", "two")] == [3, 10, 2]
    server.load(numbered("one", 20))
    assert [predicted(server, name) for name in ("one", "three")] == [20, 3]


def test_under_load_each_answer_is_its_own_model_s(server: Server) -> None:
    failures: list[BaseException] = []

    def ask_for(name: str, number: int) -> None:
        try:
            assert [predicted(server, name) for _ in range(20)] == [number] * 20
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=ask_for, args=(name, number))
        for number, name in enumerate(("one", "two", "three"), 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
