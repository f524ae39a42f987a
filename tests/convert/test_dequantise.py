import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs the extra 'convert'")

from convert.classifier.dequantise import dequantise, real_values  # noqa: E402 - after the skip
from convert.classifier.keeper import predict  # noqa: E402
from convert.classifier.model import freeze_until  # noqa: E402
from convert.quantize import integer_logits  # noqa: E402
from maskedge.errors import ModelError  # noqa: E402
from maskedge.inference.flatbuffer import load  # noqa: E402
from maskedge.modelfile import models_dir  # noqa: E402
from maskedge.models.drawn import PERSONS, portrait  # noqa: E402
from maskedge.vision.base import LABELS  # noqa: E402

# Keras on TensorFlow is not yet clean of numpy 2's deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")

SHIPPED = models_dir() / "mask_classifier.tflite"


@pytest.fixture(scope="module")
def faces():
    """Crops of drawn people that the network is sure of, as it is of faces."""
    shown = [
        portrait(person, label, size=size, canvas=(112, 112))
        for person in PERSONS
        for label in LABELS
        for size in range(66, 97, 6)
    ]
    return np.stack(shown)


@pytest.fixture(scope="module")
def integer(faces):
    return integer_logits(SHIPPED, faces)


def test_the_shipped_network_and_its_float_copy_agree(faces, integer):
    exact = predict(dequantise(SHIPPED), faces)
    assert np.abs(exact - integer).mean() < 0.05 * integer.std()
    margin = np.sort(integer, axis=1)[:, -1] - np.sort(integer, axis=1)[:, -2]
    sure = margin > 0.5
    assert sure.sum() > 40
    np.testing.assert_array_equal(exact[sure].argmax(1), integer[sure].argmax(1))


def test_drawn_weights_are_values_that_round_to_the_stored_ones(faces, integer):
    drawn = dequantise(SHIPPED, np.random.default_rng(1))
    middle = dequantise(SHIPPED)
    kernel = next(
        o.constant_input(1) for o in load(SHIPPED).operations if o.name == "DEPTHWISE_CONV_2D"
    )
    scale = np.asarray(kernel.raw.quantization.scale)
    name = "expanded_conv_depthwise"
    moved = drawn.get_layer(name).get_weights()[0] - middle.get_layer(name).get_weights()[0]
    steps = np.abs(moved) / scale[:, None]
    assert 0.4 < steps.max() <= 0.5 + 1e-3
    np.testing.assert_allclose(
        real_values(kernel).transpose(1, 2, 3, 0), middle.get_layer(name).get_weights()[0]
    )
    assert np.abs(predict(drawn, faces) - integer).mean() < 0.5


def test_it_can_be_trained_on_like_the_network_that_it_was():
    model = dequantise(SHIPPED)
    freeze_until(model, "block_5_add")
    assert not model.get_layer("block_5_project").trainable
    assert model.get_layer("block_6_expand").trainable
    assert model.get_layer("head").get_weights()[1].shape == (3,)
    assert model.get_layer("pool").output.shape[1:] == (1, 1, 1280)
    assert model.output_shape == (None, 3)


def test_a_network_of_another_kind_names_the_layer():
    with pytest.raises(ModelError, match=r"RESIZE_NEAREST_NEIGHBOR.*is none of QUANTIZE"):
        dequantise(models_dir() / "face_detector_320x320.tflite")
