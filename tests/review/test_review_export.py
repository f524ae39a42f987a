"""What is exported is what ``convert`` reads, and it is split by person."""

import errno
import json
import stat
from collections import defaultdict

import pytest
from click.testing import CliRunner
from kept import fill, pattern, record

from convert.classifier.data import coco_samples
from convert.coco import read_coco
from convert.dataset import command as dataset
from maskedge.errors import InputError, UsageError
from maskedge.geometry import Box
from maskedge.review import export
from maskedge.review.record import SKIPPED

LABELS = ("with_mask", "without_mask", "incorrect_mask")


@pytest.fixture
def folder(tmp_path):
    """Two faces of each of 20 persons, labelled in turn."""
    faces = [record(2 * n + k, track=n, number=k + 1) for n in range(20) for k in range(2)]
    folder = fill(tmp_path / "kept", faces, pattern)
    for number, item in enumerate(folder.items()):
        folder.mark(item.name, LABELS[number % 3])
    return folder


def test_convert_reads_the_faces_with_their_labels(folder, tmp_path):
    special = record(100, others=(Box(95, 5, 119, 35),))
    for one, mark in ((special, "with_mask"), (record(101), "not_a_face"), (record(102), SKIPPED)):
        fill(folder.path, [one])
        folder.mark(one.name, mark)
    written = export.write(folder, tmp_path / "out")
    assert len(written) == 42
    pictures = read_coco(tmp_path / "out/review.json", tmp_path / "out/review")
    assert [picture.path.stem for picture in pictures] == [item.name for item in written]
    assert all(picture.path.read_bytes().startswith(b"\xff\xd8") for picture in pictures)
    first = pictures[0]
    assert (first.width, first.height, first.group) == (120, 120, "0a1b2c3d-0")
    assert (first.faces[0].box, first.faces[0].label) == (Box(30, 30, 90, 90), "with_mask")
    by_name = {picture.path.stem: picture for picture in pictures}
    stranger = by_name[special.name].faces[1]
    assert (stranger.label, stranger.by, stranger.ignored) == ("face", "maskedge", True)
    nobody = by_name[record(101).name]
    assert (nobody.faces, nobody.negatives) == ((), (Box(30, 30, 90, 90),))
    assert record(102).name not in by_name
    samples = coco_samples(tmp_path / "out/review.json", tmp_path / "out/review", validation=False)
    kinds = [sample.kind for sample in samples]
    assert kinds.count("not_a_face") == 1
    assert len(kinds) == 42  # nobody said how the stranger wears the mask


def test_no_person_is_in_two_parts(folder, tmp_path):
    export.write(folder, tmp_path / "out")
    arguments = [str(tmp_path / "out"), "--out", str(tmp_path / "set"), "--val", "0.3"]
    CliRunner().invoke(dataset, arguments, catch_exceptions=False)
    parts = defaultdict(set)
    for part in ("train", "val", "test"):
        path = tmp_path / "set" / f"{part}.json"
        for picture in read_coco(path, path.with_suffix("")) if path.exists() else ():
            track = picture.path.stem.split("_")[2]
            parts[track].add(part)
    assert len(parts) == 20
    assert all(len(part) == 1 for part in parts.values())
    assert set.union(*parts.values()) >= {"train", "val"}


def test_only_the_owner_may_read_it_and_nothing_is_overwritten(folder, tmp_path):
    out = tmp_path / "out"
    export.write(folder, out)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (
        stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE((out / "review").stat().st_mode) == 0o700
    )
    before = (out / "review.json").read_bytes()
    with pytest.raises(UsageError, match="holds something already"):
        export.write(folder, out)
    assert (out / "review.json").read_bytes() == before
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="can't be written: "):
        export.write(folder, tmp_path / "file" / "out")


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_nothing_in_the_way_of_another_try(folder, tmp_path, monkeypatch, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    room = [5]

    def put(path, content):
        path.write_bytes(content[:100])
        room[0] -= 1
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(export, "_put", put)
        with pytest.raises(InputError, match=r"out: .* No space left"):
            export.write(folder, out)
    assert room == [0]
    assert out.exists() is there
    assert len(export.write(folder, out)) == 40


def test_a_picture_that_cannot_be_read_is_named(folder, tmp_path):
    picture = folder.path / f"{folder.items()[3].name}.jpg"
    picture.unlink()
    picture.mkdir()
    with pytest.raises(InputError, match=rf"{picture.name}: can't be read: Is a directory"):
        export.write(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_labelled_is_an_error_and_writes_nothing(tmp_path):
    folder = fill(tmp_path / "kept", [record(1), record(2)])
    folder.mark(record(1).name, SKIPPED)
    with pytest.raises(InputError, match="no face is labelled yet"):
        export.write(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_counts_are_by_label(folder):
    assert export.counts(folder.items()) == {
        "with_mask": 14, "without_mask": 13, "incorrect_mask": 13
    }  # fmt: skip
    json.dumps(export.coco(folder.items()), allow_nan=False)
