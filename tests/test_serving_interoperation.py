"""Clients that nobody here wrote: tritonclient, TensorFlow Serving's stubs (each in an environment), curl."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.serving import Server
from tests.served import affine, pixels, png, serving, tensor

ROOT = Path(__file__).parents[1]
IMAGE = png(pixels()[0])
EXPECTED = affine(tensor(2)).tolist()
OF_IMAGE = affine((pixels().astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)).tolist()
REFUSAL = "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')"

TRITON = """
import json, queue, sys
import numpy as np
import tritonclient.grpc, tritonclient.http

grpc_port, http_port, image, values = sys.argv[1:]
array = np.frombuffer(bytes.fromhex(values), np.float32).reshape(2, 4, 5, 3)
files = np.array([bytes.fromhex(image)], object)

def given(kind, name, values, datatype, **options):
    tensor = kind.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, **options)
    return tensor

def asked(kind, port):
    client = kind.InferenceServerClient(f"127.0.0.1:{port}")
    output = kind.InferRequestedOutput("classifier/Softmax:0")
    image = client.infer("affine", [given(kind, "images", files, "BYTES")], outputs=[output], request_id="seven")
    try:
        client.infer("affine", [given(kind, "imges", array, "FP32")])
        refusal = ""
    except Exception as error:
        refusal = str(error)
    metadata = client.get_model_metadata("affine")
    return {
        "ready": client.is_server_live() and client.is_server_ready() and client.is_model_ready("affine"),
        "name": metadata["inputs"][0]["name"] if kind is tritonclient.http else metadata.inputs[0].name,
        "floats": client.infer("affine", [given(kind, "images", array, "FP32")]).as_numpy("output_alias").tolist(),
        "file": image.as_numpy("classifier/Softmax:0").tolist(),
        "refusal": refusal,
    }

answers = {"grpc": asked(tritonclient.grpc, grpc_port), "http": asked(tritonclient.http, http_port)}
http = tritonclient.http
client = http.InferenceServerClient(f"127.0.0.1:{http_port}")
outputs = [http.InferRequestedOutput("output_alias", binary_data=False)]
tensor = given(http, "images", array, "FP32", binary_data=False)
answers["json"] = client.infer("affine", [tensor], outputs=outputs).as_numpy("output_alias").tolist()
client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}")
done = queue.Queue()
tensor = given(tritonclient.grpc, "images", array, "FP32")
client.async_infer("affine", [tensor], lambda result, error: done.put((result, error)))
answers["async"] = done.get(timeout=30)[0].as_numpy("output_alias").tolist()
print(json.dumps(answers))
"""

TENSORFLOW_SERVING = """
import json, sys
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc,
)

port, image, values = sys.argv[1:]
array = np.frombuffer(bytes.fromhex(values), np.float32).reshape(2, 4, 5, 3)
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

def predict(value, **options):
    request = predict_pb2.PredictRequest(output_filter=["output_alias"], **options)
    request.model_spec.name = "affine"
    request.model_spec.signature_name = "serving_default"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(value))
    return tf.make_ndarray(stub.Predict(request, 30).outputs["output_alias"]).tolist()

request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
request.model_spec.name = "affine"
signatures = get_model_metadata_pb2.SignatureDefMap()
assert stub.GetModelMetadata(request, 30).metadata["signature_def"].Unpack(signatures)
request = get_model_status_pb2.GetModelStatusRequest()
request.model_spec.name = "affine"
(status,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, 30).model_version_status
print(json.dumps({
    "floats": predict(array),
    "file": predict([bytes.fromhex(image)]),
    "signature": sorted(signatures.signature_def["serving_default"].outputs),
    "status": [status.version, status.state, status.status.error_code],
}))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(http_port=0) as running:
        yield running


def environment(name: str, *packages: list[str]) -> Path:
    """The interpreter of an environment with these packages; made once."""
    interpreter = ROOT / name / "bin" / "python"
    ready = ROOT / name / "installed"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ROOT / name], check=True)
        for options in packages:
            result = subprocess.run(
                [interpreter, "-m", "pip", "install", "-q", *options], capture_output=True, text=True
            )
            if result.returncode:
                pytest.skip(f"{options[-1]} cannot be installed: {result.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return interpreter


def answers(interpreter: Path, program: str, *ports: int) -> Any:
    command = [interpreter, "-c", program, *map(str, ports), IMAGE.hex(), tensor(2).tobytes().hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_tritonclient_over_grpc_and_http(server: Server) -> None:
    found = answers(
        environment(".venv-triton", ["tritonclient[grpc,http]==2.73.0"]), TRITON, server.port, server.http_port
    )
    common = {"ready": True, "name": "images", "floats": EXPECTED, "file": OF_IMAGE}
    assert found["grpc"] == {**common, "refusal": f"[StatusCode.INVALID_ARGUMENT] {REFUSAL}"}
    assert found["http"] == {**common, "refusal": f"[400] {REFUSAL}"}
    assert found["json"] == found["async"] == EXPECTED


@pytest.mark.slow
def test_the_stubs_of_tensorflow_serving(server: Server) -> None:
    packages = (["tensorflow-cpu==2.21.*"], ["--no-deps", "tensorflow-serving-api==2.21.0"])
    found = answers(environment(".venv-tensorflow-serving", *packages), TENSORFLOW_SERVING, server.port)
    assert found == {
        "floats": EXPECTED,
        "file": OF_IMAGE,
        "signature": ["output_alias"],
        "status": [1, 30, 0],
    }


@pytest.mark.slow
def test_schemathesis_finds_nothing_that_the_description_does_not_say(server: Server) -> None:
    tool = environment(".venv-schemathesis", ["schemathesis==4.32.*"]).with_name("st")
    address = f"http://127.0.0.1:{server.http_port}"
    checks = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
    command = [tool, "run", f"{address}/openapi.json", "--url", address, "--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(
        [*command, "--max-examples", "100", "--checks", ",".join(checks), "--no-color"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_curl(server: Server, tmp_path: Path) -> None:
    def curl(path: str, *options: str) -> Any:
        address = f"http://127.0.0.1:{server.http_port}{path}"
        command = ["curl", "-sS", "--fail-with-body", "-m", "30", *options, address]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": tensor(2).tolist()}).ljust(2 << 20))  # so much that it asks first
    assert curl("/v1/models/affine:predict", "--data-binary", f"@{body}") == {"predictions": EXPECTED}
    assert curl("/v2/health/ready") == {"ready": True}
