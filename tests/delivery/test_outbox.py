"""The outbox on a real disk: durable, ordered, bounded, and never a reason to stop."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mosquitto import wait_for

from maskedge.delivery import outbox as outbox_module
from maskedge.delivery import store
from maskedge.delivery.outbox import Outbox


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "outbox.db"


@pytest.fixture
def reopen(path):
    """``reopen()``: the outbox of ``path``, the one before closed."""
    made = []

    def build(**options):
        if made:
            made.pop().close()
        made.append(Outbox(path, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(outbox_module, "RETRY_AFTER", 0.1)


def ids(rows):
    return [row.event_id for row in rows]


def names(events):
    return [event.event_id for event in events]


def test_put_is_numbered_in_order_and_survives_reopening(reopen, make):
    outbox, events = reopen(), make(5)
    assert outbox.put(*events[:2])
    assert outbox.put(*events[2:])
    rows = reopen().pending(10)
    assert ids(rows) == names(events)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert json.loads(rows[0].payload)["event_id"] == events[0].event_id


def test_numbers_are_never_used_twice(reopen, make):
    outbox = reopen()
    outbox.put(*make(3))
    outbox.delete(outbox.pending(3))
    wait_for(lambda: outbox.status().pending == 0, "the deletion")
    outbox = reopen()
    outbox.put(*make(1))
    assert [row.seq for row in outbox.pending(9)] == [4]


def test_what_is_deleted_is_no_longer_pending_at_once_nor_after_reopening(reopen, make):
    outbox, events = reopen(), make(4)
    outbox.put(*events)
    outbox.delete(outbox.pending(2))
    assert ids(outbox.pending(9)) == names(events[2:])
    assert ids(reopen().pending(9)) == names(events[2:])


def test_pending_leaves_out_what_is_under_way(reopen, make):
    outbox, events = reopen(), make(4)
    outbox.put(*events)
    assert ids(outbox.pending(2, {events[0].event_id})) == names(events[1:3])


def test_submit_returns_before_the_disk_does(reopen, make):
    outbox, events = reopen(), make(3)
    heard = threading.Event()
    outbox.listener = heard.set
    with outbox._disk:  # a disk that takes its time
        outbox.submit(*events)
        assert outbox.status().in_memory == 3
    assert heard.wait(30)
    assert outbox.flush(30)
    assert ids(outbox.pending(9)) == names(events)


def test_status_tells_count_and_oldest(reopen, make):
    outbox, events = reopen(), make(3)
    assert outbox.status().oldest is None
    outbox.put(*events)
    status = outbox.status()
    assert (status.pending, status.in_memory, status.error) == (3, 0, None)
    assert status.oldest == events[0].as_dict()["decided_at"]


def test_folder_and_file_are_for_this_user_only(reopen, path, make):
    reopen().put(*make(1))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("outbox.db-wal").stat().st_mode & 0o777 == 0o600


def test_the_oldest_go_first_beyond_the_bound(reopen, make):
    outbox, events = reopen(max_events=10), make(25)
    for event in events:
        outbox.put(event)
    assert ids(outbox.pending(99)) == names(events[15:])
    assert outbox.status().pending == 10
    assert outbox.status().dropped == 15
    assert outbox.status().unwritten == 0


def test_one_batch_beyond_the_bound(reopen, make):
    outbox, events = reopen(max_events=10), make(25)
    outbox.put(*events)
    assert ids(outbox.pending(99)) == names(events[15:])


def test_a_second_process_is_refused_and_keeps_its_events_in_memory(reopen, path, make):
    first = reopen()
    second = Outbox(path)
    assert "another process uses this outbox" in second.status().error
    assert not second.put(*make(1))
    first.put(*make(2))
    assert first.status().pending == 2
    assert second.close() == 1


def damage_garbage(path):
    path.write_bytes(os.urandom(8192))


def damage_truncate(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 100)


def damage_empty(path):
    path.write_bytes(b"")


def damage_middle(path):
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xff" * 2048)


def damage_newer(path):
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()


def damage_other_program(path):
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (id)")
    database.close()


DAMAGES = [
    damage_garbage,
    damage_truncate,
    damage_empty,
    damage_middle,
    damage_newer,
    damage_other_program,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unusable_file_is_set_aside_and_a_new_one_begun(
    reopen, path, make, damage, caplog, timed
):
    outbox = reopen()
    outbox.put(*make(40))
    outbox.close()
    damage(path)
    content = path.read_bytes()
    events = make(2)
    with timed(f"{damage.__name__}: opened, set aside, and the first event stored"):
        outbox = reopen()
        assert outbox.put(*events)
    rows = outbox.pending(99)[-2:]
    assert ids(rows) == names(events)
    assert rows[0].seq > 40
    status = outbox.status()
    assert "set aside as outbox.db.aside-" in status.recovered
    assert status.error is None
    (aside,) = [p for p in path.parent.glob("outbox.db.aside-*") if p.suffix != "-wal"]
    assert aside.read_bytes() == content
    assert sum("set aside" in record.message for record in caplog.records) == 1
    aside.unlink()
    outbox.put(*make(1))
    assert outbox.status().recovered is None
    assert reopen().status().recovered is None


def test_set_aside_twice_in_a_second_keeps_both(reopen, path, make):
    for _ in range(3):
        reopen().put(*make(1))
        reopen().close()
        damage_garbage(path)
    reopen()
    assert len(list(path.parent.glob("outbox.db.aside-*"))) == 3


@pytest.mark.parametrize("asides", ["kept", "deleted"])
def test_numbers_rise_while_the_clock_falls(reopen, path, make, monkeypatch, asides):
    """Damaged beyond reading at each boot, of a machine whose clock isn't set yet."""
    numbers = []
    for year in (2026, 2023, 1970, 2023):
        monkeypatch.setattr(store.time, "time_ns", lambda y=year: (y - 1970) * 31_557_600 * 10**9)
        outbox = reopen()
        outbox.put(*make(3))
        numbers += [row.seq for row in outbox.pending(9)]
        outbox.close()
        damage_garbage(path)
        for aside in path.parent.glob("*.aside-*") if asides == "deleted" else ():
            aside.unlink()
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 12


@pytest.mark.parametrize("note", ["", "x", "-5", "9" * 30, "9" * 5000, "\xff"])
def test_a_damaged_note_of_numbers_is_made_anew(reopen, path, make, note):
    reopen().close()
    path.with_name("outbox.db.numbers").write_text(note, encoding="latin-1")
    damage_garbage(path)
    outbox = reopen()
    assert outbox.put(*make())
    (row,) = outbox.pending(9)
    assert int(path.with_name("outbox.db.numbers").read_text()) == row.seq - 1


def test_damage_that_shows_at_run_time_is_cured_at_run_time(reopen, path, make):
    outbox = reopen()
    outbox.put(*make(50))
    outbox._store.close()  # its log goes into the file
    damage_middle(path)
    events = make(2)
    assert outbox.put(*events)
    assert ids(outbox.pending(99))[-2:] == names(events)
    assert "set aside" in outbox.status().recovered


def test_what_a_damaged_file_still_gives_is_sent(reopen, path, make):
    """Up to the damage and behind it, under the same numbers; acknowledged ones stay gone."""
    outbox = reopen()
    events = make(400)
    outbox.put(*events)
    outbox.delete(outbox.pending(100))
    outbox.close()
    middle = path.stat().st_size // 2048 * 1024
    with path.open("r+b") as file:
        file.seek(middle)
        file.write(b"\xff" * 1024)
    outbox = reopen()
    later = make(1)
    outbox.put(*later)
    rows = outbox.pending(999)
    assert ids(rows)[-1:] == names(later)
    saved = rows[:-1]
    number = {event.event_id: n for n, event in enumerate(events, 1)}
    assert [row.seq for row in saved] == [number[row.event_id] for row in saved]
    assert [row.seq for row in saved] == sorted(row.seq for row in saved)
    assert saved[0].seq == 101
    assert saved[-1].seq == 400
    assert 280 <= len(saved) < 300
    assert f"with the {len(saved)} events that could be read" in outbox.status().recovered
    assert outbox.status().pending == len(saved) + 1
    assert not list(path.parent.glob("salvage-*"))


def test_a_log_without_its_file_is_not_replayed(reopen, path, make):
    outbox = reopen()
    outbox.put(*make(5))
    shutil.copy(f"{path}-wal", path.parent / "log")
    outbox.close()
    path.unlink()
    (path.parent / "log").rename(f"{path}-wal")
    outbox = reopen()
    assert outbox.pending(9) == []
    assert list(path.parent.glob("*.aside-*-wal"))


def test_folder_that_cannot_be_made_then_can(tmp_path, make):
    (tmp_path / "in-the-way").write_text("")
    outbox = Outbox(tmp_path / "in-the-way" / "outbox.db")
    events = make(3)
    assert not outbox.put(*events)
    assert ids(outbox.pending(9)) == names(events)
    assert [row.seq for row in outbox.pending(9)] == [None] * 3
    status = outbox.status()
    assert (status.pending, status.in_memory) == (3, 3)
    assert "in-the-way" in status.error
    (tmp_path / "in-the-way").unlink()
    wait_for(lambda: outbox.status().in_memory == 0, "the disk well again")
    assert outbox.status().error is None
    assert [row.seq for row in outbox.pending(9)] == [1, 2, 3]
    assert ids(outbox.pending(9)) == names(events)
    outbox.close()


def test_memory_is_bounded_and_the_oldest_go_first(tmp_path, make):
    (tmp_path / "in-the-way").write_text("")
    outbox = Outbox(tmp_path / "in-the-way" / "outbox.db", max_in_memory=10)
    events = make(25)
    outbox.submit(*events)
    assert ids(outbox.pending(99)) == names(events[15:])
    assert outbox.status().dropped == outbox.status().unwritten == 15
    assert outbox.close() == 10


def test_a_disk_that_hangs_at_the_end_is_named(reopen, make, caplog):
    outbox = reopen()
    with outbox._disk:  # a disk that takes its time
        outbox.submit(*make(3))
        assert outbox.close(0.1) == 3
    assert "3 events could not be written and are lost" in caplog.text
    assert f"{outbox._store.path}: the disk doesn't answer" in caplog.text


def test_acknowledged_from_memory_does_not_come_back_with_the_disk(tmp_path, make):
    (tmp_path / "in-the-way").write_text("")
    outbox = Outbox(tmp_path / "in-the-way" / "outbox.db")
    events = make(3)
    outbox.put(*events)
    rows = outbox.pending(9)
    outbox.delete(rows[:1])
    (tmp_path / "in-the-way").unlink()
    wait_for(lambda: outbox.status().in_memory == 0, "the disk well again")
    outbox.delete(rows[1:2])  # read when it was in memory, on disk by now
    assert ids(outbox.pending(9)) == names(events[2:])
    wait_for(lambda: outbox.status().pending == 1, "the deletion")
    outbox.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte of our own, to be filled and made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 1024):
                pass
        except OSError:
            return


def test_disk_full_and_free_again(small_disk, make, caplog, timed):
    outbox = Outbox(small_disk / "outbox.db")
    stored = make(20)
    assert outbox.put(*stored)
    fill(small_disk)
    waiting = make(900)
    results = [outbox.put(*waiting[begin : begin + 50]) for begin in range(0, 900, 50)]
    assert not results[-1]
    assert "the disk is full" in outbox.status().error
    assert outbox.status().pending == 920
    assert ids(outbox.pending(2000)) == names(stored + waiting)
    outbox.delete(outbox.pending(20))
    assert ids(outbox.pending(2000)) == names(waiting)
    (small_disk / "ballast").unlink()
    with timed("disk full: free until written (tried every 0.1 s; by default every 2 s)"):
        wait_for(lambda: outbox.status().error is None, "the disk well again")
    wait_for(lambda: outbox.status().in_memory < 900, "events written")
    assert ids(outbox.pending(2000)) == names(waiting)
    complaints = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(complaints) <= 2  # told once, not at each try
    outbox.delete(outbox.pending(2000))
    wait_for(lambda: outbox.status().pending == 0, "the deletion")
    outbox.close()


def test_what_a_full_disk_has_left_over_makes_it_not_well(small_disk, make):
    outbox = Outbox(small_disk / "outbox.db")
    fill(small_disk)
    for slack in range(8):  # how much of its last block the log has left differs
        while outbox.put(*make(1)):
            pass
        outbox.delete(row for row in outbox.pending(2000) if row.seq is None)
        outbox._flush()  # the try that comes every RETRY_AFTER
        assert "the disk is full" in outbox.status().error, slack
        os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 8192)
        assert outbox.put(*make(1))
        assert outbox.status().in_memory == 0
        assert "the disk is full" in outbox.status().error, slack
    (small_disk / "ballast").unlink()
    outbox.put(*make(1))
    assert outbox.status().error is None
    outbox.close()


def test_disk_that_becomes_read_only_and_writable_again(small_disk, make, timed):
    outbox = Outbox(small_disk / "outbox.db")
    outbox.close()

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    remount("ro")
    outbox = Outbox(small_disk / "outbox.db")
    events = make(3)
    try:
        assert not outbox.put(*events)
        assert "read-only" in outbox.status().error
        assert ids(outbox.pending(9)) == names(events)
    finally:
        remount("rw")
    with timed("disk read-only: writable until written (tried every 0.1 s)"):
        wait_for(lambda: outbox.status().error is None, "the disk well again")
    assert [row.seq for row in outbox.pending(9)] == [1, 2, 3]
    outbox.close()


def bytes_written(outbox):
    """By the two threads that use it: others may have work of their own."""
    total = 0
    for thread in (threading.get_native_id(), outbox._writer.native_id):
        text = Path(f"/proc/self/task/{thread}/io").read_text(encoding="ascii")
        total += int(dict(line.split(": ") for line in text.splitlines())["wchar"])
    return total


def test_nothing_is_written_while_nothing_happens(reopen, path, make):
    outbox = reopen()
    outbox.put(*make(3))
    files = [path, path.with_name("outbox.db-wal")]
    before = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    written = bytes_written(outbox)
    time.sleep(1.0)
    outbox.pending(9)
    outbox.status()
    assert [(file.stat().st_mtime_ns, file.stat().st_size) for file in files] == before
    assert bytes_written(outbox) == written


def test_an_alert_costs_few_bytes(reopen, make):
    """docs/decisions/0010: stored and deleted alone, some pages of the log, no whole new file."""
    outbox = reopen()
    outbox.put(*make(1))
    before = bytes_written(outbox)
    for event in make(20):
        outbox.put(event)
        outbox.delete(outbox.pending(1))
        wait_for(lambda: not outbox._done, "the deletion")
    assert (bytes_written(outbox) - before) / 20 < 16 * 1024


def test_power_cut_in_the_middle_of_a_write(reopen, path, make, tmp_path):
    """Any beginning of the newest write, or garbage in its place, costs at most that write."""
    outbox, stored, last = reopen(), make(10), make(1)
    outbox.put(*stored)
    log = path.with_name("outbox.db-wal")
    safe = log.stat().st_size
    outbox.put(*last)
    whole = log.read_bytes()
    assert len(whole) > safe
    step = (len(whole) - safe) // 12
    for number, end in enumerate(range(safe, len(whole) + 1, step)):
        for tail in (b"", os.urandom(len(whole) - end)):
            copy = tmp_path / f"cut-{number}-{len(tail)}" / "outbox.db"
            copy.parent.mkdir()
            shutil.copy(path, copy)
            copy.with_name("outbox.db-wal").write_bytes(whole[:end] + tail)
            after = Outbox(copy)
            assert ids(after.pending(99))[:10] == names(stored)
            assert len(after.pending(99)) <= 11
            assert after.status().recovered is None
            assert after.put(*make(1))
            after.close()


CHILD = """
import sys, pathlib
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box
outbox = Outbox(pathlib.Path(sys.argv[1]))
builder = EventBuilder("door", "entrance", Models("0" * 12, "1" * 12))
while True:
    event = builder.started(label="without_mask", confidence=0.9, votes=Votes(5, 5), track_id=1,
        box=Box(0, 0, 1, 1), first_seen=1.0, decided_at=2.0)
    assert outbox.put(event)
    print(event.event_id, flush=True)
"""


def test_what_put_returned_for_survives_sigkill(reopen, path):
    acknowledged = []
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        acknowledged += [child.stdout.readline().strip() for _ in range(20)]
        child.kill()
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
    outbox = reopen()
    rows = outbox.pending(100_000)
    assert [one for one in ids(rows) if one in set(acknowledged)] == acknowledged
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert outbox.status().recovered is None
