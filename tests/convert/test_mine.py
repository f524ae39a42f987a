"""What a detector takes for faces where nobody labelled one: found, kept apart, and trained on."""

import json

import cv2
import numpy as np
import pytest
from convert_command import convert

from convert.coco import NEGATIVE, Annotation, read_coco
from convert.detector.score import Found
from convert.mine import negatives
from maskedge.box import Box
from maskedge.errors import EX_NOINPUT
from maskedge.geometry import iou_matrix
from maskedge.modelfile import models_dir
from maskedge.models import drawn

SIZE = 90
MODEL = models_dir() / "face_detector_320x256.tflite"


@pytest.fixture
def people(tmp_path):
    """Three pictures of one drawn face each: labelled, spared, and not labelled; and a wall."""
    (tmp_path / "train").mkdir()
    images, annotations = [], []
    for number, person in enumerate((*drawn.PERSONS[:3], None)):
        pixels = drawn.wall(320, 256)
        if person is not None:
            pixels = drawn.portrait(person, "without_mask", size=SIZE, canvas=(320, 256))
        file = f"{number}.png"
        cv2.imwrite(str(tmp_path / "train" / file), np.asarray(pixels, np.uint8)[..., ::-1])
        images.append({"id": number, "file_name": file, "width": 320, "height": 256})
        x1, y1, x2, y2 = drawn.face_box((160, 128), SIZE)
        if number < 2:
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"id": number, "image_id": number, "category_id": 1, "bbox": box}
            annotations.append({**entry, "iscrowd": number})
    categories = [{"id": 1, "name": "face"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train.json").write_text(json.dumps(content))
    return tmp_path


def mine(folder, out, *more, check=True):
    words = ["--data", folder, "--model", MODEL, "--out", out, *more]
    return convert("mine", *words, check=check)


def test_what_nobody_labelled_becomes_a_negative(people):
    done = mine(people, people / "mined.json", "--sheet", people / "mined.png")
    assert "1 place " in done.stdout
    sheet = cv2.imread(str(people / "mined.png"))
    assert sheet.shape == (98, 960, 3)
    assert sheet[18:, :80].min() < 128  # the face
    assert sheet[18:, 80:].min() == 255
    before = read_coco(people / "train.json", people / "train")
    after = read_coco(people / "mined.json", people / "train")
    assert [picture.faces for picture in after] == [picture.faces for picture in before]
    assert [len(picture.negatives) for picture in after] == [0, 0, 1, 0]
    drawn_box = np.array([drawn.face_box((160, 128), SIZE)], np.float32)
    assert iou_matrix(drawn_box, np.array(after[2].negatives, np.float32)).max() > 0.4
    content = json.loads((people / "mined.json").read_text())
    assert content["annotations"][-1]["score"] >= 0.4
    assert len({entry["id"] for entry in content["annotations"]}) == 3


def test_what_is_known_is_not_mined_again(people):
    mine(people, people / "mined.json")
    done = mine(people, people / "again.json", "--labels", people / "mined.json")
    assert "0 places" in done.stdout
    first, again = (json.loads((people / f"{n}.json").read_text()) for n in ("mined", "again"))
    assert first == again
    assert [c["name"] for c in again["categories"]].count(NEGATIVE) == 1


def test_a_score_that_nothing_reaches_finds_nothing(people):
    assert "0 places" in mine(people, people / "mined.json", "--score", 1).stdout


@pytest.mark.parametrize("option", ["--model", "--labels"])
def test_a_file_that_is_not_there_is_named(people, option):
    missing = people / "missing"
    done = mine(people, people / "mined.json", option, missing, check=False)
    assert done.returncode == EX_NOINPUT
    assert str(missing) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (people / "mined.json").exists()


def test_of_several_on_one_spot_the_surest_is_kept():
    faces = [Annotation(Box(0, 0, 20, 20), "face")]
    found = np.array(
        [(2, 2, 22, 22), (50, 50, 70, 70), (52, 50, 72, 70), (100, 0, 120, 20)], np.float32
    )
    scores = np.array([0.99, 0.6, 0.7, 0.5], np.float32)
    assert negatives(faces, Found(found, scores)) == [2, 3]
    assert negatives([], Found(found[:0], scores[:0])) == []


@pytest.mark.parametrize("kind", [{"crowd": True}, {"label": NEGATIVE}])
def test_in_a_region_nothing_is_mined(kind):
    """A poster or a crowd that somebody drew as a whole is larger than what is found in it."""
    region = Annotation(Box(0, 0, 200, 200), **{"label": "face", **kind})
    found = Found(
        np.array([(20, 20, 60, 60), (160, 20, 230, 60), (170, 20, 260, 60)], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32),
    )
    assert negatives([region], found) == [2]
    face = Annotation(Box(0, 0, 200, 200), "face")
    assert negatives([face], found) == [0, 1]  # the third is of the second's spot
