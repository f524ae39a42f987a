"""A detector's score becomes the probability that a box is a face."""

import json
import shutil

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from convert.detector.calibrate import command, fit
from convert.detector.score import Found, Truth, matched
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.errors import InputError, ModelError
from maskedge.modelfile import models_dir
from maskedge.scene import portrait
from maskedge.vision.faces import open_detector

CPU = InferenceConfig(accelerator="cpu", threads=1)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (4.0, 2.0), (0.5, -1.5)])
def test_the_curve_that_made_the_data_is_found_again(scale, offset):
    rng = np.random.default_rng(3)
    logits = rng.normal(-0.5, 2, 40_000)
    hits = rng.random(len(logits)) < 1 / (1 + np.exp(-(scale * logits + offset)))
    assert fit(logits, hits) == pytest.approx((scale, offset), rel=0.08, abs=0.05)


def test_faces_and_false_boxes_that_never_overlap_still_give_a_finite_curve():
    scale, offset = fit(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    assert np.isfinite([scale, offset]).all()


@pytest.mark.parametrize("hits", [np.ones(5, bool), np.zeros(5, bool)])
def test_nothing_to_fit_is_a_clear_error(hits):
    with pytest.raises(InputError, match="both faces and false boxes"):
        fit(np.arange(5.0), hits)


def test_matched_counts_each_face_once_and_leaves_ignored_regions_out():
    boxes = np.array([[0, 0, 40, 40], [1, 1, 41, 41], [100, 100, 140, 140], [200, 0, 240, 40]])
    found = Found(boxes.astype(np.float32), np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    truth = Truth(
        np.array([[0, 0, 40, 40], [100, 100, 140, 140]], np.float32),
        ("face", "face"),
        np.array([False, True]),
    )
    scores, hits = matched([found], [truth])
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.6])
    assert hits.tolist() == [True, False, False]


@pytest.fixture
def models(tmp_path):
    for path in models_dir().glob("face_detector_*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def calibrate(models, part):
    for path in models.glob("*.json"):
        card = json.loads(path.read_text())
        card["calibration"] = part
        path.write_text(json.dumps(card))


def scores(models, threshold):
    detector = open_detector(DetectorConfig(threshold=threshold), CPU, models)
    try:
        faces = detector.detect(Frame(portrait(), ChannelOrder.RGB, 0.0))
    finally:
        detector.close()
    return [face.score for face in faces]


def test_the_runtime_applies_it_to_scores_and_threshold(models):
    calibrate(models, {"scale": 1.0, "offset": 0.0})
    raw = scores(models, 0.1)
    calibrate(models, {"scale": 0.5, "offset": -0.5})
    low = 1 / (1 + np.exp(-(0.5 * np.log(0.1 / 0.9) - 0.5)))
    told = scores(models, low)
    logits = np.log(raw) - np.log1p(-np.array(raw))
    assert told == pytest.approx((1 / (1 + np.exp(0.5 - 0.5 * logits))).tolist(), abs=1e-3)
    assert scores(models, float(told[0]) + 0.01) == []


@pytest.mark.parametrize("part", [{}, {"scale": 0, "offset": 1}, {"scale": "x", "offset": 1}, 7])
def test_nonsense_beside_the_network_is_one_clear_error(models, part):
    calibrate(models, part)
    with pytest.raises(ModelError, match="calibration"):
        open_detector(DetectorConfig(), CPU, models)


def test_the_shipped_detector_is_calibrated():
    for path in models_dir().glob("face_detector_*.json"):
        assert json.loads(path.read_text())["calibration"]["method"] == "logistic"


@pytest.fixture
def data(tmp_path):
    """Two pictures of one face each, of which annotators marked only the first."""
    folder = tmp_path / "data"
    whole = portrait()
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "face"}]}
    detector = open_detector(DetectorConfig(), CPU, models_dir())
    (face,) = detector.detect(Frame(whole, ChannelOrder.RGB, 0.0))
    detector.close()
    for number, pixels in enumerate((whole, whole[:, ::-1])):
        (folder / "val").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "val" / f"{number}.png"), pixels[..., ::-1])
        height, width = pixels.shape[:2]
        image = {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
        content["images"].append(image)
    box = [face.box.x1, face.box.y1, face.box.width, face.box.height]
    content["annotations"].append({"id": 1, "image_id": 0, "category_id": 1, "bbox": box})
    (folder / "val.json").write_text(json.dumps(content))
    nothing = {"images": [], "annotations": [], "categories": []}
    (folder / "train.json").write_text(json.dumps(nothing))
    return folder


def cards(models):
    return {path.name: path.read_bytes() for path in models.glob("*.json")}


def test_every_network_is_given_the_same_curve_from_its_raw_scores(models, data):
    calibrate(models, {"scale": 9.0, "offset": 9.0})  # an earlier one has no say
    done = CliRunner().invoke(command, ["--data", str(data), "--models", str(models)])
    assert done.exit_code == 0, (done.output, done.exception)
    parts = [json.loads(text)["calibration"] for text in cards(models).values()]
    assert len(parts) == 7
    assert all(part == parts[0] for part in parts)
    assert parts[0]["boxes"] >= 2
    assert parts[0]["scale"] != 9.0
    calibrate(models, {"scale": 1.0, "offset": 0.0})
    again = CliRunner().invoke(command, ["--data", str(data), "--models", str(models)])
    assert again.output.splitlines()[-1] == done.output.splitlines()[-1]


@pytest.mark.parametrize("wrong", ["no data", "no pictures", "nothing false", "broken picture"])
def test_a_calibration_that_fails_leaves_the_one_that_there_is(models, data, wrong):
    before = cards(models)
    if wrong == "no data":
        shutil.rmtree(data)
    elif wrong == "no pictures":
        (data / "val.json").unlink()
    elif wrong == "nothing false":
        content = json.loads((data / "val.json").read_text())
        content["annotations"] = []
        (data / "val.json").write_text(json.dumps(content))
    else:
        (data / "val" / "1.png").write_bytes(b"cut short")
    done = CliRunner().invoke(command, ["--data", str(data), "--models", str(models)])
    assert isinstance(done.exception, InputError)
    assert cards(models) == before
