from __future__ import annotations

import numpy as np
import pytest
from keras_noise import IGNORED

pytest.importorskip("keras", reason="training needs Keras")
pytest.importorskip("tensorflow", reason="training needs a backend")

import keras
import tensorflow as tf
from keras import ops

from convert.detector.loss import DetectorLoss
from convert.detector.network import build_detector, cell_grid, load_imagenet

pytestmark = [*IGNORED]

SIZE = 64
FACE_BOX = (18.0, 20.0, 38.0, 46.0)


@pytest.fixture(scope="module")
def grid():
    return cell_grid(SIZE, SIZE)


@pytest.fixture(scope="module")
def loss():
    return DetectorLoss(SIZE, SIZE)


def target(*rows):
    filled = np.zeros((1, 6, 5), np.float32)
    filled[0, : len(rows)] = np.reshape(rows, (-1, 5))
    return filled


def answer(grid, box, logits):
    """Every cell says the same box; logits are given."""
    x1, y1, x2, y2 = box
    stride = grid[:, 2:]
    offset = (np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - grid[:, :2]) / stride + 3.0
    size = np.log(np.array([x2 - x1, y2 - y1]) / stride) + 2.5
    return np.concatenate([logits[:, None], offset, size], axis=1)[None].astype(np.float32)


def inside(grid, box):
    return (
        (grid[:, 0] > box[0])
        & (grid[:, 0] < box[2])
        & (grid[:, 1] > box[1])
        & (grid[:, 1] < box[3])
    )


def value(loss, y_true, y_pred):
    return float(loss(y_true, y_pred))


def test_the_grid_has_every_cell_of_every_level(grid):
    assert len(grid) == 8 * 8 + 4 * 4 + 2 * 2
    assert grid[0].tolist() == [4, 4, 8]
    assert grid[-1].tolist() == [48, 48, 32]


def test_a_perfect_answer_costs_almost_nothing_and_a_wrong_one_much(loss, grid):
    face = target((*FACE_BOX, 1))
    right = answer(grid, FACE_BOX, np.where(inside(grid, FACE_BOX), 6.0, -9.0))
    silent = answer(grid, FACE_BOX, np.full(len(grid), -9.0))
    beside = answer(grid, (30, 30, 60, 60), np.where(inside(grid, FACE_BOX), 6.0, -9.0))

    assert value(loss, face, right) < 0.05
    assert value(loss, face, silent) > 1
    assert value(loss, face, beside) > 0.5


def test_a_score_on_nothing_costs(loss, grid):
    nothing = target()
    quiet, loud = (answer(grid, FACE_BOX, np.full(len(grid), v)) for v in (-9.0, 2.0))

    assert value(loss, nothing, quiet) < 0.01
    assert value(loss, nothing, loud) > 10


def test_a_score_on_an_ignored_face_costs_nothing(loss, grid):
    spared = answer(grid, FACE_BOX, np.where(inside(grid, FACE_BOX), 3.0, -9.0))

    assert value(loss, target((*FACE_BOX, -1)), spared) < 0.05
    assert value(loss, target(), spared) > 5


def test_the_score_wanted_is_the_overlap_of_the_box(loss, grid):
    x1, y1, x2, y2 = FACE_BOX
    shifted = (x1 + 5, y1, x2 + 5, y2)  # IoU 0.6
    predicted = answer(grid, shifted, np.zeros(len(grid)))
    boxes = loss._decode(predicted[..., 1:])
    wanted, _, _ = loss._assign(target((*FACE_BOX, 1)), ops.sigmoid(predicted[..., 0]), boxes)

    assert float(ops.max(wanted)) == pytest.approx(0.6, abs=1e-3)


def test_the_smallest_face_still_gets_a_cell(loss, grid):
    tiny = (7.0, 7.0, 9.0, 9.0)  # between the middles of all cells
    predicted = answer(grid, tiny, np.zeros(len(grid)))
    boxes = loss._decode(predicted[..., 1:])
    wanted, matched, _ = loss._assign(target((*tiny, 1)), np.full((1, len(grid)), 0.5), boxes)

    assert np.asarray(wanted).max() > 0.9
    np.testing.assert_allclose(np.asarray(matched)[np.asarray(wanted) > 0][0], tiny)


def test_a_face_of_few_cells_is_heard_as_a_larger_one_almost(loss, grid):
    small, large = (8.0, 8.0, 24.0, 24.0), (8.0, 8.0, 56.0, 56.0)

    def heard(face):
        predicted = answer(grid, face, np.zeros(len(grid)))
        boxes = loss._decode(predicted[..., 1:])
        found = loss._assign(target((*face, 1)), np.full((1, len(grid)), 0.5), boxes)
        wanted, _, counts = (np.asarray(part) for part in found)
        assert (counts[wanted == 0] == 1).all()
        return (wanted > 0).sum(), (wanted * counts).sum()

    (few, quiet), (many, loud) = heard(small), heard(large)
    assert many > 2 * few
    assert loud / quiet == pytest.approx(np.sqrt(many / few), rel=0.01)


def test_a_cell_that_two_faces_want_goes_to_the_one_it_overlaps_more(loss, grid):
    near = (20.0, 22.0, 40.0, 48.0)
    predicted = answer(grid, FACE_BOX, np.zeros(len(grid)))
    boxes = loss._decode(predicted[..., 1:])
    faces = target((*near, 1), (*FACE_BOX, 1))
    wanted, matched, _ = loss._assign(faces, np.full((1, len(grid)), 0.5), boxes)
    best = int(np.argmax(np.asarray(wanted)))

    np.testing.assert_allclose(np.asarray(matched)[0, best], FACE_BOX)


def test_gradients_are_finite_everywhere(loss, grid):
    rng = np.random.default_rng(0)
    predicted = tf.constant(rng.normal(2, 3, (1, len(grid), 5)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        cost = loss(target((*FACE_BOX, 1), (0, 0, 3, 3, -1)), predicted)
    slope = tape.gradient(cost, predicted).numpy()

    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_the_trunk_starts_from_imagenet_with_its_norms_folded(tmp_path):
    source = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None
    )
    rng = np.random.default_rng(0)
    for layer in source.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    source.save_weights(tmp_path / "some.weights.h5")
    network = build_detector(64, 64)
    load_imagenet(network, tmp_path / "some.weights.h5")

    picture = rng.uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    wanted = keras.Model(source.input, source.get_layer("Conv1_relu").output)(picture)
    stem = build_detector(224, 224)
    stem.set_weights(network.get_weights())
    ours = keras.Model(stem.input, stem.get_layer("Conv1_relu").output)(picture)
    np.testing.assert_allclose(np.asarray(ours), np.asarray(wanted), atol=1e-4)
    keras.backend.clear_session()
