"""A client of a detection service: objects instead of tensors, and answers beyond gRPC's usual limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion, convert
from fieldwave.errors import InputError, NotFoundError, ServiceError, TensorError
from fieldwave.package import TensorSpec
from fieldwave.postprocess import Detection, detect, ssd300_vgg
from fieldwave.serving import ServeOptions, Server
from fieldwave.wire.messages import GetModelMetadataResponse, StringValue
from fieldwave.wire.methods import PREDICT
from fieldwave.wire.requests import encode_request
from tests import squares
from tests.scripted import scripted
from tests.served import Affine, serving, tensor

SQUARES = [(1, 10, 20), (2, 60, 70), (3, 70, 10)]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    folder = tmp_path_factory.mktemp("squares")
    return convert(squares.model(), calibration=squares.calibration(folder / "c"), output=folder / "squares.zip")


@pytest.fixture(scope="module")
def client(converted: Conversion) -> Iterator[PredictionClient]:
    with (
        Server(ServeOptions(package=converted.package, grpc_port=0)) as server,
        PredictionClient("127.0.0.1", server.port) as opened,
    ):
        opened.wait_until_ready()
        yield opened


def check(found: list[Detection], expected: list[squares.Square]) -> None:
    """Class and top left corner, in pixels; an int8 network may be a little off."""
    corners = sorted((one.index, *one.box.pixels(squares.SIDE, squares.SIDE)[1::-1]) for one in found)
    assert [corner[0] for corner in corners] == [square[0] for square in expected]
    for corner, square in zip(corners, expected, strict=True):
        assert corner == pytest.approx(square, abs=1.5)


def test_the_squares_are_found(client: PredictionClient, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(squares.picture(SQUARES))
    found = client.detect_file(tmp_path / "picture.png")
    check(found, SQUARES)
    assert [one.label for one in sorted(found, key=lambda one: one.index)] == ["red", "green", "blue"]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert client.detect_image(squares.picture([])) == []


def test_boxes_are_fractions_whatever_the_picture_measures(client: PredictionClient) -> None:
    small = client.detect_image(squares.picture(SQUARES))
    large = client.detect_image(squares.picture(SQUARES, width=512, height=256))
    assert large == small


def test_the_threshold_is_honoured(client: PredictionClient) -> None:
    found = client.detect_image(squares.picture(SQUARES))
    middle = sorted(one.score for one in found)[1]
    expected = [one for one in found if one.score > middle]
    assert client.detect_image(squares.picture(SQUARES), threshold=middle) == expected
    assert len(client.detect_image(squares.picture(SQUARES), threshold=0.001)) >= len(found)
    with pytest.raises(InputError) as caught:
        client.detect_image(squares.picture(SQUARES), threshold=50)
    assert str(caught.value) == "the score_threshold is 50, expected 0 to 1"


def test_the_images_of_a_batch_are_kept_apart(client: PredictionClient) -> None:
    pictures = [squares.picture(SQUARES[:count], seed=count) for count in range(4)]
    detector = client.detector()
    assert detector == squares.DETECTOR
    outputs = client.score_numpy_arrays({"images": pictures}, list(detector.outputs))
    for count, found in enumerate(detect(outputs, detector, client.labels())):
        check(found, SQUARES[:count])


def test_the_manifest(client: PredictionClient, converted: Conversion) -> None:
    assert client.manifest() == json.loads(converted.package.manifest.to_json())
    assert client.labels() == squares.LABELS


def test_a_classifier_detects_nothing() -> None:
    with serving() as server, PredictionClient("127.0.0.1", server.port) as client:
        assert client.detector() is None
        with pytest.raises(InputError) as caught:
            client.detect_image(b"")
        assert str(caught.value) == f"127.0.0.1:{server.port} has no detection network; use score_image"


def test_a_file_that_is_not_there(client: PredictionClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.detect_file("nowhere.jpg")
    assert str(caught.value) == "no image nowhere.jpg; check the path"


def answer(text: str) -> bytes:
    response = GetModelMetadataResponse()
    response.metadata["manifest"].Pack(StringValue(value=text))
    data: bytes = response.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"\xff", "sent a manifest that cannot be read"),
        (b"", "sent a manifest that cannot be read"),
        (answer("[]"), "sent a manifest that cannot be read"),
        (answer("{"), "sent a manifest that cannot be read"),
        (answer('{"detection": {}}'), "sent a manifest whose detection cannot be read: 'maps'"),
        (
            answer('{"detection": 5}'),
            "sent a manifest whose detection cannot be read: 'int' object is not subscriptable",
        ),
        (
            answer('{"detection": {"maps": [], "height": 1, "width": 1}}'),
            "sent a manifest whose detection cannot be read: "
            "the detector has no feature map, expected at least one",
        ),
    ],
)
def test_a_manifest_that_cannot_be_read(sent: bytes, message: str) -> None:
    with scripted(GetModelMetadata=lambda *_: sent) as script:
        with PredictionClient("127.0.0.1", script.port) as client, pytest.raises(ServiceError) as caught:
            client.detector()
        assert str(caught.value) == f"127.0.0.1:{script.port} {message}"


def test_a_service_of_another_make_has_no_manifest() -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field manifest is not supported")

    with scripted(GetModelMetadata=refuse) as script, PredictionClient("127.0.0.1", script.port) as client:
        with pytest.raises(TensorError) as caught:
            client.detect_image(b"")
        assert str(caught.value) == "Metadata field manifest is not supported"


SSD = ssd300_vgg([f"block{i}/logits:0" for i in range(6)], [f"block{i}/boxes:0" for i in range(6)])
SSD_OUTPUTS = [
    TensorSpec(name=name, shape=(None, one.rows, one.columns, one.anchors, last))
    for last, names in ((21, SSD.logits), (4, SSD.boxes))
    for name, one in zip(names, SSD.maps, strict=True)
]


def test_a_batch_of_five_exceeds_the_usual_limit_of_grpc_and_comes_all_the_same() -> None:
    with serving(Affine(), *SSD_OUTPUTS) as server:
        with PredictionClient("127.0.0.1", server.port) as client:
            outputs = client.score_numpy_arrays({"images": tensor(5)}, list(SSD.outputs))
        assert [array.shape for array in outputs] == [(5, *spec.shape[1:]) for spec in SSD_OUTPUTS]
        assert sum(array.nbytes for array in outputs) == 5 * 843_200 > 4 << 20
        assert len(detect(outputs, dataclasses.replace(SSD, candidates=10))) == 5
        # Other clients have gRPC's limit of 4 MiB, and are told so by it; four images pass.
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            predict = channel.unary_unary(PREDICT)
            assert len(predict(encode_request({"images": tensor(4)}))) > 4 * 843_200
            with pytest.raises(grpc.RpcError) as caught:
                predict(encode_request({"images": tensor(5)}))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
