"""Another package on the held device, while requests come in."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.client import PredictionClient
from fieldwave.errors import DeviceError, ServiceError, TensorError
from fieldwave.package import Package, TensorSpec
from fieldwave.serving import ServeOptions, Server
from tests.served import INPUT, SCORES, Affine, affine, package, serving, tensor

OTHER_INPUT = TensorSpec(name="x", shape=(None, 4, 5, 3))
OTHER = TensorSpec(name="scores", shape=(None, 10))


class Packaged(Affine):
    """Answers with the number of the package that is loaded added to each score."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.broken = False

    def prepare(self, package: Package) -> Any:
        number = int(package.manifest.labels[0]) if package.manifest.labels else 0
        return package.manifest.outputs, number, package.manifest.inputs[0].name

    def exchange(self, network: Any) -> Any:
        before = (getattr(self, "outputs", ()), self.number, getattr(self, "input", ""))
        self.outputs, self.number, self.input = network
        return before

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert list(inputs) == [self.input], "tensors of one package came to another"
        if self.broken and self.number:
            raise DeviceError("it is broken")
        return {name: value + self.number for name, value in super().run(inputs).items()}


def other() -> Package:
    made = package(OTHER, inputs=(OTHER_INPUT,), images=None)
    manifest = made.manifest.model_copy(update={"labels": ("1000",)})
    return Package(manifest, made.files, "sha256:other")


def test_the_next_answer_is_the_other_package_s() -> None:
    with serving(Packaged()) as server, PredictionClient("127.0.0.1", server.port) as client:
        assert np.array_equal(client.score_numpy_arrays({INPUT.name: tensor()}), affine(tensor()))
        server.load(other())
        assert np.array_equal(client.score_numpy_arrays({"x": tensor()}), affine(tensor()) + 1000)
        assert [one.key for one in client.metadata().inputs] == ["x"]
        assert [one.key for one in client.metadata().outputs] == ["scores"]
        with pytest.raises(TensorError, match="unknown input"):
            client.score_numpy_arrays({INPUT.name: tensor()})


def test_a_client_learns_of_other_labels_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Packaged()) as server, PredictionClient("127.0.0.1", server.port) as client:
        assert client.labels() == ()
        server.load(other())
        assert client.labels() == ()
        monkeypatch.setattr("fieldwave.client.scoring._MANIFEST_SECONDS", 0.0)
        assert client.labels() == ("1000",)


def test_a_package_that_fails_in_its_first_run_is_taken_back() -> None:
    device = Packaged()
    with serving(device) as server, PredictionClient("127.0.0.1", server.port) as client:
        device.broken = True
        with pytest.raises(DeviceError, match="it is broken"):
            server.load(other())
        assert np.array_equal(client.score_numpy_arrays({INPUT.name: tensor()}), affine(tensor()))
        client.wait_until_ready(1)


def test_a_server_that_does_not_serve_takes_none() -> None:
    server = Server(ServeOptions(package=package()), Affine())
    with pytest.raises(ServiceError) as caught:
        server.load(other())
    assert str(caught.value) == "the server is not serving; it takes another package when it is"


def test_under_load_each_answer_is_the_one_package_s_or_the_other_s_and_none_is_lost() -> None:
    named = TensorSpec(name="Placeholder:0", aliases=("images", "x"), shape=(None, 4, 5, 3))

    def numbered(number: int) -> Package:
        # The tensors have other names in each, so that what is made for one cannot run on another unseen.
        spec = named.model_copy(update={"name": f"in{number % 2}:0"})
        made = package(SCORES, inputs=(spec,))
        return Package(made.manifest.model_copy(update={"labels": (str(number),)}), made.files, f"sha256:{number}")

    options = ServeOptions(package=numbered(0), grpc_port=0, workers=4)
    with Server(options, Packaged()) as server:
        enough = threading.Event()
        failures: list[BaseException] = []
        seen: list[int] = []

        def load(seed: int) -> None:
            array = tensor(seed=seed)
            right = affine(array)
            last = 0
            try:
                with PredictionClient("127.0.0.1", server.port) as client:
                    while not enough.is_set():
                        answer = client.score_numpy_arrays({"images": array})
                        number = round(float((answer - right)[0, 0]))
                        assert np.array_equal(answer, right + number)
                        assert number >= last, "an older package after a newer one"
                        last = number
                        seen.append(number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=load, args=[seed]) for seed in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 31):
            goal = len(seen) + 3
            while len(seen) < goal and not failures:
                enough.wait(0.001)
            server.load(numbered(number))
        enough.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(set(seen)) >= 25
