from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.wire import from_tensor_proto, to_tensor_proto
from fieldwave.wire.messages import TensorProto

REFERENCE = Path(__file__).parent / "data" / "wire_tensorflow.json"
CASES: list[dict[str, Any]] = json.loads(REFERENCE.read_text())["cases"]


def array_of(case: dict[str, Any]) -> Any:
    if case["dtype"] == "string":
        array = np.empty(len(case["values"]), dtype=object)
        array[:] = [bytes.fromhex(value) for value in case["values"]]
    else:
        array = np.frombuffer(bytes.fromhex(case["values"]), case["dtype"])
    return array.reshape(case["shape"])


def name(case: dict[str, Any]) -> str:
    return f"{case['kind']}-{case['dtype']}-{case['shape']}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_tensorflow_s_messages_are_read_as_tensorflow_reads_them(case: dict[str, Any]) -> None:
    array, expected = from_tensor_proto(TensorProto.FromString(bytes.fromhex(case["message"]))), array_of(case)
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tolist() == expected.tolist() if array.dtype == object else array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] != "broadcast"], ids=name)
def test_our_messages_are_those_of_tensorflow(case: dict[str, Any]) -> None:
    message = to_tensor_proto(array_of(case), content=case["kind"] == "content")
    assert message == TensorProto.FromString(bytes.fromhex(case["message"]))
