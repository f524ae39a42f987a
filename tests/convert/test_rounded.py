"""Kernels rounded while training as int8 rounds them."""

from pathlib import Path

import numpy as np
import pytest
from keras_noise import IGNORED

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="training needs a backend")

import keras
import tensorflow as tf
from keras import ops

from convert.classifier.model import build
from convert.classifier.recipe import Recipe
from convert.classifier.train import second_stage
from convert.detector.network import build_detector, training_model
from convert.rounded import LEVELS, channel_axes, exact, rounded, with_rounded

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

    as_they_are = _cells(network)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([np.asarray(rounded(kernel, channel_axes(layer))), bias])
    np.testing.assert_allclose(trained_with, _cells(network), atol=1e-3)
    assert np.abs(trained_with - as_they_are).max() > 0.03


def test_it_runs_with_the_values_that_a_surrounding_scope_gives(network):
    """As JAX trains: for the time of a step the variables themselves hold nothing."""
    model = training_model(network)
    values = [np.zeros(v.shape, np.float32) for v in model.variables]
    with keras.StatelessScope(
        zip(model.variables, map(ops.convert_to_tensor, values), strict=True)
    ):
        outputs = np.asarray(model(PICTURES))
    assert not outputs.any()
    assert np.asarray(model(PICTURES)).any()


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


def on_its_grid(layer):
    return np.asarray(rounded(layer.kernel.value, channel_axes(layer)))


def small_classifier():
    network = build("mobilenet_v2", alpha=0.35, size=64, dropout=0.5)
    for layer in network.layers:
        if _has_kernel(layer):
            layer.kernel.assign(on_its_grid(layer))
    return network


def test_all_but_the_kernels_is_as_without_rounding():
    """Batch statistics are gathered and applied, what is dropped is drawn anew."""
    network = small_classifier()
    before = [np.array(w) for w in network.get_weights()]
    plain = network(PICTURES, training=True).numpy()
    gathered = [np.array(w) for w in network.get_weights()]
    moved = [i for i, (a, b) in enumerate(zip(before, gathered, strict=True)) if (a != b).any()]
    assert len(moved) == 2 * sum("bn" in layer.name.lower() for layer in network.layers) > 90

    network.set_weights(before)
    model = with_rounded(network)
    model(PICTURES, training=False)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    first, second = (model(PICTURES, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.01  # other features were dropped
    assert first.shape == plain.shape

    network.set_weights(before)
    model(PICTURES, training=True)
    for one, other in zip(gathered, network.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_the_classifiers_second_stage_sees_rounded_kernels_and_moves_exact_ones():
    network = build("cnn", size=64, dropout=0.0)
    first = next(layer for layer in network.layers if _has_kernel(layer))
    model = second_stage(network, Recipe(size=64, backbone="cnn", freeze=first.name))
    assert exact(model).layers == network.layers
    assert exact(network) is network
    trained_with = model.predict(PICTURES, verbose=0)
    assert apart(network.predict(PICTURES, verbose=0), trained_with) > 1e-3

    weights = network.get_weights()
    kernels = {layer: np.array(layer.kernel) for layer in network.layers if _has_kernel(layer)}
    model.train_on_batch(PICTURES, np.eye(3, dtype=np.float32)[:2])
    moved = {layer for layer, kernel in kernels.items() if (np.array(layer.kernel) != kernel).any()}
    assert moved == kernels.keys() - {first}

    network.set_weights(weights)
    for layer in kernels:
        layer.kernel.assign(on_its_grid(layer))
    assert apart(network.predict(PICTURES, verbose=0), trained_with) < 1e-5


def apart(one, other):
    """Their largest difference as a share of the largest value."""
    return np.abs(one - other).max() / np.abs(other).max()


def _has_kernel(layer):
    return hasattr(layer, "kernel")
