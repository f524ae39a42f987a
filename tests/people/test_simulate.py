import itertools

import numpy as np
import pytest

from maskedge.people.scenes import crowd
from maskedge.people.simulate import Noise, Scene, SimulatedVision, Visit
from maskedge.vision.base import LABELS

STAND = ((0.0, 300.0, 200.0, 80.0), (10.0, 300.0, 200.0, 80.0))
MASKED = ((0.0, "with_mask"),)


def test_everything_follows_from_the_seed():
    def told(seed):
        return [(f.time, s) for f, s in crowd(seed, 4).frames()]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_without_noise_the_truth_is_seen():
    visit = Visit(STAND, ((0.0, "with_mask"), (5.0, "without_mask")), sway=0.0)
    scene = Scene((visit,), noise=Noise.none())
    for frame, sightings in scene.frames():
        if frame.time > 10:
            assert sightings == []
            continue
        (sighting,) = sightings
        assert sighting.face.box == pytest.approx(visit.box(frame.time))
        said = LABELS[int(np.argmax(sighting.scores))]
        assert said == ("with_mask" if frame.time < 5 else "without_mask")


def test_frames_come_at_the_rate_and_not_quite_evenly():
    times = Scene((Visit(STAND, MASKED),), fps=10).times()
    steps = np.diff(times)
    assert steps.mean() == pytest.approx(0.1, rel=0.05)
    assert steps.min() > 0
    assert steps.std() > 0.005


def test_misses_jitter_and_false_boxes_are_as_asked():
    noise = Noise(miss=0.2, jitter=0.05, false_rate=2.0)
    path = ((0.0, 300.0, 200.0, 80.0), (400.0, 300.0, 200.0, 80.0))
    scene = Scene((Visit(path, MASKED, sway=0.0),), noise=noise, seed=3)
    found, false, centres, frames = 0, 0, [], 0
    for frame, sightings in scene.frames():
        frames += frame.time <= 400
        for sighting in sightings:
            if sighting.visit is None:
                false += 1
            else:
                found += 1
                centres.append(sighting.face.box.centre[0])
    assert 1 - found / frames == pytest.approx(0.2, abs=0.05)
    assert np.std(centres) == pytest.approx(0.05 * 64, rel=0.2)
    assert false / frames == pytest.approx(2.0 * 0.3, rel=0.3)


def test_classifier_errors_last():
    noise = Noise(margin=1.5, visit_bias=0.0, drift=2.0, drift_lasts=1.0, grain=0.0, miss=0)
    scene = Scene((Visit(((0, 300, 200, 80), (300, 300, 200, 80)), MASKED),), noise=noise)
    right = [np.argmax(s.scores) == 0 for _, shown in scene.frames() for s in shown if s.visit == 0]
    wrong = 1 - np.mean(right)
    again = np.mean([not b for a, b in itertools.pairwise(right) if not a])
    assert 0.1 < wrong < 0.5
    assert again > 1.5 * wrong


def test_the_nearer_hides_the_farther():
    near = Visit(((0.0, 300, 200, 100), (5.0, 300, 200, 100)), MASKED, sway=0.0)
    far = Visit(((0.0, 305, 205, 60), (5.0, 305, 205, 60)), MASKED, sway=0.0)
    scene = Scene((near, far), noise=Noise.none())
    assert {s.visit for f, shown in scene.frames() for s in shown} == {0}


def test_who_is_mostly_outside_the_picture_is_not_seen():
    visit = Visit(((0.0, -10, 200, 80), (5.0, -10, 200, 80)), MASKED)
    assert not any(shown for _, shown in Scene((visit,), noise=Noise.none()).frames())


def test_vision_says_what_it_is_shown():
    vision = SimulatedVision()
    frame, sightings = next(crowd(0, 3, every=0.01).frames())
    vision.show(sightings)
    faces = vision.detect(frame)
    assert faces == [s.face for s in sightings]
    scores = vision.classify(frame, [face.box for face in faces])
    assert scores.shape == (len(faces), 3)
    assert scores.dtype == np.float32
    assert vision.classify(frame, []).shape == (0, 3)
