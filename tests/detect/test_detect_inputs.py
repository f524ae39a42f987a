"""What people name: files, folders, patterns, lists, standard input."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskedge.detect import inputs
from maskedge.detect.inputs import gather, read_list


class Pipe(io.BytesIO):
    """Standard input; not a terminal."""


def names(words, leave_out=None):
    found, errors = gather(map(str, words), Pipe(), leave_out)
    assert errors == []
    return [one.name for one in found]


def refusal(word, piped=b""):
    found, (error,) = gather([str(word)], Pipe(piped))
    assert found == []
    return str(error)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "deep/c.mp4", "deep/d.txt", ".hidden/e.jpg", "deep/.f.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path("in")


def test_a_folder_with_all_below_it_but_what_is_hidden_or_something_else(folder):
    assert names([folder]) == ["in/a.PNG", "in/b.jpg", "in/deep/c.mp4"]
    places = [str(one.place) for one in gather([str(folder)], Pipe())[0]]
    assert places == ["a.PNG", "b.jpg", "deep/c.mp4"]


def test_copies_of_an_earlier_run_are_not_judged(folder):
    assert names([folder], leave_out=Path("in/deep")) == ["in/a.PNG", "in/b.jpg"]


@pytest.mark.parametrize("out", ["in", "."])
def test_a_folder_of_copies_around_what_is_judged_hides_nothing(folder, out):
    assert len(names([folder], leave_out=Path(out))) == 3


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert refusal(tmp_path) == f"{tmp_path}: no picture or video in this folder"


def test_patterns_that_no_shell_expanded(folder):
    assert names(["in/*.jpg"]) == ["in/b.jpg"]
    assert names(["in/**/*.[mj]p*"]) == ["in/b.jpg", "in/deep/c.mp4"]
    assert names(["i?"]) == names([folder])
    assert refusal("in/*.bmp") == "in/*.bmp: nothing matches this pattern"


def test_a_name_that_looks_like_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a[1].jpg").touch()
    assert names(["a[1].jpg"]) == ["a[1].jpg"]


def test_a_link_to_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gone.jpg").symlink_to("nothing.jpg")
    assert "no such file" in refusal("gone.jpg")
    assert "nothing matches" in refusal("*.jpg")


def test_what_nobody_can_look_at_is_named(closed):
    assert refusal(closed / "a.jpg") == f"{closed}/a.jpg: can't be read: Permission denied"


@pytest.fixture
def half_closed(closed):  # noqa: ARG001 - whoever we are, we aren't root now
    folder = Path(tempfile.mkdtemp())
    for name in ("a.jpg", "shut/b.jpg", "sub/c.jpg", "sub/shut/d.jpg", ".hidden/e.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    shut = [folder / name for name in ("shut", "sub/shut", ".hidden")]
    for one in shut:
        one.chmod(0)
    yield folder
    for one in shut:
        one.chmod(0o700)
    shutil.rmtree(folder)


def test_a_folder_below_that_nobody_can_look_into_is_named(half_closed):
    found, errors = gather([str(half_closed), f"{half_closed}/sub/shut"], Pipe())
    assert [one.name for one in found] == [f"{half_closed}/a.jpg", f"{half_closed}/sub/c.jpg"]
    assert sorted(map(str, errors)) == [
        f"{half_closed}/{name}: can't be read: Permission denied"
        for name in ("shut", "sub/shut", "sub/shut")
    ]


def test_a_name_that_is_too_long():
    assert refusal("a" * 300).endswith("aa: can't be read: File name too long")


def test_a_name_that_begins_like_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~lock.jpg").touch()
    assert names(["~lock.jpg"]) == ["~lock.jpg"]


@pytest.mark.usefixtures("folder")
def test_what_is_there_is_found_beside_what_is_not():
    found, errors = gather(["in/b.jpg", "in/c.jpg", "in/a.PNG"], Pipe())
    assert [one.name for one in found] == ["in/b.jpg", "in/a.PNG"]
    assert [str(error) for error in errors] == [
        "in/c.jpg: no such file or folder (did you mean in/b.jpg?)"
    ]


@pytest.mark.parametrize(
    ("listed", "paths"),
    [
        (b"a.jpg\nb c.jpg\r\n\nd.jpg", ["a.jpg", "b c.jpg", "d.jpg"]),
        (b"a.jpg\0with\nnewline.jpg\0", ["a.jpg", "with\nnewline.jpg"]),
        (b"", []),
        (b"caf\xe9.jpg\n", [os.fsdecode(b"caf\xe9.jpg")]),
    ],
)
def test_lists(listed, paths):
    assert read_list(io.BytesIO(listed)) == paths


def test_standard_input_becomes_a_file_in_memory():
    picture = cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    ((one,), errors) = gather(["-"], Pipe(picture))
    assert errors == []
    assert (one.name, one.piped) == ("-", True)
    assert one.path.read_bytes() == picture
    assert "memfd" in str(one.path.readlink())


def test_standard_input_that_is_empty_too_much_or_a_terminal(monkeypatch):
    assert refusal("-") == "standard input: empty (0 bytes)"
    monkeypatch.setattr(inputs, "MOST_PIPED", 10)
    assert "store it" in refusal("-", b"x" * 11)
    monkeypatch.setattr(Pipe, "isatty", lambda _: True)
    assert "nothing is piped in" in refusal("-", b"x")
