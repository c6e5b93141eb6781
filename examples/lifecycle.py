"""The whole life of a model: register, convert, image, deploy, score, clean up; here, on a cluster, on a box.

    pip install '.[convert,edge,kubernetes,store]'
    python examples/lifecycle.py
    python examples/lifecycle.py --target line3     # as in: fieldwave compute attach line3 --ssh user@line3
    python examples/lifecycle.py --target lab --set registry=registry.example/team --set tls_secret=lifecycle-tls

Everything is kept in the workspace that the working directory lies in, and each step can be looked at there while
it goes on. The same road in the shell::

    fieldwave models register digits.onnx --name lifecycle
    fieldwave convert lifecycle:1 --mean 0 --scale 0.00390625 --calibration photos --register --name lifecycle-int8
    fieldwave images build lifecycle-int8 --name lifecycle
    fieldwave services deploy --image lifecycle --name lifecycle --on line3
    fieldwave predict lifecycle photos/0.png --on line3
    fieldwave services delete lifecycle --on line3
    fieldwave images delete lifecycle:1
    fieldwave models delete lifecycle-int8:1 lifecycle:1
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx

from fieldwave import Workspace, zoo
from fieldwave.deploy import target
from fieldwave.deploy.kubernetes.settings import parse_settings
from fieldwave.frontends import Pixels
from fieldwave.jobs import build_image, convert

NAME = "lifecycle"
IMAGES = 60


def main() -> None:
    parser = argparse.ArgumentParser(description="The whole life of a model.")
    parser.add_argument("--target", default="", help="a compute target: local, or one that was attached")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of services on a cluster"
    )
    said = parser.parse_args()
    workspace = Workspace.find()
    digits = zoo.digits_images()
    with tempfile.TemporaryDirectory() as folder:
        model, photos = Path(folder) / "digits.onnx", Path(folder) / "photos"
        photos.mkdir()
        for index, pixels in enumerate(digits.heldout_images[:IMAGES]):
            (photos / f"{index}.png").write_bytes(zoo.digit_png(pixels))
        onnx.save(zoo.to_onnx(*zoo.load("digits", "")), model)

        source = workspace.registry.register(model, NAME, tags={"team": "vision"})
        print(f"registered {source.id}, {source.digest}")

        conversion = convert(
            source,
            name=f"{NAME}-int8",
            preprocessing=Pixels(mean=(0,), scale=1 / 256),
            calibration=photos,
            labels="0123456789",
            workspace=workspace,
        )
        conversion.wait_for_completion(show_output=True)
        package = conversion.result
        print(f"converted to {package.id}, from {package.source}")

        build = build_image(package, NAME, workspace=workspace)
        build.wait_for_completion(show_output=True)
        image = build.result
        print(f"built {image.id}, {image.size / 1e6:.1f} MB, {image.digest}")

        place = target(workspace, said.target, settings=parse_settings(said.set), note=print)
        service = place.deploy(image, NAME)
        print(f"deployed: {service.name} is {service.state} on {service.address}")
        try:
            with service.client() as client:
                scores = [client.score_file(photos / f"{index}.png") for index in range(IMAGES)]
        finally:
            place.delete(NAME)
        right = np.mean(np.argmax(scores, axis=1) == digits.heldout_labels[:IMAGES])
        print(f"served {len(scores)} digits: {right:.1%} right")

    workspace.images.delete(image)
    workspace.registry.delete(package)
    workspace.registry.delete(source)
    print("cleaned up: service, image and both models are deleted")


if __name__ == "__main__":
    main()
