"""From the frame that was decided on to the picture, with the real detector on two people."""

import threading
from collections import Counter

import cv2
import numpy as np
import pytest
from mosquitto import PATIENCE, wait_for

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.errors import ModelError
from maskedge.events import EventBuilder, Models, Votes
from maskedge.modelfile import models_dir
from maskedge.pipeline import PersonView
from maskedge.scene import FACE, Visit, Wearing, draw, hall
from maskedge.snapshots import maker
from maskedge.snapshots.maker import MAX_BYTES, Snapshots, encode
from maskedge.vision.faces import open_detector

SIZE = (640, 480)
STEPS = {"violator": 0.35, "stranger": 0.75}
"""Where the two stand on their way through the picture."""


def face(who, height=110.0):
    """Where the scene draws a face, pixels."""
    scale = height / FACE.height
    side = 512 * scale
    left = -side + STEPS[who] * (SIZE[0] + side)
    top = SIZE[1] - side
    box = FACE.scaled(scale, scale)
    return box._replace(
        x1=box.x1 + left, x2=box.x2 + left, y1=box.y1 + top, y2=box.y2 + top
    )  # but for the bob of a walk


@pytest.fixture(scope="module")
def frame():
    """A bare-faced violator, and a bare-faced stranger whom no track follows."""
    picture = draw(hall(*SIZE), Visit(Wearing.BARE), STEPS["violator"])
    picture = draw(picture, Visit(Wearing.BARE), STEPS["stranger"])
    return Frame(picture, ChannelOrder.RGB, 0.0)


@pytest.fixture(scope="module")
def detector():
    config = Config()
    found = open_detector(config.detector, config.inference, models_dir())
    yield found
    found.close()


def event(topic=None, label="without_mask", builder=None):
    builder = builder or EventBuilder(
        "door", "hall", Models("0123456789ab", "ba9876543210"), snapshot_root=topic
    )
    return builder.started(
        label=label,
        confidence=0.9,
        votes=Votes(5, 5),
        track_id=1,
        box=face("violator").relative(*SIZE),
        first_seen=1.0,
        decided_at=2.0,
    )


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def snapshots(counted):
    made = []

    def build(**settings):
        made.append(Snapshots(Config(snapshot=settings), lambda name: counted.update([name])))
        return made[-1]

    yield build
    for one in made:
        one.close(5.0)


@pytest.fixture
def held(frame, monkeypatch):
    """Two events: a picture is in the making; it may go on."""
    began, free = threading.Event(), threading.Event()

    def conceal(*_):
        began.set()
        free.wait(PATIENCE)
        return frame.pixels

    monkeypatch.setattr(maker, "conceal", conceal)
    yield began, free
    free.set()


def opened(folder):
    (path,) = folder.glob("*.jpg")
    return cv2.imread(str(path))


def centres(detector, picture):
    return [f.box.centre for f in detector.detect(Frame(picture, ChannelOrder.BGR, 0.0))]


def test_the_scene_shows_both_faces(frame, detector):
    found = centres(detector, frame.pixels[..., ::-1].copy())
    assert len(found) == 2


def test_blurred_shows_the_violator_and_hides_the_stranger(
    frame, detector, snapshots, counted, tmp_path
):
    pictures = snapshots(mode="blurred", folder=tmp_path / "pictures")
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    picture = opened(tmp_path / "pictures")
    assert picture.shape == (480, 640, 3)
    (shown,) = centres(detector, picture)
    assert np.hypot(*np.subtract(shown, face("violator").centre)) < 25
    assert pictures.error() is None


def test_face_shows_nothing_but_the_violators_face(frame, detector, snapshots, counted, tmp_path):
    pictures = snapshots(mode="face", folder=tmp_path / "pictures")
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    picture = opened(tmp_path / "pictures")
    size = face("violator")
    assert picture.shape[0] < 2 * size.height
    assert picture.shape[1] < 2 * size.width
    assert (
        len(centres(detector, cv2.copyMakeBorder(picture, *[120] * 4, cv2.BORDER_REPLICATE))) == 1
    )


def test_the_colours_are_right(frame, snapshots, counted, tmp_path):
    pictures = snapshots(mode="blurred", folder=tmp_path / "pictures")
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    left, top, right, bottom = map(int, face("violator"))
    red, _, blue = frame.pixels[top:bottom, left:right].mean(axis=(0, 1))
    shown = opened(tmp_path / "pictures")[top:bottom, left:right].mean(axis=(0, 1))
    assert shown[2] - shown[0] == pytest.approx(red - blue, abs=3)


def test_who_is_only_followed_is_hidden_too(frame, snapshots, counted, tmp_path):
    """Somebody turned away for a moment, where the track expects them."""
    somewhere = face("violator")._replace(x1=20.0, x2=100.0, y1=300.0, y2=400.0)
    ghost = PersonView(2, somewhere, "with_mask", 0.9, seen=False, violation=None)
    own = PersonView(1, face("violator"), "without_mask", 0.9, seen=True, violation=1)
    chess = np.indices(frame.pixels.shape[:2]).sum(axis=0) // 12 % 2 * 255
    pixels = frame.pixels.copy()
    pixels[250:450, 0:150] = chess[250:450, 0:150, None]
    pictures = snapshots(mode="blurred", folder=tmp_path / "pictures")
    pictures.take(Frame(pixels, ChannelOrder.RGB, 0.0), [own, ghost], [event()])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    assert opened(tmp_path / "pictures")[320:380, 40:80].std() < 12


def test_what_ended_gives_no_picture_and_two_violations_give_two(
    frame, snapshots, counted, tmp_path
):
    builder = EventBuilder("door", "hall", Models("0123456789ab", "ba9876543210"))
    first, second = event(builder=builder), event(builder=builder)
    pictures = snapshots(folder=tmp_path / "pictures")
    pictures.take(frame, [], [first, builder.ended(first, 3.0), second])
    wait_for(lambda: counted["snapshots_made"] == 2, "both")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert [name.partition("mask_")[2] for name in names] == [
        f"{first.event_id}.jpg",
        f"{second.event_id}.jpg",
    ]


def test_over_mqtt_nothing_is_written(frame, snapshots, counted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = snapshots(mqtt=True)
    pictures.take(frame, [], [event("maskedge/door/snapshot")])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    (waiting,) = pictures.sender._waiting
    assert waiting.topic.startswith("maskedge/door/snapshot/01")
    assert waiting.jpeg[:2] == b"\xff\xd8"
    assert not list(tmp_path.iterdir())


def test_by_default_there_is_no_maker_and_nothing_is_kept(frame, snapshots, counted):
    pictures = snapshots()
    pictures.take(frame, [], [event()])
    assert pictures._maker is None
    assert not pictures.sender._waiting
    assert not counted


def test_without_a_look_for_bystanders_there_is_no_picture(
    frame, snapshots, counted, tmp_path, monkeypatch
):
    def broken(*_):
        raise ModelError("face_detector.tflite: damaged; install it again")

    monkeypatch.setattr(maker, "open_detector", broken)
    pictures = snapshots(folder=tmp_path / "pictures")
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_dropped"], "giving up")
    assert pictures.error() == "face_detector.tflite: damaged; install it again"
    assert not (tmp_path / "pictures").exists()


def test_a_disk_that_fails_is_told_until_a_picture_is_kept(frame, snapshots, counted, tmp_path):
    (tmp_path / "pictures").write_text("a file in the way")
    pictures = snapshots(folder=tmp_path / "pictures")
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_dropped"], "giving up")
    assert pictures.error() == f"{tmp_path}/pictures: File exists; mend disk or permissions"
    (tmp_path / "pictures").unlink()
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"], "the picture")
    assert pictures.error() is None


def test_a_bug_costs_a_picture_not_the_thread(frame, snapshots, counted, tmp_path, monkeypatch):
    pictures = snapshots(folder=tmp_path / "pictures")
    with monkeypatch.context() as patch:
        patch.setattr(maker, "conceal", lambda *_: 1 / 0)
        pictures.take(frame, [], [event()])
        wait_for(lambda: counted["snapshots_dropped"], "giving up")
    assert "ZeroDivisionError" in pictures.error()
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"], "the next picture")


def test_the_loop_never_waits_and_a_slow_maker_leaves_pictures_out(
    frame, snapshots, held, counted, tmp_path
):
    pictures = snapshots(folder=tmp_path / "pictures")
    pictures.take(frame, [], [event() for _ in range(20)])
    assert not counted["snapshots_made"]  # the first is still in the making
    assert counted["snapshots_dropped"] >= 15
    _, free = held
    free.set()
    wait_for(lambda: counted.total() == 20, "those that waited")


def test_a_reload_switches_it_off_and_on(frame, snapshots, counted, tmp_path):
    pictures = snapshots(mqtt=True)
    pictures.take(frame, [], [event("maskedge/door/snapshot")])
    wait_for(lambda: pictures.sender._waiting, "the picture")
    pictures.reconfigure(Config())
    assert not pictures.sender._waiting
    pictures.take(frame, [], [event("maskedge/door/snapshot")])
    pictures.reconfigure(Config(snapshot={"folder": tmp_path / "pictures"}))
    pictures.take(frame, [], [event()])
    wait_for(lambda: counted["snapshots_made"] == 2, "the second")
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_what_still_waits_when_pictures_are_switched_off_is_never_made(
    frame, snapshots, held, tmp_path
):
    pictures = snapshots(mqtt=True, folder=tmp_path / "pictures")
    pictures.take(frame, [], [event("maskedge/door/snapshot") for _ in range(3)])
    began, free = held
    assert began.wait(PATIENCE)
    old = pictures._maker
    pictures.reconfigure(Config())
    free.set()
    old.close(PATIENCE)
    assert not old._thread.is_alive()
    assert not pictures.sender._waiting
    assert not (tmp_path / "pictures").exists()


def test_what_still_waits_at_another_reload_is_made_as_it_says(
    frame, snapshots, held, counted, tmp_path
):
    pictures = snapshots(mqtt=True, folder=tmp_path / "old")
    pictures.take(frame, [], [event("maskedge/door/snapshot") for _ in range(3)])
    began, free = held
    assert began.wait(PATIENCE)
    pictures.reconfigure(Config(snapshot={"folder": tmp_path / "new"}))
    free.set()
    wait_for(lambda: counted["snapshots_made"] == 3, "all that waited")
    assert len(list((tmp_path / "new").iterdir())) == 3
    assert not (tmp_path / "old").exists()
    assert not pictures.sender._waiting


def test_a_picture_is_small_whatever_the_camera_shows():
    noise = np.random.default_rng(3).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    jpeg = encode(noise)
    assert len(jpeg) <= MAX_BYTES
    assert max(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape) <= 1280


def test_it_tells_nothing_but_pixels():
    """No EXIF, no thumbnail, no comment: only what a JPEG needs."""
    jpeg = encode(np.zeros((48, 64, 3), np.uint8))
    segments, at = [], 2
    while jpeg[at + 1] != 0xDA:  # start of scan
        segments.append(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    assert set(segments) <= {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, tables, frame
    assert jpeg[6:11] == b"JFIF\0"
    assert jpeg[18:20] == b"\0\0"  # no thumbnail
