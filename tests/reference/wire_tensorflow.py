"""Writes tests/data/wire_tensorflow.json: tensors as TensorFlow writes and reads them.

    python -m venv /somewhere && /somewhere/bin/pip install 'tensorflow-cpu==2.21.*'
    /somewhere/bin/python tests/reference/wire_tensorflow.py [output.json]

Each case holds a serialized TensorProto, in tensor_content or in *_val, and what make_ndarray reads from it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

DATA = Path(__file__).parents[1] / "data"
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "float16": "half_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
}
SHAPES = ([], [1], [2, 3], [1, 2, 2, 1], [0, 4])


def case(kind: str, dtype: str, proto: TensorProto) -> dict[str, Any]:
    array = tf.make_ndarray(proto)
    values = [value.hex() for value in array.ravel()] if dtype == "string" else array.tobytes().hex()
    return {
        "kind": kind,
        "dtype": dtype,
        "shape": list(array.shape),
        "message": proto.SerializeToString(deterministic=True).hex(),
        "values": values,
    }


def numbers(dtype: str, shape: list[int]) -> np.ndarray:
    random = np.random.default_rng(len(shape))
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.startswith("float"):
        return np.asarray(random.standard_normal(shape)).astype(dtype)
    bounds = np.iinfo(dtype)
    return np.asarray(random.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True))


def by_value(dtype: str, array: np.ndarray, count: int) -> TensorProto:
    proto = tf.make_tensor_proto(array)
    proto.ClearField("tensor_content")
    for field in set(FIELDS.values()):
        proto.ClearField(field)
    flat = array.ravel().view(np.uint16) if dtype == "float16" else array.ravel()
    getattr(proto, FIELDS[dtype]).extend(flat[:count].tolist())
    return proto


def main(output: Path) -> None:
    cases = []
    for dtype in FIELDS:
        for shape in SHAPES:
            array = numbers(dtype, shape)
            proto = tf.make_tensor_proto(array)
            if proto.tensor_content:  # some dtypes and all single elements go by value
                cases.append(case("content", dtype, proto))
            cases.append(case("values", dtype, by_value(dtype, array, array.size)))
        cases.append(case("broadcast", dtype, by_value(dtype, numbers(dtype, [2, 3]), 1)))
    for strings in (b"one", [b"one"], [b"\xff\xd8\0", b"", b"three"]):
        cases.append(case("values", "string", tf.make_tensor_proto(strings)))
    lines = [
        f'{{"tensorflow": {json.dumps(tf.__version__)},',
        ' "cases": [',
        ",\n".join("  " + json.dumps(entry) for entry in cases),
        " ]}",
    ]
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "wire_tensorflow.json")
