"""Images in the hands of those that run them: podman, skopeo, umoci, a registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fieldwave import zoo
from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion
from fieldwave.errors import ConflictError
from fieldwave.images import Image, Images, add_base
from fieldwave.store import LayoutStore, RegistryStore
from tests import containers, image_parts, oci_registry
from tests.containers import Podman
from tests.image_parts import wheelhouse as wheelhouse

HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return found


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> LayoutStore:
    return containers.real_store(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def digits_image(real: LayoutStore, digits: Conversion) -> Image:
    return Images(real).build(digits.path, "digits", tags={"team": "vision"})


@pytest.fixture(scope="module")
def archive(real: LayoutStore, digits_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "digits.tar"
    Images(real).export(digits_image, path)
    return path


@pytest.fixture
def small(tmp_path: Path, wheelhouse: Path) -> tuple[LayoutStore, Image]:
    """An image that has all the parts and runs nothing."""
    store = LayoutStore(tmp_path / "store")
    base = image_parts.base(tmp_path / "base.tar")
    package = image_parts.package(tmp_path / "four.zip")
    return store, Images(store).build(package, "four", base=str(base), wheels=wheelhouse)


def test_skopeo_and_umoci_read_an_image(small: tuple[LayoutStore, Image], tmp_path: Path) -> None:
    store, image = small
    seen = json.loads(run(program("skopeo"), "inspect", f"oci:{store.folder}:images/four:1"))
    assert (seen["Digest"], seen["Architecture"], seen["Os"]) == (image.digest, "amd64", "linux")
    assert seen["Labels"]["dev.fieldwave.package"] == image.package
    subprocess.run(
        [program("skopeo"), "copy", "-q", f"oci:{store.folder}:images/four:1", f"oci:{tmp_path / 'layout'}:four"],
        check=True,
    )
    unpack = [
        program("umoci"),
        "unpack",
        "--rootless",
        "--image",
        f"{tmp_path / 'layout'}:four",
        str(tmp_path / "o"),
    ]
    run(*unpack)
    root = tmp_path / "o" / "rootfs"
    assert (root / "opt/fieldwave/package.zip").read_bytes() == Images(store).package(image)
    assert (root / "opt/fieldwave/lib/first/__init__.py").read_bytes() == b"A = 1\n" * 100
    assert (root / "usr/bin/python3").readlink() == Path("python3.11")


def test_an_archive_is_of_oci_and_of_docker(small: tuple[LayoutStore, Image], tmp_path: Path) -> None:
    store, image = small
    path = tmp_path / "four.tar"
    Images(store).export(image, path)
    oci = json.loads(run(program("skopeo"), "inspect", f"oci-archive:{path}:{image.reference()}"))
    assert oci["Digest"] == image.digest
    docker = json.loads(run(program("skopeo"), "inspect", f"docker-archive:{path}:{image.reference()}"))
    assert docker["Labels"] == oci["Labels"]
    config = json.loads(run(program("skopeo"), "inspect", "--config", f"oci-archive:{path}:{image.reference()}"))
    assert docker["Layers"] == config["rootfs"]["diff_ids"]


def test_a_registry_takes_an_image_with_its_log(
    small: tuple[LayoutStore, Image], tmp_path: Path, wheelhouse: Path
) -> None:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    store, image = small
    with oci_registry.running(tmp_path) as address:
        reference = Images(store).push(image, f"{address}/team")
        assert reference == f"{address}/team/four@{image.digest}"
        assert Images(store).push(image, f"{address}/team") == reference
        other = Images(LayoutStore(tmp_path / "other"))
        more = image_parts.package(tmp_path / "more.zip", b"more")
        another = other.build(more, "four", base=f"{store.folder}:bases/rootfs:1", wheels=wheelhouse)
        with pytest.raises(ConflictError) as error:
            other.push(another, f"{address}/team")
        assert str(error.value) == (
            f"{address}/team/four:1 is another image, {image.digest[:19]}…; "
            "delete it there, or copy to another place"
        )
        seen = run(program("skopeo"), "inspect", "--tls-verify=false", f"docker://{reference}")
        assert json.loads(seen)["Digest"] == image.digest
        remote = RegistryStore(f"{address}/team")
        found = remote.referrers("four", image.digest, "application/vnd.fieldwave.build.v1")
        assert [len(found), remote.tagged("four")[0].descriptor.digest] == [1, image.digest]
        # In a registry as the workspace's own store an image is built, listed and deleted like in a folder.
        copied = Images(store).copy(image, remote)
        assert (copied.id, copied.digest, copied.created) == ("four:1", image.digest, image.created)
        assert Images(remote).log(copied) == Images(store).log(image)
        assert Images(remote).reference(copied) == f"{address}/team/images/four@{image.digest}"
        Images(remote).delete(copied)
        assert Images(remote).find() == []


def test_an_image_is_built_in_a_registry(tmp_path: Path, wheelhouse: Path) -> None:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    package, base = image_parts.package(tmp_path / "four.zip"), image_parts.base(tmp_path / "base.tar")
    here = Images(LayoutStore(tmp_path / "store")).build(package, "four", base=str(base), wheels=wheelhouse)
    with oci_registry.running(tmp_path) as address:
        store = RegistryStore(f"{address}/team")
        there = Images(store).build(package, "four", base=str(base), wheels=wheelhouse)
        assert (there.id, there.digest) == ("four:1", here.digest)
        assert Images(store).build(package, "four", base="rootfs", wheels=wheelhouse).id == "four:1"


@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_a_base_comes_from_a_registry(small: tuple[LayoutStore, Image], tmp_path: Path, kind: str) -> None:
    """Docker's media types are other names for the same bytes; a base that is pulled keeps its layers."""
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    store, _ = small
    with oci_registry.running(tmp_path) as address:
        there = f"{address}/python:3.11"
        run(
            *(program("skopeo"), "copy", "-q", "--dest-tls-verify=false", f"--format={kind}"),
            *(f"oci:{store.folder}:bases/rootfs:1", f"docker://{there}"),
        )
        base = add_base(store, there)
        assert (base.id, base.reference, base.python) == ("registry:1", there, "/usr/bin/python3.11")
        assert add_base(store, there) == base
        layers = [store.manifest(each, "1")[1].layers for each in ("bases/rootfs", "bases/registry")]
        assert layers[0] == layers[1]


@pytest.mark.slow
def test_podman_runs_an_image_that_answers(
    podman: Podman, archive: Path, digits_image: Image, digits: Conversion
) -> None:
    loaded = podman("load", "-q", "-i", str(archive))
    assert digits_image.reference() in loaded
    assert podman.inspect(digits_image.reference())["Digest"] == digits_image.digest
    port = oci_registry.free_port()
    name = podman(
        *("run", "--detach", *HARDENED, f"--publish=127.0.0.1:{port}:50051"),
        *("--env=FIELDWAVE_INSECURE=1", digits_image.reference()),
    )
    pixels = zoo.digits_images().heldout_images[:5]
    with PredictionClient(f"127.0.0.1:{port}") as client:
        client.wait_until_ready(30)
        answers = [client.score_image(zoo.digit_png(each)) for each in pixels]
    labels = zoo.digits_images().heldout_labels[:5]
    assert [int(answer.argmax()) for answer in answers] == list(labels)
    about = "import os; print(os.getuid(), os.access('/', os.W_OK), os.path.exists('/bin/sh'))"
    assert podman("exec", name, "python3", "-c", about) == "1000 False False"
    assert podman("exec", name, "fieldwave", "--version").startswith("fieldwave ")
    podman("stop", "--time=20", name)
    assert podman.inspect(name)["State"]["ExitCode"] == 0


@pytest.mark.slow
def test_podman_pulls_what_was_pushed(
    podman: Podman, real: LayoutStore, digits_image: Image, tmp_path: Path
) -> None:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    with oci_registry.running(tmp_path) as address:
        reference = Images(real).push(digits_image, f"{address}/team")
        podman("pull", "-q", "--tls-verify=false", reference)
        assert podman.inspect(reference)["Digest"] == digits_image.digest
        assert podman("run", "--rm", "--entrypoint=fieldwave", reference, "--version").startswith("fieldwave ")


@pytest.mark.slow
def test_a_service_refuses_to_listen_unasked(podman: Podman, archive: Path, digits_image: Image) -> None:
    podman("load", "-q", "-i", str(archive))
    name = podman("run", "--detach", *HARDENED, digits_image.reference())
    assert podman("wait", name) == "1"
    logs = subprocess.run([*podman.command, "logs", name], env=podman.environment, capture_output=True, text=True)
    assert "--insecure" in logs.stderr + logs.stdout
