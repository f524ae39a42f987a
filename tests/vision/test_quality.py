from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import VerdictConfig
from maskedge.geometry import Box
from maskedge.vision.quality import BLACK, COVERED, FROZEN, SceneQuality, assess

RNG = np.random.default_rng(0)


def drawn_face(size=256):
    """Something with a face's structure: skin, eyes, brows, nose, mouth, hair, some texture."""
    face = np.full((256, 256, 3), 150, np.uint8)
    cv2.ellipse(face, (128, 140), (95, 115), 0, 0, 360, (150, 175, 215), -1)
    cv2.rectangle(face, (30, 0), (226, 50), (40, 50, 60), -1)
    for x in (88, 168):
        cv2.ellipse(face, (x, 118), (20, 10), 0, 0, 360, (240, 240, 240), -1)
        cv2.circle(face, (x, 118), 9, (40, 40, 60), -1)
        cv2.line(face, (x - 24, 95), (x + 24, 92), (50, 60, 80), 6)
    cv2.line(face, (128, 120), (118, 165), (110, 130, 170), 4)
    cv2.ellipse(face, (128, 200), (34, 10), 0, 0, 360, (90, 90, 180), -1)
    noisy = face + np.random.default_rng(1).normal(0, 4, face.shape)
    method = cv2.INTER_AREA if size <= 256 else cv2.INTER_CUBIC
    return cv2.resize(np.clip(noisy, 0, 255).astype(np.uint8), (size, size), interpolation=method)


def quality(face, order=ChannelOrder.BGR):
    """Of a face in the middle of a grey picture."""
    size = len(face)
    picture = np.full((size + 40, size + 60, 3), 128, np.uint8)
    picture[20 : 20 + size, 30 : 30 + size] = face
    return assess(Frame(picture, order, 0.0), Box(30, 20, 30 + size, 20 + size))


def blurred(face, share):
    return cv2.GaussianBlur(face, (0, 0), share * len(face))


def test_size_brightness_and_inside():
    picture = np.full((100, 200, 3), 60, np.uint8)
    measured = assess(Frame(picture, ChannelOrder.RGB, 0.0), Box(-20, 10, 20, 60))
    assert measured.size == 50
    assert measured.brightness == pytest.approx(60)
    assert measured.inside == pytest.approx(0.5)
    assert measured.sharpness == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    "box", [Box(300, 10, 340, 60), Box(10, 10, 10, 60), Box(-50, -50, -10, -10)]
)
def test_a_box_without_a_pixel_in_the_picture_has_no_quality(box):
    measured = assess(Frame(np.zeros((100, 200, 3), np.uint8), ChannelOrder.RGB, 0.0), box)
    assert (measured.sharpness, measured.brightness, measured.inside) == (0, 0, 0)


def test_a_box_smaller_than_a_pixel_is_measured():
    assess(Frame(np.zeros((10, 10, 3), np.uint8), ChannelOrder.RGB, 0.0), Box(5.2, 5.2, 5.4, 5.4))


def test_sharpness_does_not_depend_on_the_size_of_the_face():
    values = [quality(drawn_face(size)).sharpness for size in (48, 64, 96, 160, 256)]
    assert max(values) < 1.5 * min(values)


def test_a_sensors_noise_before_a_plain_wall_is_no_face_in_focus():
    wall = np.clip(np.random.default_rng(2).normal(90, 1, (32, 32, 3)), 0, 255).astype(np.uint8)
    assert quality(wall).sharpness < quality(drawn_face(64)).sharpness


def test_blur_lowers_sharpness_step_by_step():
    face = drawn_face(128)
    values = [quality(blurred(face, share)).sharpness for share in (0.001, 0.03, 0.06, 0.10)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 4 * values[-1]


@pytest.mark.parametrize("size", [48, 96, 256])
def test_the_default_limit_parts_clear_faces_from_hopeless_ones(size):
    limit = VerdictConfig().min_sharpness
    assert quality(drawn_face(size)).sharpness > 3 * limit
    assert quality(blurred(drawn_face(size), 0.12)).sharpness < limit


def test_dim_light_is_no_blur():
    face = drawn_face(128)
    bright = quality(face)
    dim = quality((face * 0.3).astype(np.uint8))
    assert dim.sharpness > 0.6 * bright.sharpness
    assert dim.brightness == pytest.approx(0.3 * bright.brightness, rel=0.05)


def test_brightness_knows_the_channel_order():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    assert quality(red, ChannelOrder.RGB).brightness == pytest.approx(76, abs=2)
    assert quality(red, ChannelOrder.BGR).brightness == pytest.approx(29, abs=2)


NOISE = RNG.normal(0, 1, (7, 240, 320, 3)).astype(np.float32)


def room(level=1.0, noise=3.0, blur=0.0):
    """A scene with furniture, seen by a noisy camera."""
    rough = np.random.default_rng(5).integers(20, 230, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(rough, (320, 240), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    some = NOISE[RNG.integers(len(NOISE))]
    picture = picture * level + noise * np.roll(some, int(RNG.integers(240)), axis=0)
    return np.clip(picture, 0, 255).astype(np.uint8)


def shown(scene, make, seconds, start=0.0, fps=5):
    """What the detector says after so many seconds of frames."""
    said = set()
    for i in range(round(seconds * fps) + 1):
        now = start + i / fps
        said = scene.update(Frame(make(), ChannelOrder.BGR, now), now)
    return said


@pytest.mark.parametrize(
    "make",
    [room, lambda: room(level=0.3), lambda: room(blur=4), lambda: room(noise=20)],
    ids=["plain", "dim", "out of focus", "noisy"],
)
def test_a_usable_scene_has_no_condition(make):
    assert shown(SceneQuality(), make, 60) == set()


@pytest.mark.parametrize(
    ("make", "condition"),
    [
        (lambda: room(level=0.02), BLACK),
        (lambda: room(blur=60), COVERED),
        (lambda: np.clip(RNG.normal(90, 10, (240, 320, 3)), 0, 255).astype(np.uint8), COVERED),
        (
            lambda: (
                np.full((240, 320, 3), 255, np.uint8)
                - RNG.integers(0, 9, (240, 320, 3)).astype(np.uint8)
            ),
            COVERED,
        ),
    ],
    ids=["lights out", "hand", "tape", "glare"],
)
def test_a_useless_picture_is_told_when_it_lasts_and_taken_back_at_once(make, condition):
    scene = SceneQuality(lasting=3.0)
    assert shown(scene, room, 2) == set()
    assert shown(scene, make, 2.5, start=2.2) == set()
    assert shown(scene, make, 1.0, start=4.8) == {condition}
    assert shown(scene, room, 0.0, start=6.2) == set()


def test_a_picture_that_never_changes_is_frozen():
    scene = SceneQuality(frozen_after=30.0)
    still = room()
    assert shown(scene, lambda: still, 29) == set()
    assert shown(scene, lambda: still, 3, start=29.2) == {FROZEN}
    assert shown(scene, room, 0, start=33) == set()


def test_black_and_frozen_are_told_together():
    black = np.zeros((240, 320, 3), np.uint8)
    assert shown(SceneQuality(frozen_after=10.0), lambda: black, 12) == {BLACK, FROZEN}


def test_a_stream_that_repeats_frames_for_seconds_is_not_frozen():
    scene = SceneQuality(frozen_after=30.0)
    for second in range(0, 120, 20):
        still = room()
        assert shown(scene, lambda still=still: still, 19.8, start=second) == set()


def test_frames_closer_than_the_interval_are_passed_over(monkeypatch):
    scene = SceneQuality(interval=0.5)
    measured = []
    monkeypatch.setattr(scene, "_shown", lambda frame: measured.append(frame.time) or set())
    shown(scene, room, 3, fps=20)
    assert len(measured) == 7


def test_time_that_steps_back_starts_all_over():
    scene = SceneQuality(lasting=3.0)
    black = np.zeros((240, 320, 3), np.uint8)
    assert BLACK in shown(scene, lambda: black, 4)
    assert shown(scene, lambda: black, 1, start=0) == set()
    assert BLACK in shown(scene, lambda: black, 4, start=1.2)


@pytest.mark.parametrize(("width", "height"), [(16, 8), (40, 2000), (2000, 10)])
def test_odd_sizes(width, height):
    scene = SceneQuality()
    scene.update(Frame(np.zeros((height, width, 3), np.uint8), ChannelOrder.RGB, 0.0), 0.0)
