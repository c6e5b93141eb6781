"""Small TensorFlow models in the shapes that users have: the tutorial's of the retired service, and Keras'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fieldwave import zoo
from fieldwave.frontends.tensorflow_runtime import quiet_tensorflow

SIZE, SHORTEST_SIDE = 16, 20
MEAN = (123.68, 116.779, 103.939)
INPUT, OUTPUT = "in_images:0", "classifier_1/resnet_v1_50/predictions/Softmax:0"


def tutorial(
    folder: Path,
    *,
    crop: bool = True,
    order: str = "RGB",
    scale: float = 1.0,
    control_flow_v2: bool = False,
    half_pixel: bool = False,
) -> Path:
    """``simple_save`` of encoded images -> preprocessing in a map_fn -> network -> classifier.

    The preprocessing computes what the retired service's ``preprocess_array`` is documented to compute.
    """
    with quiet_tensorflow() as tf:
        v1 = tf.compat.v1
        (v1.enable_control_flow_v2 if control_flow_v2 else v1.disable_control_flow_v2)()
        try:
            with tf.Graph().as_default():
                images = v1.placeholder(tf.string, name=INPUT.split(":")[0])
                pixels = tf.map_fn(
                    lambda data: prepared(tf, data, crop, order, scale, half_pixel),
                    images,
                    dtype=tf.float32,
                    name="map_normalize_jpeg",
                )
                pixels.set_shape([None, SIZE, SIZE, 3])
                scores = network(tf, pixels, use_resource=control_flow_v2)
                with v1.Session() as session:
                    session.run(v1.global_variables_initializer())
                    v1.saved_model.simple_save(
                        session, str(folder), inputs={"images": images}, outputs={"output_alias": scores}
                    )
        finally:
            v1.enable_control_flow_v2()
    return folder


def prepared(
    tf: Any,
    data: Any,
    crop: bool,
    order: str,
    scale: float,
    half_pixel: bool = False,
    size: int = SIZE,
    shortest_side: int = SHORTEST_SIDE,
) -> Any:
    """One encoded image to [size, size, 3]."""
    v1 = tf.compat.v1
    image = tf.cast(tf.image.decode_png(data, 3), tf.float32)
    resized = tf.constant([size, size])
    if crop:
        height, width = (tf.cast(tf.shape(image)[axis], tf.float32) for axis in (0, 1))
        side = tf.constant(float(shortest_side))
        factor = tf.cond(height > width, lambda: side / width, lambda: side / height)
        resized = tf.stack([tf.cast(height * factor, tf.int32), tf.cast(width * factor, tf.int32)])
    image = v1.image.resize_bilinear(image[tf.newaxis], resized, half_pixel_centers=half_pixel)[0]
    if crop:
        top, left = (resized[0] - size) // 2, (resized[1] - size) // 2
        image = tf.slice(image, tf.stack([top, left, 0]), [size, size, -1])
    planes = [plane - mean for plane, mean in zip(tf.split(image, 3, axis=2), MEAN, strict=True)]
    return tf.concat(planes if order == "RGB" else planes[::-1], 2) * scale


def network(tf: Any, pixels: Any, use_resource: bool) -> Any:
    """A residual network with batch norms in two layers, a pool and the default classifier's names."""
    v1 = tf.compat.v1
    rng = np.random.default_rng(0)

    def variable(name: str, shape: tuple[int, ...], spread: float = 0.2, centre: float = 0.0) -> Any:
        value = rng.normal(centre, spread, shape).astype(np.float32)
        return v1.get_variable(name, initializer=value, use_resource=use_resource)

    training = v1.placeholder_with_default(True, (), "is_training")
    with v1.variable_scope("resnet_v1_50"):
        x = tf.pad(pixels, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.conv2d(x, variable("conv1/weights", (3, 3, 3, 8), 0.02), 2, "VALID")
        x, _, _ = v1.nn.fused_batch_norm(
            x,
            variable("conv1/gamma", (8,), centre=1.0),
            variable("conv1/beta", (8,)),
            variable("conv1/moving_mean", (8,)),
            tf.abs(variable("conv1/moving_variance", (8,), centre=1.0)),
            is_training=False,
        )
        x = tf.nn.max_pool2d(tf.nn.relu(x), 3, 2, "SAME")
        branch = tf.nn.conv2d(x, variable("conv2/weights", (3, 3, 8, 8)), 1, "SAME")
        x = tf.nn.relu(x + tf.nn.bias_add(branch, variable("conv2/biases", (8,))))
        x = tf.cond(training, lambda: x * 0.0, lambda: x)  # a network that learns computes something else
        features = tf.reduce_mean(x, [1, 2], keepdims=True, name="pool5")
    with v1.name_scope("classifier_1/resnet_v1_50/"):
        logits = tf.nn.conv2d(features, variable("logits/weights", (1, 1, 8, 10), 1.0), 1, "SAME")
        logits = tf.squeeze(logits + variable("logits/biases", (10,)), [1, 2])
        return tf.nn.softmax(logits, name="predictions/Softmax")


def of_the_zoo(folder: Path, network: zoo.Network, weights: Any) -> Path:
    """The tutorial's road with a network of the zoo, saved as one that learns: ``is_training`` is true."""
    spec = network.preprocessing
    with quiet_tensorflow() as tf:
        v1 = tf.compat.v1
        with tf.Graph().as_default():
            images = v1.placeholder(tf.string, name=INPUT.split(":")[0])
            pixels = tf.map_fn(
                lambda data: prepared(
                    tf,
                    data,
                    spec.resize == "crop",
                    spec.order,
                    spec.scale,
                    size=spec.height,
                    shortest_side=spec.shortest_side,
                ),
                images,
                fn_output_signature=tf.float32,
            )
            pixels.set_shape([None, spec.height, spec.width, 3])
            built = zoo.to_tensorflow(network, weights, source=pixels, is_training=True)
            with v1.Session() as session:
                built.restore(session)
                outputs = {f"output_{index}": tensor for index, tensor in enumerate(built.outputs)}
                v1.saved_model.simple_save(session, str(folder), inputs={"images": images}, outputs=outputs)
    return folder


def keras_network(folder: Path, *, rescaling: tuple[float, float] | None = (1 / 127.5, -1.0)) -> Path:
    """A Keras model with its rescaling inside, exported as a SavedModel of TensorFlow 2."""
    with quiet_tensorflow() as tf:
        keras = tf.keras
        keras.utils.set_random_seed(0)
        images = keras.Input((SIZE, SIZE, 3), name="photo")
        x = images if rescaling is None else keras.layers.Rescaling(rescaling[0], offset=rescaling[1])(images)
        x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(8, 3, strides=2)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
        x = keras.layers.ReLU(6.0)(keras.layers.DepthwiseConv2D(3, padding="same")(x))
        x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
        scores = keras.layers.Dense(10, activation="softmax", bias_initializer="random_normal")(x)
        keras.Model(images, scores).export(str(folder), verbose=False)
    return folder


def answers(folder: Path, feed: Any) -> Any:
    """What TensorFlow itself computes with the default signature."""
    with quiet_tensorflow() as tf:
        function = tf.saved_model.load(str(folder)).signatures["serving_default"]
        (result,) = function(**{next(iter(function.structured_input_signature[1])): tf.constant(feed)}).values()
        return result.numpy()
