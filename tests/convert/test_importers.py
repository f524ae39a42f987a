"""Sets as people really publish them: divided, with other files beside, and with mistakes in."""

import json
import os
import shutil
import zlib

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from convert_command import convert
from drawn_people import write_set

from convert.coco import read_coco
from convert.dataset import command
from convert.importers import READERS, recognise
from maskedge.errors import InputError, UsageError


def picture(path, seed=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.as_posix().encode()) if seed is None else seed
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (80, 60), interpolation=cv2.INTER_CUBIC))
    return path


def yolo(folder, *, parts=("",), names="names: [with_mask, without_mask]\n"):
    """A picture ``0.png`` in each part; the first part's face is masked, the second's bare."""
    for number, part in enumerate(parts):
        picture(folder / part / "images" / "0.png")
        (folder / part / "labels").mkdir()
        (folder / part / "labels" / "0.txt").write_text(f"{number} 0.5 0.5 0.5 0.5\n")
    if names:
        (folder / "data.yaml").write_text(names)
    return folder


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def summary(out):
    return json.loads((out / "summary.json").read_text())


def test_pictures_of_one_name_in_several_parts_keep_their_own_labels(tmp_path):
    folder = yolo(tmp_path / "set", parts=("train", "valid"))
    found = {p.path.parent.parent.name: p.faces[0].label for p in READERS["yolo"](folder, None)}
    assert found == {"train": "with_mask", "valid": "without_mask"}


def test_voc_pictures_of_one_name_in_several_folders_keep_their_own_labels(tmp_path):
    for part in ("a", "b"):
        picture(tmp_path / part / "0.png")
        (tmp_path / part / "0.xml").write_text(
            f"<annotation><filename>0.png</filename><object><name>{part}</name><bndbox><xmin>1"
            "</xmin><ymin>1</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"
        )
    for found in READERS["voc"](tmp_path, None):
        assert found.faces[0].label == found.path.parent.name


def test_yolo_pictures_that_are_broken_missing_or_without_faces_are_told(tmp_path):
    folder = yolo(tmp_path / "set")
    picture(folder / "images" / "1.png")
    (folder / "images" / "2.png").write_bytes(b"cut short")
    for name in ("2.txt", "3.txt"):
        shutil.copy(folder / "labels" / "0.txt", folder / "labels" / name)
    (folder / "README.txt").write_text("about this set")
    done = run(folder, "--out", tmp_path / "out", "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    told = summary(tmp_path / "out")
    assert told["pictures"] == {"train": 2}
    assert told["pictures_without_faces"] == 1
    assert {k: v["first"] for k, v in told["problems"].items()} == {
        "corrupt pictures": ["2.png"],
        "missing pictures": ["3.jpg"],
    }


@pytest.mark.parametrize(
    "names", ["names: [a, b\n", "names: 3\n", "- 3\n", "names: {a: with_mask}\n", "nc: 2\n", ""]
)
def test_class_names_that_can_not_be_read_name_their_file(tmp_path, names):
    (tmp_path / "set").mkdir()
    folder = yolo(tmp_path / "set", names="")
    (folder / "data.yaml").write_text(names)
    with pytest.raises(InputError, match=r"data\.yaml: has no list 'names'"):
        READERS["yolo"](folder, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"0 0.5 0.5 0.1\n", r"0\.txt:1: not 'class x y width height'"),
        (b"0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n", r"0\.txt:2: class 7 has no name; .* 0, 1"),
        (b"-1 0.5 0.5 0.1 0.1\n", r"0\.txt:1: class -1 has no name"),
        (b"nan 0.5 0.5 0.1 0.1\n", r"0\.txt:1: class nan has no name"),
        (b"0 0.5 0.5 0.1 0.1 0.9 0.1 0.2\n", r"0\.txt:1: not .* the points of a polygon"),
        (b"0 0.1 nan 0.5 0.1 0.1 0.5\n", r"0\.txt:1: not .* the points of a polygon"),
        (b"\xff\xfe\x00", r"0\.txt: can't read it as text"),
    ],
)
def test_a_wrong_yolo_line_is_named(tmp_path, line, said):
    folder = yolo(tmp_path / "set")
    (folder / "labels" / "0.txt").write_bytes(line)
    with pytest.raises(InputError, match=said):
        READERS["yolo"](folder, None)


def boxes_of(folder, line):
    (folder / "labels" / "0.txt").write_text(line)
    (found,) = READERS["yolo"](folder, None)
    return [face.box for face in found.faces]


def test_yolo_polygons_become_the_box_around_their_points(tmp_path):
    folder = yolo(tmp_path / "set")  # of 80 x 60 pixels
    (box,) = boxes_of(folder, "0 0.5 0.1 0.75 0.5 0.5 0.9 0.25 0.5\n")
    np.testing.assert_allclose(box, (20, 6, 60, 54))
    (box,) = boxes_of(folder, "0 0.25 0.25 0.75 0.25 0.5 0.5\n")
    np.testing.assert_allclose(box, (20, 15, 60, 30))


def test_yolo_keypoints_are_no_polygon(tmp_path):
    names = "names: [with_mask]\nkpt_shape: [5, 2]\n"
    folder = yolo(tmp_path / "set", names=names)
    (box,) = boxes_of(folder, "0 0.5 0.5 0.5 0.5" + " 0.9 0.9" * 5)
    np.testing.assert_allclose(box, (20, 15, 60, 45))
    with pytest.raises(InputError, match=r"0\.txt:1: not"):
        boxes_of(folder, "0 0.5 0.5 0.5 0.5" + " 0.9 0.9" * 4)


def test_yolo_boxes_of_a_network_are_taken_and_told(tmp_path):
    folder = yolo(tmp_path / "set")
    (folder / "labels" / "0.txt").write_text("0 0.5 0.5 0.5 0.5 0.93\n\n0 0.2 0.2 0.2 0.2\n")
    done = run(folder, "--out", tmp_path / "out", "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    assert summary(tmp_path / "out")["faces"] == {"train": {"with_mask": 2}}
    assert "note: boxes with a score, as a network draws them: 1;" in done.stderr


def test_yolo_labels_and_pictures_may_be_in_folders_of_their_own(tmp_path):
    folder = yolo(tmp_path / "set", names="")
    (folder / "labels" / "classes.txt").write_text("with_mask\n", encoding="utf-8-sig")
    arguments = ("--out", tmp_path / "out", "--val", 0, "--test", 0)
    done = run(folder / "labels", *arguments)
    assert isinstance(done.exception, UsageError)
    assert "--images says where" in str(done.exception)
    done = run(folder / "labels", "--images", folder / "images", *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert summary(tmp_path / "out")["faces"] == {"train": {"with_mask": 1}}


def test_coco_may_lie_as_cocos_own_and_else_images_says_where(tmp_path):
    write_set(tmp_path / "set", "train2017", 4)
    (tmp_path / "set" / "annotations").mkdir()
    (tmp_path / "set" / "train2017.json").rename(
        tmp_path / "set" / "annotations" / "instances_train2017.json"
    )
    arguments = ("--val", 0, "--test", 0)
    done = run(tmp_path / "set", "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert summary(tmp_path / "out")["pictures"] == {"train": 4}
    (tmp_path / "set" / "train2017").rename(tmp_path / "elsewhere")
    done = run(tmp_path / "set", "--out", tmp_path / "none", *arguments)
    assert isinstance(done.exception, InputError)
    assert "(missing pictures: 4); --images says where they are" in str(done.exception)
    done = run(
        tmp_path / "set", "--images", tmp_path / "elsewhere", "--out", tmp_path / "two", *arguments
    )
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize(
    ("labels", "pictures", "said"),
    [
        ("annotations/instances_default.json", "images", "{}"),  # CVAT
        ("annotations/instances_Train.json", "images/Train", "{}"),
        ("result.json", "images", "images\\{}"),  # Label Studio on Windows
        ("result.json", "images", "images/1/{}"),
        ("result.json", "images", "..\\..\\label-studio\\media\\upload\\4\\{}"),  # since 1.16
    ],
)
def test_coco_pictures_lie_where_the_tools_put_them(tmp_path, labels, pictures, said):
    made = write_set(tmp_path / "made", "people", 4)
    content = json.loads(made.read_text())
    for entry in content["images"]:
        entry["file_name"] = said.format(entry["file_name"])
    (tmp_path / "set" / labels).parent.mkdir(parents=True)
    (tmp_path / "set" / labels).write_text(json.dumps(content))
    shutil.copytree(made.with_suffix(""), tmp_path / "set" / pictures)
    expected = {p.path.name: p.faces for p in read_coco(made, made.with_suffix(""))}
    for source in (tmp_path / "set", tmp_path / "set" / labels):
        found = READERS["coco"](source, None)
        assert {p.path.name: p.faces for p in found} == expected
        assert all(p.path.is_file() for p in found)


def test_of_coco_pictures_of_one_name_each_has_its_own_labels(tmp_path):
    for part in ("Train", "Test"):
        made = write_set(tmp_path / "set" / "images", part, 1, seed=len(part))
        made.with_suffix("").joinpath(f"{part}_000.jpg").rename(made.with_suffix("") / "0.jpg")
        content = json.loads(made.read_text())
        content["images"][0] |= {"file_name": "0.jpg", "source": part}
        made.unlink()
        (tmp_path / "set" / "annotations").mkdir(exist_ok=True)
        (tmp_path / "set" / "annotations" / f"instances_{part}.json").write_text(
            json.dumps(content)
        )
    found = {p.source: p.path.parent.name for p in READERS["coco"](tmp_path / "set", None)}
    assert found == {"Train": "Train", "Test": "Test"}
    (tmp_path / "set" / "annotations" / "instances_Test.json").unlink()
    (tmp_path / "set" / "annotations" / "instances_Train.json").rename(
        tmp_path / "set" / "annotations" / "mine.json"
    )
    (missing,) = READERS["coco"](tmp_path / "set", None)  # nobody knows which is meant
    assert not missing.path.exists()


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "folders"])
def test_what_macos_leaves_beside_files_is_no_part_of_a_set(tmp_path, form):
    folder = yolo(tmp_path / "set") if form == "yolo" else tmp_path / "set"
    if form == "coco":
        write_set(folder, "people", 1)
    elif form != "yolo":
        picture(folder / "with_mask" / "0.png")
        if form == "voc":
            (folder / "0.xml").write_text("<annotation><filename>0.png</filename></annotation>")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\x05\x16\x07\0\x02\0\0\xff")
    assert recognise(folder) == form
    assert len(READERS[form](folder, None)) == 1


@pytest.mark.parametrize("form", ["yolo", "folders"])
def test_pictures_of_a_kind_that_is_not_read_are_counted(tmp_path, form):
    folder = yolo(tmp_path / "set") if form == "yolo" else tmp_path / "set"
    beside = picture(folder / "with_mask" / "1.png")
    for name in ("2.HEIC", "3.heic", "4.avif", "5.MOV"):
        beside.with_name(name).write_bytes(b"not read")
    done = run(folder, "--out", tmp_path / "out", "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    told = {k[:5]: v["count"] for k, v in summary(tmp_path / "out")["problems"].items()}
    assert told == {".heic": 2, ".avif": 1, ".mov ": 1}


def test_a_folder_of_nothing_but_such_says_what_to_make_of_them(tmp_path):
    (tmp_path / "with_mask").mkdir()
    (tmp_path / "with_mask" / "0.HEIC").touch()
    with pytest.raises(UsageError, match=r"\.heic files can't be read: make \.jpg or \.png"):
        recognise(tmp_path)


def test_pictures_of_every_ending_are_taken(tmp_path):
    for name in ("0.jfif", "1.JPEG", "2.tif"):
        made = picture(tmp_path / "set" / "with_mask" / "made.png", seed=int(name[0]))
        data = cv2.imencode(".tif" if name.endswith("tif") else ".jpg", cv2.imread(str(made)))[1]
        made.with_name(name).write_bytes(data.tobytes())
        made.unlink()
    done = run(tmp_path / "set", "--out", tmp_path / "out", "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    assert summary(tmp_path / "out")["pictures"] == {"train": 3}


def test_a_picture_that_is_cut_off_is_left_out_and_told(tmp_path):
    for number in range(2):
        made = picture(tmp_path / "set" / "with_mask" / f"{number}.png")
        coded = cv2.imencode(".jpg", cv2.imread(str(made)))[1].tobytes()
        made.with_suffix(".jpg").write_bytes(coded[: len(coded) // (1 + number)])
        made.unlink()
    done = run(tmp_path / "set", "--out", tmp_path / "out", "--val", 0, "--test", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    told = summary(tmp_path / "out")
    assert told["pictures"] == {"train": 1}
    assert told["problems"]["corrupt pictures"]["first"] == ["1.jpg"]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"%b.png" % (b"x" * 251), "ü 名.png".encode()])
def test_a_picture_may_be_called_anything(tmp_path, name):
    picture(tmp_path / "set" / "with_mask" / "0.png")
    picture(tmp_path / "set" / "without_mask" / "0.png").rename(
        tmp_path / "set" / "without_mask" / os.fsdecode(name)
    )
    convert("dataset", tmp_path / "set", "--out", tmp_path / "out", "--val", 0, "--test", 0)
    copied = read_coco(tmp_path / "out" / "train.json", tmp_path / "out" / "train")
    assert all(str(entry.path).encode() and entry.path.exists() for entry in copied)
    assert len(copied) == 2


def test_json_that_is_no_coco_does_not_make_a_set_one(tmp_path):
    folder = yolo(tmp_path / "set")
    (folder / "dataset-metadata.json").write_text('{"id": "owner/masks"}')
    assert recognise(folder) == "yolo"
    (folder / "broken.json").write_text("{")  # may be a part of the set
    with pytest.raises(InputError, match=r"broken\.json"):
        recognise(folder)
    (folder / "broken.json").unlink()
    with pytest.raises(InputError, match="in it has images, annotations"):
        READERS["coco"](folder, None)


def test_what_dataset_wrote_can_be_divided_again(tmp_path):
    write_set(tmp_path / "set", "people", 12)
    run(tmp_path / "set", "--out", tmp_path / "one", "--val", 0.3, "--test", 0.3)
    done = run(tmp_path / "one", "--out", tmp_path / "two", "--seed", 2)
    assert done.exit_code == 0, (done.output, done.exception)
    one, two = (summary(tmp_path / name) for name in ("one", "two"))
    assert sum(one["pictures"].values()) == sum(two["pictures"].values()) == 12
    assert one["pictures"] != two["pictures"]


def test_a_label_that_a_part_lacks_is_told_with_the_cure(tmp_path):
    for label in ("with_mask", "without_mask", "KN95"):
        for number in range(3):
            picture(tmp_path / "set" / label / f"{label}{number}.png")
    arguments = (tmp_path / "set", "--val", 0, "--test", 0)
    done = run(*arguments, "--out", tmp_path / "out")
    assert summary(tmp_path / "out")["absent"] == {"train": ["incorrect_mask"]}
    assert "train has no incorrect_mask: it can't be learnt" in done.stderr
    assert "3 faces are labelled 'KN95': say what it means, e.g. --label" in done.stderr
    # Without its face such a picture would teach a detector that there is none.
    assert summary(tmp_path / "out")["pictures"] == {"train": 6}
    done = run(*arguments, "--out", tmp_path / "own", "--label", "KN95=incorrect_mask")
    assert summary(tmp_path / "own")["absent"] == {}
    assert "note" not in done.stderr


def test_one_picture_under_two_labels_is_told(tmp_path):
    for label in ("with_mask", "without_mask"):
        picture(tmp_path / "set" / label / "same.png", seed=5)
        picture(tmp_path / "set" / label / f"{label}.png")
    run(tmp_path / "set", "--out", tmp_path / "out", "--val", 0, "--test", 0)
    problems = summary(tmp_path / "out")["problems"]
    (told,) = problems["exact duplicates that are labelled otherwise, left out"]["first"]
    assert "with_mask/same.png" in told
    assert "without_mask/same.png" in told


def groups(out):
    found = {}
    for name in ("train", "val", "test"):
        if (out / f"{name}.json").exists():
            for one in json.loads((out / f"{name}.json").read_text())["images"]:
                found.setdefault(one["group"], []).append(one["file_name"])
    return found


def test_frames_in_a_folder_per_clip_can_be_kept_together(tmp_path):
    for clip in ("clip1", "clip2"):
        for number in range(4):
            picture(tmp_path / "data7" / clip / "with_mask" / f"{number}.png")
    arguments = (tmp_path / "data7", "--from", "folders", "--group-by", r"(\w+\d)/")
    done = run(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, (done.output, done.exception)
    assert sorted(len(names) for names in groups(tmp_path / "out").values()) == [4, 4]
    done = run(*arguments[:-1], "scene_", "--out", tmp_path / "none")
    assert isinstance(done.exception, UsageError)
    assert "--group-by scene_: matches neither name nor folder" in str(done.exception)


def test_copies_that_roboflow_derived_are_kept_together(tmp_path):
    for original in ("one", "two", "three"):
        for number in range(3):
            name = f"{original}_jpg.rf.{number}a5e.png"
            picture(tmp_path / "set" / "with_mask" / name)
    run(tmp_path / "set", "--out", tmp_path / "out")
    for names in groups(tmp_path / "out").values():
        assert len(names) == 3
        assert len({name[7:].partition("_jpg")[0] for name in names}) == 1


def test_a_set_that_was_stopped_half_way_is_none_and_is_made_by_the_same_command(
    tmp_path, monkeypatch
):
    write_set(tmp_path / "set", "people", 8)
    arguments = (tmp_path / "set", "--out", tmp_path / "out", "--val", 0.4, "--test", 0)
    monkeypatch.setattr("convert.dataset.shutil.copyfile", stop_after(5))
    run(*arguments)
    assert not list((tmp_path / "out").glob("*.json"))
    monkeypatch.undo()
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    found = [
        p for n in ("train", "val") for p in read_coco(tmp_path / f"out/{n}.json", tmp_path / "out")
    ]
    assert len(found) == 8


def stop_after(number):
    """Copies so many files, then is interrupted."""
    left = [number]

    def copy(source, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return shutil.copy(source, target)

    return copy


def test_face_sizes_and_labels_are_counted(tmp_path):
    file = write_set(tmp_path / "set", "people", 4, faces=1)
    content = json.loads(file.read_text())
    for face, side in zip(content["annotations"], (19, 20, 63, 64), strict=True):
        face["bbox"] = [5, 5, side, side]
    file.write_text(json.dumps(content))
    run(tmp_path / "set", "--out", tmp_path / "out", "--val", 0, "--test", 0)
    told = summary(tmp_path / "out")
    assert told["face_sizes"] == {
        "below 20 px": 1, "below 32 px": 1, "below 64 px": 1, "64 px and more": 1,
    }  # fmt: skip
    assert told["faces"] == {"train": {"with_mask": 2, "without_mask": 1, "incorrect_mask": 1}}
