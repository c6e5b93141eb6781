from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldwave.errors import ArtifactError, ConflictError, InputError, NotFoundError
from fieldwave.images import Image, Images
from fieldwave.registry import Registry
from fieldwave.store import LayoutStore
from tests import image_parts
from tests.image_parts import wheelhouse as wheelhouse


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "store")


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(image_parts.base(tmp_path / "base.tar"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return image_parts.package(tmp_path / "four.zip")


def build(store: LayoutStore, package: Path, base: str, wheels: Path, name: str = "four", **more: object) -> Image:
    return Images(store).build(package, name, base=base, wheels=wheels, **more)  # type: ignore[arg-type]


def config(store: LayoutStore, image: Image) -> dict[str, object]:
    _, manifest = store.manifest(image.repository, image.digest)
    value: dict[str, object] = json.loads(b"".join(store.read(image.repository, manifest.config)))
    return value


def files(store: LayoutStore, image: Image, layer: int) -> dict[str, tarfile.TarInfo]:
    _, manifest = store.manifest(image.repository, image.digest)
    data = b"".join(store.read(image.repository, manifest.layers[layer]))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {member.name: member for member in archive}


def test_an_image_is_base_wheels_fieldwave_and_package(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    image = build(store, package, base, wheelhouse, tags={"team": "vision"}, labels={"org.example": "yes"})
    assert (image.id, image.network, image.platform, image.model) == ("four:1", "four", "linux/amd64", "")
    assert (image.tags, image.labels) == ({"team": "vision"}, {"org.example": "yes"})
    _, manifest = store.manifest("images/four", "1")
    assert image.size == sum(layer.size for layer in manifest.layers)
    assert [layer.media_type for layer in manifest.layers] == ["application/vnd.oci.image.layer.v1.tar+gzip"] * 4
    assert set(files(store, image, 0)) == {entry[0].rstrip("/") for entry in image_parts.ROOT}
    libraries = files(store, image, 1)
    assert {"opt/fieldwave/lib/first/__init__.py", "opt/fieldwave/lib/second.py"} <= set(libraries)
    assert "opt" not in libraries
    assert "opt/fieldwave/lib/fieldwave/serving/serve.py" in files(store, image, 2)
    assert list(files(store, image, 3)) == ["opt/fieldwave/package.zip"]
    assert Images(store).package(image) == package.read_bytes()


def test_all_of_ours_is_roots_at_the_time_0_with_modes_of_our_own(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    image = build(store, package, base, wheelhouse)
    for layer in (1, 2, 3):
        for member in files(store, image, layer).values():
            assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
            program = member.isdir() or member.name.endswith("bin/fieldwave")
            assert member.mode == (0o777 if member.issym() else 0o755 if program else 0o644), member.name


def test_what_a_container_is_told(store: LayoutStore, package: Path, base: str, wheelhouse: Path) -> None:
    image = build(store, package, base, wheelhouse)
    written = config(store, image)
    settings = written["config"]
    assert isinstance(settings, dict)
    assert settings["User"] == "1000"
    assert settings["Entrypoint"] == [
        *("/usr/bin/python3.11", "-m", "fieldwave", "serve", "/opt/fieldwave/package.zip", "--host", "0.0.0.0"),
    ]
    assert "MALLOC_TRIM_THRESHOLD_=268435456" in settings["Env"]
    assert "PYTHONPATH=/opt/fieldwave/lib" in settings["Env"]
    assert settings["ExposedPorts"] == {"50051/tcp": {}, "50052/tcp": {}}
    assert settings["Labels"]["dev.fieldwave.package"] == image.package
    assert (written["architecture"], written["os"], written["created"]) == (
        "amd64",
        "linux",
        "1970-01-01T00:00:00Z",
    )
    assert len(written["rootfs"]["diff_ids"]) == len(written["history"]) == 4  # type: ignore[index,arg-type]


_ELSEWHERE = """
import datetime, os, sys, time
os.umask(int(sys.argv[1], 8))
os.environ["TZ"] = sys.argv[2]
time.tzset()
sys.path.insert(0, {root!r})
from pathlib import Path
from fieldwave.images import Images, images, lock
from fieldwave.store import LayoutStore

class Later(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return super().now(zone) + datetime.timedelta(days=500)

images.datetime = Later
lock._FOLDER = Path({locks!r})
built = Images(LayoutStore(sys.argv[3])).build(
    {package!r}, "four", base={base!r}, wheels={wheels!r}, tags=dict(t=sys.argv[2])
)
print(built.digest, built.version, built.created[:4])
"""


def test_builds_elsewhere_give_one_digest(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    """Another umask, time zone, folder, home, locale, hash seed and clock."""
    image = build(store, package, base, wheelhouse)
    script = _ELSEWHERE.format(
        root=str(Path(__file__).parents[1] / "src"),
        locks=str(tmp_path),
        package=str(package),
        base=base,
        wheels=str(wheelhouse),
    )
    year = str(datetime.now(UTC).year)
    for umask, zone in (("077", "Asia/Kathmandu"), ("000", "America/St_Johns")):
        folder = tmp_path / f"elsewhere{umask}"
        folder.mkdir()
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "LC_ALL": "C", "HOME": "/"}
        done = subprocess.run(
            [sys.executable, "-c", script, umask, zone, str(folder / "store")],
            env={**environment, "PYTHONHASHSEED": umask.lstrip("0") or "1"},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        digest, version, created = done.stdout.split()
        assert (digest, version) == (image.digest, "1")
        assert created > year


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_another_user_builds_the_same(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    image = build(store, package, base, wheelhouse)
    for path in (tmp_path, *tmp_path.parents):
        path.chmod(path.stat().st_mode | 0o011)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            built = build(LayoutStore(tmp_path / "theirs" / "store"), package, base, wheelhouse)
            (tmp_path / "theirs" / "digest").write_text(built.digest)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    if not (tmp_path / "theirs" / "digest").exists():
        pytest.skip("another user may not read this clone")
    assert (tmp_path / "theirs" / "digest").read_text() == image.digest


def test_built_again_it_is_the_version_that_is_there(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    first = build(store, package, base, wheelhouse, tags={"team": "vision", "stage": "test"})
    again = build(store, package, base, wheelhouse, tags={"stage": "production"})
    assert (again.id, again.digest, again.created) == ("four:1", first.digest, first.created)
    assert again.tags == {"stage": "production", "team": "vision"}
    assert Images(store).find() == [again]


def test_a_new_model_costs_one_layer(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    first = build(store, package, base, wheelhouse)
    blobs = {path.name for path in (store.folder / "blobs" / "sha256").iterdir()}
    second = build(store, image_parts.package(tmp_path / "other.zip", b"other"), "rootfs", wheelhouse)
    assert (second.id, second.digest != first.digest) == ("four:2", True)
    added = {path.name: path.stat().st_size for path in (store.folder / "blobs" / "sha256").iterdir()}
    added = {name: size for name, size in added.items() if name not in blobs}
    # The package's layer, the configuration, the manifest, the log and its manifest.
    assert len(added) == 5
    assert sum(added.values()) < 20_000


def test_a_registered_package_is_named(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    registry = Registry(store)
    model = registry.register(package, "four")
    image = Images(store).build(model, "four", base=base, wheels=wheelhouse)
    assert image.model == f"four:1@{model.digest}"
    assert image.package == model.facts["package"]
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    other = registry.register(tmp_path / "net.onnx", "net")
    with pytest.raises(InputError) as error:
        Images(store).build(other, "net", base=base, wheels=wheelhouse)
    assert str(error.value) == (
        "model net:1 is of the kind 'onnx', and an image is made of a package; "
        "convert it first: fieldwave convert net:1 --register"
    )


def test_a_build_leaves_its_log_as_a_referrer(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    seen: list[str] = []
    image = build(store, package, base, wheelhouse, log=seen.append)
    assert [line.partition(" ")[2] for line in Images(store).log(image)] == seen
    assert seen[0] == f"package {image.package}: network four, {package.stat().st_size:,} bytes"
    assert seen[-1] == f"image {image.digest}"
    found = store.referrers("images/four", image.digest, "application/vnd.fieldwave.build.v1")
    assert len(found) == 1


def test_an_image_is_found_by_name_version_and_tag(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    images = Images(store)
    with pytest.raises(NotFoundError) as error:
        images.get("four")
    assert str(error.value) == "there is no image 'four': build one first"
    first = build(store, package, base, wheelhouse, tags={"stage": "test"})
    second = build(store, image_parts.package(tmp_path / "b.zip", b"b"), base, wheelhouse, tags={"stage": "live"})
    other = build(store, package, base, wheelhouse, name="other")
    assert (images.get("four"), images.get("four:1"), images.get("four:latest")) == (second, first, second)
    assert other.digest == first.digest
    assert images.find() == [first, second, other]
    assert images.find("four", latest=True) == images.find(tags=["stage=live"]) == [second]
    assert images.find(tags=["stage"]) == [first, second]
    with pytest.raises(NotFoundError) as error:
        images.get("four:7")
    assert str(error.value) == "image 'four' has no version '7': it has 1, 2"
    with pytest.raises(NotFoundError) as error:
        images.get("five")
    assert str(error.value) == "there is no image 'five': there are four, other"


def test_a_used_image_is_not_deleted_and_no_number_is_given_again(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    image = build(store, package, base, wheelhouse)
    used = Images(store, lambda image: ["service a", "service b"])
    with pytest.raises(ConflictError) as error:
        used.delete(image)
    assert str(error.value) == "image four:1 is used by service a and service b; delete that first"
    Images(store).delete(image)
    assert Images(store).find() == []
    assert [entry.tag for entry in store.tagged("images/four")] == ["1.deleted"]
    store.collect_garbage()
    assert build(store, package, base, wheelhouse).id == "four:2"


@pytest.mark.parametrize("name", ["", "Four", "a/b", "../four", "a b", "-a", "a" * 101])
def test_a_name_outside_the_grammar_is_refused(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, name: str
) -> None:
    with pytest.raises(InputError) as error:
        build(store, package, base, wheelhouse, name=name)
    assert str(error.value) == (
        f"{name!r} is no name for an image: use lower-case letters and digits, "
        "with single '.', '_' or '-' between them, at most 100"
    )


def test_a_label_of_ours_is_refused(store: LayoutStore, package: Path, base: str, wheelhouse: Path) -> None:
    with pytest.raises(InputError) as error:
        build(store, package, base, wheelhouse, labels={"dev.fieldwave.package": "x"})
    assert (
        str(error.value) == "the label 'dev.fieldwave.package' is written by fieldwave itself; choose another key"
    )
    assert Images(store).find() == []


def test_a_flipped_bit_in_an_image_is_found(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path
) -> None:
    image = build(store, package, base, wheelhouse)
    _, manifest = store.manifest(image.repository, image.digest)
    blob = store.folder / "blobs" / "sha256" / manifest.layers[-1].digest.removeprefix("sha256:")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with pytest.raises(ArtifactError, match="is damaged"):
        Images(store).package(image)
    with pytest.raises(ArtifactError, match="is damaged"):
        Images(store).export(image, store.folder / "out.tar")
    assert not (store.folder / "out.tar").exists()


def test_an_exported_image_is_one_archive_for_all(
    store: LayoutStore, package: Path, base: str, wheelhouse: Path, tmp_path: Path
) -> None:
    image = build(store, package, base, wheelhouse)
    Images(store).export(image, tmp_path / "one.tar")
    Images(store).export(image, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        names = archive.getnames()
        index = json.loads(archive.extractfile("index.json").read())  # type: ignore[union-attr]
        docker = json.loads(archive.extractfile("manifest.json").read())[0]  # type: ignore[union-attr]
    (entry,) = index["manifests"]
    name = f"localhost/fieldwave/four:1-{image.digest[7:19]}"
    assert entry["digest"] == image.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == name == image.reference()
    assert docker["RepoTags"] == [name]
    assert {docker["Config"], *docker["Layers"]} < set(names)
    assert image.reference("registry.example/team") == f"registry.example/team/four@{image.digest}"
    with pytest.raises(ConflictError):
        Images(store).export(image, tmp_path / "one.tar")


def _killed_at(point: int, store: LayoutStore, package: Path, base: str, wheelhouse: Path) -> bool:
    """Build in a process that is killed at the point-th time that it makes something durable; whether it was."""
    pid = os.fork()
    if pid == 0:
        real, calls = os.fsync, 0

        def fsync(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        os.fsync = fsync
        try:
            build(store, package, base, wheelhouse)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(range(1, 60, 9), id="some"),
        pytest.param(range(1, 60), id="all", marks=pytest.mark.slow),
    ],
)
def test_a_build_that_is_killed_leaves_no_half_image(
    tmp_path: Path, package: Path, base: str, wheelhouse: Path, points: range
) -> None:
    old = image_parts.package(tmp_path / "old.zip", b"old")
    whole = build(LayoutStore(tmp_path / "whole"), package, base, wheelhouse)
    killed = 0
    for point in points:
        store = LayoutStore(tmp_path / f"store{point}")
        before = Images(store).build(old, "old", base=base, wheels=wheelhouse) if point % 2 else None
        killed += _killed_at(point, store, package, base, wheelhouse)
        images = Images(store)
        found = images.find()
        assert [image.name for image in found if image.name != "four"] == (["old"] if before else [])
        for image in found:
            assert image.created
            assert images.package(image) == (old if image.name == "old" else package).read_bytes()
        if (store.folder / "index.json").exists():
            store.collect_garbage()
        assert build(store, package, base, wheelhouse).digest == whole.digest
        assert [image.id for image in images.find("four")] == ["four:1"]
    assert killed >= (3 if len(points) < 20 else 15)
