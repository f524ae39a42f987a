"""A still scene before the real networks: hardly looked at, and nobody in it is ever missed."""

from __future__ import annotations

import numpy as np
import pytest

from maskedge.scene import Visit, Wearing, draw, hall

VISIT = Visit(Wearing.BARE, face=110)
ENTERING, STANDING = 0.25, 0.5
"""Progress of the visit: the first part of the body in view, and in the middle of the picture."""


class Watch:
    """Drawn pictures with a sensor's noise, before the daemon's vision and pipeline."""

    def __init__(self, size, line):
        self.line = line
        self.empty = hall(*size)
        rng = np.random.default_rng(0)
        self.noise = [rng.normal(0, 3, self.empty.shape).astype(np.int16) for _ in range(3)]

    def show(self, picture):
        noisy = picture + self.noise[self.line.number % len(self.noise)]
        return self.line.step(np.clip(noisy, 0, 255).astype(np.uint8))

    def stay(self, picture, seconds):
        return [self.show(picture) for _ in range(round(seconds * self.line.fps))]


@pytest.fixture(params=[(640, 480), (1280, 720)], ids=["gate on the input", "gate on the frame"])
def watch(request, open_line):
    return Watch(request.param, open_line())


def looks(results):
    return sum(result.looked for result in results)


def test_an_empty_hall_is_looked_at_once_in_refresh_seconds(watch):
    watch.stay(watch.empty, 3)
    results = watch.stay(watch.empty, 10)
    assert looks(results) == pytest.approx(10 / watch.line.config.motion.refresh, abs=1)
    assert not any(result.faces for result in results)


def test_who_comes_is_seen_in_the_first_frame_that_shows_them(watch):
    watch.stay(watch.empty, 5.5)
    assert not watch.show(watch.empty).looked
    first = watch.show(draw(watch.empty, VISIT, STANDING))
    assert first.looked
    assert len(first.faces) == 1


def test_who_walks_in_is_looked_at_from_the_first_part_in_view(watch):
    watch.stay(watch.empty, 5.5)
    walk = [watch.show(draw(watch.empty, VISIT, at)) for at in np.linspace(ENTERING, 0.6, 12)]
    assert looks(walk) == len(walk)
    assert walk[-1].faces


def test_who_stood_still_before_the_start_and_was_missed_at_first_is_found(watch, monkeypatch):
    somebody = draw(watch.empty, VISIT, STANDING)
    with monkeypatch.context() as patch:
        patch.setattr(watch.line.vision.detector, "detect", lambda _frame: [])
        assert looks(watch.stay(somebody, 6)) < 0.6 * 6 * watch.line.fps  # a still scene by now
    found = next(number for number, result in enumerate(watch.stay(somebody, 5), 1) if result.faces)
    assert (found - 1) / watch.line.fps <= watch.line.config.motion.refresh
    assert looks(watch.stay(somebody, 3)) == 3 * watch.line.fps  # and is watched from then on
