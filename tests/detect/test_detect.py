"""`maskedge detect`: the JSON contract, annotated copies, videos; with the shipped networks."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from maskedge.scene import Visit, Wearing, draw, hall, portrait, wear

LABELS = {"with_mask", "without_mask", "incorrect_mask"}


def detect(*args):
    done = subprocess.run(
        [sys.executable, "-m", "maskedge", "detect", *map(str, args)],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for wearing in Wearing:
        cv2.imwrite(str(folder / f"{wearing}.png"), wear(wearing)[..., ::-1])
    cv2.imwrite(str(folder / "hall.jpg"), hall(640, 480)[..., ::-1])
    return folder


def test_one_json_line_per_picture_by_the_contract(pictures):
    lines = [json.loads(line) for line in detect("--json", pictures).splitlines()]
    assert [line["path"] for line in lines] == sorted(map(str, pictures.iterdir()))
    by_name = {line["path"].rsplit("/", 1)[1]: line for line in lines}
    for line in lines:
        assert set(line) == {"path", "frame", "width", "height", "faces"}
        assert line["frame"] == 0
        for face in line["faces"]:
            assert set(face) == {"box", "score", "label", "scores"}
            assert set(face["scores"]) == LABELS
            assert sum(face["scores"].values()) == pytest.approx(1, abs=0.01)
            assert face["label"] == max(face["scores"], key=face["scores"].get)
    assert by_name["hall.jpg"]["faces"] == []
    assert (by_name["hall.jpg"]["width"], by_name["hall.jpg"]["height"]) == (640, 480)
    judged = {name: [f["label"] for f in line["faces"]] for name, line in by_name.items()}
    assert judged["bare.png"] == ["without_mask"]
    assert judged["masked.png"] == ["with_mask"]
    assert judged["nose_out.png"] == ["incorrect_mask"]


def test_the_box_is_where_the_face_is(tmp_path):
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), portrait()[..., ::-1])
    (face,) = json.loads(detect("--json", path))["faces"]
    x1, y1, x2, y2 = face["box"]
    assert x1 < 200  # the left eye, as the picture shows it
    assert x2 > 247  # the right eye
    assert y1 < 102  # both
    assert y2 > 143  # the mouth


def test_annotated_copies(pictures, tmp_path):
    out = tmp_path / "out"
    text = detect("--out", out, pictures)
    assert "without_mask" in text
    assert "no face" in text
    assert {path.name for path in out.iterdir()} == {path.name for path in pictures.iterdir()}
    before, after = (cv2.imread(str(f / "bare.png")) for f in (pictures, out))
    assert before.shape == after.shape
    assert (before != after).any()


@pytest.mark.parametrize("face", [40, 80, 110])
def test_near_and_far_faces_are_found(tmp_path, face):
    path = tmp_path / "person.png"
    picture = draw(hall(640, 480), Visit(Wearing.BARE, face=face), 0.5)
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
    (found,) = json.loads(detect("--json", path))["faces"]
    x1, _, x2, _ = found["box"]
    assert x2 - x1 == pytest.approx(face * 0.72, rel=0.35)
