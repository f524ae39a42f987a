"""Kernels rounded while training as int8 rounds them."""

from pathlib import Path

import numpy as np
import pytest
from keras_noise import IGNORED

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="training needs a backend")

import tensorflow as tf

from convert.detector.network import build_detector, training_model
from convert.detector.rounded import LEVELS, channel_axes, rounded

pytestmark = IGNORED

WEIGHTS = Path(__file__).parents[2] / "models" / "training" / "face_detector.weights.h5"
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)


@pytest.fixture
def network():
    network = build_detector(64, 64)
    network.load_weights(WEIGHTS)
    return network


def test_a_channel_lies_on_a_grid_of_its_largest_weight():
    kernel = np.random.default_rng(1).normal(0, [1, 10, 0.1], (3, 3, 4, 3)).astype(np.float32)
    kernel[..., 2] = 0
    found = np.asarray(rounded(kernel, (3,)))

    step = np.abs(kernel[..., :2]).max((0, 1, 2)) / LEVELS
    whole = found[..., :2] / step
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)
    assert np.all(np.abs(found - kernel)[..., :2] <= step / 2 * 1.001)
    assert not found[..., 2].any()
    assert len(np.unique(np.round(whole[..., 1]))) > 10


def test_training_sees_the_rounded_network_and_leaves_the_weights_as_they_are(network):
    before = network.get_weights()
    trained_with = training_model(network).predict(PICTURES, verbose=0)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    exact = _cells(network)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([np.asarray(rounded(kernel, channel_axes(layer))), bias])
    np.testing.assert_allclose(trained_with, _cells(network), atol=1e-3)
    assert np.abs(trained_with - exact).max() > 0.03


def _cells(network):
    outputs = network.predict(PICTURES / 127.5 - 1, verbose=0)
    levels = zip(outputs[::2], outputs[1::2], strict=True)
    return np.concatenate(
        [np.concatenate(level, axis=-1).reshape(2, -1, 5) for level in levels], axis=1
    )


def test_what_rounding_does_to_a_loss_the_exact_kernels_learn(network):
    model = training_model(network)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(PICTURES)))
    gradients = tape.gradient(loss, network.trainable_weights)
    assert len(gradients) == len(network.weights)
    assert not [v.path for v, g in zip(network.weights, gradients, strict=True) if g is None]

    kernel = network.get_layer("score8").kernel
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(3 * rounded(kernel.value, (3,)))
    np.testing.assert_array_equal(tape.gradient(loss, kernel.value), np.full(kernel.shape, 3.0))
