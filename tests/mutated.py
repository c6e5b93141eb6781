"""Requests of every protocol, damaged: what strangers may send."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fieldwave.wire import to_tensor_proto
from fieldwave.wire.inference import strings_to_raw
from fieldwave.wire.messages import ModelInferRequest, PredictRequest
from fieldwave.wire.requests import encode_request
from tests.served import pixels, png, tensor

Make = Callable[[random.Random], bytes]

SIZES = (-(2**63), -1, 0, 1, 2, 3, 4, 5, 2**31 - 1, 2**31, 2**62, 2**63 - 1)
NAMES = ("images", "Placeholder:0", "Placeholder", "", "other", "\0", "\u00e9" * 40)
CONTENTS = (
    b"",
    b"\0",
    tensor().tobytes(),
    tensor().tobytes()[:-1],
    tensor().tobytes() + b"\0",
    pixels().tobytes(),
)


def damaged(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds`` cut off, with bytes changed, put in or taken out, or a part of it repeated."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        # The head of a message, where names, shapes and lengths are, deserves most of the damage.
        place = rng.randint(0, min(80, len(data))) if rng.random() < 0.7 else rng.randint(0, len(data))
        match rng.randrange(6):
            case 0:
                del data[place:]
            case 1:
                data[place : place + 1] = rng.randbytes(1)
            case 2:
                data[place:place] = rng.randbytes(rng.randint(0, 12))
            case 3:
                del data[place : place + rng.randint(1, 8)]
            case 4:
                data[place:place] = data[: rng.randint(0, 60)]
            case 5:
                data[place : place + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))])
    return bytes(data)


def impossible_predict(rng: random.Random) -> bytes:
    """A request that protobuf reads, and that asks for what cannot be."""
    message = PredictRequest(output_filter=rng.choices(("output_alias", "x", ""), k=rng.choice((0, 0, 1, 2))))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 200))):
        proto = message.inputs[rng.choice(NAMES) if rng.random() < 0.9 else str(rng.random())]
        proto.dtype = rng.choice((1, 4, 7, rng.randrange(256)))
        rank = rng.choice((0, 1, 4, 4, 5, 255))
        for _ in range(rank):
            proto.tensor_shape.dim.add(size=rng.choice(SIZES))
        proto.tensor_shape.unknown_rank = rng.random() < 0.05
        if rng.random() < 0.5:
            proto.tensor_content = rng.choice(CONTENTS)
        if rng.random() < 0.5:
            proto.float_val.extend(
                rng.choices((0.0, 1.0, float("nan"), float("inf")), k=rng.choice((0, 1, 59, 60)))
            )
        if rng.random() < 0.3:
            proto.string_val.extend([rng.choice((b"", b"GIF89a", png(pixels()[0])))] * rng.choice((1, 65)))
        if rng.random() < 0.2:
            proto.int_val.extend([rng.choice((-1, 0, 255, 256))] * rng.choice((1, 60)))
    if rng.random() < 0.2:
        message.model_spec.name = rng.choice(("affine", "x", "\n" * 99))
        message.model_spec.version.value = rng.choice(SIZES)
    return message.SerializeToString()


def impossible_infer(rng: random.Random) -> bytes:
    """The same for the Open Inference Protocol."""
    message = ModelInferRequest(id=rng.choice(("", "7", "x" * 3000)), model_version=rng.choice(("", "1", "2")))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 200))):
        given = message.inputs.add(
            name=rng.choice(NAMES),
            datatype=rng.choice(("FP32", "UINT8", "BYTES", "FP16", "BOOL", "BF16", "", "\0", "x" * 999)),
            shape=rng.choices(SIZES, k=rng.choice((0, 1, 4, 4, 5, 255))),
        )
        if rng.random() < 0.4:
            given.contents.fp32_contents.extend([1.0] * rng.choice((0, 1, 60)))
        if rng.random() < 0.2:
            given.contents.bytes_contents.extend([b"GIF89a"] * rng.choice((1, 65)))
        if rng.random() < 0.1:
            given.parameters[rng.choice(("shared_memory_region", "x"))].int64_param = 1
    for _ in range(rng.choice((0, 0, 1, 2))):
        message.outputs.add(name=rng.choice(("output_alias", "x", "")))
    for _ in range(rng.choice((0, 1, 1, 2))):
        strings = strings_to_raw([rng.choice(CONTENTS)] * rng.choice((0, 1, 2)))
        message.raw_input_contents.append(rng.choice((*CONTENTS, strings, strings[:-1], b"\xff\xff\xff\xff")))
    return message.SerializeToString()


def impossible_json(rng: random.Random) -> bytes:
    """A body of JSON for either REST."""

    def value(depth: int = 0) -> Any:
        simple: tuple[Callable[[], Any], ...] = (
            lambda: None,
            lambda: rng.choice((True, 0, -1, 1.5, 2**63, 10**40, float("nan"))),
            lambda: rng.choice(("", "images", "FP32", "UINT8", "BYTES", "x" * 99, "\ud800")),
            lambda: {"b64": rng.choice(("", "?", "R0lGODlh", 7))},
            lambda: tensor().tolist(),
        )
        if depth > 3 or rng.random() < 0.5:
            return rng.choice(simple)()
        if rng.random() < 0.5:
            return [value(depth + 1) for _ in range(rng.randint(0, 3))]
        keys = ("images", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "inputs", "id")
        return {rng.choice(keys): value(depth + 1) for _ in range(rng.randint(0, 5))}

    fields = ("instances", "inputs", "outputs", "signature_name", "id", "parameters", "x")
    body: Any = {name: value() for name in rng.choices(fields, k=rng.randint(0, 3))}
    if rng.random() < 0.3:
        body["inputs"] = [value(1) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.3:
        tensors = {"name": "images", "shape": [1, 4, 5, 3], "datatype": "FP32", "data": tensor().ravel().tolist()}
        tensors[rng.choice(list(tensors))] = value(2)
        body["inputs"] = [tensors]
    return json.dumps(body).encode()


def _with_values() -> bytes:
    message = PredictRequest(model_spec={"name": "affine", "version": {"value": 1}})
    message.inputs["Placeholder:0"].CopyFrom(to_tensor_proto(tensor()))
    return message.SerializeToString()


def _infer(raw: bool, datatype: str, value: Any) -> bytes:
    message = ModelInferRequest(model_name="affine", outputs=[{"name": "output_alias"}])
    strings = datatype == "BYTES"
    given = message.inputs.add(name="images", datatype=datatype, shape=[len(value)] if strings else value.shape)
    if raw:
        message.raw_input_contents.append(strings_to_raw(value) if strings else value.tobytes())
    elif strings:
        given.contents.bytes_contents.extend(value)
    else:
        given.contents.fp32_contents.extend(value.ravel().tolist())
    return message.SerializeToString()


PREDICT_SEEDS = (
    encode_request({"images": tensor()}, ["output_alias"]),
    _with_values(),
    encode_request({"images": [png(pixels()[0])]}),
    encode_request({"images": pixels(2)}),
    encode_request({"images": np.zeros((64, 4, 5, 3), np.float32)}),  # so large that it is cut and not copied
)
INFER_SEEDS = (
    *(
        _infer(raw, datatype, value)
        for raw in (True, False)
        for datatype, value in (("FP32", tensor()), ("BYTES", [png(pixels()[0])]))
    ),
    _infer(True, "UINT8", pixels(2)),
)
JSON_SEEDS = (
    json.dumps({"instances": tensor().tolist()}).encode(),
    json.dumps({"inputs": {"images": tensor().tolist()}}).encode(),
    json.dumps(
        {
            "inputs": [
                {"name": "images", "shape": [1, 4, 5, 3], "datatype": "FP32", "data": tensor().ravel().tolist()}
            ]
        }
    ).encode(),
)


def made(seeds: tuple[bytes, ...], impossible: Make) -> Make:
    return lambda rng: damaged(rng, seeds) if rng.random() < 0.6 else impossible(rng)


MADE = {
    "predict": made(PREDICT_SEEDS, impossible_predict),
    "infer": made(INFER_SEEDS, impossible_infer),
    "rest": made(JSON_SEEDS, impossible_json),
}
