"""What several tests share: the photographs, and packages made once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldwave.conversion import Conversion, convert
from fieldwave.images import Images
from fieldwave.zoo import digit_png, digits_images
from tests import containers
from tests.cluster import real
from tests.cluster.real import RealCluster

PHOTOS = Path(__file__).parent / "data" / "images"


@pytest.hookimpl(tryfirst=True)  # before xdist asks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the converted ResNet-50 go to one worker, so that it is converted once; those of podman, of a
    cluster and of a box, too: two podmans beside each other change the same rules of the machine's network.
    """
    for item in items:
        wanted = set(getattr(item, "fixturenames", ()))
        if "resnet50" in wanted:
            item.add_marker(pytest.mark.xdist_group("resnet50"))
        elif wanted & {"podman", "real_cluster", "box"}:
            item.add_marker(pytest.mark.xdist_group("podman"))


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Real photographs, JPEG, of various sizes."""
    return sorted(PHOTOS.glob("*.jpg"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """The digits network, quantized on a few of its training images."""
    folder = tmp_path_factory.mktemp("digits")
    for index, pixels in enumerate(digits_images().calibration_images[:20]):
        (folder / f"{index:02d}.png").write_bytes(digit_png(pixels))
    return convert("digits", calibration=folder, output=folder / "digits.zip")


@pytest.fixture(scope="session")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """ResNet-50 with random weights, quantized on the photographs: about ten seconds."""
    folder = tmp_path_factory.mktemp("resnet50")
    return convert("resnet50", weights="random:0", calibration=PHOTOS, output=folder / "rn50.zip")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[containers.Podman]:
    """podman with storage of its own."""
    if containers.PROGRAM is None:
        pytest.skip(containers.MISSING)
    with containers.podman(tmp_path_factory.mktemp("podman")) as running:
        yield running


@pytest.fixture(scope="module")
def digits_image(podman: containers.Podman, digits: Conversion, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of the digits on the real base, loaded into podman: what podman calls it, by digest."""
    folder = tmp_path_factory.mktemp("image")
    images = Images(containers.real_store(folder))
    built = images.build(digits.path, "digits")
    images.export(built, folder / "digits.tar")
    podman("load", "--quiet", "--input", str(folder / "digits.tar"))
    return f"localhost/fieldwave/digits@{built.digest}"


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The cluster that FIELDWAVE_TEST_KUBECONFIG names, else a stand-in that runs pods by podman.

    Of a cluster without FIELDWAVE_TEST_REGISTRY the registry is empty.
    """
    kubeconfig = os.environ.get("FIELDWAVE_TEST_KUBECONFIG", "")
    if kubeconfig:
        yield RealCluster(kubeconfig, os.environ.get("FIELDWAVE_TEST_REGISTRY", ""))
    elif real.MISSING:
        pytest.skip(f"no cluster: set FIELDWAVE_TEST_KUBECONFIG; and no stand-in: {real.MISSING}")
    else:
        with real.running(tmp_path_factory.mktemp("cluster")) as running:
            yield running
