"""The second annotator: what becomes of the labels where it agrees, and where it doesn't."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from convert_command import convert
from drawn_people import write_set

from convert import relabel
from convert.coco import NEGATIVE, read_coco, read_pixels
from convert.relabel import agree, ways_of_drawing
from maskedge.errors import EX_NOINPUT

YUNET = Path(os.environ.get("MASKEDGE_PEERS", "none")) / "face_detection_yunet_2023mar.onnx"


def labels(*boxes):
    return [{"bbox": list(box)} for box in boxes]


def seen(*rows):
    table = np.array(rows, np.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4]


def test_a_box_that_both_drew_becomes_the_mean():
    entries = labels((10, 20, 40, 50))
    changed, added = agree(entries, *seen((14, 16, 50, 66, 0.9)))

    assert (changed, added) == (1, [])
    assert entries[0]["bbox"] == [12.0, 18.0, 38.0, 50.0]


@pytest.mark.parametrize("box", [(14, 16, 50, 66, 0.4), (80, 80, 120, 130, 0.9)])
def test_a_box_stays_where_the_second_is_unsure_or_elsewhere(box):
    entries = labels((10, 20, 40, 50))
    assert agree(entries, *seen(box))[0] == 0
    assert entries == labels((10, 20, 40, 50))


def test_of_two_labels_only_the_nearer_takes_a_box():
    entries = labels((10, 10, 40, 40), (16, 10, 40, 40))
    assert agree(entries, *seen((12, 10, 52, 50, 0.9)))[0] == 1
    assert [entry["bbox"][0] for entry in entries] == [11.0, 16]


def test_what_nobody_labelled_is_added_and_the_doubtful_spared():
    entries = labels((10, 10, 40, 40))
    _, added = agree(entries, *seen((100, 100, 120, 130, 0.8), (200, 100, 220, 130, 0.5)))
    unseen, unsure = agree(entries, *seen((200, 100, 220, 130, 0.49)))

    assert [(entry["bbox"], entry["iscrowd"]) for entry in added] == [
        ([100.0, 100.0, 20.0, 30.0], 0),
        ([200.0, 100.0, 20.0, 30.0], 1),
    ]
    assert {entry["by"] for entry in added} == {"YuNet"}
    assert (unseen, unsure) == (0, [])  # the back of a head, a hand: background


def test_pictures_without_labels_or_without_faces_pass():
    assert agree([], *seen()) == (0, [])
    assert agree(labels((1, 1, 9, 9)), *seen()) == (0, [])
    assert len(agree([], *seen((0, 0, 9, 9, 0.9)))[1]) == 1


class Shifted:
    """Sees each labelled face a little further right, and one more in the corner."""

    def __init__(self, model):
        folder, self.number = model.parent, 0
        self.pictures = read_coco(folder / "train.json", folder / "train")

    def faces(self, pixels):
        picture = self.pictures[self.number]
        self.number += 1
        assert (pixels == read_pixels(picture)).all()
        boxes = [(f.box.x1 + 4, f.box.y1, f.box.x2 + 4, f.box.y2, 0.9) for f in picture.faces]
        return seen(*boxes, (0, 100, 15, 118, 0.9))


def test_the_command_writes_a_set_to_train_with(tmp_path, monkeypatch, capsys):
    before = read_coco(write_set(tmp_path, "train", 3), tmp_path / "train")
    original = (tmp_path / "train.json").read_bytes()
    monkeypatch.setattr(relabel, "SecondAnnotator", Shifted)
    out = tmp_path / "second.json"
    words = ["--data", tmp_path, "--yunet", tmp_path / "some.onnx", "--out", out]
    relabel.command.main([str(word) for word in words], standalone_mode=False)

    after = read_coco(out, tmp_path / "train")
    for old, new in zip(before, after, strict=True):
        assert [f.label for f in new.faces] == [f.label for f in old.faces] + ["face"]
        assert [round(b.box.x1 - a.box.x1) for a, b in zip(old.faces, new.faces, strict=False)] == [
            2,
            2,
            2,
        ]
        assert new.faces[-1].by == "YuNet"
        assert new.faces[-1].ignored
    assert (tmp_path / "train.json").read_bytes() == original
    ids = [entry["id"] for entry in json.loads(out.read_text())["annotations"]]
    assert len(set(ids)) == len(ids)
    told = capsys.readouterr().out
    assert "9 boxes became the mean of both, 3 faces were added" in told
    assert "drawn: of 9 boxes YuNet's are" in told


@pytest.mark.parametrize("kind", ["crowd", NEGATIVE])
@pytest.mark.parametrize(("region", "added"), [((0, 95, 40, 40), 0), ((0, 100, 10, 12), 1)])
def test_in_a_region_nothing_is_added_and_it_stays_as_drawn(
    tmp_path, monkeypatch, kind, region, added
):
    """A poster that somebody drew as no face, or a crowd as a whole, or a part of a face."""
    file = write_set(tmp_path, "train", 1)
    content = json.loads(file.read_text())
    content["categories"].append({"id": 9, "name": NEGATIVE})
    corner = content["annotations"][0] | {"id": 99, "bbox": list(region), "iscrowd": 0}
    corner |= {"iscrowd": 1} if kind == "crowd" else {"category_id": 9}
    content["annotations"].append(corner)
    file.write_text(json.dumps(content))
    monkeypatch.setattr(relabel, "SecondAnnotator", Shifted)
    out = tmp_path / "second.json"
    words = ["--data", tmp_path, "--yunet", tmp_path / "some.onnx", "--out", out]
    relabel.command.main([str(word) for word in words], standalone_mode=False)

    after = json.loads(out.read_text())["annotations"]
    assert len(after) == len(content["annotations"]) + added
    assert corner in after


def test_how_the_second_draws_is_told_in_shares_of_the_labelled_box():
    old = np.array([(10, 10, 40, 50), (0, 0, 100, 100), (5, 5, 10, 10)], float)
    theirs = np.array([(8, 20, 44, 40), (-5, 20, 110, 80), (4.5, 7, 11, 8)])
    assert ways_of_drawing(old, (old + theirs) / 2) == pytest.approx([0, 0.1, 0.1, -0.2])


@pytest.mark.parametrize("content", [None, b"no network"])
def test_a_file_that_is_not_yunet_is_named(tmp_path, content):
    write_set(tmp_path, "train", 1)
    file = tmp_path / "some.onnx"
    if content:
        file.write_bytes(content)
    done = convert(
        "relabel", "--data", tmp_path, "--yunet", file, "--out", tmp_path / "o", check=False
    )
    assert done.returncode == EX_NOINPUT
    assert f"--yunet {file}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(not YUNET.is_file(), reason="MASKEDGE_PEERS names no folder of networks")
def test_yunet_itself_finds_a_face():
    from skimage import data  # noqa: PLC0415 - a test that is mostly left out

    boxes, scores = relabel.SecondAnnotator(YUNET).faces(data.astronaut())
    best = boxes[scores.argmax()]
    assert best[0] < 225 < best[2]
    assert best[1] < 115 < best[3]


def test_a_set_may_number_its_pictures_in_words_and_its_faces_not_at_all(tmp_path, monkeypatch):
    path = write_set(tmp_path, "train", 2)
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry.pop("id")
        entry["image_id"] = str(entry["image_id"])
    path.write_text(json.dumps(content))
    monkeypatch.setattr(relabel, "SecondAnnotator", Shifted)
    words = ["--data", tmp_path, "--yunet", tmp_path / "some.onnx", "--out", tmp_path / "o.json"]
    relabel.command.main([str(word) for word in words], standalone_mode=False)
    pictures = read_coco(tmp_path / "o.json", tmp_path / "train")
    assert [len(picture.faces) for picture in pictures] == [4, 4]
