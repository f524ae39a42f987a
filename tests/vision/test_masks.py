import hashlib
import json
import shutil

import numpy as np
import pytest

from maskedge.bench.pictures import crowd
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import ClassifierConfig, InferenceConfig
from maskedge.errors import MaskedgeError, ModelError
from maskedge.geometry import Box
from maskedge.inference.batches import Batch
from maskedge.inference.fake_tpu import FakeTpu, Fault
from maskedge.inference.network import TensorSpec
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.base import LABELS
from maskedge.vision.masks import (
    SHIPPED,
    NetworkMaskClassifier,
    open_classifier,
    softmax,
    square_crop,
)

CPU = InferenceConfig(accelerator="cpu", threads=1)


@pytest.fixture(scope="module")
def classifier():
    opened = open_classifier(ClassifierConfig(), CPU, models_dir())
    yield opened
    opened.close()


@pytest.fixture
def own_model(tmp_path):
    """A copy of the shipped network whose JSON a test may change."""
    model = tmp_path / "own.tflite"
    shutil.copy(models_dir() / SHIPPED, model)
    card = json.loads((models_dir() / SHIPPED).with_suffix(".json").read_text())

    def write(**changes):
        model.with_suffix(".json").write_text(json.dumps({**card, **changes}))
        return model

    return write


def frame_of(pixels, order=ChannelOrder.RGB):
    return Frame(np.ascontiguousarray(pixels), order, 0.0)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_crop_is_the_padded_square_around_the_box():
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[60:140, 60:140] = 200  # the square of a 50 x 20 box at (100, 100), padded by 0.3
    crop = square_crop(pixels, Box(75, 90, 125, 110), 40, 0.3)
    assert crop.shape == (40, 40, 3)
    assert (crop == 200).all()
    wider = square_crop(pixels, Box(75, 90, 125, 110), 84, 0.34)  # two pixels more on each side
    assert (wider[0] == 0).all()
    assert (wider[4:-4, 4:-4] == 200).all()


def test_crop_repeats_the_edge_where_the_square_leaves_the_picture():
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[:, 0] = (10, 20, 30)
    crop = square_crop(pixels, Box(-20, 10, 20, 50), 40, 0.0)
    assert (crop[:30, :20] == (10, 20, 30)).all()
    assert (crop[:30, 25:] == 0).all()


@pytest.mark.parametrize("x", [-90, 10, 70])
@pytest.mark.parametrize("y", [-90, 70])
def test_crop_beside_the_picture_is_its_edge(x, y):
    pixels = np.full((50, 50, 3), (10, 20, 30), np.uint8)
    pixels[1:-1, 1:-1] = 0
    box = Box(x, y, x + 20, y + 20)
    assert (square_crop(pixels, box, 40, 0.0) == (10, 20, 30)).all()


@pytest.mark.parametrize(
    "box",
    [
        Box(-90, -90, -40, -40),
        Box(500, 500, 600, 600),
        Box(10, 10, 10, 10),
        Box(-1000, -1000, 1000, 1000),
        Box(30, -20, 30.4, -19.5),
    ],
)
def test_any_box_gives_a_crop(box):
    assert square_crop(noise(48, 64), box, 32).shape == (32, 32, 3)


def test_shrinking_averages_instead_of_picking_pixels():
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    crop = square_crop(np.repeat(board[..., None], 3, 2), Box(0, 0, 256, 256), 32, 0.0)
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_shipped_network_gives_probabilities_in_the_order_of_labels(classifier):
    boxes = [Box(10, 10, 60, 60), Box(100, 40, 180, 130), Box(200, 100, 230, 140)]
    scores = classifier.classify(frame_of(noise(200, 300)), boxes)
    assert scores.shape == (3, len(LABELS))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)


def test_no_boxes_no_scores(classifier):
    assert classifier.classify(frame_of(noise(40, 40)), []).shape == (0, 3)


def test_each_box_is_judged_on_its_own(classifier):
    frame = frame_of(noise(200, 300))
    boxes = [Box(10, 10, 60, 60), Box(100, 40, 180, 130)]
    both = classifier.classify(frame, boxes)
    alone = [classifier.classify(frame, [box])[0] for box in boxes]
    np.testing.assert_array_equal(both, alone)


def nine_faces():
    """Drawn and made up, some over the picture's edge."""
    pixels = crowd(640, 480, 4)
    pixels[:200, :300] = noise(200, 300)
    boxes = [Box(x, y, x + size, y + 1.2 * size) for x, y, size in SQUARES]
    return frame_of(pixels[..., ::-1], ChannelOrder.BGR), boxes


SQUARES = [
    (10, 10, 60), (100, 40, 80), (390, 60, 130), (70, 300, 110), (395, 295, 120), (600, 440, 90),
    (-30, 200, 70), (200, 100, 31), (300, 0, 240),
]  # fmt: skip


@pytest.fixture
def runs(monkeypatch):
    """Pictures of each run of several."""
    sizes, invoke = [], Batch.invoke
    monkeypatch.setattr(Batch, "invoke", lambda b: sizes.append(b.size) or invoke(b))
    return sizes


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, []), (2, [2]), (3, [2]), (4, [4]), (5, [4]), (6, [4, 2]), (7, [4, 2]), (8, [4, 4]),
     (9, [4, 4])],
)  # fmt: skip
def test_several_faces_are_judged_in_few_runs_with_the_same_scores(
    classifier, runs, count, expected
):
    frame, boxes = nine_faces()
    alone = [classifier.classify(frame, [box])[0] for box in boxes[:count]]
    np.testing.assert_array_equal(classifier.classify(frame, boxes[:count]), alone)
    assert runs == expected
    assert len(np.unique(alone, axis=0)) == count


def test_a_network_that_takes_one_face_only_gives_the_same_scores(classifier, own_model, runs):
    model = own_model()
    path = models_dir() / SHIPPED
    content = path.read_bytes()
    fixed = bytearray(content)
    place = content.index(b"\xff\xff\xff\xff\x03\0\0\0")  # the shape -1, 3
    fixed[place : place + 4] = b"\x01\0\0\0"
    model.write_bytes(fixed)
    own_model(sha256=hashlib.sha256(fixed).hexdigest())
    single = open_classifier(ClassifierConfig(model=model), CPU, models_dir())
    frame, boxes = nine_faces()
    expected = classifier.classify(frame, boxes)
    runs.clear()
    np.testing.assert_array_equal(single.classify(frame, boxes), expected)
    assert runs == []


@pytest.fixture
def with_coral(tmp_path):
    """Opens the shipped network with a pretended Coral beside it, broken or not."""
    for suffix in (".tflite", ".json"):
        shutil.copy((models_dir() / SHIPPED).with_suffix(suffix), tmp_path)
    shutil.copy(tmp_path / SHIPPED, tmp_path / "mask_classifier_edgetpu.tflite")
    opened = []

    def open_it(fault=None):
        tpu = FakeTpu(tmp_path / "tpu.json")
        if fault:
            tpu.fail(fault)
        coral = InferenceConfig(accelerator="edgetpu", device=tpu.device, threads=1)
        opened.append(open_classifier(ClassifierConfig(), coral, tmp_path))
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


def test_a_coral_judges_one_by_one(classifier, with_coral, runs):
    coral = with_coral()
    frame, boxes = nine_faces()
    expected = classifier.classify(frame, boxes)
    runs.clear()
    np.testing.assert_array_equal(coral.classify(frame, boxes), expected)
    assert (coral.backend, runs) == ("edgetpu", [])
    assert coral.batches == ()  # nor does it hold memory for more


def test_the_processor_that_stands_in_for_a_coral_judges_several_at_once(
    with_coral, runs, monkeypatch
):
    absent = with_coral(Fault.NO_DEVICE)
    frame, boxes = nine_faces()
    runs.clear()  # of the trial
    scores = absent.classify(frame, boxes)
    assert runs == [4, 4]
    monkeypatch.setattr(type(absent.network), "backend", "edgetpu")  # it has come back
    np.testing.assert_array_equal(absent.classify(frame, boxes), scores)
    assert runs == [4, 4]


def test_channel_order_is_read_from_the_frame(classifier):
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = noise(120, 120)[..., 0], 40
    box = [Box(20, 20, 100, 100)]
    rgb = classifier.classify(frame_of(pixels), box)
    bgr = classifier.classify(frame_of(pixels[..., ::-1], ChannelOrder.BGR), box)
    np.testing.assert_array_equal(rgb, bgr)
    wrong = classifier.classify(frame_of(pixels[..., ::-1]), box)
    assert not np.array_equal(rgb, wrong)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_scores_are_the_softmax_of_the_logits(own_model, temperature):
    model = own_model(calibration={"temperature": temperature})
    softened = open_classifier(ClassifierConfig(model=model), CPU, models_dir())
    pixels, box = noise(200, 300), Box(100, 40, 180, 130)
    (scores,) = softened.classify(frame_of(pixels), [box])
    logits = softened.logits(square_crop(pixels, box, softened.size, softened.padding))
    np.testing.assert_allclose(scores, softmax(logits, temperature), atol=1e-6)


def test_a_network_may_have_its_own_order_of_labels(classifier, own_model):
    model = own_model(labels=["incorrect_mask", "with_mask", "without_mask"])
    other = open_classifier(ClassifierConfig(model=model), CPU, models_dir())
    frame, box = frame_of(noise(100, 100)), [Box(10, 10, 90, 90)]
    expected = classifier.classify(frame, box)[:, [1, 2, 0]]
    np.testing.assert_allclose(other.classify(frame, box), expected, atol=1e-6)


def test_temperature_of_the_json_softens_the_scores(own_model):
    frame, box = frame_of(noise(100, 100)), [Box(10, 10, 90, 90)]
    sure, soft = (
        open_classifier(
            ClassifierConfig(model=own_model(calibration={"temperature": t})), CPU, models_dir()
        ).classify(frame, box)
        for t in (0.5, 10.0)
    )
    assert soft.max() < sure.max()
    assert soft.argmax() == sure.argmax()


def test_without_a_json_the_conventions_hold(tmp_path):
    model = tmp_path / "own.tflite"
    shutil.copy(models_dir() / SHIPPED, model)
    opened = open_classifier(ClassifierConfig(model=model), CPU, models_dir())
    assert (opened.padding, opened.temperature) == (0.2, 1.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["mask", "no_mask"]}, "labels are mask, no_mask"),
        ({"input": {"padding": -1}}, "input.padding must be a number"),
        ({"input": {"padding": "much"}}, "'much'"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature"),
        ({"calibration": 3}, "calibration.temperature"),
        ({"sha256": "0" * 64}, "SHA-256"),
    ],
)
def test_an_impossible_json_is_one_clear_error(own_model, changes, said):
    with pytest.raises(ModelError, match=said):
        open_classifier(ClassifierConfig(model=own_model(**changes)), CPU, models_dir())


class OtherNetwork:
    backend = "fake"

    def __init__(self, input_shape, output_shapes):
        self.input_spec = TensorSpec("in", input_shape, "uint8", 1.0, 0)
        self.output_specs = tuple(TensorSpec("out", s, "float32", 0.0, 0) for s in output_shapes)


@pytest.mark.parametrize(
    ("input_shape", "outputs", "said"),
    [
        ((1, 112, 96, 3), [(1, 3)], "one square RGB picture"),
        ((1, 112, 112, 3), [(1, 1000)], r"\(1, 1000\)"),
        ((1, 112, 112, 3), [(1, 40, 40, 4), (1, 40, 40, 1)], "one output of 3 scores"),
    ],
)
def test_another_network_is_one_clear_error(input_shape, outputs, said):
    model = ModelFile.load(models_dir() / SHIPPED)
    with pytest.raises(ModelError, match=said) as error:
        NetworkMaskClassifier(model, OtherNetwork(input_shape, outputs))
    assert "\n" not in str(error.value)


def test_a_missing_network_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="nothing"):
        open_classifier(ClassifierConfig(model=tmp_path / "nothing.tflite"), CPU, models_dir())


def test_a_network_of_rubbish_is_one_clear_error(tmp_path):
    rubbish = tmp_path / "rubbish.tflite"
    rubbish.write_bytes(b"\0\0\0\0TFL3" + bytes(200))
    with pytest.raises(MaskedgeError) as error:
        open_classifier(ClassifierConfig(model=rubbish), CPU, models_dir())
    assert "rubbish.tflite" in str(error.value)


def test_softmax_of_large_logits_is_finite():
    scores = softmax(np.array([[1000.0, 0.0, -1000.0]], np.float32), 0.1)
    np.testing.assert_allclose(scores, [[1, 0, 0]])
