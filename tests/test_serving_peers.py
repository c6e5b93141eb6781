"""Clients that nobody here wrote, in an environment of their own.

python -m venv /somewhere && /somewhere/bin/pip install ovmsclient==2023.1
FIELDWAVE_PEERS=/somewhere/bin/python pytest -m slow tests/test_serving_peers.py
"""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from tests.served import affine, pixels, png, serving, tensor

PEERS = os.environ.get("FIELDWAVE_PEERS", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEERS, reason="needs ovmsclient: set FIELDWAVE_PEERS to a Python that has it"),
]

PROGRAM = """
import json, sys
import numpy as np
from ovmsclient import make_grpc_client

port, image, values = sys.argv[1], bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
client = make_grpc_client(f"127.0.0.1:{port}")
array = np.frombuffer(values, np.float32).reshape(2, 4, 5, 3)
metadata = client.get_model_metadata("affine")
try:
    client.predict({"imges": array}, "affine")
    refusal = ""
except Exception as error:
    refusal = str(error)
print(json.dumps({
    "inputs": metadata["inputs"],
    "outputs": metadata["outputs"],
    "floats": client.predict({"images": array}, "affine")["output_alias"].tolist(),
    "file": client.predict({"Placeholder:0": [image]}, "affine", 1)["classifier/Softmax:0"].tolist(),
    "refusal": refusal,
}))
"""


def test_ovmsclient_reads_metadata_and_scores() -> None:
    image = png(pixels()[0])
    with serving() as server:
        arguments = [str(server.port), image.hex(), tensor(2).tobytes().hex()]
        done = subprocess.run([PEERS, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert answers["inputs"] == {"images": {"shape": [-1, 4, 5, 3], "dtype": "DT_FLOAT"}}
    assert answers["outputs"] == {"output_alias": {"shape": [-1, 10], "dtype": "DT_FLOAT"}}
    assert answers["floats"] == affine(tensor(2)).tolist()
    network_input = (pixels().astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    assert answers["file"] == affine(network_input).tolist()
    assert answers["refusal"].endswith(
        "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')"
    )
