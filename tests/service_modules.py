"""Which modules a service imports: ``python -m tests.service_modules`` writes what images have byte code of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fieldwave.client import PredictionClient
from fieldwave.conversion import convert
from fieldwave.images import Images
from fieldwave.images.bytecode import MODULES
from fieldwave.keys import Keys, write_keys
from fieldwave.zoo import digit_png, digits_images
from tests import certificates, containers
from tests.containers import Podman

_PREFIXES = ("opt/fieldwave/lib/", "usr/lib/python3.11/")


def imported(podman: Podman, image: str, folder: Path) -> set[str]:
    """The modules that a service with all that it can have imports, until it has answered; not Fieldwave's own.

    Parameters:
        image: of the digits, as podman calls it.
    """
    keys, authority = Keys.generate(), certificates.Authority()
    cache, inside = folder / "cache", folder / "etc"
    for path in (cache, inside):
        path.mkdir()
        path.chmod(0o777)
    write_keys(inside / "keys", keys)
    _, key = authority.server(("localhost",)).write(inside)
    for path in (inside / "keys", *(inside / "keys").iterdir(), key):
        path.chmod(0o755 if path.is_dir() else 0o644)
    compiled = ["--env=PYTHONDONTWRITEBYTECODE=", "--env=PYTHONPYCACHEPREFIX=/cache", f"--volume={cache}:/cache"]
    given = ["--keys=/etc/fieldwave/keys", "--tls-cert=/etc/fieldwave/tls.crt", "--tls-key=/etc/fieldwave/tls.key"]
    ports = ["--probe-port=50052", "--http-port=50080"]
    options = [*compiled, f"--volume={inside}:/etc/fieldwave", "--publish=127.0.0.1::50051"]
    container = podman("run", "--detach", *options, image, *given, *ports)
    address = podman("port", container, "50051").replace("127.0.0.1", "localhost")
    with PredictionClient(
        address, use_ssl=True, access_token=keys.primary, root_certificates=authority.certificate
    ) as client:
        client.wait_until_ready(60)
        client.score_image(digit_png(digits_images().heldout_images[0]))
    podman("rm", "--force", "--time=1", container)
    tag = ".cpython-311.pyc"
    found = [path.relative_to(cache).as_posix() for path in cache.rglob(f"*{tag}")]
    names = {one.removeprefix(prefix) for one in found for prefix in _PREFIXES if one.startswith(prefix)}
    return {name.replace(tag, ".py") for name in names if not name.startswith("fieldwave/")}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, containers.podman(Path(scratch) / "podman") as podman:
        folder = Path(scratch)
        images = Images(containers.real_store(folder))
        (folder / "photo.png").write_bytes(digit_png(digits_images().calibration_images[0]))
        built = images.build(convert("digits", calibration=folder, output=folder / "digits.zip").path, "digits")
        images.export(built, folder / "digits.tar")
        podman("load", "--quiet", "--input", str(folder / "digits.tar"))
        names = imported(podman, f"localhost/fieldwave/digits@{built.digest}", folder)
        MODULES.write_text("".join(f"{name}\n" for name in sorted(names)))
        print(f"{MODULES}: {len(names)} modules")


if __name__ == "__main__":
    main()
