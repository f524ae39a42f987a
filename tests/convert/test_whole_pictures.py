"""Faces cut out of a fixed camera's whole pictures: the real detector on a real face."""

import json
import math

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from convert.coco import read_coco
from convert.dataset import command
from maskedge.camera.files import read_picture
from maskedge.errors import UsageError
from maskedge.geometry import Box
from maskedge.scene import FACE, Visit, Wearing, draw, hall

WIDTH, HEIGHT = 640, 480
LABELS = {
    "with_mask": Wearing.MASKED,
    "without_mask": Wearing.BARE,
    "incorrect_mask": Wearing.NOSE_OUT,
}


def truth(face, progress):
    """Where the face of a visit is; see :func:`maskedge.scene.draw`."""
    scale = face / FACE.height
    x = -512 * scale + progress * (WIDTH + 512 * scale)
    y = HEIGHT - 512 * scale + 0.012 * HEIGHT * math.sin(progress * 40)
    box = FACE.scaled(scale, scale)
    return Box(box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y)


def overlap(a, b):
    both = Box(max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2)).area
    return both / (a.area + b.area - both)


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A folder per class of whole pictures, and where the face is in each that has one."""
    folder = tmp_path_factory.mktemp("camera") / "door"
    background, faces = hall(WIDTH, HEIGHT), {}

    def write(label, name, picture):
        (folder / label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / label / name), picture[..., ::-1])

    for number, (label, wearing) in enumerate(LABELS.items()):
        for place, progress in enumerate((0.3, 0.5, 0.8)):
            size, name = 70.0 + 10 * number, f"{label}_{place}.jpg"
            write(label, name, draw(background, Visit(wearing, face=size), progress))
            faces[name] = truth(size, progress)
    pair = draw(background, Visit(Wearing.BARE, face=60.0), 0.2)
    write("with_mask", "two.jpg", draw(pair, Visit(Wearing.MASKED, face=100.0), 0.75))
    faces["two.jpg"] = truth(100.0, 0.75)
    write("with_mask", "empty.jpg", background)
    write("not_a_face", "wall.jpg", background[:200, :150])
    return folder, faces


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def cut_out(door, out, which):
    """Pictures of the set by the name of their originals, and its summary."""
    done = run(door, "--out", out, "--faces", which, "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    pictures = read_coco(out / "train.json", out / "train")
    named = {picture.path.stem.partition("_")[2]: picture for picture in pictures}
    return named, json.loads((out / "summary.json").read_text())


def test_the_face_of_each_picture_is_cut_out_with_what_is_around_it(door, tmp_path):
    folder, faces = door
    found, summary = cut_out(folder, tmp_path / "out", "one")
    assert len(found) == 10
    for name in (n for n in faces if n != "two.jpg"):
        picture = found[name.removesuffix(".jpg")]
        (face,) = picture.faces
        assert face.label == name.rpartition("_")[0]
        pixels = read_picture(picture.path)
        assert pixels.shape == (picture.height, picture.width, 3)
        assert max(pixels.shape) <= 2 * face.box.size + 2  # no more than training makes use of
        whole = read_picture(folder / face.label / name)
        place = cv2.matchTemplate(whole, pixels, cv2.TM_SQDIFF)
        _, _, (x, y), _ = cv2.minMaxLoc(place)
        np.testing.assert_array_equal(whole[y : y + picture.height, x : x + picture.width], pixels)
        box = Box(face.box.x1 + x, face.box.y1 + y, face.box.x2 + x, face.box.y2 + y)
        assert overlap(box, faces[name]) > 0.5
    assert found["wall"].path.suffix == ".jpg"
    assert (found["wall"].width, found["wall"].height) == (150, 200)
    assert len(found["wall"].negatives) == 1
    assert summary["cut_out"] == "one"


def test_pictures_without_one_face_are_left_out_and_named(door, tmp_path):
    folder, _ = door
    found, summary = cut_out(folder, tmp_path / "out", "one")
    assert not {"two", "empty"} & found.keys()
    places = {
        "pictures in which no face is found, left out": "empty.jpg",
        "pictures of several faces, left out": "two.jpg",
    }
    for problem, name in places.items():
        told = {"count": 1, "first": [str(folder / "with_mask" / name)]}
        assert summary["problems"][problem] == told


def test_of_several_faces_the_largest_is_taken_where_asked(door, tmp_path):
    folder, faces = door
    found, summary = cut_out(folder, tmp_path / "out", "largest")
    assert len(found) == 11
    box, true = found["two"].faces[0].box, faces["two.jpg"]
    assert box.size == pytest.approx(true.size, rel=0.35)
    assert "pictures of several faces, left out" not in summary["problems"]
    assert "empty" not in found


def test_the_contact_sheet_shows_the_faces(door, tmp_path):
    found, _ = cut_out(door[0], tmp_path / "out", "one")
    sheet = read_picture(tmp_path / "out" / "contact_sheet.png")
    assert sheet.shape == (4 * (18 + 80), 12 * 80, 3)
    tile = sheet[18:98, :80].astype(int)  # a face with its mask, which is blue, in the middle
    blue = tile[40:65, 25:55].mean((0, 1))
    assert blue[0] > blue[2] + 20
    assert len(found) == 10


def test_where_labels_say_where_faces_are_nothing_is_looked_for(door, tmp_path):
    folder, _ = door
    run(folder, "--out", tmp_path / "set", "--val", 0, "--test", 0)
    done = run(tmp_path / "set", "--out", tmp_path / "out", "--faces", "one")
    assert isinstance(done.exception, UsageError)
    assert "--faces one: is for a folder per class" in str(done.exception)
    assert "read as coco" in str(done.exception)


def test_pictures_that_are_one_group_are_told_of_the_cure_as_long_as_it_helps(door, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "same" / name).mkdir(parents=True)
    picture = read_picture(door[0] / "with_mask" / "with_mask_1.jpg")
    for number in range(4):
        name = tmp_path / "same" / "ab"[number % 2] / f"{number}.png"
        cv2.imwrite(str(name), picture + np.uint8(number))
    asked = (tmp_path / "same", "--label", "a=with_mask", "--label", "b=with_mask")
    told = run(*asked, "--out", tmp_path / "whole").output
    assert "cut the faces out (--faces one)" in told
    told = run(*asked, "--out", tmp_path / "cut", "--faces", "one").output
    assert "4 of 4 pictures are of one group" in told
    assert "cut the faces out" not in told
