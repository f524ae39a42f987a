"""The folder: private, bounded by age and size, and nobody else's files are touched."""

import errno
import os
import stat

import pytest

from maskedge.clock import Ages
from maskedge.events import uuid7
from maskedge.snapshots import folder
from maskedge.snapshots.folder import DAY, LEFTOVER, SnapshotFolder, name

START = 1_800_000_000.0
MEGABYTE = 1_000_000


class Wall:
    """Time passes when ``now`` is moved, and is set by :meth:`step`."""

    now = START
    stepped = 0.0
    synced = True

    def step(self, seconds):
        self.now += seconds
        self.stepped += seconds

    def ages(self):
        """As a process that begins now has them."""
        return Ages(lambda: self.now, lambda: self.now - self.stepped, lambda: self.synced)


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def begin(tmp_path, wall):
    """``begin()``: the folder, by a process that begins now."""

    def build():
        return SnapshotFolder(tmp_path / "a/pictures", 2, 1, wall.ages())

    return build


@pytest.fixture
def pictures(begin):
    return begin()


def keep(pictures, wall, size=1000):
    file = name("2026-11-21T07:55:58.332Z", "without_mask", str(uuid7()))
    pictures.keep(file, b"x" * size)
    os.utime(pictures.path / file, (wall.now, wall.now))
    return pictures.path / file


def test_a_picture_is_whole_and_only_ours_to_read(pictures, wall):
    before = os.umask(0)
    try:
        path = keep(pictures, wall)
    finally:
        os.umask(before)
    assert path.name.startswith("20261121T075558.332Z_without_mask_")
    assert path.read_bytes() == b"x" * 1000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(pictures.path.stat().st_mode) == 0o700
    assert list(pictures.path.iterdir()) == [path]


def test_a_folder_that_others_can_look_into_is_refused(pictures, wall):
    pictures.path.mkdir(parents=True)
    pictures.path.chmod(0o750)
    with pytest.raises(OSError, match=r"others can look into it \(mode 0750\); chmod 700"):
        keep(pictures, wall)
    assert list(pictures.path.iterdir()) == []


def test_what_is_too_old_goes(pictures, wall):
    old = keep(pictures, wall)
    wall.now += DAY
    new = keep(pictures, wall)
    assert pictures.sweep() == 0
    wall.now += 1.1 * DAY
    assert pictures.sweep() == 1
    assert not old.exists()
    assert new.exists()


def test_never_more_than_the_bound_and_the_oldest_go_first(pictures, wall):
    kept = []
    for _ in range(25):
        wall.now += 1
        kept.append(keep(pictures, wall, MEGABYTE // 10))
        sizes = [path.stat().st_size for path in pictures.path.iterdir()]
        assert sum(sizes) <= MEGABYTE
    assert sorted(pictures.path.iterdir()) == sorted(kept[-10:])


def test_nobody_elses_files_are_counted_or_deleted(pictures, wall):
    path = keep(pictures, wall)
    others = [
        pictures.path / "holiday.jpg",
        pictures.path / f"{path.stem}.png",
        pictures.path / f"my-{path.name}",
    ]
    for other in others:
        other.write_bytes(b"x" * 2 * MEGABYTE)
        os.utime(other, (0, 0))
    wall.now += 100 * DAY
    new = keep(pictures, wall, MEGABYTE)
    assert sorted(pictures.path.iterdir()) == sorted([*others, new])


def test_a_half_written_one_of_a_crash_is_cleared_away(pictures, wall):
    path = keep(pictures, wall)
    half = path.with_name(f"{path.name}.new")
    half.write_bytes(b"half")
    os.utime(half, (wall.now, wall.now))
    assert pictures.sweep() == 0  # another writer may be at it, as after a reload
    wall.now += LEFTOVER + 1
    assert pictures.sweep() == 1
    assert list(pictures.path.iterdir()) == [path]


def test_a_clock_that_was_set_back_keeps_no_picture_for_ever(begin, wall):
    wall.step(1000 * DAY)
    path = keep(begin(), wall)
    wall.step(-1000 * DAY)
    for _ in range(5):
        assert begin().sweep() == 0
        wall.now += 0.5 * DAY
    assert begin().sweep() == 1
    assert not path.exists()


def test_nor_where_nothing_ever_sets_the_clock(begin, wall):
    wall.synced = False
    wall.step(1000 * DAY)
    path = keep(begin(), wall)
    wall.step(-1000 * DAY)
    pictures = begin()
    assert pictures.sweep() == 0
    wall.now += 2.1 * DAY
    assert pictures.sweep() == 1
    assert not path.exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_boot_with_an_old_clock_that_is_set_later_costs_no_newer_picture(begin, wall, known):
    old = keep(begin(), wall)
    wall.now += 1.5 * DAY
    before = keep(begin(), wall)
    wall.synced = False
    wall.step(-400 * DAY)  # a machine that was switched on again
    pictures = begin()
    assert pictures.sweep() == 0
    wall.now += 0.1 * DAY
    meanwhile = keep(pictures, wall)
    wall.now += 0.1 * DAY
    wall.step(400 * DAY)
    wall.synced = known
    assert pictures.sweep() == 0
    wall.synced = True
    assert pictures.sweep() == 0
    assert begin().sweep() == 0  # also after a restart
    wall.now += 0.5 * DAY
    assert (begin().sweep(), old.exists()) == (1, False)
    wall.now += 1.35 * DAY
    assert (begin().sweep(), before.exists()) == (1, False)
    wall.now += 0.1 * DAY
    assert (begin().sweep(), meanwhile.exists()) == (1, False)


def test_the_oldest_go_first_whatever_the_clock_said_when_they_came(begin, wall):
    kept = [keep(begin(), wall, MEGABYTE // 4)]
    wall.synced = False
    wall.step(-DAY)
    pictures = begin()
    for _ in range(3):
        wall.now += 60
        kept.append(keep(pictures, wall, MEGABYTE // 4))
    wall.step(DAY)
    wall.synced = True
    wall.now += 60
    kept.append(keep(pictures, wall, MEGABYTE // 4))
    assert sorted(pictures.path.iterdir()) == sorted(kept[1:])


def test_a_link_in_the_way_is_not_followed(pictures, tmp_path):
    pictures.path.mkdir(mode=0o700, parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = name("2026-11-21T07:55:58.332Z", "without_mask", str(uuid7()))
    (pictures.path / file).symlink_to(victim)
    (pictures.path / f"{file}.new").symlink_to(victim)
    pictures.keep(file, b"picture")
    assert victim.read_text() == "precious"
    assert (pictures.path / file).read_bytes() == b"picture"
    assert not (pictures.path / file).is_symlink()


def test_a_write_that_fails_leaves_nothing(pictures, wall, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        keep(pictures, wall)
    assert list(pictures.path.iterdir()) == []


def test_a_purge_of_all_in_the_middle_of_a_picture_is_no_error(pictures, wall, monkeypatch):
    purged = []
    other = SnapshotFolder(pictures.path, max_age=2, max_megabytes=1, ages=wall.ages())
    monkeypatch.setattr(folder.os, "fsync", lambda _: purged.append(other.purge(0.0)))
    pictures.keep(name("2026-11-21T07:55:58.332Z", "without_mask", str(uuid7())), b"picture")
    assert [one.files for one in purged] == [1]
    assert list(pictures.path.iterdir()) == []


def test_the_last_free_space_is_the_outboxs(pictures, wall, monkeypatch):
    monkeypatch.setattr(folder, "KEEP_FREE", 10**18)
    with pytest.raises(OSError, match="MB are free; free some"):
        keep(pictures, wall)


def test_sweeping_where_there_is_no_folder_yet(pictures):
    assert pictures.sweep() == 0
    assert not pictures.path.exists()
