"""The folder: whole files or none, for their owner only, other files untouched."""

import os
import re
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from kept import MOMENT, fill, jpeg, portrait, record

from maskedge.clock import Ages
from maskedge.errors import ReviewError
from maskedge.review.folder import BLOCK, LEFTOVER, ReviewFolder, expired
from maskedge.review.record import DELETED, Record


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return [item.name for item in folder.items()]


def age(path, seconds):
    """Make a file older."""
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_is_kept_comes_back_and_is_only_for_its_owner(tmp_path):
    folder = ReviewFolder(tmp_path / "state" / "review")
    one = record(1, others=((1, 2, 30, 40),))
    picture = jpeg(portrait())
    before = os.umask(0)
    try:
        taken = folder.keep(one, picture)
    finally:
        os.umask(before)
    again = ReviewFolder(folder.path)
    (item,) = again.items()
    assert item.record == one
    assert item.mark is None
    assert again.picture(item.name) == picture
    assert taken == item.bytes
    assert item.bytes >= len(picture)
    assert item.bytes % BLOCK == 0
    assert mode(folder.path) == 0o700
    assert {mode(path) for path in folder.path.iterdir()} == {0o600}


def test_no_device_no_camera_and_no_event_is_named(tmp_path):
    folder = fill(tmp_path / "r", [record()])
    text = (folder.path / f"{record().name}.json").read_text()
    assert set(Record.model_validate_json(text).model_dump()) == set(Record.model_fields)
    assert not {"device", "camera", "boot_id", "event_id", "violation_id"} & set(
        Record.model_fields
    )


def test_a_missing_folder_is_an_empty_one_and_reading_makes_none(tmp_path):
    folder = ReviewFolder(tmp_path / "none")
    assert folder.items() == []
    assert folder.sweep(time.time()) == 0
    assert not folder.path.exists()


def test_labels_are_written_read_by_others_and_taken_back(tmp_path):
    folder = fill(tmp_path / "r", [record(1), record(2)])
    other = ReviewFolder(folder.path)
    first, second = names(folder)
    folder.mark(first, "without_mask")
    assert {i.name: i.mark for i in other.items()} == {first: "without_mask", second: None}
    folder.mark(first, "skipped")
    assert {i.name: (i.mark, i.labelled) for i in other.items()}[first] == ("skipped", False)
    folder.mark(first, None)
    assert not any(item.mark for item in other.items())
    assert mode(folder.path) == 0o700


def test_a_gone_or_outlandish_name_cannot_be_labelled_read_or_removed(tmp_path):
    folder = fill(tmp_path / "r", [record(1)])
    (tmp_path / "secret.jpg").write_bytes(b"x")
    folder.remove(record(1).name)
    for name in (record(1).name, "../secret", "", f"{record(1).name}/../../secret"):
        with pytest.raises(FileNotFoundError):
            folder.mark(name, "with_mask")
        with pytest.raises(FileNotFoundError):
            folder.picture(name)
    with pytest.raises(FileNotFoundError):
        folder.remove("../secret")
    assert (tmp_path / "secret.jpg").exists()
    assert not list(folder.path.iterdir())


def test_damaged_and_half_written_faces_are_left_out_and_swept_away(tmp_path):
    folder = fill(tmp_path / "r", [record(n) for n in range(1, 6)])
    whole, empty, other, halved, _ = names(folder)
    (folder.path / f"{empty}.json").write_bytes(b"")
    (folder.path / f"{other}.json").write_bytes((folder.path / f"{whole}.json").read_bytes())
    (folder.path / f"{halved}.json").unlink()
    (folder.path / f".{whole}.jpg.77").write_bytes(b"torn")
    (folder.path / f"{whole}.label.json").write_bytes(b"\0\0\0")
    strangers = {f"{whole}_edited.jpg", f"{whole}.copy.json", f".{whole}.jpg.swp", "notes.txt"}
    for stranger in strangers:
        (folder.path / stranger).write_bytes(b"mine")
    mine = ReviewFolder(folder.path)
    assert names(mine) == [whole, record(5).name]
    assert mine.items()[0].mark is None
    assert mine.sweep(time.time()) == 0  # a writer may be at it still
    for path in folder.path.iterdir():
        age(path, LEFTOVER + 5)
    assert mine.sweep(time.time()) == 6
    assert names(mine) == [whole, record(5).name]
    left = {path.name for path in folder.path.iterdir()}
    assert len(left) == 5 + len(strangers)
    assert strangers < left


@pytest.mark.parametrize("ending", ["json", "label.json"])
def test_a_face_that_cannot_be_read_is_no_half_one_it_stays_and_is_told(tmp_path, ending):
    """As one that root has put back from a backup: the work of who has labelled it."""
    folder = fill(tmp_path / "r", [record(1), record(2)])
    first, second = names(folder)
    folder.mark(first, "with_mask")
    path = folder.path / f"{first}.{ending}"
    path.unlink()
    path.symlink_to(path)  # nobody can read it, not even root
    (folder.path / f"{second}.json").write_bytes(b"damaged")
    for file in folder.path.iterdir():
        os.utime(file, (0, 0), follow_symlinks=False)
    mine = ReviewFolder(folder.path)
    assert names(mine) == []
    assert re.match(rf"{path}: can't be read: .*kept.*chown", mine.unread)
    assert mine.sweep(time.time()) == 2
    assert len(list(folder.path.iterdir())) == 3
    assert all(file.name.startswith(first) for file in folder.path.iterdir())
    assert mine.sweep(time.time(), halves=0) == 3  # as of `maskedge purge --all`
    assert list(folder.path.iterdir()) == []
    assert mine.items() == []
    assert mine.unread is None


def test_what_a_person_deleted_can_be_taken_back_for_a_while(tmp_path):
    folder = fill(tmp_path / "r", [record(1), record(2)])
    first, second = names(folder)
    folder.mark(first, DELETED)
    folder.mark(second, DELETED)
    assert folder.sweep(time.time()) == 0
    folder.mark(second, None)
    age(folder.path / f"{first}.label.json", LEFTOVER + 5)
    assert folder.sweep(time.time()) == 1
    folder.mark(second, DELETED)
    assert folder.sweep(time.time(), deleted=0) == 1
    assert list(folder.path.iterdir()) == []


def test_a_purge_removes_what_is_asked_for_and_tells(tmp_path):
    folder = fill(tmp_path / "r", [record(n) for n in range(1, 5)])
    folder.mark(record(1).name, "with_mask")
    folder.mark(record(2).name, "skipped")
    (folder.path / "holiday.jpg").write_bytes(b"mine")
    total = sum(item.bytes for item in folder.items()[:2])
    removed = folder.purge(lambda item: item.record.time < record(3).time)
    assert (removed.faces, removed.labelled, removed.bytes) == (2, 1, total)
    assert names(folder) == [record(3).name, record(4).name]
    assert folder.purge(lambda _: True).faces == 2
    assert [path.name for path in folder.path.iterdir()] == ["holiday.jpg"]


def test_age_counts_by_the_wall_clock_and_a_wrong_future_only_once_it_is_known(tmp_path):
    later = [record(60 * 24 * days) for days in (0, 1, 4, 400)]
    folder = fill(tmp_path / "r", later)
    day = timedelta(days=1)

    def old(moment, *, synced):
        check = expired(Ages(moment.timestamp, synced=lambda: synced), 2 * day)
        return [check(item) for item in folder.items()]

    assert old(MOMENT + 2.5 * day, synced=False) == [True, False, False, False]
    assert old(MOMENT + 2.5 * day, synced=True) == [True, False, True, True]
    assert old(MOMENT + 3.5 * day, synced=True) == [True, True, False, True]
    assert old(datetime(1970, 1, 2, tzinfo=UTC), synced=False) == [False] * 4


def test_a_folder_that_others_may_look_into_is_refused(tmp_path):
    open_ = tmp_path / "r"
    open_.mkdir()
    open_.chmod(0o755)
    with pytest.raises(ReviewError, match=r"others may look into it; cure: sudo chmod 700"):
        ReviewFolder(open_).keep(record(), b"x")
    assert list(open_.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    folder = ReviewFolder(file / "review")
    for attempt in (lambda: folder.keep(record(), b"x"), folder.probe):
        with pytest.raises(ReviewError, match=r"can't be written: Not a directory"):
            attempt()
    assert folder.items() == []


def test_the_probe_leaves_nothing(tmp_path):
    folder = ReviewFolder(tmp_path / "r")
    folder.probe()
    assert list(folder.path.iterdir()) == []
