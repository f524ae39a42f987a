"""Pictures that were turned or shrunk after their boxes were drawn."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from drawn_people import write_set

from convert.classifier.data import build_store, coco_samples
from convert.coco import NEGATIVE, Annotation, Picture, read_coco, read_pixels
from convert.dataset import check, command
from maskedge.errors import InputError
from maskedge.geometry import Box

FACE, NOBODY = Box(120, 20, 180, 80), Box(10, 90, 50, 120)


def jpeg(path, pixels, orientation=None):
    """A JPEG file, with EXIF's orientation if one is given."""
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    if orientation:
        tag = b"\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0"
        body = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + bytes(4)
        segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        data = data[:2] + segment + data[2:]
    path.write_bytes(data)
    return path


def scene():
    """200x140 pixels: a white face, a grey thing that is none, both on black."""
    pixels = np.zeros((140, 200, 3), np.uint8)
    for box, grey in ((FACE, 255), (NOBODY, 128)):
        x1, y1, x2, y2 = map(int, box)
        pixels[y1:y2, x1:x2] = grey
    return pixels


def labelled(path, width=200, height=140):
    return Picture(path, width, height, "s", (Annotation(FACE, "with_mask"),), "", (NOBODY,))


def shown(picture):
    """The pixels that a picture's boxes surround, and their share of all that are bright."""
    pixels = cv2.imread(str(picture.path))
    assert (picture.width, picture.height) == (pixels.shape[1], pixels.shape[0])
    for box, grey in ((picture.faces[0].box, 255), (picture.negatives[0], 128)):
        x1, y1, x2, y2 = (round(edge) for edge in box)
        inside = abs(pixels[y1:y2, x1:x2].astype(int) - grey) < 40
        of_all = abs(pixels.astype(int) - grey) < 40
        yield inside.mean(), inside.sum() / of_all.sum()


@pytest.mark.parametrize("shrunk", [1.0, 0.5])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_drawn_on_a_picture_as_stored_are_turned_with_it(tmp_path, orientation, shrunk):
    pixels = cv2.resize(scene(), None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    path = jpeg(tmp_path / "a.jpg", pixels, orientation)
    checked = check([labelled(path)], {})
    for inside, of_all in shown(checked.pictures[0]):
        assert inside > 0.95
        assert of_all > 0.9
    assert checked.problems == {
        "pictures that EXIF turns but not their labels, boxes turned": ["a.jpg"]
    }


def test_boxes_of_a_picture_that_was_shrunk_are_scaled(tmp_path):
    path = jpeg(tmp_path / "a.jpg", cv2.resize(scene(), (67, 47), interpolation=cv2.INTER_AREA))
    checked = check([labelled(path)], {})
    for inside, of_all in shown(checked.pictures[0]):
        assert inside > 0.9
        assert of_all > 0.9
    assert checked.problems == {
        "pictures of another size than their labels are for, boxes scaled": ["a.jpg"]
    }


def test_boxes_drawn_on_a_picture_as_shown_stay_where_they_are(tmp_path):
    upright = np.rot90(scene()).copy()  # as a camera held upright stores it
    path = jpeg(tmp_path / "a.jpg", upright, 6)
    checked = check([labelled(path)], {})
    assert checked.pictures[0].faces[0].box == FACE
    assert checked.problems == {}


@pytest.mark.parametrize("size", [(140, 200), (200, 200)])
def test_a_picture_in_which_nobody_can_tell_where_its_boxes_lie_is_left_out(tmp_path, size):
    path = jpeg(tmp_path / "a.jpg", scene())
    fine = jpeg(tmp_path / "b.jpg", scene())  # the same pixels: no duplicate of what is left out
    checked = check([labelled(path, *size), labelled(fine)], {})
    assert [picture.path.name for picture in checked.pictures] == ["b.jpg"]
    assert checked.problems == {
        "pictures of another shape than their labels are for, left out": ["a.jpg"]
    }


def test_what_was_shrunk_is_refused_until_dataset_has_scaled_its_boxes(tmp_path):
    file = write_set(tmp_path / "set", "people", 6)
    content = json.loads(file.read_text())
    content["categories"].append({"id": 9, "name": NEGATIVE})
    content["annotations"][0]["category_id"] = 9
    for image in content["images"]:
        image["width"], image["height"] = 480, 240
    for face in content["annotations"]:
        face["bbox"] = [2 * edge for edge in face["bbox"]]
    file.write_text(json.dumps(content))

    said = r"people_000\.jpg: has 240x120 pixels, its labels are for 480x240; python -m convert d"
    with pytest.raises(InputError, match=said):
        read_pixels(read_coco(file, file.with_suffix(""))[0])
    samples = list(coco_samples(file, file.with_suffix(""), validation=False))
    for sample in (samples[0], samples[-1]):  # a face, and what is none
        with pytest.raises(InputError, match=said.replace("000", r"\d{3}")):
            build_store([sample], tmp_path / "crops", None)

    done = CliRunner().invoke(
        command, [str(file.parent), "--out", str(tmp_path / "out"), "--val", "0", "--test", "0"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    made = tmp_path / "out" / "train.json"
    assert [read_pixels(p).shape for p in read_coco(made, made.with_suffix(""))] == [
        (120, 240, 3)
    ] * 6
    samples = list(coco_samples(made, made.with_suffix(""), validation=False))
    assert len(build_store(samples, tmp_path / "crops", None).records) == 6 * 3
