"""Annotated copies: in their place, playable, whole or not there; never over an original."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import browser
import cv2
import numpy as np
import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.detect.copies import Copies, marks
from maskedge.detect.inputs import Input
from maskedge.detect.judging import JudgedFace, JudgedFrame
from maskedge.errors import InputError, MaskedgeError
from maskedge.geometry import Box
from maskedge.pipeline import PersonView

BARE = (0.02, 0.97, 0.01)


def judged(width=64, height=48, *, moment=None, person=None, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    face = JudgedFace(Box(5, 20, 25, 40), 0.9, BARE, person)
    return JudgedFrame(Frame(pixels, ChannelOrder.RGB, 0.0), (face,), moment)


def given(name, folder="/nowhere"):
    return Input(Path(folder) / name, name, Path(name))


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def copy(copies, one, fps=None, frames=1, size=(64, 48)):
    with copies.copy(one, fps) as made:
        for number in range(frames):
            made.write(judged(*size, moment=None if fps is None else number / fps, seed=number))


def broken_off(copies, one, fps, error, frames):
    """A copy whose input, or user, breaks off; returns what lay there just before."""
    lay = []

    def work():
        with copies.copy(one, fps) as made:
            for number in range(frames):
                made.write(judged(moment=None if fps is None else number / fps))
            lay.extend(files(copies.folder))
            raise error

    with pytest.raises(type(error)):
        work()
    return lay


def test_what_is_written_at_a_face():
    assert marks(judged()) == [(Box(5, 20, 25, 40), "without_mask", "without_mask 97%")]
    assert marks(judged(moment=0.5))[0][1:] == ("unsure", "without_mask 97%?")
    undecided = PersonView(3, Box(5, 20, 25, 40), "unsure", 0.0, seen=True, violation=None)
    assert marks(judged(moment=0.5, person=undecided))[0][1:] == (
        "unsure", "#3 without_mask 97%?"
    )  # fmt: skip
    decided = PersonView(3, Box(5, 20, 25, 40), "incorrect_mask", 0.88, seen=True, violation=1)
    assert marks(judged(moment=0.5, person=decided))[0][1:] == (
        "incorrect_mask", "#3 incorrect_mask 88%"
    )  # fmt: skip


def test_pictures_keep_place_name_format_and_size(tmp_path):
    copies = Copies(tmp_path / "out", [])
    for name in ("a.jpg", "deep/b.png", "deep/c.WEBP", "d.tif", "suffixless"):
        copy(copies, given(name), size=(63, 49))
    assert files(tmp_path / "out") == [
        "a.jpg",
        "d.tif",
        "deep/b.png",
        "deep/c.WEBP",
        "suffixless.png",
    ]
    for path in files(tmp_path / "out"):
        assert cv2.imread(str(tmp_path / "out" / path)).shape == (49, 63, 3)


def test_inputs_of_the_same_name_get_copies_of_different_names(tmp_path):
    copies = Copies(tmp_path, [])
    for folder in ("/x", "/y", "/z"):
        copy(copies, given("a.jpg", folder))
    assert files(tmp_path) == ["a-2.jpg", "a-3.jpg", "a.jpg"]
    copy(Copies(tmp_path, []), given("a.jpg"))  # another run takes the place of the first
    assert files(tmp_path) == ["a-2.jpg", "a-3.jpg", "a.jpg"]


def test_no_input_is_overwritten_not_even_another_one(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"original")
    copies = Copies(tmp_path, [given("a.jpg", tmp_path), given("a.jpg", "/y")])
    for folder in (tmp_path, "/y"):
        with pytest.raises(MaskedgeError, match="would overwrite"):
            copy(copies, given("a.jpg", folder))
        copies = Copies(tmp_path, [given("a.jpg", tmp_path)])
    assert (tmp_path / "a.jpg").read_bytes() == b"original"


def test_a_link_to_an_original_is_seen_through(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"original")
    (tmp_path / "out").symlink_to(tmp_path)
    with pytest.raises(MaskedgeError, match="would overwrite"):
        copy(Copies(tmp_path / "out", [given("a.jpg", tmp_path)]), given("a.jpg", tmp_path))


@pytest.mark.parametrize("size", [(64, 48), (63, 49)])
def test_a_video_copy_has_every_frame_at_its_speed(tmp_path, size):
    copy(Copies(tmp_path, []), given("v.mp4"), fps=12.5, frames=20, size=size)
    assert files(tmp_path) == ["v.webm"]
    reader = cv2.VideoCapture(str(tmp_path / "v.webm"))
    assert reader.get(cv2.CAP_PROP_FPS) == 12.5
    shapes = []
    while (read := reader.read())[0]:
        shapes.append(read[1].shape)
    assert shapes == [(48, size[0] - size[0] % 2, 3)] * 20


@pytest.mark.parametrize("fps", [8, 16, 25])
def test_a_copy_keeps_step_where_the_frame_rate_varies(tmp_path, fps):
    """Whatever rate the file tells: dense pictures, sparse ones, a hole, a broken time stamp."""
    times = [*np.arange(0, 2, 1 / 30), *np.arange(2, 5, 1 / 3), *np.arange(8, 9, 1 / 20)]
    times += [9 + 1e5 + n / fps for n in range(3)]
    with Copies(tmp_path, []).copy(given("v.mkv"), fps) as made:
        for number, moment in enumerate(times):
            bits = np.array([255 * (number >> bit & 1) for bit in range(7)], np.uint8)
            striped = np.broadcast_to(bits.repeat(16)[None, :, None], (48, 112, 3)).copy()
            made.write(JudgedFrame(Frame(striped, ChannelOrder.RGB, moment), (), 3.0 + moment))
    reader = cv2.VideoCapture(str(tmp_path / "v.webm"))
    shown = []
    while (read := reader.read())[0]:
        stripes = read[1].mean(axis=(0, 2)).reshape(7, 16).mean(axis=1) > 127
        shown.append(sum(int(white) << bit for bit, white in enumerate(stripes)))
    assert len(shown) == pytest.approx(9 * fps + 3, abs=2)
    assert shown[-1] == len(times) - 1
    ends = [*times[1:], np.inf]
    for slot, number in enumerate(shown[:-3]):
        assert times[number] - 1.01 / fps <= slot / fps <= ends[number] + 1.01 / fps, slot


def test_opencvs_chatter_about_webm_is_not_shown(tmp_path, capfd):
    copy(Copies(tmp_path, []), given("v.mp4"), fps=10)
    assert capfd.readouterr().err == ""


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.mark.parametrize(("name", "fps"), [("v.mp4", 10), ("p.jpg", None)])
def test_who_is_interrupted_leaves_nothing_half(tmp_path, name, fps):
    (lay,) = broken_off(Copies(tmp_path, []), given(name), fps, Stop(), 1)
    assert lay.startswith(".")
    assert files(tmp_path) == []


def test_an_earlier_copy_stays_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "p.png").write_bytes(b"earlier")
    broken_off(Copies(tmp_path, []), given("p.png"), None, Stop(), 1)
    assert (tmp_path / "p.png").read_bytes() == b"earlier"


def test_a_video_that_is_cut_off_gets_a_whole_copy_of_what_there_is(tmp_path):
    copies = Copies(tmp_path, [])
    broken_off(copies, given("v.mp4"), 10, InputError("cut off"), 5)
    assert int(cv2.VideoCapture(str(tmp_path / "v.webm")).get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    broken_off(copies, given("w.mp4"), 10, InputError("cut off at once"), 0)
    assert files(tmp_path) == ["v.webm"]


@pytest.mark.parametrize(("fps", "why"), [(10, "is the disk full"), (None, "File too large")])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, fps, why):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(MaskedgeError, match=why):
            copy(Copies(tmp_path, []), given("v.bmp"), fps=fps, frames=30, size=(640, 480))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


def test_ffmpeg_takes_the_copy_for_what_it_is(walk, tmp_path):
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed: see tests/apt-packages.txt")
    watch(walk, tmp_path)
    asked = "stream=codec_name,pix_fmt,width,height,avg_frame_rate,nb_read_frames:format=duration"
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", asked, "-of", "json",
         tmp_path / "walk.webm"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert probe.stderr == ""
    found = json.loads(probe.stdout)
    assert found["streams"] == [
        {"codec_name": "vp8", "width": 640, "height": 480, "pix_fmt": "yuv420p",
         "avg_frame_rate": "10/1", "nb_read_frames": "61"}
    ]  # fmt: skip
    assert float(found["format"]["duration"]) == pytest.approx(6.1, abs=0.11)


PLAY = """path => new Promise(resolve => {
  const video = document.createElement("video");
  video.muted = true;
  video.playbackRate = 4;
  video.onended = () => resolve([video.videoWidth, video.videoHeight, video.currentTime]);
  video.onerror = () => resolve(video.error.message);
  video.src = path;
  video.play().catch(error => resolve(error.message));
})"""


def test_a_browser_plays_the_copy_to_its_end(walk, tmp_path):
    watch(walk, tmp_path)
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>copy</title>")
    with browser.chromium() as program, browser.tab(program) as tab:
        tab.goto(page.as_uri())
        width, height, end = tab.evaluate(PLAY, (tmp_path / "walk.webm").as_uri())
    assert (width, height) == (640, 480)
    assert end == pytest.approx(6.1, abs=0.2)


def watch(video, out):
    subprocess.run(
        [sys.executable, "-m", "maskedge", "detect", "--quiet", "--out", out, video],
        check=True, timeout=120, stdout=subprocess.DEVNULL,
    )  # fmt: skip
