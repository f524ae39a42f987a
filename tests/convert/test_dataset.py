import json
import os
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from drawn_people import write_set

from convert.coco import Annotation, Picture, read_coco
from convert.dataset import check, command
from convert.grouping import split
from convert.importers import READERS, recognise, standard_label
from maskedge.errors import InputError, MaskedgeError, UsageError
from maskedge.geometry import Box


@pytest.fixture
def coco(tmp_path):
    folder = tmp_path / "source"
    write_set(folder, "people", 12)
    return folder


def as_voc(coco, folder):
    folder.mkdir()
    for picture in read_coco(coco / "people.json", coco / "people"):
        shutil.copy(picture.path, folder)
        root = ET.Element("annotation")
        ET.SubElement(root, "filename").text = picture.path.name
        size = ET.SubElement(root, "size")
        ET.SubElement(size, "width").text = str(picture.width)
        ET.SubElement(size, "height").text = str(picture.height)
        for face in picture.faces:
            thing = ET.SubElement(root, "object")
            ET.SubElement(thing, "name").text = face.label
            box = ET.SubElement(thing, "bndbox")
            for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), face.box, strict=True):
                ET.SubElement(box, edge).text = str(value)
        ET.ElementTree(root).write(folder / f"{picture.path.stem}.xml")
    return folder


def as_yolo(coco, folder):
    (folder / "labels").mkdir(parents=True)
    (folder / "images").mkdir()
    labels = ["with_mask", "without_mask", "mask_weared_incorrect"]
    (folder / "classes.txt").write_text("\n".join(labels))
    for picture in read_coco(coco / "people.json", coco / "people"):
        shutil.copy(picture.path, folder / "images")
        lines = []
        for face in picture.faces:
            box = face.box.scaled(1 / picture.width, 1 / picture.height)
            x, y = box.centre
            lines.append(f"{labels.index(face.label)} {x} {y} {box.width} {box.height}")
        (folder / "labels" / f"{picture.path.stem}.txt").write_text("\n".join(lines) + "\n")
    return folder


def as_folders(coco, folder):
    for picture in read_coco(coco / "people.json", coco / "people"):
        pixels = cv2.imread(str(picture.path))
        for number, face in enumerate(picture.faces):
            x1, y1, x2, y2 = (int(v) for v in face.box)
            name = folder / face.label / f"{picture.path.stem}_{number}.png"
            name.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(name), pixels[y1:y2, x1:x2])
    return folder


MAKERS = {"voc": as_voc, "yolo": as_yolo, "folders": as_folders}


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_every_form_gives_the_same_faces(coco, tmp_path, form):
    folder = MAKERS[form](coco, tmp_path / form)
    assert recognise(folder) == form
    expected = {p.path.name: p.faces for p in read_coco(coco / "people.json", coco / "people")}
    found = READERS[form](folder, None)
    assert len(found) == 12
    for picture in found:
        assert picture.path.exists()
        for face, original in zip(picture.faces, expected[picture.path.name], strict=True):
            assert face.label == original.label
            np.testing.assert_allclose(face.box, original.box, atol=0.01)


def test_a_folder_per_class_is_one_whole_face_per_picture(coco, tmp_path):
    folder = as_folders(coco, tmp_path / "folders")
    assert recognise(folder) == "folders"
    pictures = READERS["folders"](folder, None)
    assert len(pictures) == 36
    assert pictures[0].faces[0].box == Box(0, 0, pictures[0].width, pictures[0].height)


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_what_comes_out_can_be_trained_on(coco, tmp_path):
    out = tmp_path / "out"
    done = run(coco, "--out", out, "--val", 0.25, "--test", 0.25)
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text())
    assert sum(summary["pictures"].values()) == 12
    assert set(summary["pictures"]) == {"train", "val", "test"}
    labels = {f.label for p in read_coco(out / "train.json", out / "train") for f in p.faces}
    assert labels <= {"with_mask", "without_mask", "incorrect_mask"}
    assert cv2.imread(str(out / "contact_sheet.png")) is not None
    again = tmp_path / "again"
    run(coco, "--out", again, "--val", 0.25, "--test", 0.25)
    assert (again / "val.json").read_text() == (out / "val.json").read_text()


def test_a_licence_goes_with_the_pictures(coco, tmp_path):
    """What a COCO file says of each picture, unless the user says it of all."""
    file = coco / "people.json"
    content = json.loads(file.read_text())
    content["licenses"] = [{"id": 4, "name": "CC BY 4.0", "url": ""}, {"id": 5, "url": "https://a"}]
    for number, image in enumerate(content["images"]):
        image |= {"source": ["", "hall", "street"][number % 3], "license": [4, 5, 0][number % 3]}
    file.write_text(json.dumps(content))
    assert run(coco, "--out", tmp_path / "a").exit_code == 0
    found = json.loads((tmp_path / "a" / "summary.json").read_text())["collections"]
    said = {name: entry.pop("licence") for name, entry in found.items()}
    assert said == {"source": "CC BY 4.0", "hall": "https://a", "street": ""}
    assert sum(sum(entry.values()) for entry in found.values()) == 12
    known = {p.source: p.licence for p in read_coco(tmp_path / "a/train.json", tmp_path)}
    assert known == said
    done = run(coco, "--out", tmp_path / "b", "--licence", "ours")
    assert done.exit_code == 0
    assert {p.licence for p in read_coco(tmp_path / "b/train.json", tmp_path)} == {"ours"}


def test_checks_find_what_is_wrong_with_a_set(coco):
    names = sorted(p.name for p in (coco / "people").iterdir())
    (coco / "people" / names[0]).write_bytes(b"cut short")
    shutil.copy(coco / "people" / names[1], coco / "people" / names[2])
    (coco / "people" / names[3]).unlink()
    content = json.loads((coco / "people.json").read_text())
    content["annotations"][3 * 4]["bbox"] = [500, 500, 20, 20]
    content["annotations"][3 * 5]["bbox"] = [-10, 40, 60, 60]
    content["categories"][0]["name"] = "KN95"
    (coco / "people.json").write_text(json.dumps(content))
    checked = check(READERS["coco"](coco, None), {})
    assert checked.problems["corrupt pictures"] == [names[0]]
    assert checked.problems["missing pictures"] == [names[3]]
    assert len(checked.problems["exact duplicates, left out"]) == 1
    assert any("outside" in problem for problem in checked.problems)
    assert any("over the picture's edge" in problem for problem in checked.problems)
    assert any("'KN95'" in problem for problem in checked.problems)
    assert len(checked.pictures) == 9


def smooth(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(noise, (200, 200), interpolation=cv2.INTER_CUBIC)


def test_near_duplicates_never_lie_in_two_parts(tmp_path):
    pictures = []
    for number in range(40):
        picture = smooth(number // 2)
        if number % 2:
            picture = cv2.resize(picture, (140, 140), interpolation=cv2.INTER_AREA)
        path = tmp_path / f"{number:02}.jpg"
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 70])
        face = Annotation(Box(20, 20, 100, 100), "with_mask")
        pictures.append(Picture(path, 0, 0, "s", (face,)))
    checked = check(pictures, {})
    parts = split(checked.groups, 0.3, 0.3, seed=1)
    assert set(parts) == {"train", "val", "test"}
    assert parts[::2] == parts[1::2]
    told = checked.problems["near-duplicates, kept in one part"]
    assert told == [f"{number:02}.jpg" for number in range(1, 40, 2)]


def test_a_mirrored_copy_lies_in_the_part_of_its_original(tmp_path):
    pictures = []
    for number in range(40):
        picture = smooth(number // 2)
        path = tmp_path / f"{number:02}.jpg"
        cv2.imwrite(str(path), picture[:, ::-1] if number % 2 else picture)
        pictures.append(Picture(path, 0, 0, "s", ()))
    groups = check(pictures, {}).groups
    assert groups[::2] == groups[1::2]
    assert groups[::2] == [p.path.name for p in pictures[::2]]


def test_frames_of_one_clip_stay_together(tmp_path):
    pictures = []
    for number in range(24):
        path = tmp_path / f"clip{number % 6}_{number:02}.png"
        cv2.imwrite(str(path), smooth(100 + number))
        pictures.append(Picture(path, 0, 0, "s", ()))
    groups = check(pictures, {}, re.compile(r"^(clip\d)_")).groups
    assert len(set(groups)) == 6
    assert all(groups[i] == groups[i % 6] for i in range(24))


@pytest.mark.parametrize("named_by", ["pattern", "the set", "Roboflow"])
def test_a_group_with_a_name_keeps_its_part_when_pictures_are_added(tmp_path, named_by):
    """Frames that come earlier than those that were there, as a camera's second card has."""
    pictures = []
    for number in range(90):
        clip = number % 30
        path = tmp_path / f"clip{clip:02}_jpg.rf.{number // 30}.jpg"
        path = path if named_by == "Roboflow" else tmp_path / f"clip{clip:02}_{number // 30}.png"
        cv2.imwrite(str(path), smooth(number))
        group = f"person-{clip}" if named_by == "the set" else ""
        pictures.append(Picture(path, 0, 0, "s", (), group=group))
    pattern = re.compile(r"^(clip\d+)_") if named_by == "pattern" else None
    parts = []
    for some in (pictures[30:], pictures):
        groups = check(some, {}, pattern).groups
        assert len(set(groups)) == 30
        parts.append(split(groups, 0.3, 0.3, 1))
    assert parts[1][30:] == parts[0]


def test_a_pattern_names_a_day_of_several_persons(tmp_path):
    pictures = []
    for number in range(24):
        path = tmp_path / f"2026112{number % 2}_{number:02}.png"
        cv2.imwrite(str(path), smooth(number))
        pictures.append(Picture(path, 0, 0, "s", (), group=f"person-{number // 4}"))
    with_days = check(pictures[:2] + pictures[8:10], {}, re.compile(r"^(\d{8})_")).groups
    assert set(with_days) == {"20261120"}  # both persons were there on both days


def test_a_random_split_tears_near_duplicates_apart_and_says_so(tmp_path):
    folder = tmp_path / "source" / "with_mask"
    folder.mkdir(parents=True)
    for number in range(40):
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95 if number % 2 else 60]
        cv2.imwrite(str(folder / f"{number:02}.jpg"), smooth(number // 2), quality)
    torn = {}
    for how in ("group", "random"):
        out = tmp_path / how
        arguments = ["--out", str(out), "--val", "0.3", "--test", "0.3", "--split", how]
        CliRunner().invoke(command, [str(tmp_path / "source"), *arguments], catch_exceptions=False)
        assert json.loads((out / "summary.json").read_text())["split"] == how
        part = {p.name[7:9]: p.parent.name for p in out.glob("*/*.jpg")}
        torn[how] = sum(part[f"{2 * n:02}"] != part[f"{2 * n + 1:02}"] for n in range(20))
    assert torn["group"] == 0
    assert torn["random"] > 4


def test_groups_that_the_set_names_are_split_together_and_told_on(coco, tmp_path):
    file = coco / "people.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        image["group"] = f"person-{image['id'] % 4}"
    file.write_text(json.dumps(content))
    arguments = [str(coco), "--out", str(tmp_path / "out"), "--val", "0.3", "--test", "0.3"]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    parts = {}
    for name in ("train", "val", "test"):
        path = tmp_path / "out" / f"{name}.json"
        for picture in read_coco(path, path.with_suffix("")) if path.exists() else ():
            parts.setdefault(picture.group, set()).add(name)
    assert set(parts) == {f"person-{n}" for n in range(4)}
    assert all(len(part) == 1 for part in parts.values())
    assert len(set.union(*parts.values())) > 1


def divided(out):
    return {
        picture.path.name[7:]: (name, picture)
        for name in ("train", "val", "test")
        if (out / f"{name}.json").exists()
        for picture in read_coco(out / f"{name}.json", out / name)
    }


def test_parts_without_a_picture_are_told(coco, tmp_path):
    file = coco / "people.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        image["group"] = f"person-{image['id'] % 3}"
    file.write_text(json.dumps(content))
    notes = {}
    for seed in range(12):
        done = run(coco, "--out", tmp_path / str(seed), "--test", 0.2, "--seed", seed)
        parts = {part for part, _ in divided(tmp_path / str(seed)).values()}
        told = re.findall(
            r"^note: (\w+) has no pictures: of 3 groups none", done.stderr, re.MULTILINE
        )
        assert set(told) == {"train", "val", "test"} - parts
        notes[seed] = told
    assert {len(told) for told in notes.values()} >= {1, 2}
    done = run(coco, "--out", tmp_path / "all", "--val", 0, "--test", 0)
    assert "has no pictures" not in done.stderr


def fixed_camera(folder, places):
    """Twelve pictures, each of another person, whom as many cameras saw as are places."""
    file = write_set(folder, "door", 12)
    for number, path in enumerate(sorted((folder / "door").iterdir())):
        scene = cv2.resize(smooth(number % places), (240, 120))
        scene[70:90, 100:115] = cv2.imread(str(path))[70:90, 100:115]
        cv2.imwrite(str(path), scene)
    return file


def test_a_group_that_most_pictures_are_of_is_told(tmp_path):
    fixed_camera(tmp_path / "one", 1)
    done = run(tmp_path / "one", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    note = "note: 12 of 12 pictures are of one group, door_000.jpg, and in one part"
    assert note in done.stderr
    assert "--group-by" in done.stderr
    done = run(tmp_path / "one", "--out", tmp_path / "torn", "--split", "random")
    assert "are of one group" not in done.stderr
    fixed_camera(tmp_path / "three", 3)
    assert "are of one group" not in run(tmp_path / "three", "--out", tmp_path / "apart").stderr


def test_the_seed_alone_decides_who_is_where(coco, tmp_path):
    parts = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        run(coco, "--out", tmp_path / name, "--val", 0.3, "--test", 0.3, "--seed", seed)
        parts[name] = {file: part for file, (part, _) in divided(tmp_path / name).items()}
    assert parts["one"] == parts["again"] != parts["other"]


def test_what_a_set_says_of_its_faces_is_kept_and_boxes_end_at_the_edge(coco, tmp_path):
    file = coco / "people.json"
    content = json.loads(file.read_text())
    first, second, third = content["annotations"][:3]
    first["by"], second["iscrowd"] = "another detector", 1
    third["bbox"] = [200, -10, 60, 60]  # of 240 x 120 pixels
    file.write_text(json.dumps(content))
    run(coco, "--out", tmp_path / "out")
    _, picture = divided(tmp_path / "out")["people_000.jpg"]
    assert picture.source == "drawn"
    assert [face.by for face in picture.faces] == ["another detector", None, None]
    assert [face.crowd for face in picture.faces] == [False, True, False]
    assert picture.faces[2].box == Box(200, 0, 240, 50)


def test_what_is_not_a_face_is_kept_and_is_none(coco, tmp_path):
    file = coco / "people.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 9, "name": "Not a face"})
    content["annotations"][0]["category_id"] = 9
    file.write_text(json.dumps(content))
    done = run(coco, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    _, picture = divided(tmp_path / "out")["people_000.jpg"]
    assert [face.label for face in picture.faces] == ["without_mask", "incorrect_mask"]
    np.testing.assert_allclose(picture.negatives, [corners(content["annotations"][0])], atol=0.01)
    faces = json.loads((tmp_path / "out" / "summary.json").read_text())["faces"]
    assert sum(part.get("not_a_face", 0) for part in faces.values()) == 1
    sheet = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    assert len(sheet) == 4 * (18 + 80)


def corners(entry):
    x, y, width, height = entry["bbox"]
    return (x, y, x + width, y + height)


def test_the_contact_sheet_shows_faces_of_each_label(coco, tmp_path):
    run(coco, "--out", tmp_path / "out")
    sheet = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    bar, tile = 18, 80
    assert sheet.shape == (3 * (bar + tile), 12 * tile, 3)
    for row in range(3):
        top = row * (bar + tile) + bar
        shown = [sheet[top : top + tile, x : x + tile].tobytes() for x in range(0, 960, tile)]
        assert len(set(shown)) == 12  # as many faces as the set has of each


def test_labels_of_other_sets_are_understood():
    assert standard_label("Mask-Weared Incorrect", {}) == "incorrect_mask"
    assert standard_label("no mask", {}) == "without_mask"
    assert standard_label("KN95", {}) is None
    assert standard_label("KN95", {"KN95": "with_mask"}) == "with_mask"


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("--label", "KN95=good"), UsageError, "good"),
        (("--val", "0.6", "--test", "0.5"), UsageError, "nothing to train on"),
        (("--group-by", "("), UsageError, "--group-by"),
    ],
)
def test_a_wrong_option_is_a_usage_error(coco, tmp_path, arguments, kind, said):
    done = run(coco, "--out", tmp_path / "out", *arguments)
    assert isinstance(done.exception, kind)
    assert said in str(done.exception)


def test_a_folder_of_nothing_is_said_to_be_so(tmp_path):
    (tmp_path / "empty").mkdir()
    assert isinstance(run(tmp_path / "empty", "--out", tmp_path / "o").exception, UsageError)
    assert isinstance(run(tmp_path / "none", "--out", tmp_path / "o").exception, InputError)


def test_a_set_is_not_overwritten(coco, tmp_path):
    run(coco, "--out", tmp_path / "out")
    assert isinstance(run(coco, "--out", tmp_path / "out").exception, UsageError)


KAGGLE = """#!/bin/sh
# Kaggle's client, as far as it is used: "kaggle datasets download -d NAME -p DIR --unzip".
[ "$1 $2 $3" = "datasets download -d" ] || { echo "unknown command" >&2; exit 2; }
[ "$4" = "owner/masks" ] || { echo "403 Client Error: Forbidden" >&2; exit 1; }
cp -r "$KAGGLE_FAKE_SET"/. "$6"
"""


@pytest.fixture
def kaggle(tmp_path, coco, monkeypatch):
    client = tmp_path / "bin" / "kaggle"
    client.parent.mkdir()
    client.write_text(KAGGLE)
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KAGGLE_FAKE_SET", str(as_voc(coco, tmp_path / "voc")))


@pytest.mark.usefixtures("kaggle")
def test_a_kaggle_set_is_fetched_by_its_client(tmp_path):
    done = run("owner/masks", "--from", "kaggle", "--out", tmp_path / "out", "--val", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["form"] == "voc"


@pytest.mark.usefixtures("kaggle")
def test_what_kaggle_says_is_passed_on(tmp_path):
    done = run("owner/secret", "--from", "kaggle", "--out", tmp_path / "out")
    assert isinstance(done.exception, MaskedgeError)
    assert "403" in str(done.exception)


def test_without_kaggles_client_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("owner/masks", "--from", "kaggle", "--out", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert "pip install kaggle" in str(done.exception)


def test_a_broken_annotation_names_its_file(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><object>")
    with pytest.raises(InputError, match=r"a\.xml"):
        READERS["voc"](Path(tmp_path), None)
    cv2.imwrite(str(tmp_path / "b.png"), smooth(1))
    (tmp_path / "classes.txt").write_text("with_mask\n")
    (tmp_path / "b.txt").write_text("0 0.5 0.5\n")
    with pytest.raises(InputError, match=r"b\.txt:1"):
        READERS["yolo"](Path(tmp_path), None)
