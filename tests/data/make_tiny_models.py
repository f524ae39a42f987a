"""Make the tiny int8 networks beside this file (needs the ``convert`` extra's TensorFlow).

    python tests/data/make_tiny_models.py

Each has a picture as its input and two outputs, so that tests of the inference port run a real
interpreter on a real network of a few KB. Weights come from a fixed seed.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
HEIGHT, WIDTH = 16, 24


def network() -> keras.Model:
    """Convolution, depthwise convolution, mean and a 1x1 head; a map and a score vector."""
    keras.utils.set_random_seed(7)
    picture = keras.Input((HEIGHT, WIDTH, 3), batch_size=1, name="picture")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(picture)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    grid = keras.layers.Conv2D(4, 1, name="grid")(x)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    scores = keras.layers.Conv2D(3, 1)(pooled)
    scores = keras.layers.Softmax(name="scores")(keras.layers.Reshape((3,))(scores))
    return keras.Model(picture, [grid, scores], name="tiny")


def convert(model: keras.Model, dtype: tf.DType | None) -> bytes:
    """To TFLite: fully int8 with inputs and outputs of ``dtype``, or float32 for None."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if dtype is not None:
        rng = np.random.default_rng(7)
        pictures = rng.uniform(0, 255, (32, 1, HEIGHT, WIDTH, 3)).astype(np.float32)
        pictures[0], pictures[1] = 0, 255
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([p] for p in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = dtype
    result: bytes = converter.convert()
    return result


def main() -> None:
    """Write the files."""
    model = network()
    for name, dtype in (("uint8", tf.uint8), ("int8", tf.int8), ("float32", None)):
        path = HERE / f"tiny_{name}.tflite"
        path.write_bytes(convert(model, dtype))
        print(path.name, path.stat().st_size)  # noqa: T201 - what a script is for


if __name__ == "__main__":
    main()
