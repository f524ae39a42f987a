"""A change of the file is noticed once, whatever way the editor writes."""

import time

import pytest

from maskedge.reload import SETTLE, FileWatch


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("name: a\n")
    return file


def in_place(path, text):
    path.write_text(text)


def by_rename(path, text):
    new = path.with_name(".config.yaml.swp")
    new.write_text(text)
    new.replace(path)


def by_delete_and_create(path, text):
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("text", ["name: longer\n", "name: b\n"])
@pytest.mark.parametrize("write", [in_place, by_rename, by_delete_and_create])
def test_every_way_of_writing_is_noticed_once(path, write, text):
    watch = FileWatch(path)
    assert not watch.changed(0.0)
    time.sleep(0.05)  # the kernel's time of modification goes by its ticks
    write(path, text)
    assert not watch.changed(1.0)
    assert watch.changed(1.0 + SETTLE)
    assert not watch.changed(5.0)


def test_a_file_still_being_written_is_waited_for(path):
    watch = FileWatch(path)
    with path.open("w") as file:
        for step in range(5):
            file.write("x" * 100)
            file.flush()
            assert not watch.changed(step * SETTLE / 2)
    assert not watch.changed(2.5 * SETTLE)
    assert watch.changed(4 * SETTLE)


def test_a_file_gone_for_a_moment_is_no_change(path):
    watch = FileWatch(path)
    path.rename(path.with_name("away"))
    assert not watch.changed(0.0)
    assert not watch.changed(10.0)
    path.with_name("away").rename(path)
    assert not watch.changed(20.0)


def test_without_a_file_nothing_changes():
    assert not FileWatch(None).changed(0.0)
