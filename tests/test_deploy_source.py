"""What can be deployed, and that it is kept while a service uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldwave.deploy import LocalTarget, users
from fieldwave.deploy.source import found
from fieldwave.errors import ConflictError, InputError, NotFoundError
from fieldwave.images import Images
from fieldwave.registry import Registry
from fieldwave.workspace import Workspace
from tests import image_parts
from tests.image_parts import wheelhouse as wheelhouse
from tests.test_deploy_local import running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "project")


@pytest.fixture
def target(workspace: Workspace) -> Iterator[LocalTarget]:
    target = running(workspace.root, "serving")
    yield target
    for service in target.list():
        target.delete(service.name, timeout=1)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return image_parts.package(tmp_path / "four.zip")


def test_a_file_is_what_it_is(package: Path, workspace: Workspace) -> None:
    with found(str(package), workspace) as it:
        assert (it.path, it.package.manifest.network, it.model, it.image) == (package, "four", "", "")
    with pytest.raises(NotFoundError), found(package.with_name("nope.zip"), workspace):
        pass


def test_a_registered_package_is_a_file_for_a_while(package: Path, workspace: Workspace) -> None:
    model = workspace.registry.register(package, "four")
    with found(model, workspace) as it:
        path = it.path
        assert path.read_bytes() == package.read_bytes()
        assert (it.model, it.image) == (f"four:1@{model.digest}", "")
    assert not path.exists()


def test_a_model_of_another_kind_is_not_deployed(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "net.onnx").write_bytes(b"a network")
    model = workspace.registry.register(tmp_path / "net.onnx", "net")
    with pytest.raises(InputError) as caught, found(model, workspace):
        pass
    assert str(caught.value) == (
        "model net:1 is of kind 'onnx', services serve packages; convert it first: fieldwave convert net:1"
    )


def test_a_model_is_kept_while_a_service_uses_it(package: Path, target: LocalTarget) -> None:
    registry = Registry(target.workspace.store, users=users(target.workspace))
    first, second = (registry.register(package, "four") for _ in range(2))
    service = target.deploy(first, "one")
    assert service.model == f"four:1@{first.digest}"
    target.deploy(package, "two")
    registry.delete(second)
    with pytest.raises(ConflictError) as caught:
        registry.delete(first)
    assert str(caught.value) == "model four:1 is used by service 'one'; delete that first"
    # What it changes to is what it uses.
    third = registry.register(package, "four")
    target.update("one", third)
    registry.delete(first)
    with pytest.raises(ConflictError):
        registry.delete(third)
    target.delete("one")
    registry.delete(third)


def test_an_image_s_package_is_served_and_the_image_is_kept_but_not_its_model(
    tmp_path: Path, package: Path, target: LocalTarget, wheelhouse: Path
) -> None:
    used = users(target.workspace)
    registry, images = Registry(target.workspace.store, users=used), Images(target.workspace.store, users=used)
    model = registry.register(package, "four")
    base = str(image_parts.base(tmp_path / "base.tar"))
    image = images.build(model, "four-image", base=base, wheels=wheelhouse)
    service = target.deploy(image, "four")
    assert (service.image, service.model) == (f"four-image:1@{image.digest}", f"four:1@{model.digest}")
    assert service.package == image.package
    assert target.package("four").digest == image.package
    with pytest.raises(ConflictError) as caught:
        images.delete(image)
    assert str(caught.value) == "image four-image:1 is used by service 'four'; delete that first"
    registry.delete(model)
    target.delete("four")
    images.delete(image)
