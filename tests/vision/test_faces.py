from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.errors import ModelError
from maskedge.geometry import Box, boxes_array, iou_matrix
from maskedge.inference.network import TensorSpec, dequantise
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.faces import BuiltinDetector, _stored_threshold, open_detector

FACE = Box(177, 60, 274, 180)
"""Where the astronaut's face is in her portrait."""
CPU = InferenceConfig(accelerator="cpu", threads=1)
TINY = Path(__file__).parent.parent / "data" / "tiny_int8.tflite"
PEERS = Path(os.environ.get("MASKEDGE_PEERS", "/nonexistent"))
"""A folder with OpenCV's own networks, which aren't ours to ship."""


@pytest.fixture(scope="module")
def portrait():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def detector():
    opened = open_detector(DetectorConfig(), CPU, models_dir())
    yield opened
    opened.close()


def overlap(face, box):
    return iou_matrix(boxes_array([face.box]), boxes_array([box]))[0, 0]


def scene(portrait, height, width, face=60):
    """The portrait in a grey frame, her face so high; with where that is."""
    scale = face / FACE.height
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pixels = np.full((height, width, 3), 90, np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    y, x = max(top, 0), max(left, 0)
    small = small[y - top : y - top + height, x - left : x - left + width]
    pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
    box = FACE.scaled(scale, scale)
    return pixels, Box(box.x1 + left, box.y1 + top, box.x2 + left, box.y2 + top)


def test_it_finds_the_face_in_a_portrait(detector, portrait):
    faces = detector.detect(Frame(portrait, ChannelOrder.RGB, 0.0))

    assert len(faces) == 1
    assert overlap(faces[0], FACE) > 0.6
    assert faces[0].score > 0.5


@pytest.mark.parametrize(
    ("height", "width", "face"),
    [
        (480, 640, 90),
        (1080, 1920, 160),
        (1920, 1080, 200),
        (2160, 3840, 400),
        (361, 487, 60),
        (120, 160, 40),
        (333, 1000, 120),
        (700, 200, 90),
    ],
)
def test_it_finds_a_face_in_frames_of_any_shape(detector, portrait, height, width, face):
    pixels, box = scene(portrait, height, width, face)
    faces = detector.detect(Frame(pixels, ChannelOrder.RGB, 0.0))

    assert len(faces) == 1
    assert overlap(faces[0], box) > 0.6


def test_an_empty_room_has_no_faces(detector):
    pixels = np.full((480, 640, 3), 120, np.uint8)

    assert detector.detect(Frame(pixels, ChannelOrder.BGR, 0.0)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 2)])
def test_a_frame_of_almost_nothing_is_no_error(detector, shape):
    pixels = np.zeros((*shape, 3), np.uint8)

    assert detector.detect(Frame(pixels, ChannelOrder.BGR, 0.0)) == []


def test_the_colour_order_of_the_frame_makes_no_difference(detector, portrait):
    pixels, _ = scene(portrait, 480, 640, 90)
    rgb = detector.detect(Frame(pixels, ChannelOrder.RGB, 0.0))
    bgr = detector.detect(Frame(pixels[..., ::-1].copy(), ChannelOrder.BGR, 0.0))
    wrong = detector.detect(Frame(pixels[..., ::-1].copy(), ChannelOrder.RGB, 0.0))

    assert rgb == bgr
    assert rgb != wrong


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((480, 640), (320, 256)),
        ((720, 1280), (320, 192)),
        ((1080, 1920), (320, 192)),
        ((640, 480), (320, 320)),
        ((400, 400), (320, 320)),
        ((427, 640), (320, 256)),
    ],
)
def test_each_frame_takes_the_smallest_network_that_shrinks_it_no_further(detector, shape, size):
    assert (320, 320) in detector.sizes

    variant = detector._variant(*shape)
    assert (variant.width, variant.height) == size


def test_the_wide_setting_finds_faces_that_the_small_one_cannot_see(portrait):
    pixels, box = scene(portrait, 960, 1280, 40)
    wide = open_detector(DetectorConfig(input=640), CPU, models_dir())
    faces = wide.detect(Frame(pixels, ChannelOrder.RGB, 0.0))

    assert wide.sizes == ((640, 512),)
    assert overlap(faces[0], box) > 0.5


def test_a_lower_threshold_only_adds_faces(detector, portrait):
    shot = Frame(scene(portrait, 480, 640, 90)[0], ChannelOrder.RGB, 0.0)
    low = open_detector(DetectorConfig(threshold=0.05), CPU, models_dir())
    few, many = detector.detect(shot), low.detect(shot)

    assert set(few) <= set(many)
    assert all(face.score >= DetectorConfig().threshold for face in few)
    assert all(face.score >= 0.05 for face in many)
    assert [f.score for f in many] == sorted((f.score for f in many), reverse=True)


def test_no_more_faces_than_asked(portrait):
    one = open_detector(DetectorConfig(max_faces=1), CPU, models_dir())
    pixels, _ = scene(portrait, 240, 320, 70)
    faces = one.detect(Frame(np.hstack([pixels, pixels]), ChannelOrder.RGB, 0.0))

    assert len(faces) == 1


def test_a_4k_frame_costs_no_frame_sized_memory(detector, portrait):
    shot = Frame(scene(portrait, 2160, 3840, 400)[0], ChannelOrder.BGR, 0.0)
    detector.detect(shot)
    tracemalloc.start()
    try:
        detector.detect(shot)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < shot.pixels.nbytes / 20


@given(
    threshold=st.floats(0.0, 1.0),
    scale=st.floats(1e-3, 1.0),
    zero_point=st.integers(-128, 127),
)
def test_the_threshold_on_integers_is_the_threshold_on_scores(threshold, scale, zero_point):
    spec = TensorSpec("score", (1, 16, 16, 1), "int8", scale, zero_point)
    stored = np.arange(-128, 128, dtype=np.int8)
    with np.errstate(divide="ignore"):
        wanted = np.log(threshold) - np.log1p(-threshold)
    exact = (stored.astype(np.int64) - zero_point) * scale

    assert ((stored >= _stored_threshold(threshold, spec)) == (exact >= wanted)).all()


class Still:
    """A network whose answer is given."""

    backend = "still"

    def __init__(self, shapes, size=(64, 64)):
        self.input_spec = TensorSpec("picture", (1, *size, 3), "uint8", 1.0, 0)
        self.output_specs = tuple(TensorSpec("", s, "int8", 0.1, 0) for s in shapes)
        self.answer = tuple(np.full(s, -100, np.int8) for s in shapes)

    def invoke(self, picture):
        del picture
        return self.answer

    def close(self):
        pass


def test_a_box_is_decoded_as_its_cell_says():
    network = Still([(1, 8, 8, 4), (1, 8, 8, 1), (1, 2, 2, 1), (1, 2, 2, 4)])
    network.answer[1][0, 3, 5, 0] = 20  # logit 2.0
    network.answer[0][0, 3, 5] = (30, 25, 25, 32)  # in the middle, half a stride up; 1 by e^0.7
    detector = BuiltinDetector([network], ModelFile(Path("still"), ""), threshold=0.5)
    (face,) = detector.detect(Frame(np.zeros((128, 128, 3), np.uint8), ChannelOrder.RGB, 0.0))

    assert face.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert face.box.centre == pytest.approx((2 * 8 * 5.5, 2 * 8 * 3.0), abs=1e-3)
    assert face.box.width == pytest.approx(2 * 8, abs=1e-3)
    assert face.box.height == pytest.approx(2 * 8 * np.exp(0.7), abs=1e-3)


def test_stored_values_never_wrap():
    spec = TensorSpec("score", (1,), "int8", 0.5, 127)

    assert dequantise(np.array([-128], np.int8), spec) == pytest.approx(-127.5)


@pytest.mark.parametrize(
    "shapes", [[(1, 3)], [(1, 8, 8, 1)], [(1, 8, 8, 1), (1, 4, 4, 4)], [(1, 7, 8, 1), (1, 7, 8, 4)]]
)
def test_a_network_that_is_no_face_detector_is_refused(shapes):
    with pytest.raises(ModelError, match="not a face detector"):
        BuiltinDetector([Still(shapes)], ModelFile(Path("some.tflite"), ""))


def test_a_users_own_network_that_is_no_face_detector_is_refused():
    with pytest.raises(ModelError, match=r"tiny_int8.tflite: not a face detector"):
        open_detector(DetectorConfig(model=TINY), CPU, models_dir())


def test_a_missing_network_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"face_detector_320x320.tflite"):
        open_detector(DetectorConfig(), CPU, tmp_path)


@pytest.mark.parametrize("kind", ["yunet", "ssd"])
def test_opencvs_networks_need_a_file(kind):
    with pytest.raises(ModelError, match=r"detector\.model"):
        open_detector(DetectorConfig(kind=kind), CPU, models_dir())


@pytest.mark.parametrize(("kind", "name"), [("yunet", "some.onnx"), ("ssd", "some.pb")])
def test_opencvs_networks_say_when_a_file_is_damaged(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(b"not a network")
    path.with_suffix(".pbtxt").write_text("nor this")
    with pytest.raises(ModelError, match="OpenCV can't read it"):
        open_detector(DetectorConfig(kind=kind, model=path), CPU, models_dir())


def test_the_ssd_needs_its_graph_beside_it(tmp_path):
    path = tmp_path / "some.pb"
    path.write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"some.pbtxt, must lie beside it"):
        open_detector(DetectorConfig(kind="ssd", model=path), CPU, models_dir())


@pytest.mark.skipif(not PEERS.is_dir(), reason="MASKEDGE_PEERS names no folder of networks")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("yunet", "face_detection_yunet_2023mar.onnx"),
        ("ssd", "opencv_face_detector_uint8.pb"),
    ],
)
def test_opencvs_networks_find_the_face_in_either_colour_order(portrait, kind, name):
    chosen = DetectorConfig(kind=kind, model=PEERS / name, threshold=0.6)
    peer = open_detector(chosen, CPU, models_dir())
    rgb = peer.detect(Frame(portrait, ChannelOrder.RGB, 0.0))
    bgr = peer.detect(Frame(portrait[..., ::-1].copy(), ChannelOrder.BGR, 0.0))

    assert overlap(rgb[0], FACE) > 0.6
    assert rgb == bgr
    assert peer.backend == "opencv"
    assert peer.model.fingerprint


def test_on_an_edge_tpu_all_frames_take_the_network_that_it_holds():
    general, cheap = (
        Still([(1, 8, 8, 1), (1, 8, 8, 4)]),
        Still([(1, 4, 8, 1), (1, 4, 8, 4)], size=(32, 64)),
    )
    detector = BuiltinDetector([general, cheap], ModelFile(Path("still"), ""))

    assert detector._variant(90, 180).network is cheap
    general.backend, general.fault = "edgetpu", "hot"
    assert detector._variant(90, 180).network is general
    assert detector.backend == "edgetpu"
    assert detector.fault == "hot"
