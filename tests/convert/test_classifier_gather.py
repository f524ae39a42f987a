"""From data folders to crops: what is wrong with them is told, and crops are those of the data."""

import json
import shutil

import cv2
import numpy as np
import pytest
from drawn_people import write_set

from convert.classifier.batches import split
from convert.classifier.data import (
    INCORRECT,
    NOBODY,
    WITH,
    WITHOUT,
    FaceFinder,
    Sample,
    build_store,
    coco_samples,
)
from convert.classifier.gather import collect, noted, open_crops, unheard
from convert.classifier.own import samples as own_samples
from convert.coco import NEGATIVE
from maskedge.box import Box
from maskedge.errors import InputError, UsageError


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    write_set(folder, "train", 4, seed=1)
    write_set(folder, "val", 2, seed=2)
    return folder


def crops(data, out, **options):
    given = {"size": 112, "resume": False, **options}
    return open_crops(out, collect(data, None, None), None, **given)


def test_pictures_that_can_not_be_read_are_counted_and_named(data, tmp_path, capsys):
    (data / "train" / "train_001.jpg").write_bytes(b"cut short")
    (data / "train" / "train_003.jpg").unlink()
    store = crops(data, tmp_path / "run")
    assert len(store.records) == 12
    said = capsys.readouterr().err
    assert "2 pictures that can't be read, the first" in said
    assert "train_001.jpg" in said


def test_a_larger_input_is_trained_on_faces_that_fill_it(tmp_path):
    cv2.imwrite(str(tmp_path / "near.png"), np.full((500, 400, 3), 90, np.uint8))
    near = Sample(tmp_path / "near.png", Box(50, 50, 350, 450), WITH, "with", "s", validation=False)
    sides = []
    for size in (64, 112, 224):
        store = open_crops(tmp_path / str(size), [near], None, size, resume=False)
        sides.append(int(store.records["side"][0]))
    assert sides == [192, 192, 384]
    crops = open_crops(tmp_path / "64", [near], None, 224, resume=False)
    assert crops.records["side"][0] == 384  # cut out anew


def test_faces_too_small_are_counted(data, tmp_path, capsys):
    file = data / "train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2:] = [11, 11.9]
    file.write_text(json.dumps(content))
    assert len(crops(data, tmp_path / "run").records) == 17
    assert "left out: 1 faces below 12 pixels" in capsys.readouterr().err


def test_without_one_usable_face_it_says_why(data, tmp_path):
    for path in data.glob("*/*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match="of 18 labelled faces none can be used: 6 pictures"):
        crops(data, tmp_path / "run")
    with pytest.raises(InputError, match="none can be used"):  # and leaves nothing to go on with
        crops(data, tmp_path / "run")


def test_a_label_that_nobody_explained_is_named_with_the_cure(data):
    file = data / "train.json"
    file.write_text(file.read_text().replace('"with_mask"', '"KN95"'))
    with pytest.raises(InputError, match=r"train\.json: label 'KN95' is none of .*dataset --label"):
        collect(data, None, None)


@pytest.mark.parametrize("place", ["data", "crops", "folders"])
def test_a_folder_that_holds_nothing_of_use_is_named(data, tmp_path, place):
    empty = tmp_path / "empty"
    (empty / "with_mask").mkdir(parents=True)
    given = {"data": data, "crops": None, "folders": None, place: empty}
    with pytest.raises(InputError, match=f"{empty}: no labelled faces; it needs"):
        collect(**given)


def mark_no_face(file, image, box, out=None):
    """Note that something in a picture is no face."""
    content = json.loads(file.read_text())
    if not any(c["name"] == NEGATIVE for c in content["categories"]):
        content["categories"].append({"id": 9, "name": NEGATIVE})
    entry = {"id": 999, "image_id": content["images"][image]["id"], "category_id": 9, "bbox": box}
    content["annotations"].append(entry)
    (out or file).write_text(json.dumps(content))
    return out or file


def test_what_is_no_face_is_learnt_of_and_never_validated_on(data):
    mark_no_face(data / "train.json", 1, [5, 6, 30, 40])
    mark_no_face(data / "val.json", 0, [5, 6, 30, 40])
    samples = collect(data, None, None)
    (nobody,) = [s for s in samples if s.kind == NEGATIVE]
    assert (nobody.allowed, nobody.validation) == (NOBODY, False)
    assert nobody.picture == data / "train" / "train_001.jpg"
    assert (nobody.box.x1, nobody.box.y2) == (5, 46)


def test_what_is_no_face_has_the_source_that_faces_of_its_file_have(data):
    file = mark_no_face(data / "train.json", 1, [5, 6, 30, 40])
    content = json.loads(file.read_text())
    for image in content["images"]:
        image.pop("source", None)
    file.write_text(json.dumps(content))
    samples = [s for s in collect(data, None, None) if not s.validation]
    assert {s.source for s in samples} == {"train"}
    assert any(s.kind == NEGATIVE for s in samples)


def test_own_sets_say_what_is_no_face_and_are_not_examined_on_it(data):
    mark_no_face(data / "train.json", 1, [5, 6, 30, 40])
    mark_no_face(data / "val.json", 0, [5, 6, 30, 40])
    (nobody,) = [s for s in own_samples([data], own=True) if s.kind == NEGATIVE]
    assert (nobody.allowed, nobody.own, nobody.validation) == (NOBODY, True, False)
    assert nobody.picture.parent.name == "train"


def test_of_mined_labels_only_what_is_no_face_is_taken(data, tmp_path):
    known = collect(data, None, None)
    mined = mark_no_face(data / "train.json", 2, [5, 6, 30, 40], tmp_path / "mined.json")
    samples = collect(data, None, None, mined)
    assert samples[: len(known)] == known
    assert [(s.picture.name, s.kind) for s in samples[len(known) :]] == [
        ("train_002.jpg", NEGATIVE)
    ]
    with pytest.raises(InputError, match=r"train\.json: no labelled faces; it needs not_a_face"):
        collect(data, None, None, data / "train.json")


def test_a_note_of_a_picture_says_nothing_of_what_is_no_face_in_it(data, tmp_path):
    mined = mark_no_face(data / "train.json", 0, [5, 6, 30, 40], tmp_path / "mined.json")
    samples = collect(data, None, None, mined)
    tags = {"incorrect_mask": {"train_000.jpg#1"}, "unclear": {"train_000.jpg#4"}}
    seen = list(noted(samples, tags))
    assert seen[-1] == samples[-1]
    assert len(seen) == len(samples)
    assert [s.kind for s in seen].count("seen_wrong") == 1
    assert unheard(tags, samples) == "1 of no face in the data, the first train_000.jpg#4"


def test_pictures_of_any_kind_are_taken_from_folders(data, tmp_path):
    for name in ("covered/a.png", "not_covered/b.JPG", "covered/notes.txt"):
        path = tmp_path / "crops" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.full((40, 40, 3), 90, np.uint8))[1].tobytes())
    samples = collect(data, tmp_path / "crops", None)
    assert [s.kind for s in samples[18:]] == ["covered", "not_covered"]
    assert [s.allowed for s in samples[18:]] == [WITH, WITHOUT | INCORRECT]
    assert [s.margin for s in samples[18:]] == [0.1, 0.1]


def test_what_somebody_saw_stands_above_what_the_data_says(data):
    samples = collect(data, None, None)
    first = [s for s in samples if s.picture.name == "train_000.jpg"]
    assert len(first) == 3
    tags = {
        "incorrect_mask": {"train_000.jpg#2"},
        "without_mask": {"train_001.jpg"},
        "unclear": {"train_000.jpg#3", "train_002.jpg"},
        "beard": {"train_003.jpg"},
    }
    seen = list(noted(samples, tags))
    of = {n: [s for s in seen if s.picture.name == f"train_00{n}.jpg"] for n in range(4)}
    assert of[0] == [first[0], first[1]._replace(allowed=INCORRECT, kind="seen_wrong")]
    assert {(s.allowed, s.kind) for s in of[1]} == {(WITHOUT, "seen_bare")}
    assert not of[2]
    assert of[3] == [s for s in samples if s.picture.name == "train_003.jpg"]


def test_tags_that_change_nothing_are_told(data):
    samples = collect(data, None, None)
    good = {"unclear": {"train_000.jpg", "train_001.jpg#3"}}
    assert unheard(good, samples) == ""
    bad = {"incorect_mask": {"train_002.jpg"}, "unclear": {"gone.jpg", "train_001.jpg#4", "x#y"}}
    assert unheard(bad, samples) == (
        "neither a label nor unclear, so nothing is learnt from them: 'incorect_mask' (1); "
        "3 of no face in the data, the first gone.jpg"
    )


def test_faces_of_one_named_group_are_of_one_group_in_the_crops(data, tmp_path):
    file = data / "train.json"
    content = json.loads(file.read_text())
    for image, name in zip(content["images"], ("ann", "bob", "ann", ""), strict=True):
        image["group"] = name
    file.write_text(json.dumps(content))
    records = crops(data, tmp_path / "run").records[::3]  # a picture has three faces
    assert records["group"][0] == records["group"][2]
    assert len(set(records["group"])) == 5
    assert records["name"][:4].tolist() == ["ann", "bob", "ann", "train_003.jpg"]


def faces_of(folder, names, groups):
    """A face each of pictures that aren't alike."""
    for number, (name, group) in enumerate(zip(names, groups, strict=True)):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        pixels = cv2.resize(noise, (60, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / name), pixels)
        box = Box(15, 15, 45, 45)
        yield Sample(folder / name, box, WITH, "with", "s", validation=False, group=group)


def test_a_named_group_is_held_out_whole_or_trained_on_whole(tmp_path):
    """Ten frames each of 30 clips: were they drawn by picture, hardly a clip would be left."""
    clips = [f"clip{number // 10}" for number in range(300)]
    files = [f"{number:03}.png" for number in range(300)]
    store = build_store(list(faces_of(tmp_path, files, clips)), tmp_path / "crops", None)
    training, validation = split(store, 0.15)
    assert len(training) + len(validation) == 300
    assert 10 <= len(validation) <= 90
    assert len(validation) % 10 == 0
    later = [f"{number:03}.png" for number in range(300, 310)]
    more = faces_of(tmp_path, [*later, *files], ["clip5"] * 10 + clips)
    again = build_store(list(more), tmp_path / "more", None)
    assert (5 in validation // 10) == (0 in split(again, 0.15)[1])


def test_a_group_that_looks_like_an_unnamed_picture_is_drawn_with_it(tmp_path):
    samples = list(faces_of(tmp_path, ["a.png", "b.png", "c.png"], ["", "ann", "ann"]))
    shutil.copy(tmp_path / "b.png", tmp_path / "a.png")
    records = build_store(samples, tmp_path / "crops", None).records
    assert records["name"].tolist() == ["ann"] * 3


def test_long_names_that_begin_alike_are_drawn_apart(tmp_path):
    names = [f"{'camera-at-the-northern-entrance_1920x1080_' * 2}{i:02}.png" for i in range(40)]
    store = build_store(list(faces_of(tmp_path, names, [""] * 40)), tmp_path / "crops", None)
    assert len(set(store.records["name"])) == 40
    training, validation = split(store, 0.3)
    assert 0 < len(validation) < len(training)


def test_crops_are_cut_again_when_the_data_changed_and_only_then(data, tmp_path):
    run = tmp_path / "run"
    crops(data, run)
    before = (run / "crops" / "records.npy").stat().st_mtime_ns
    crops(data, run)
    assert (run / "crops" / "records.npy").stat().st_mtime_ns == before
    file = data / "train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 2
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="was begun with other faces"):
        crops(data, run, resume=True)
    assert len(crops(data, run).records) == 17


def test_a_file_that_is_not_yunets_is_named(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"yunet\.onnx: not YuNet's network"):
        FaceFinder(tmp_path / "yunet.onnx")


def test_regions_that_are_ignored_and_faces_of_unknown_state_are_not_judged(data):
    file = data / "val.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 4, "name": "face"})
    content["annotations"][0]["by"] = "a detector"
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2]["category_id"] = 4
    file.write_text(json.dumps(content))
    validation, training = (
        list(coco_samples(file, data / "val", validation=v)) for v in (True, False)
    )
    assert len(validation) == 3
    assert [s.kind for s in training].count("face") == 1
    assert len(training) == 4
