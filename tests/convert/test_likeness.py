"""Nobody is examined on what was learnt by heart: near-duplicates are known and kept apart."""

import json

import cv2
import numpy as np
import pytest
from convert_command import convert
from drawn_people import write_set

from convert.coco import read_coco
from convert.detector.train import Settings, apart, split, train
from convert.likeness import alike, unlike
from maskedge.errors import EX_NOINPUT


def read(file):
    return read_coco(file, file.with_suffix(""))


@pytest.fixture
def training(tmp_path):
    return write_set(tmp_path, "train", 8)


@pytest.fixture
def validation(tmp_path, training):
    """Five pictures: one as in training, one smaller and compressed, one mirrored, two others."""
    file = write_set(tmp_path, "val", 5, seed=1)
    first, second, third = (cv2.imread(str(p.path)) for p in read(training)[:3])
    folder = file.with_suffix("")
    cv2.imwrite(str(folder / "val_000.jpg"), first)
    small = cv2.resize(second, (160, 80), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (240, 120))
    cv2.imwrite(str(folder / "val_001.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 40])
    cv2.imwrite(str(folder / "val_002.jpg"), np.ascontiguousarray(third[:, ::-1]))
    return file


def test_copies_are_known_however_they_were_made(training, validation):
    assert alike(read(validation), read(training)) == [True, True, True, False, False]
    assert [p.path.name for p in unlike(read(validation), training)] == [
        "val_003.jpg",
        "val_004.jpg",
    ]


def test_the_detector_is_not_trained_on_what_it_is_examined_on(training, validation, capsys):
    names = [p.path.name for p in apart(read(training), read(validation))]
    assert names == [f"train_{number:03}.jpg" for number in range(3, 8)]
    assert "left out of training: 3 pictures" in capsys.readouterr().err


@pytest.mark.usefixtures("validation")
def test_the_command_trains_on_what_is_apart(tmp_path, monkeypatch):
    class Begun(Exception):
        pass

    def begin(pictures):
        raise Begun([picture.path.name for picture in pictures])

    monkeypatch.setattr("convert.detector.data.load_samples", begin)
    monkeypatch.setattr("convert.detector.train._fresh", lambda *_: None)
    with pytest.raises(Begun) as begun:
        train(tmp_path, tmp_path / "run", Settings(hold_out=4, steps=1))
    (names,) = begun.value.args
    assert names == [f"train_{number:03}.jpg" for number in (3, 4, 5, 7)]


def test_pictures_of_a_fixed_camera_are_all_alike_and_that_is_told(training, capsys):
    pictures = read(training)
    assert apart(pictures, pictures[:5]) == pictures
    assert "5 of 8 training pictures look like one" in capsys.readouterr().err
    assert apart(pictures, []) == pictures
    assert not capsys.readouterr().err.strip().endswith("validation")


def test_a_group_is_held_out_whole(training):
    content = json.loads(training.read_text())
    for number, image in enumerate(content["images"]):
        image["group"] = f"clip {number // 2}"
    training.write_text(json.dumps(content))
    trained, held_out = split(read(training), 4)
    assert [p.group for p in held_out] == ["clip 2", "clip 2"]
    assert len(trained) == 6
    assert split(read(training), 0) == (read(training), [])


def test_without_groups_every_so_many_is_held_out(training):
    trained, held_out = split(read(training), 4)
    assert [p.path.name for p in held_out] == ["train_002.jpg", "train_006.jpg"]
    assert len(trained) == 6


def evaluated(validation, training, **options):
    return convert(
        *("evaluate", "--coco", validation, "--images", validation.with_suffix("")),
        *("--only", "detector", "--unlike", training),
        **options,
    )


def test_evaluate_leaves_out_what_looks_like_training_and_says_so(training, validation):
    report = json.loads(evaluated(validation, training).stdout)
    assert report["unlike"] == {"file": "train.json", "left_out": 3}
    assert report["pictures"] == report["detector"]["pictures"] == 2


def test_where_nothing_is_left_to_measure_on_evaluate_says_so(training):
    done = evaluated(training, training, check=False)
    assert done.returncode == EX_NOINPUT
    assert "--unlike" in done.stderr
    assert "nothing is left to measure on" in done.stderr
    assert "Traceback" not in done.stderr
