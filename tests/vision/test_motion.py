from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import MotionConfig
from maskedge.geometry import Box
from maskedge.vision.motion import MotionGate

FPS = 10


class Scene:
    """A textured room before a noisy camera, with things and light in it."""

    def __init__(self, width=320, height=240, noise=5.0, seed=0):
        self.rng = np.random.default_rng(seed)
        rough = self.rng.integers(40, 200, (height // 16, width // 16, 3), dtype=np.uint8)
        self.room = cv2.resize(rough, (width, height)).astype(np.float32)
        # Drawing noise is what takes time: some pictures of it, shifted anew for every frame.
        self.noise = [
            self.rng.normal(0, noise, self.room.shape).astype(np.float32) for _ in "12345"
        ]
        self.number = 0

    def frame(self, light=0.0, things=()):
        picture = self.room + light
        for x, y, w, h, level in things:
            picture[int(y) : int(y + h), int(x) : int(x + w)] = level
        noise = self.noise[self.number % len(self.noise)]
        picture += np.roll(noise, int(self.rng.integers(len(noise))), axis=0)
        self.number += 1
        pixels = np.clip(picture, 0, 255).astype(np.uint8)
        return Frame(pixels, ChannelOrder.BGR, self.number / FPS, self.number)


def watch(gate, scene, seconds, start=0.0, **what):
    """Feed frames; the moments at which the gate was open."""
    times = [start + i / FPS for i in range(round(seconds * FPS))]
    shown = {
        key: value if callable(value) else (lambda _, v=value: v) for key, value in what.items()
    }
    return [t for t in times if gate.moved(scene.frame(**{k: f(t) for k, f in shown.items()}), t)]


@pytest.fixture
def gate():
    return MotionGate(MotionConfig(hold=1.0, refresh=2.0))


@pytest.mark.parametrize("noise", [0.0, 5.0, 15.0])
def test_a_still_scene_is_looked_at_once_in_refresh_seconds_whatever_the_noise(gate, noise):
    looks = watch(gate, Scene(noise=noise), 30)
    settled = [t for t in looks if t > 2]
    assert np.diff(settled) == pytest.approx(2.0)
    assert len(settled) == 14


def test_the_first_frame_is_looked_at(gate):
    assert gate.moved(Scene().frame(), 100.0)


@pytest.mark.parametrize("size", [24, 48])
def test_who_walks_in_is_seen_in_the_very_first_frame(gate, size):
    scene = Scene()
    watch(gate, scene, 11.1)
    assert not gate.moved(scene.frame(), 11.1)
    assert gate.moved(scene.frame(things=[(200, 100, size, size, 230)]), 11.2)


def test_who_walks_is_seen_all_the_way_and_hold_seconds_after(gate):
    scene = Scene()
    watch(gate, scene, 10)
    walk = watch(gate, scene, 3, start=10, things=lambda t: [(60 + 40 * (t - 10), 80, 40, 90, 20)])
    assert len(walk) == 30
    after = watch(gate, scene, 0.9, start=13, things=[(176, 80, 40, 90, 20)])
    assert len(after) == 9


def test_who_creeps_is_seen(gate):
    scene = Scene()
    watch(gate, scene, 10)
    creep = watch(gate, scene, 20, start=10, things=lambda t: [(60 + 4 * (t - 10), 80, 40, 90, 20)])
    assert len(creep) > 190


def test_who_stands_still_since_before_the_start_is_looked_at_and_then_kept(gate):
    scene = Scene()
    person = [(100, 80, 40, 90, 220)]
    looks = watch(gate, scene, 20, things=person)
    assert max(np.diff(looks)) <= 2.0 + 1e-6
    for i in range(50):
        now = 20 + i / FPS
        gate.keep(now)
        assert gate.moved(scene.frame(things=person), now + 0.05)


def test_keeping_ends_hold_seconds_later(gate):
    scene = Scene()
    watch(gate, scene, 10)
    gate.keep(10.0)
    assert gate.moved(scene.frame(), 10.9)
    assert not gate.moved(scene.frame(), 11.5)


def test_slow_light_is_no_motion(gate):
    looks = watch(gate, Scene(), 60, light=lambda t: -40 + 1.2 * t)
    assert np.diff([t for t in looks if t > 2]) == pytest.approx(2.0)


@pytest.mark.parametrize("light", [60.0, -35.0])
def test_a_lamp_is_a_change_once(gate, light):
    scene = Scene()
    watch(gate, scene, 11.1)
    switched = watch(gate, scene, 10, start=11.1, light=light)
    assert switched[0] == pytest.approx(11.1)
    burst = [t for t in switched if t < 13.5]
    assert max(burst) <= 11.1 + 1.0 + 0.1
    assert np.diff([t for t in switched if t > 13.5]) == pytest.approx(2.0)


def test_a_screen_that_flickers_for_ever_is_tolerated_and_a_person_before_it_is_not(gate):
    scene = Scene()

    def screen(t):
        return [(200, 40, 60, 40, 120 + 12 * (round(t * FPS) % 3))]

    watch(gate, scene, 120, things=screen)
    calm = watch(gate, scene, 20, start=120, things=screen)
    assert len(calm) < 20
    now = 140.05
    gate.moved(scene.frame(things=screen(now)), now)
    assert gate.moved(scene.frame(things=[*screen(now), (210, 45, 30, 30, 10)]), now + 0.1)


def test_a_change_as_large_as_a_persons_is_never_tolerated(gate):
    scene = Scene()
    strong = watch(
        gate, scene, 120, things=lambda t: [(200, 40, 60, 40, 80 + 50 * (round(t * FPS) % 2))]
    )
    assert len(strong) == 1200


def test_what_swings_around_its_own_mean_is_seen(gate):
    scene = Scene()
    watch(gate, scene, 10, things=[(100, 80, 60, 60, 130)])
    swing = watch(
        gate,
        scene,
        2,
        start=10,
        things=lambda t: [(100, 80, 60, 60, 120 + 20 * (round(t * FPS) % 2))],
    )
    assert len(swing) == 19  # all but the first frame, which is 10 from the mean
    quiet = watch(gate, scene, 20, start=12, things=[(100, 80, 60, 60, 130)])
    assert len(quiet) < 40
    gate.moved(scene.frame(things=[(100, 80, 60, 60, 122)]), 32)
    assert gate.moved(scene.frame(things=[(100, 80, 60, 60, 138)]), 32.1)  # 8 from the mean


def test_a_busy_door_stays_sensitive(gate):
    scene = Scene()
    door = (100, 60, 100, 120, 110)

    def passing(t):
        return [door, (100, 60, 100, 120, 250)] if round(t * FPS) % 100 < 10 else [door]

    watch(gate, scene, 120, things=passing)
    watch(gate, scene, 5, start=120.2, things=[door])
    assert not gate.moved(scene.frame(things=[door]), 125.25)
    assert gate.moved(scene.frame(things=[(100, 60, 100, 120, 130)]), 125.3)


def test_who_leaves_after_standing_long_is_a_change(gate):
    scene = Scene()
    watch(gate, scene, 40.3, things=[(100, 80, 40, 90, 220)])
    assert not gate.moved(scene.frame(things=[(100, 80, 40, 90, 220)]), 40.3)
    assert gate.moved(scene.frame(), 40.4)


def test_another_picture_size_begins_a_new_scene(gate):
    watch(gate, Scene(), 10.3)
    other = Scene(640, 480)
    assert gate.moved(other.frame(), 10.3)
    assert not gate.moved(other.frame(), 11.4)


def test_time_that_steps_back_begins_a_new_scene(gate):
    scene = Scene()
    watch(gate, scene, 10.3)
    assert gate.moved(scene.frame(), 0.0)
    assert gate.moved(scene.frame(), 1.0)
    assert not gate.moved(scene.frame(), 1.1)
    assert gate.moved(scene.frame(), 3.1)


def test_both_channel_orders_are_understood():
    red = np.zeros((64, 64, 3), np.uint8)
    blue = red.copy()
    red[..., 0], blue[..., 2] = 255, 255
    gate = MotionGate(MotionConfig(hold=0.0, refresh=100.0))
    assert gate.moved(Frame(red, ChannelOrder.RGB, 0.0), 0.0)
    assert not gate.moved(Frame(blue, ChannelOrder.BGR, 0.0), 0.1)
    assert gate.moved(Frame(blue, ChannelOrder.RGB, 0.0), 0.2)


@pytest.mark.parametrize("size", [(320, 240), (641, 359)])
def test_what_moves_in_an_area_to_ignore_moves_nothing_and_beside_it_everything(size):
    areas = (Box(0.5, 0.0, 1.0, 0.5), Box(0.0, 0.75, 0.25, 1.0))
    scene = Scene(*size)
    gate = MotionGate(MotionConfig(hold=0.0, refresh=100.0), areas)
    width, height = size

    def shown(x, y):
        thing = (x * width, y * height, 0.1 * width, 0.1 * height, 250)
        return scene.frame(things=[thing])

    gate.moved(scene.frame(), 0.0)
    now = 0.0
    for x, y, told in (
        (0.6, 0.2, False), (0.85, 0.38, False), (0.1, 0.8, False), (0.3, 0.2, True),
        (0.6, 0.6, True), (0.3, 0.8, True), (0.45, 0.2, True),
    ):  # fmt: skip
        for _ in range(3):  # gone again
            now += 60
            gate.moved(scene.frame(), now)
        now += 0.1
        assert gate.moved(shown(x, y), now) is told, (x, y)
        assert (gate.share > 0.004) is told


def test_a_picture_that_is_ignored_as_a_whole_never_moves():
    gate = MotionGate(MotionConfig(hold=0.0, refresh=100.0), (Box(0.0, 0.0, 1.0, 1.0),))
    scene = Scene()
    gate.moved(scene.frame(), 0.0)
    assert not gate.moved(scene.frame(light=90), 0.1)


def test_a_gate_that_is_off_is_always_open():
    gate = MotionGate(MotionConfig(enabled=False))
    assert len(watch(gate, Scene(), 2)) == 20


@pytest.mark.parametrize(("width", "height"), [(64, 64), (33, 500), (500, 4)])
def test_odd_sizes(width, height):
    gate = MotionGate(MotionConfig())
    picture = np.zeros((height, width, 3), np.uint8)
    for i in range(3):
        gate.moved(Frame(picture, ChannelOrder.RGB, 0.0), i / 10)


def test_the_steady_state_allocates_no_pictures(gate, peak):
    frames = [Scene(seed=i).frame() for i in range(4)]
    number = itertools.count()

    def go_on(frames_more):
        for i in itertools.islice(number, frames_more):
            gate.moved(frames[i % 4], i / FPS)

    go_on(8)
    assert peak(lambda: go_on(32)) < 80 * 60  # less than the smallest array of the gate
