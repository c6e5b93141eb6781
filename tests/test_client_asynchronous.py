"""The client for asyncio: the same names, the same answers, in a loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from fieldwave.client import AsyncPredictionClient, ModelMetadata, PredictionClient
from fieldwave.errors import InputError, NotFoundError, ServiceError, TensorError
from fieldwave.serving import Server
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import PredictResponse
from tests.scripted import failing, scripted
from tests.served import Affine, affine, pixels, png, serving, tensor

IMAGE = png(pixels()[0])


def ones() -> bytes:
    response = PredictResponse()
    response.outputs["y"].CopyFrom(to_tensor_proto(np.ones((1, 2), np.float32)))
    data: bytes = response.SerializeToString()
    return data


ONE = ones()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(workers=8) as running:
        yield running


def run(port: int, use: Callable[[AsyncPredictionClient], Awaitable[object]], **options: object) -> object:
    async def within() -> object:
        async with AsyncPredictionClient("127.0.0.1", port, **options) as client:  # type: ignore[arg-type]
            return await use(client)

    return asyncio.run(within())


def public(kind: type) -> dict[str, list[tuple[str, object]]]:
    return {
        name: [(one.name, one.default) for one in inspect.signature(value).parameters.values()]
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if name == "__init__" or not name.startswith("_")
    }


def test_both_have_the_same_methods_with_the_same_parameters() -> None:
    assert public(AsyncPredictionClient) == public(PredictionClient)
    for name in public(AsyncPredictionClient).keys() - {"__init__"}:
        assert inspect.iscoroutinefunction(getattr(AsyncPredictionClient, name)), name
        assert inspect.getdoc(getattr(PredictionClient, name)), name


def test_all_that_can_be_scored(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(IMAGE)
    raw = (tensor(2).tobytes(), [2, 4, 5, 3], "float32")

    async def use(client: AsyncPredictionClient) -> None:
        await client.wait_until_ready()
        expected = await client.score_image(IMAGE)
        with PredictionClient("127.0.0.1", server.port) as blocking:
            assert np.array_equal(expected, blocking.score_image(IMAGE))
            assert await client.metadata() == blocking.metadata()
        assert np.array_equal(await client.score_file(path), expected)
        assert np.array_equal(await client.score_numpy_arrays({"images": tensor(2)}), affine(tensor(2)))
        assert np.array_equal(await client.score_tensors({"images": raw}), affine(tensor(2)))
        assert np.array_equal(await client.score_images([IMAGE] * 5, batch=2), np.stack([expected] * 5))
        assert isinstance(await client.metadata(), ModelMetadata)
        assert (await client.manifest())["network"] == "affine"
        assert await client.labels() == ()
        assert await client.detector() is None
        with pytest.raises(InputError, match="has no detection network"):
            await client.detect_image(IMAGE)
        with pytest.raises(TensorError, match="unknown input 'imges'"):
            await client.score_image(IMAGE, "imges")
        with pytest.raises(NotFoundError):
            await client.score_file(tmp_path / "none.png")

    run(server.port, use)


def test_calls_overlap() -> None:
    """Eight calls are in the service at once: each waits there until the last has come."""
    together = threading.Barrier(4, timeout=20)

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        together.wait()
        return ONE

    async def use(client: AsyncPredictionClient) -> list[object]:
        return await asyncio.gather(*(client.score_image(b"x") for _ in range(4)))

    with scripted(Predict=wait) as script:
        assert len(run(script.port, use)) == 4  # type: ignore[arg-type]
        assert len(set(script.peers)) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_service_that_is_away_or_busy_is_tried_again(code: grpc.StatusCode) -> None:
    with scripted(Predict=failing(code, "loading", times=2, then=ONE)) as script:
        answer = run(script.port, lambda client: client.score_image(b"x"))
        assert np.array_equal(answer, [1, 1])  # type: ignore[arg-type]
        assert len(script.requests) == 3


def test_errors_are_the_same() -> None:
    with scripted(Predict=failing(grpc.StatusCode.INTERNAL, "no")) as script:
        with pytest.raises(ServiceError) as caught:
            run(script.port, lambda client: client.score_image(b"x"))
        assert str(caught.value) == f"127.0.0.1:{script.port} answered INTERNAL: no"
    with pytest.raises(InputError) as wrong:
        AsyncPredictionClient("localhost", root_certificates=b"")
    assert str(wrong.value) == "root_certificates are given without TLS; set use_ssl=True"


def test_a_token_of_a_function_is_renewed_when_it_is_refused() -> None:
    tokens = iter(("old", "new"))

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if dict(context.invocation_metadata())["authorization"] != "Bearer new":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "ended")
        return ONE

    with scripted(Predict=answer) as script:
        run(script.port, lambda client: client.score_image(b"x"), access_token=lambda: next(tokens))
        assert len(script.requests) == 2


def test_cancelling_a_task_cancels_its_call_in_the_service() -> None:
    called, ended = threading.Event(), threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(ended.set)
        called.set()
        ended.wait(30)
        return b""

    async def use(client: AsyncPredictionClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.score_image(b"x", timeout=30)
        assert await asyncio.to_thread(ended.wait, 10)

    with scripted(Predict=hang) as script:
        run(script.port, use)
        assert called.is_set()


def test_closing_ends_the_calls_of_other_tasks() -> None:
    called, done = threading.Event(), threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        called.set()
        done.wait(30)
        return ONE

    async def use(client: AsyncPredictionClient) -> None:
        task = asyncio.create_task(client.score_image(b"x", timeout=30))
        assert await asyncio.to_thread(called.wait, 10)
        await client.close()
        with pytest.raises(ServiceError) as caught:
            await task
        assert str(caught.value) == f"the call to 127.0.0.1:{script.port} was ended by close()"
        assert caught.value.code == "CANCELLED"
        done.set()
        assert np.array_equal(await client.score_image(b"x"), [1, 1])  # it opens again

    with scripted(Predict=hang) as script:
        run(script.port, use)


def test_a_client_serves_one_loop_after_the_other(server: Server) -> None:
    client = AsyncPredictionClient("127.0.0.1", server.port)

    async def use() -> object:
        scores = await client.score_image(IMAGE)
        await client.close()
        return scores

    first = asyncio.run(use())
    for close in (False, True):
        scores = asyncio.run(use() if close else client.score_image(IMAGE))
        assert np.array_equal(scores, first)  # type: ignore[arg-type]


def test_the_loop_goes_on_while_a_call_waits() -> None:
    ticks = 0

    async def use(client: AsyncPredictionClient) -> None:
        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        with pytest.raises(ServiceError):
            await client.score_image(b"x", timeout=0.3)
        ticking.cancel()

    with scripted(Predict=failing(grpc.StatusCode.UNAVAILABLE, "away")) as script:
        begin = time.monotonic()
        run(script.port, use)
    assert ticks > 3 and time.monotonic() - begin < 5  # one, if it blocked


def test_calls_in_great_number_are_all_answered() -> None:
    device = Affine()

    async def use(client: AsyncPredictionClient) -> None:
        arrays = [tensor(seed=seed) for seed in range(200)]
        answers = await asyncio.gather(*(client.score_numpy_arrays({"images": array}) for array in arrays))
        assert all(np.array_equal(one, affine(array)) for one, array in zip(answers, arrays, strict=True))

    with serving(device, workers=2) as running:  # which takes four of them at a time
        run(running.port, use)
