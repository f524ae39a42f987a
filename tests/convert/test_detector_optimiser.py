"""Which weights Muon moves, and how."""

import numpy as np
import pytest
from keras_noise import IGNORED

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="training needs a backend")

import keras

from convert.detector.network import build_detector
from convert.detector.optimiser import PointwiseMuon

pytestmark = IGNORED

RATE = 1e-3


@pytest.fixture(scope="module")
def network():
    return build_detector(64, 64)


def moved(variable, gradient):
    """The variable's change in one step."""
    before = np.asarray(variable)
    optimiser = PointwiseMuon(RATE, weight_decay=0.0, adam_weight_decay=0.0)
    optimiser.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return np.asarray(variable) - before


def test_a_step_of_a_pointwise_convolution_is_orthogonal_and_as_long_as_adams(network):
    kernel = network.get_layer("smooth8_conv").kernel
    step = moved(kernel, np.random.default_rng(0).normal(0, 1e-3, kernel.shape).astype("float32"))
    sizes = np.linalg.svd(step[0, 0], compute_uv=False)

    assert sizes.max() / np.median(sizes) < 1.8  # a random matrix has 2 and more
    assert np.sqrt((step**2).mean()) == pytest.approx(0.2 * RATE, rel=0.3)


@pytest.mark.parametrize(
    ("layer", "index"),
    [("Conv1", 0), ("head8_depthwise1", 0), ("score8", 0), ("box8_conv", 0), ("smooth8_conv", 1)],
)
def test_all_other_weights_take_adamws_step(network, layer, index):
    variable = network.get_layer(layer).weights[index]
    gradient = np.random.default_rng(1).normal(0, 1, variable.shape).astype("float32")
    np.testing.assert_allclose(
        moved(variable, gradient), -RATE * np.sign(gradient), rtol=0.02, atol=1e-6
    )


def test_it_is_kept_with_the_model(tmp_path, network):
    model = keras.Model(network.input, network.get_layer("score8").output)
    model.compile(PointwiseMuon(RATE), loss="mse")
    model.save(tmp_path / "some.keras")
    again = keras.models.load_model(tmp_path / "some.keras")
    assert isinstance(again.optimizer, PointwiseMuon)
