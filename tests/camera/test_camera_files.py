from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from maskedge.camera.files import PictureFiles, VideoFile, open_files, read_picture
from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.camera.guard import CameraGuard
from maskedge.camera.opencv import CAPTURE_OPTIONS, STREAM_OPTIONS, capture_options
from maskedge.camera.pace import Pace
from maskedge.errors import EndOfStream, InputError


def frames(camera):
    camera.open()
    found = []
    try:
        while True:
            found.append(camera.read())
    except EndOfStream:
        return found
    finally:
        camera.close()


class FakeTime:
    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def pace(fake_time):
    return Pace(fake_time.clock, fake_time.sleep)


def test_a_video_gives_every_frame_with_its_media_time(make_video):
    path = make_video(frames=20, fps=10)
    camera = open_files(path)
    assert isinstance(camera, Camera)
    found = frames(camera)
    assert [frame.number for frame in found] == list(range(20))
    assert [frame.time for frame in found] == pytest.approx([i / 10 for i in range(20)])
    assert {frame.path for frame in found} == {str(path)}
    assert found[0].order is ChannelOrder.BGR
    assert [round(frame.pixels.mean() / 8) for frame in found[1:4]] == [1, 2, 3]
    assert not camera.live


def test_media_time_runs_on_when_a_video_is_looped(make_video):
    camera = open_files(make_video(frames=6, fps=10), loop=True)
    camera.open()
    found = [camera.read() for _ in range(15)]
    camera.close()
    assert [frame.number for frame in found] == list(range(15))
    assert [frame.time for frame in found] == pytest.approx([i / 10 for i in range(15)])
    assert int(found[6].pixels.mean()) < 4


def test_irregular_time_stamps_are_kept_in_every_round(make_video, monkeypatch):
    class Irregular:
        """A capture of three frames at 0, 0.5 and 0.6 s that calls itself 10 fps."""

        def __init__(self, *_):
            self.index = -1

        def grab(self):
            self.index += 1
            return self.index < 3

        def get(self, key):
            stamps = {cv2.CAP_PROP_POS_MSEC: (0.0, 500.0, 600.0, 0.0)[self.index]}
            return stamps.get(key, 10.0 if key == cv2.CAP_PROP_FPS else 3.0)

        def retrieve(self):
            return True, np.zeros((4, 4, 3), np.uint8)

        def isOpened(self):  # noqa: N802 - OpenCV's name
            return True

        def release(self):
            pass

    path = make_video()
    monkeypatch.setattr(cv2, "VideoCapture", Irregular)
    camera = open_files(path, loop=True)
    camera.open()
    times = [camera.read().time for _ in range(6)]
    assert times == pytest.approx([0, 0.5, 0.6, 0.7, 1.2, 1.3])


@pytest.mark.parametrize("options", [None, STREAM_OPTIONS], ids=["at first", "after a stream"])
def test_a_transport_stream_has_its_own_frame_rate(make_video, monkeypatch, options):
    monkeypatch.delenv(CAPTURE_OPTIONS, raising=False)
    if options is not None:
        capture_options(options)
    camera = VideoFile(make_video("video.ts", frames=30, fps=25, codec="mpg2"))
    found = frames(camera)  # and no word about its being cut off
    assert [frame.time for frame in found] == pytest.approx([i / 25 for i in range(30)])
    assert camera.fps == pytest.approx(25)


def test_what_the_user_tells_ffmpeg_stays(make_video, monkeypatch):
    monkeypatch.setenv(CAPTURE_OPTIONS, "threads;1")
    frames(VideoFile(make_video(frames=2)))
    capture_options(STREAM_OPTIONS)
    assert os.environ[CAPTURE_OPTIONS] == "threads;1"


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"caf\xe9"])
def test_a_name_that_opencv_would_crash_by_is_refused(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"isn't UTF-8.*rename it"):
        open_files(path).open()


def test_opening_again_begins_at_the_beginning(make_video):
    camera = open_files(make_video(frames=4))
    assert len(frames(camera)) == len(frames(camera)) == 4


def test_a_video_is_played_at_its_own_speed(make_video, fake_time, pace):
    camera = VideoFile(make_video(frames=5, fps=10), realtime=True, pace=pace)
    assert camera.live
    assert len(frames(camera)) == 5
    assert fake_time.slept == pytest.approx([0.1] * 4)


def test_a_late_reader_skips_frames_and_keeps_the_speed(make_video, fake_time, pace):
    camera = VideoFile(make_video(frames=20, fps=10), realtime=True, pace=pace)
    camera.open()
    assert camera.read().number == 0
    fake_time.now += 0.75
    assert camera.read().number == 7  # due at 0.7: 0.05 late, less than a frame
    fake_time.now += 5.0
    assert camera.read().number == 17  # the most that is skipped at once
    camera.close()


def test_a_hole_in_a_recording_is_jumped_over(fake_time, pace):
    assert pace.wait(10.0) == 0
    assert pace.wait(10.5) == 0
    assert pace.wait(5000.0) == 0
    assert pace.wait(5000.5) == 0
    assert fake_time.slept == pytest.approx([0.5, 0.5])


def test_the_last_frame_is_shown_however_late_it_is(make_video, fake_time, pace):
    camera = VideoFile(make_video(frames=12), realtime=True, pace=pace)
    camera.open()
    for number in range(6):
        assert camera.read().number == number
    fake_time.sleep(60)
    assert camera.read().number == 11
    with pytest.raises(EndOfStream):
        camera.read()
    camera.close()


def test_a_played_video_under_the_guard(make_video):
    path = make_video(frames=12, fps=50)
    with CameraGuard(lambda: open_files(path, realtime=True), read_timeout=60.0) as guard:
        last = None
        while (frame := guard.wait(60.0)) is not None:
            last = frame
        assert guard.ended
    assert last.number > 0  # a loaded machine misses some: newest frame wins
    assert guard.status.frames + guard.status.dropped >= 12


@pytest.mark.parametrize("name", ["empty.mp4", "cut.mp4", "noise.avi", "text.mkv"])
def test_a_video_that_cant_be_decoded_is_named(make_video, tmp_path, name):
    path = tmp_path / name
    content = {
        "empty.mp4": b"",
        "cut.mp4": make_video("whole.mp4").read_bytes()[:2000],
        "noise.avi": np.random.default_rng(1).bytes(30_000),
        "text.mkv": b"once upon a time" * 99,
    }
    path.write_bytes(content[name])
    camera = open_files(path)
    with pytest.raises(InputError, match=re.escape(str(path))) as caught:
        camera.open()
    if name == "empty.mp4":
        assert "0 bytes" in str(caught.value)


def test_ffmpeg_doesnt_write_past_the_log(tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"once upon a time" * 99)
    script = (
        "import sys; from maskedge.camera.files import open_files\n"
        "try: open_files(sys.argv[1]).open()\n"
        "except Exception as error: print(type(error).__name__)"
    )
    # In a process of its own: FFmpeg's level is set once, when it is first used.
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("InputError\n", "")


def test_a_video_cut_off_in_its_middle_gives_what_it_has_then_an_error(make_video):
    path = make_video("cut.avi", frames=30, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    camera = open_files(path)
    camera.open()
    found = []
    with pytest.raises(InputError, match=r"ends after \d+ of 30 frames") as caught:
        found.extend(iter(camera.read, None))
    assert len(found) > 3
    assert f"after {len(found)} of" in str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".webm", ".mp4"])
def test_a_video_whose_frame_rate_varies_is_whole_until_it_is_cut(tmp_path, suffix):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: see tests/apt-packages.txt")
    path = tmp_path / f"varies{suffix}"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=30:duration=8",
         "-vf", r"select=lt(t\,4)+not(mod(n\,6))", "-fps_mode", "vfr",
         *(("-movflags", "faststart") if suffix == ".mp4" else ()), path],
        check=True, timeout=120,
    )  # fmt: skip
    camera = open_files(path)
    assert len(frames(camera)) == 140
    if suffix == ".ts":  # has no header that would announce anything
        return
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    camera.open()
    with pytest.raises(InputError, match=r"ends after \d+ of"):
        list(iter(camera.read, None))


def test_a_folder_gives_its_pictures_sorted(make_picture, tmp_path):
    for name in ("b.jpg", "a.png", "c/a.JPEG"):
        make_picture(name)
    (tmp_path / "notes.txt").write_text("no picture")
    found = frames(open_files(tmp_path, fps=4))
    assert [frame.path for frame in found] == [
        str(tmp_path / name) for name in ("a.png", "b.jpg", "c/a.JPEG")
    ]
    assert [frame.time for frame in found] == [0, 0.25, 0.5]
    assert found[0].pixels.shape == (32, 48, 3)


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_corrupt_picture_in_a_folder_is_named_and_left_out(
    make_picture, tmp_path, caplog, capfd, damage
):
    whole = make_picture("a.jpg").read_bytes()
    bad = make_picture("b.jpg")
    make_picture("c.jpg")
    content = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"\xff\xd8\xff" + bytes(99)}
    bad.write_bytes(content[damage])
    found = frames(open_files(tmp_path))
    assert [frame.path[-5:] for frame in found] == ["a.jpg", "c.jpg"]
    assert [frame.number for frame in found] == [0, 1]
    (record,) = caplog.records
    assert str(bad) in record.message
    assert capfd.readouterr().err == ""  # nothing of libjpeg's


def test_a_looped_folder_names_its_corrupt_picture_once(make_picture, tmp_path, caplog):
    make_picture("a.jpg")
    make_picture("b.jpg").write_bytes(b"")
    make_picture("c.jpg")
    camera = open_files(tmp_path, loop=True)
    camera.open()
    assert [camera.read().path[-5] for _ in range(6)] == list("acacac")
    assert len(caplog.records) == 1


def test_a_folder_without_one_readable_picture_is_an_error(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="none of its 2 pictures can be read"):
        open_files(tmp_path, loop=True).open()


def test_a_folder_without_pictures_is_an_error(tmp_path, make_video):
    with pytest.raises(InputError, match="no picture in this folder: put"):
        open_files(tmp_path)
    make_video()
    with pytest.raises(InputError, match="no picture in this folder: name one of its videos"):
        open_files(tmp_path)


def test_a_single_corrupt_picture_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8 no")
    with pytest.raises(InputError, match=re.escape(str(path))):
        open_files(path).open()


def test_a_picture_is_recognised_by_its_content_too(make_picture, tmp_path):
    path = make_picture("a.png").rename(tmp_path / "upload")
    assert isinstance(open_files(path), PictureFiles)
    assert len(frames(open_files(path))) == 1


def test_pictures_are_shown_at_their_rate(make_picture, tmp_path, fake_time, pace):
    paths = [make_picture(f"{name}.png") for name in "abc"]
    camera = PictureFiles(tmp_path, paths, realtime=True, fps=2, pace=pace)
    assert camera.live
    assert len(frames(camera)) == 3
    assert fake_time.slept == pytest.approx([0.5, 0.5])


def test_grey_and_transparent_pictures_get_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 5, 4), 7, np.uint8))
    assert {frame.pixels.shape for frame in frames(open_files(tmp_path))} == {(4, 5, 3)}


def test_a_picture_is_turned_upright_by_its_exif(make_picture):
    path = make_picture("a.jpg", size=(48, 32))
    data = path.read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4)
    body = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    path.write_bytes(data[:2] + segment + data[2:])
    assert read_picture(path).shape == (48, 32, 3)


def test_data_after_a_jpegs_end_and_a_thumbnail_inside_dont_confuse(make_picture):
    path = make_picture("a.jpg")
    data = path.read_bytes()
    body = b"thumbnail " + data
    segment = b"\xff\xee" + (len(body) + 2).to_bytes(2, "big") + body
    path.write_bytes(data[:2] + segment + data[2:] + b"\xff\xdamovie")
    assert read_picture(path).shape == (32, 48, 3)
    path.write_bytes(data[:2] + segment + data[2 : len(data) // 2])
    with pytest.raises(InputError, match="cut off"):
        read_picture(path)


def test_a_missing_path_names_its_neighbour(make_video, tmp_path):
    make_video("entrance.mp4")
    with pytest.raises(InputError, match=r"did you mean .*entrance\.mp4"):
        open_files(tmp_path / "entrence.mp4")
    with pytest.raises(InputError, match="isn't there either"):
        open_files(tmp_path / "nowhere" / "a.mp4")
