"""The daemon's side: what is written, how often, within which bounds, and what a bad disk does."""

import contextlib
import itertools
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
from kept import MODELS, fill, frame, portrait, record, seen
from mosquitto import wait_for

from maskedge.config import Config
from maskedge.geometry import Box
from maskedge.people.verdict import UNSURE
from maskedge.review import keeper
from maskedge.review.candidates import Cut
from maskedge.review.folder import ReviewFolder
from maskedge.review.keeper import BURST, WAITING, ReviewSet, Writer

BOX = Box(300, 200, 360, 280)
TORN = (0.45, 0.4, 0.15)


def config(path, **review):
    return Config(device="door", review={"enabled": True, "folder": path, **review})


def cuts(first, number, make=lambda seed: portrait(seed=seed), **changes):
    """Faces of different persons, seen in the last hour."""
    moment = datetime.now(UTC) - timedelta(hours=1)
    return [
        Cut(record(n, time=moment + timedelta(seconds=n), **changes), make(n))
        for n in range(first, first + number)
    ]


def noise(seed):
    """Some 60 kB as a JPEG."""
    return np.random.default_rng(seed).integers(0, 255, (200, 200, 3), np.uint8)


def taken(path):
    """Bytes of all files; one may go while it is looked at."""
    total = 0
    for file in path.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def kept(path):
    return ReviewFolder(path).items()


@pytest.fixture
def writer(tmp_path):
    """``writer(max_megabytes=...)``: at work on the folder ``r``."""
    made = []

    def build(folder=None, **settings):
        pace = {name: settings.pop(name) for name in ("burst", "every") if name in settings}
        section = config(folder or tmp_path / "r", **settings).review
        made.append(Writer(section.folder, section, **pace))
        made[-1].start()
        return made[-1]

    yield build
    for one in made:
        one.close(5.0, write=False)


class Door:
    """Persons before a review set; each comes, is doubtful and goes."""

    def __init__(self, review):
        self.review = review
        self.tracks = itertools.count(1)

    def visit(self):
        now = time.monotonic()
        look = (next(self.tracks), TORN, BOX, UNSURE)
        noise = np.random.default_rng(look[0]).integers(0, 255, (480, 640, 3), np.uint8)
        self.review.frame(frame(noise), seen(look), now, MODELS)
        self.review.frame(frame(), seen(), now, MODELS)


def test_off_by_default_nothing_is_kept_and_no_folder_made(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    review = ReviewSet(Config(device="door"))
    door = Door(review)
    for _ in range(5):
        door.visit()
    review.close(5.0)
    assert review.error is None
    assert list(tmp_path.iterdir()) == []


def test_doubtful_faces_are_kept_with_what_is_known_of_them(tmp_path):
    review = ReviewSet(config(tmp_path / "r"))
    door = Door(review)
    door.visit()
    wait_for(lambda: kept(tmp_path / "r"), "a kept face")
    door.visit()
    now = time.monotonic()
    review.frame(frame(), seen((99, TORN, BOX, UNSURE)), now, MODELS)  # still in view at the end
    review.close(30.0)
    items = kept(tmp_path / "r")
    assert len({item.record.track for item in items}) == 3
    assert items[0].record.scores == pytest.approx(TORN)
    assert abs(items[0].record.time - datetime.now(UTC)) < timedelta(minutes=2)
    picture = ReviewFolder(tmp_path / "r").picture(items[0].name)
    shape = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape
    assert shape == (items[0].record.height, items[0].record.width, 3)


def test_the_pace_of_writing_is_bounded_and_the_most_doubtful_wait_longest_in_line(
    writer, tmp_path
):
    one = writer(burst=3, every=3600)
    one.hand(cuts(0, 3, doubt=0.5))
    wait_for(lambda: len(kept(tmp_path / "r")) == 3, "a burst of three")
    one.hand(cuts(10, 40, doubt=0.6))
    time.sleep(0.3)
    assert len(kept(tmp_path / "r")) == 3
    assert len(one._waiting) == len(one._queue.kept) == WAITING
    one.close(5.0)
    assert len(kept(tmp_path / "r")) == 3


def test_a_turn_comes_back_with_time(writer, tmp_path):
    one = writer(burst=1, every=0.5)
    begin = time.monotonic()
    one.hand([*cuts(1, 1, doubt=0.5), *cuts(2, 1, doubt=0.9), *cuts(3, 1, doubt=0.7)])
    wait_for(lambda: len(kept(tmp_path / "r")) == 3, "three faces")
    assert time.monotonic() - begin > 0.9
    assert one.error is None


def test_the_megabytes_are_never_exceeded(writer, tmp_path):
    one = writer(max_megabytes=1, burst=10_000)
    most = 0
    for first in range(0, 40, 8):
        one.hand(cuts(first, 8, noise))
        wait_for(lambda: not one._waiting, "an empty line")
        most = max(most, taken(tmp_path / "r"))
    one.close(5.0)
    assert 0.7e6 < most <= 1e6
    assert sum(item.bytes for item in kept(tmp_path / "r")) <= 1e6


def test_a_smaller_limit_and_age_hold_from_the_start(writer, tmp_path):
    now = datetime.now(UTC)
    days = [record(n, time=now - timedelta(days=n)) for n in range(8)]
    fill(tmp_path / "r", days)
    writer(max_age=4.5)
    wait_for(lambda: len(kept(tmp_path / "r")) == 5, "the old ones gone")


def test_what_was_kept_before_ages_also_when_it_is_switched_off(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    fill(tmp_path / "r", [record(1, time=now - timedelta(days=9)), record(2, time=now)])
    review = ReviewSet(config(tmp_path / "r", enabled=False, max_age=8))
    wait_for(lambda: len(kept(tmp_path / "r")) == 1, "the old one gone")
    Door(review).visit()
    review.close(5.0)
    assert [item.record.time for item in kept(tmp_path / "r")] == [now]


def test_a_clock_that_is_set_after_a_face_was_kept_makes_it_no_older(tmp_path):
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=100)
    mine, found = record(1, time=long_ago), record(2, time=long_ago)
    review = ReviewSet(config(tmp_path / "r"))
    review._writer.hand([Cut(mine, portrait(seed=1))])
    wait_for(lambda: kept(tmp_path / "r"), "the face, dated by the old clock")
    fill(tmp_path / "r", [found])
    review.reconfigure(config(tmp_path / "r", enabled=False))
    wait_for(lambda: found.name not in {item.name for item in kept(tmp_path / "r")}, "a look")
    review.close(5.0)
    assert [item.name for item in kept(tmp_path / "r")] == [mine.name]


def test_labelled_and_purged_by_others_meanwhile(writer, tmp_path):
    one = writer(burst=100)
    one.hand(cuts(1, 4))
    wait_for(lambda: len(kept(tmp_path / "r")) == 4, "four faces")
    other = ReviewFolder(tmp_path / "r")
    for item in other.items():
        other.remove(item.name)
    one.hand(cuts(10, 2))
    wait_for(lambda: len(kept(tmp_path / "r")) == 2, "two new ones")
    assert one.error is None


def test_a_reload_moves_switches_off_and_on(tmp_path):
    review = ReviewSet(config(tmp_path / "a"))
    door = Door(review)
    door.visit()
    wait_for(lambda: kept(tmp_path / "a"), "a face in a")
    review.reconfigure(config(tmp_path / "b"))
    door.visit()
    wait_for(lambda: kept(tmp_path / "b"), "a face in b")
    review.reconfigure(config(tmp_path / "b", enabled=False))
    door.visit()
    review.reconfigure(config(tmp_path / "c", enabled=False))
    door.visit()
    review.close(5.0)
    assert (len(kept(tmp_path / "a")), len(kept(tmp_path / "b"))) == (1, 1)
    assert not (tmp_path / "c").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)],
        check=False, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_next_face_is_kept_once_there_is_room(
    writer, small_disk, monkeypatch
):
    monkeypatch.setattr(keeper, "RETRY", 0.1)
    monkeypatch.setattr(keeper, "LEAST_FREE", 0)
    (small_disk / "ballast").write_bytes(bytes(245 * 4096))
    one = writer(small_disk, burst=1000)
    one.hand(cuts(1, 12))
    wait_for(lambda: one.error, "an error")
    assert "No space left on device" in one.error
    assert str(small_disk) in one.error
    wait_for(lambda: not list(small_disk.glob(".*")), "nothing half-written")
    (small_disk / "ballast").unlink()
    wait_for(lambda: one.error is None, "the error cleared")
    (later,) = cuts(50, 1)  # those that waited may still be coming
    one.hand([later])
    wait_for(lambda: later.record.name in {item.name for item in kept(small_disk)}, "a face again")


def test_the_last_of_the_disk_is_left_to_events(writer, small_disk, monkeypatch):
    monkeypatch.setattr(keeper, "RETRY", 0.1)
    one = writer(small_disk)
    one.hand(cuts(1, 1))
    wait_for(lambda: one.error, "an error")
    assert "only 1 MB of the disk are free, which are left to events" in one.error
    assert list(small_disk.iterdir()) == []
    monkeypatch.setattr(keeper, "LEAST_FREE", 1000)
    wait_for(lambda: one.error is None, "the error cleared")


def test_a_folder_that_cannot_be_made_is_told_and_cleared(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "RETRY", 0.1)
    (tmp_path / "file").write_bytes(b"")
    one = writer(tmp_path / "file" / "r")
    one.hand(cuts(1, 1))
    wait_for(lambda: one.error, "an error")
    assert "can't be written: Not a directory" in one.error
    (tmp_path / "file").unlink()
    wait_for(lambda: one.error is None, "the error cleared")
    one.hand(cuts(2, 1))
    wait_for(lambda: kept(tmp_path / "file" / "r"), "a face")


def test_a_face_that_cannot_be_read_is_told_until_it_can_and_the_others_go_on(
    writer, tmp_path, monkeypatch
):
    monkeypatch.setattr(keeper, "RETRY", 0.1)
    foreign = fill(tmp_path / "r", [cuts(1, 1)[0].record]).path / "20261121T093000_0a1b2c3d-9_1"
    for ending in (".jpg", ".json"):
        path = foreign.with_name(foreign.name + ending)
        path.symlink_to(path)  # nobody can read it, not even root
        os.utime(path, (0, 0), follow_symlinks=False)
    one = writer()
    wait_for(lambda: one.error, "an error")
    assert f"{foreign}.json: can't be read" in one.error
    one.hand(cuts(2, 1))
    wait_for(lambda: len(kept(tmp_path / "r")) == 2, "another face")
    assert one.error
    for ending in (".jpg", ".json"):
        foreign.with_name(foreign.name + ending).unlink()
    wait_for(lambda: one.error is None, "the error cleared")


def test_a_disk_that_hangs_delays_neither_the_loop_nor_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(ReviewFolder, "keep", lambda *_: time.sleep(60))
    review = ReviewSet(config(tmp_path / "r"))
    door = Door(review)
    begin = time.monotonic()
    for _ in range(2 * BURST):
        door.visit()
    review.close(0.2)
    assert time.monotonic() - begin < 10


def test_memory_is_bounded_whatever_comes(writer):
    one = writer(burst=0)
    for first in range(0, 400, 40):
        one.hand(cuts(first, 40))
    assert len(one._waiting) == WAITING
