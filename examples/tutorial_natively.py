"""The road of the retired service's tutorial, natively: the same graph, the same calls, the same bytes.

    pip install '.[tensorflow,gateware]'
    python examples/tutorial_natively.py snowleopard.jpg

``fieldwave legacy run --explain`` tells for each line of the tutorial which of these it is.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from fieldwave import Workspace, zoo
from fieldwave.compat.azureml.accel.models.utils import preprocess_array
from fieldwave.deploy import target, users
from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow
from fieldwave.images import Images
from fieldwave.jobs import build_image, convert
from fieldwave.postprocess import top_k
from fieldwave.registry import Registry

NPU = "arria10-1150"


def save_model(folder: Path) -> tuple[str, str]:
    """A SavedModel from image files to the probabilities of 1000 classes; the names of its input and output."""
    network, weights = zoo.load("resnet50", "random:0")
    with quiet_tensorflow() as tf, tf.Graph().as_default():
        v1 = tf.compat.v1
        images = v1.placeholder(tf.string)
        built = zoo.to_tensorflow(network, weights, source=preprocess_array(images), is_training=True)
        with v1.Session() as session:
            built.restore(session)
            v1.saved_model.simple_save(
                session, str(folder), inputs={"images": images}, outputs={"output_alias": built.outputs[0]}
            )
        return images.name, built.outputs[0].name


def main(photo: Path, scores_file: Path | None = None) -> None:
    workspace = Workspace.find()
    with tempfile.TemporaryDirectory() as folder:
        input_name, output_name = save_model(Path(folder) / "saved_model")
        registered = workspace.registry.register(Path(folder) / "saved_model", "resnet50")
    print("registered", registered.id)

    calibration = workspace.root / "calibration"  # photographs such as the service will see
    conversion = convert(registered, input_name, output_name, NPU, calibration=calibration, workspace=workspace)
    conversion.wait_for_completion(show_output=True)
    package = conversion.result
    print("converted", package.id)

    build = build_image(package, "resnet50-image", workspace=workspace)
    build.wait_for_completion(show_output=True)
    image = build.result
    print("built", image.id, image.digest)

    place = target(workspace)
    service = place.deploy(image, "resnet50")
    with service.client() as client:
        scores = client.score_file(photo, outputs=output_name)
    for best in top_k(scores, zoo.imagenet_labels(), 5):
        print(f"{best.label}: {best.probability:.4f}")
    if scores_file is not None:
        np.save(scores_file, scores)

    place.delete("resnet50")
    Images(workspace.store, users=users(workspace)).delete(image)
    for model in (registered, package):
        Registry(workspace.store, users=users(workspace)).delete(model)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
