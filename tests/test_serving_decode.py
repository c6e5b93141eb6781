from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldwave.errors import FieldwaveError, ImageError, NotFoundError, TensorError
from fieldwave.package import TensorSpec
from fieldwave.preprocess import normalise, preprocess
from fieldwave.serving.assemble import Prediction
from fieldwave.serving.caller import CallerGoneError
from fieldwave.serving.decode import UnknownSignatureError, decode
from fieldwave.serving.signature import Signature
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import PredictRequest, TensorProto
from fieldwave.wire.requests import encode_request
from tests.served import FEATURES, IMAGES, SCORES, package, pixels, png, png_header, tensor

SIGNATURE = Signature.of(package())


def decoded(inputs: dict[str, Any], *outputs: str, signature: Signature = SIGNATURE) -> Prediction:
    return decode(encode_request(inputs, outputs), signature, max_batch=64)


def network_input(inputs: dict[str, Any]) -> Any:
    return decoded(inputs).inputs["Placeholder:0"]


def refusal(kind: type[FieldwaveError], request: Any, signature: Signature = SIGNATURE) -> str:
    data = request if isinstance(request, bytes) else request.SerializeToString()
    with pytest.raises(FieldwaveError) as caught:
        decode(data, signature, max_batch=64)
    assert type(caught.value) is kind
    return str(caught.value)


def request(**fields: Any) -> Any:
    message = PredictRequest(**fields)
    message.inputs["images"].CopyFrom(to_tensor_proto(tensor()))
    return message


@pytest.mark.parametrize("name", ["Placeholder:0", "images", "Placeholder"])
def test_an_input_goes_by_each_of_its_names(name: str) -> None:
    assert np.array_equal(network_input({name: tensor()}), tensor())


@pytest.mark.parametrize("content", [False, True])
def test_a_float_tensor_is_taken_as_it_is(content: bool) -> None:
    message = PredictRequest()
    message.inputs["images"].CopyFrom(to_tensor_proto(tensor(3), content=content))
    prediction = decode(message.SerializeToString(), SIGNATURE, max_batch=64)
    assert np.array_equal(prediction.inputs["Placeholder:0"], tensor(3))


def test_one_float_stands_for_the_whole_tensor() -> None:
    message = PredictRequest()
    proto = TensorProto(dtype=1, float_val=[0.25])
    for size in (2, 4, 5, 3):
        proto.tensor_shape.dim.add(size=size)
    message.inputs["images"].CopyFrom(proto)
    array = decode(message.SerializeToString(), SIGNATURE, max_batch=64).inputs["Placeholder:0"]
    assert np.array_equal(array, np.full((2, 4, 5, 3), 0.25, np.float32))
    assert array.flags.c_contiguous


def test_pixels_are_normalised() -> None:
    assert np.array_equal(network_input({"images": pixels(2)}), normalise(pixels(2), IMAGES))


@pytest.mark.parametrize("batch", [1, 3])
def test_image_files_are_preprocessed(batch: int) -> None:
    files = [png(image) for image in pixels(batch)]
    expected = np.stack([preprocess(data, IMAGES) for data in files])
    array = network_input({"images": files})
    assert array.dtype == np.float32
    assert np.array_equal(array, expected)


def test_the_asked_outputs_are_noted() -> None:
    assert decoded({"images": tensor()}, "output_alias", "classifier/Softmax").outputs == (
        "output_alias",
        "classifier/Softmax",
    )


@pytest.mark.parametrize(
    ("name", "by_alias"), [("images", True), ("Placeholder:0", False), ("Placeholder", False)]
)
def test_whether_the_client_uses_aliases_is_noted(name: str, by_alias: bool) -> None:
    assert decoded({name: tensor()}).by_alias is by_alias


def test_the_model_may_be_named() -> None:
    spec = {"name": "affine", "version": {"value": 1}, "signature_name": "serving_default"}
    assert decode(request(model_spec=spec).SerializeToString(), SIGNATURE, max_batch=64).outputs == ()


@pytest.mark.parametrize(
    ("inputs", "kind", "text"),
    [
        (
            {"imges": tensor()},
            TensorError,
            "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')",
        ),
        (
            {"a\n" * 100: tensor()},
            TensorError,
            "unknown input '" + "a\\n" * 25 + "...'; "
            "this model takes 'Placeholder:0' (also 'images', 'Placeholder')",
        ),
        (
            {},
            TensorError,
            "input 'Placeholder:0' is missing; this model takes 'Placeholder:0' (also 'images', 'Placeholder')",
        ),
        (
            {"images": tensor(), "Placeholder:0": tensor()},
            TensorError,
            "'Placeholder:0' and 'images' are names of one input; send one of them",
        ),
        (
            {"images": np.zeros((1, 3, 4, 5), np.float32)},
            TensorError,
            "input 'images': shape [1, 3, 4, 5]; send float32 [N, 4, 5, 3]",
        ),
        (
            {"images": np.zeros((4, 5, 3), np.uint8)},
            TensorError,
            "input 'images': shape [4, 5, 3]; send uint8 [N, 4, 5, 3]",
        ),
        (
            {"Placeholder": np.zeros((1, 4, 5, 3))},
            TensorError,
            "input 'Placeholder': dtype float64; "
            "send float32 [N, 4, 5, 3] or uint8 [N, 4, 5, 3] or string [N] (image files)",
        ),
        ({"images": b"one file"}, TensorError, "input 'images': shape []; send string [N] (image files)"),
        (
            {"images": np.zeros((0, 4, 5, 3), np.float32)},
            TensorError,
            "input 'images': a batch of 0; send 1 to 64",
        ),
        ({"images": [b""] * 65}, TensorError, "input 'images': a batch of 65; send 1 to 64"),
        (
            {"images": [b"GIF89a-and-more"]},
            ImageError,
            "input 'images': the image is in GIF format, expected a JPEG or PNG file; convert it",
        ),
        (
            {"images": [png(pixels()[0]), b""]},
            ImageError,
            "input 'images': image 2 of 2: not an image: there are no bytes, expected a JPEG or PNG file",
        ),
    ],
)
def test_a_wrong_input_is_named(inputs: dict[str, Any], kind: type[FieldwaveError], text: str) -> None:
    assert refusal(kind, encode_request(inputs)) == text


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"model_spec": {"name": "other"}}, NotFoundError, "no model 'other' here; this service has 'affine'"),
        (
            {"model_spec": {"version": {"value": 7}}},
            NotFoundError,
            "model 'affine' has no version 7 here; this service has version 1",
        ),
        (
            {"model_spec": {"version_label": "stable"}},
            NotFoundError,
            "model 'affine' has no version label 'stable'",
        ),
        (
            {"model_spec": {"signature_name": "other"}},
            UnknownSignatureError,
            "unknown signature 'other'; this model has 'serving_default'",
        ),
        (
            {"output_filter": ["scores"]},
            TensorError,
            "unknown output 'scores'; "
            "this model gives 'classifier/Softmax:0' (also 'output_alias', 'classifier/Softmax')",
        ),
        (
            {"output_filter": ["output_alias", "output_alias"]},
            TensorError,
            "output 'output_alias' is asked for twice; name it once",
        ),
    ],
)
def test_a_request_for_something_else_is_refused(
    fields: dict[str, Any], kind: type[FieldwaveError], text: str
) -> None:
    assert refusal(kind, request(**fields)) == text


def test_bytes_that_are_no_request_are_refused() -> None:
    assert refusal(TensorError, b"\xff") == "the bytes received are no tensorflow.serving.PredictRequest"


def test_a_tensor_that_does_not_fit_its_bytes_is_refused() -> None:
    message = request()
    message.inputs["images"].tensor_shape.dim[0].size = 2
    assert (
        refusal(TensorError, message)
        == "input 'images': shape [2, 4, 5, 3] takes 120 values, but float_val has 60"
    )


def test_a_network_without_images_takes_its_own_dtype_alone() -> None:
    signature = Signature.of(package(images=None))
    text = "input 'images': dtype uint8; send float32 [N, 4, 5, 3]"
    assert refusal(TensorError, encode_request({"images": pixels()}), signature) == text


def test_a_model_with_several_inputs_and_outputs_lists_them_all() -> None:
    inputs = (
        TensorSpec(name="a", shape=(None, 2), dtype="int32"),
        TensorSpec(name="b", shape=(None, 3), dtype="int64"),
    )
    signature = Signature.of(package(SCORES, FEATURES, inputs=inputs, images=None))
    a, b = np.zeros((2, 2), np.int32), np.zeros((3, 3), np.int64)
    assert set(decoded({"a": a[:1], "b": b[:1]}, signature=signature).inputs) == {"a", "b"}
    assert (
        refusal(TensorError, encode_request({"c": a}), signature) == "unknown input 'c'; this model takes 'a', 'b'"
    )
    assert (
        refusal(TensorError, encode_request({"a": a}), signature)
        == "input 'b' is missing; this model takes 'a', 'b'"
    )
    assert (
        refusal(TensorError, encode_request({"a": a, "b": b}), signature)
        == "the inputs have batches of different sizes: 2 in 'a', 3 in 'b'; send equal ones"
    )


def test_a_caller_who_goes_away_ends_the_decoding_between_two_images() -> None:
    asked = 0

    def gone_after_two() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:  # before the batch, the first and the second image
            raise CallerGoneError

    files = [png(pixels()[0])] * 2 + [b"not decoded"] * 62
    with pytest.raises(CallerGoneError):
        decode(encode_request({"images": files}), SIGNATURE, max_batch=64, go_on=gone_after_two)


def test_the_pixels_of_one_request_are_limited_before_any_is_decoded() -> None:
    assert refusal(ImageError, encode_request({"images": [png_header(8000, 2501)] * 2})) == (
        "input 'images': the 2 images have 40016000 pixels in all, the limit is 40000000 pixels; "
        "send fewer or smaller ones"
    )
    allowed = refusal(ImageError, encode_request({"images": [png_header(8000, 2500)] * 2}))
    assert allowed.startswith("input 'images': image 1 of 2: the PNG is truncated")


def test_the_pixels_of_jpeg_files_count_too() -> None:
    buffer = BytesIO()
    Image.new("RGB", (1000, 800)).save(buffer, "JPEG")
    assert refusal(ImageError, encode_request({"images": [buffer.getvalue()] * 51})) == (
        "input 'images': the 51 images have 40800000 pixels in all, the limit is 40000000 pixels; "
        "send fewer or smaller ones"
    )


@pytest.mark.parametrize("shift", range(4))
def test_the_device_s_array_is_aligned_wherever_the_tensor_is_in_the_request(shift: int) -> None:
    array = tensor(80)  # of a size that is not copied out of the request
    # An empty model spec takes two bytes, the field that nobody knows three: they move what comes after them.
    before = (b"", b"\x78\x80\x01", b"\x0a\x00", b"\x78\x80\x01\x0a\x00")[shift]
    data = before + encode_request({"images": array})
    received = decode(data, SIGNATURE, max_batch=80).inputs["Placeholder:0"]
    assert received.flags.aligned and received.flags.c_contiguous
    assert np.array_equal(received, array)
