from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from maskedge.bench.pictures import crowd
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig, TrackerConfig
from maskedge.errors import ModelError
from maskedge.geometry import Box, boxes_array, iou_matrix
from maskedge.inference.network import TensorSpec, dequantise
from maskedge.inference.runtime import find_runtime
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision import builtin, decode
from maskedge.vision.builtin import BuiltinDetector, Source
from maskedge.vision.decode import stored_threshold
from maskedge.vision.faces import View, open_detector
from maskedge.vision.inputs import SHIPPED
from maskedge.vision.letterbox import Letterbox
from maskedge.vision.nms import vote

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


def overlaps(faces, others):
    return iou_matrix(*(boxes_array([face.box for face in some]) for some in (faces, others)))


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
    best, *others = detector.detect(Frame(pixels, ChannelOrder.RGB, 0.0))

    assert overlap(best, box) > 0.6
    assert all(face.score < TrackerConfig().start_score for face in others)


def test_boxes_too_unsure_for_a_face_have_a_say_in_where_one_is(detector, portrait, monkeypatch):
    """Those between VOTER and the threshold; alone they are no faces."""
    shot = Frame(portrait, ChannelOrder.RGB, 0.0)
    said = []
    monkeypatch.setattr(
        builtin, "vote", lambda boxes, *more: said.append(len(boxes)) or vote(boxes, *more)
    )
    (together,) = detector.detect(shot)
    monkeypatch.setattr(builtin, "VOTER", 1.0)
    sure = open_detector(DetectorConfig(), CPU, models_dir())
    (alone,) = sure.detect(shot)
    sure.close()

    assert said[0] > said[1] > 0
    assert together.score == pytest.approx(alone.score)
    assert together.box != alone.box
    assert overlap(together, alone.box) > 0.8


def test_calibration_changes_scores_and_moves_no_box(portrait):
    """The shipped one makes 0.04 of a raw 0.24: such boxes must go on having their say."""
    shot = Frame(portrait, ChannelOrder.RGB, 0.0)
    network = open_detector(DetectorConfig(), CPU, models_dir()).network_for(256, 320)
    boxes = []
    for calibration in ({"scale": 1.0, "offset": 0.0}, {"scale": 6.0, "offset": -1.0}):
        model = ModelFile(Path("some.tflite"), "", {"calibration": calibration})
        detector = BuiltinDetector([Source.of(network)], model, threshold=0.2)
        boxes.append(detector.detect(shot)[0].box)
    assert boxes[0] == pytest.approx(boxes[1], abs=0.01)


def test_where_nothing_is_a_face_no_box_is_decoded(detector, monkeypatch):
    """Many cells have a say in a frame with nobody: they cost a comparison and no more."""
    network = detector.network_for(256, 320)
    outputs = [np.full(spec.shape, spec.zero_point, spec.dtype) for spec in network.output_specs]
    decoder = decode.Decoder(network, 0.6, 0.05, "file")  # sigmoid(0) = 0.5 everywhere
    monkeypatch.setattr(decode, "_decode_many", None)
    assert decoder.candidates(tuple(outputs), 100) == ([], [])


def test_a_frame_that_was_shrunk_before_is_not_shrunk_again(detector, portrait, monkeypatch):
    pixels, _ = scene(portrait, 480, 640, 90)
    shot = Frame(pixels, ChannelOrder.BGR, 3.0, 7)
    expected = detector.detect(shot)
    written = []
    write = Letterbox.write
    monkeypatch.setattr(
        Letterbox, "write", lambda *given: written.append(given[1]) or write(*given)
    )
    small = detector.shrunk(shot)
    assert (small.pixels.shape, small.order) == ((240, 320, 3), ChannelOrder.RGB)
    assert (small.time, small.number) == (3.0, 7)
    del small

    assert detector.detect(shot) == expected
    assert written == [shot]


def test_a_frame_that_takes_long_to_shrink_is_looked_at_itself(portrait):
    pixels, _ = scene(portrait, 1080, 1920, 200)
    shot = Frame(pixels, ChannelOrder.RGB, 0.0)
    wide = open_detector(DetectorConfig(input=640), CPU, models_dir(), View(1920, 1080))

    assert wide.shrunk(shot) is shot
    assert len(wide.detect(shot)) == 1


def test_another_frame_is_not_taken_for_the_one_that_was_shrunk(detector, portrait):
    pixels, _ = scene(portrait, 480, 640, 90)
    detector.shrunk(Frame(np.zeros_like(pixels), ChannelOrder.RGB, 0.0))

    assert len(detector.detect(Frame(pixels, ChannelOrder.RGB, 0.0))) == 1


def test_what_was_shrunk_is_looked_at_once(detector, portrait):
    shot = Frame(scene(portrait, 480, 640)[0], ChannelOrder.RGB, 0.0)
    empty = Frame(np.full((480, 640, 3), 90, np.uint8), ChannelOrder.RGB, 0.1)
    detector.shrunk(shot)
    faces = detector.detect(shot)

    assert faces
    assert detector.detect(empty) == []
    assert detector.detect(shot) == faces


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


def test_a_face_of_min_face_is_found_in_a_large_frame_without_being_told_to(portrait):
    pixels, box = scene(portrait, 1080, 1920, 80)
    shot = Frame(pixels, ChannelOrder.RGB, 0.0)
    small = open_detector(DetectorConfig(input=320), CPU, models_dir(), View(1920, 1080, 48))
    chosen = open_detector(DetectorConfig(), CPU, models_dir(), View(1920, 1080, 48))

    assert (small.sizes, chosen.sizes) == (((320, 192),), ((640, 384),))
    assert small.detect(shot) == []
    assert overlap(chosen.detect(shot)[0], box) > 0.5


def test_only_the_inputs_that_frames_need_are_opened(portrait):
    lazy = open_detector(DetectorConfig(), CPU, models_dir(), View(640, 480, 48))
    assert lazy.sizes == ((320, 256),)
    for height, width in ((480, 640), (720, 1280), (480, 640), (720, 1280)):
        pixels, box = scene(portrait, height, width, 100)
        (face,) = lazy.detect(Frame(pixels, ChannelOrder.RGB, 0.0))
        assert overlap(face, box) > 0.6
    assert lazy.sizes == ((320, 256), (480, 288))
    lazy.close()


def test_the_smallest_face_may_change_between_two_frames(portrait):
    pixels, box = scene(portrait, 720, 1280, 150)
    shot = Frame(pixels, ChannelOrder.RGB, 0.0)
    lazy = open_detector(DetectorConfig(), CPU, models_dir(), View(1280, 720, 150))
    assert lazy.sizes == ((320, 192),)
    lazy.min_face = 48

    assert overlap(lazy.detect(shot)[0], box) > 0.6
    assert lazy.sizes[-1] == (480, 288)


def test_a_folder_may_lack_sizes_but_not_the_first(tmp_path):
    for name in ("face_detector_320x320", "face_detector_640x512"):
        for suffix in (".tflite", ".json"):
            shutil.copy(models_dir() / (name + suffix), tmp_path)
    few = open_detector(DetectorConfig(), CPU, tmp_path, View(1280, 720, 48))

    assert few.sizes == ((640, 512),)
    with pytest.raises(ModelError, match=r"face_detector_480x384.tflite"):
        open_detector(DetectorConfig(input=480), CPU, tmp_path)


def test_a_damaged_size_is_refused_before_a_frame_needs_it(tmp_path):
    for path in models_dir().glob("face_detector_*"):
        shutil.copy(path, tmp_path)
    damaged = tmp_path / "face_detector_640x384.tflite"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"640x384.*SHA-256"):
        open_detector(DetectorConfig(), CPU, tmp_path)


def test_all_shipped_sizes_have_the_same_weights():
    def constants(path):
        interpreter = find_runtime().load(path.read_bytes(), 1)
        return {
            d["name"]: d["quantization_parameters"]["scales"].tobytes()
            for d in interpreter.get_tensor_details()
        }

    paths = [models_dir() / f"face_detector_{size}.tflite" for size in SHIPPED]
    first, *others = [constants(path) for path in paths]
    assert len({path.stat().st_size for path in paths}) == 1
    assert all(other == first for other in others)


def test_a_lower_threshold_only_adds_faces(detector, portrait):
    shot = Frame(scene(portrait, 480, 640, 90)[0], ChannelOrder.RGB, 0.0)
    low = open_detector(DetectorConfig(threshold=1e-5), CPU, models_dir())
    few, many = detector.detect(shot), low.detect(shot)

    again = [many[int(found)] for found in overlaps(few, many).argmax(axis=1)]
    assert [face.box for face in few] == [pytest.approx(face.box, abs=0.01) for face in again]
    assert all(face.score >= DetectorConfig().threshold for face in few)
    assert len(many) > len(few)
    assert all(face.score >= 1e-5 for face in many)
    assert [f.score for f in many] == sorted((f.score for f in many), reverse=True)


def test_no_more_faces_than_asked(portrait):
    one = open_detector(DetectorConfig(max_faces=1), CPU, models_dir())
    pixels, _ = scene(portrait, 240, 320, 70)
    faces = one.detect(Frame(np.hstack([pixels, pixels]), ChannelOrder.RGB, 0.0))

    assert len(faces) == 1


def test_how_many_may_be_set_between_frames():
    shot = Frame(crowd(640, 480, 32), ChannelOrder.RGB, 0.0)
    one = open_detector(DetectorConfig(max_faces=1), CPU, models_dir())
    one.max_faces = 3
    assert len(one.detect(shot)) == 3


def test_the_one_that_is_asked_for_is_the_surest(detector):
    shot = Frame(crowd(640, 480, 32), ChannelOrder.RGB, 0.0)
    one = open_detector(DetectorConfig(max_faces=1), CPU, models_dir())

    (face,) = one.detect(shot)
    assert face.score == pytest.approx(detector.detect(shot)[0].score)


def test_a_crowd_of_as_many_as_asked_is_found_whole(detector):
    shot = Frame(crowd(640, 480, DetectorConfig().max_faces), ChannelOrder.RGB, 0.0)

    assert len(detector.detect(shot)) == DetectorConfig().max_faces


def test_a_4k_frame_costs_no_frame_sized_memory(detector, portrait, peak):
    shot = Frame(scene(portrait, 2160, 3840, 400)[0], ChannelOrder.BGR, 0.0)
    detector.detect(shot)

    assert peak(lambda: detector.detect(shot)) < shot.pixels.nbytes / 20


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

    assert ((stored >= stored_threshold(threshold, spec)) == (exact >= wanted)).all()


class Still:
    """A network whose answer is given."""

    backend = "still"

    def __init__(self, shapes, size=(64, 64)):
        self.input_spec = TensorSpec("picture", (1, *size, 3), "uint8", 1.0, 0)
        self.output_specs = tuple(TensorSpec("", s, "int8", 0.1, 0) for s in shapes)
        self.answer = tuple(np.full(s, -100, np.int8) for s in shapes)
        self.picture = np.zeros((*size, 3), np.uint8)

    def invoke(self, picture=None):
        del picture
        return self.answer

    def close(self):
        pass


def test_a_box_is_decoded_as_its_cell_says():
    network = Still([(1, 8, 8, 4), (1, 8, 8, 1), (1, 2, 2, 1), (1, 2, 2, 4)])
    network.answer[1][0, 3, 5, 0] = 20  # logit 2.0
    network.answer[0][0, 3, 5] = (30, 25, 25, 32)  # in the middle, half a stride up; 1 by e^0.7
    detector = BuiltinDetector([Source.of(network)], ModelFile(Path("still"), ""), threshold=0.5)
    (face,) = detector.detect(Frame(np.zeros((128, 128, 3), np.uint8), ChannelOrder.RGB, 0.0))

    assert face.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert face.box.centre == pytest.approx((2 * 8 * 5.5, 2 * 8 * 3.0), abs=1e-3)
    assert face.box.width == pytest.approx(2 * 8, abs=1e-3)
    assert face.box.height == pytest.approx(2 * 8 * np.exp(0.7), abs=1e-3)


def test_a_threshold_beyond_what_is_stored_lets_nothing_pass():
    network = Still([(1, 8, 8, 4), (1, 8, 8, 1)])
    network.answer[1][0, 3, 5, 0] = 127  # logit 12.7
    frame = Frame(np.zeros((64, 64, 3), np.uint8), ChannelOrder.RGB, 0.0)
    found = {}
    for threshold in (0.5, 1 - 1e-7, 1.0):  # logits 0, 16.1 and infinite
        detector = BuiltinDetector(
            [Source.of(network)], ModelFile(Path("still"), ""), threshold=threshold
        )
        found[threshold] = len(detector.detect(frame))

    assert list(found.values()) == [1, 0, 0]


def test_few_cells_and_many_are_decoded_alike(detector, monkeypatch):
    shot = Frame(crowd(640, 480, 8), ChannelOrder.RGB, 0.0)
    one_by_one = detector.detect(shot)
    monkeypatch.setattr(decode, "FEW", -1)
    at_once = detector.detect(shot)

    assert len(one_by_one) == 8
    for few, many in zip(one_by_one, at_once, strict=True):
        assert few.box == pytest.approx(many.box, abs=1e-3)
        assert few.score == pytest.approx(many.score, abs=1e-6)


def test_stored_values_never_wrap():
    spec = TensorSpec("score", (1,), "int8", 0.5, 127)

    assert dequantise(np.array([-128], np.int8), spec) == pytest.approx(-127.5)


@pytest.mark.parametrize(
    "shapes", [[(1, 3)], [(1, 8, 8, 1)], [(1, 8, 8, 1), (1, 4, 4, 4)], [(1, 7, 8, 1), (1, 7, 8, 4)]]
)
def test_a_network_that_is_no_face_detector_is_refused(shapes):
    with pytest.raises(ModelError, match="not a face detector"):
        BuiltinDetector([Source.of(Still(shapes))], ModelFile(Path("some.tflite"), ""))


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
    compiled, cheap = (
        Still([(1, 8, 8, 1), (1, 8, 8, 4)]),
        Still([(1, 4, 8, 1), (1, 4, 8, 4)], size=(32, 64)),
    )
    sources = [Source.of(compiled)._replace(accelerated=True), Source.of(cheap)]
    detector = BuiltinDetector(sources, ModelFile(Path("still"), ""))

    assert detector.network_for(90, 180) is cheap
    assert detector.backend == "still"
    compiled.backend, compiled.fault = "edgetpu", "hot"
    assert detector.network_for(90, 180) is compiled
    assert detector.backend == "edgetpu"
    assert detector.fault == "hot"


@pytest.mark.parametrize(
    ("compiled", "opened"),
    [((), (320, 256)), (("320x320",), (320, 320)), (("320x256",), (320, 256))],
)
def test_with_an_accelerator_the_compiled_sizes_are_asked_first(tmp_path, compiled, opened):
    for path in models_dir().glob("face_detector_320*"):
        shutil.copy(path, tmp_path)
    for size in compiled:
        source = tmp_path / f"face_detector_{size}.tflite"
        shutil.copy(source, source.with_name(f"{source.stem}_edgetpu.tflite"))
    coral = InferenceConfig(accelerator="auto", device=f"fake:{tmp_path}/tpu.json", threads=1)
    detector = open_detector(DetectorConfig(), coral, tmp_path)

    assert detector.sizes[0] == opened
    detector.close()
