import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskedge.config import TrackerConfig
from maskedge.geometry import Box
from maskedge.people.scenes import approach, crowd
from maskedge.people.simulate import Noise, Scene, Visit
from maskedge.people.tracker import Tracker

MASKED = ((0.0, "with_mask"),)
VIEW = (640, 480)


def face(x, y, size=80.0):
    return Box(x - 0.4 * size, y - size / 2, x + 0.4 * size, y + size / 2)


def follow(scene, hidden=lambda _time: False):
    """Track ids by visit, in the order in which they were confirmed on it."""
    tracker = Tracker(TrackerConfig())
    ids = {}
    for frame, sightings in scene.frames():
        shown = [] if hidden(frame.time) else sightings
        tracks = tracker.update(
            [s.face.box for s in shown], [s.face.score for s in shown], frame.time, scene.view
        )
        truth = {s.face.box: s.visit for s in shown}
        for track in tracks:
            if track.seen and track.confirmed:
                seen = ids.setdefault(truth[track.detection], [])
                if not seen or seen[-1] != track.id:
                    seen.append(track.id)
    return ids


def walk(y, size, start=0.0, seconds=4.0, *, leftwards=False):
    ends = [-size, 640 + size]
    first, last = reversed(ends) if leftwards else ends
    return Visit(((start, first, y, size), (start + seconds, last, y, size)), MASKED)


@pytest.mark.parametrize("fps", [3, 5, 10, 15])
def test_one_person_walking_by_is_one_track(fps):
    scene = Scene((walk(200, 80),), fps=fps, noise=Noise(false_rate=0, miss=0))
    assert len(follow(scene)[0]) == 1


@pytest.mark.parametrize("fps", [3, 5, 10, 15])
@pytest.mark.parametrize("seed", range(5))
def test_crossing_persons_keep_their_ids(fps, seed):
    near, far = walk(200, 100), walk(190, 65, leftwards=True)
    scene = Scene((near, far), fps=fps, noise=Noise(false_rate=0, miss=0), seed=seed)
    ids = follow(scene)
    assert len(ids[0]) == len(ids[1]) == 1
    assert ids[0] != ids[1]


@pytest.mark.parametrize("fps", [3, 5, 10, 15])
@pytest.mark.parametrize("seed", range(5))
def test_a_second_without_detections_is_survived(fps, seed):
    scene = Scene(
        (walk(200, 80, seconds=6),), fps=fps, noise=Noise(false_rate=0, miss=0), seed=seed
    )
    assert len(follow(scene, hidden=lambda time: 2.5 < time < 3.5)[0]) == 1


@pytest.mark.parametrize("seed", range(10))
def test_somebody_walking_up_grows_and_stays_the_same(seed):
    path = approach(np.random.default_rng(seed), 0.0, VIEW)
    scene = Scene((Visit(path, MASKED),), noise=Noise(false_rate=0), seed=seed)
    assert len(follow(scene)[0]) == 1


def test_a_single_false_box_is_never_confirmed():
    tracker = Tracker(TrackerConfig())
    tracker.update([face(100, 100)], [0.9], 0.0)
    for step in range(1, 20):
        assert not any(track.confirmed for track in tracker.update([], [], step / 10))
    assert tracker.tracks == []


def test_who_left_over_the_edge_is_not_taken_for_the_next_to_come():
    leaving = Visit(((0.0, 320, 200, 80), (2.0, 700, 200, 80)), MASKED)
    coming = Visit(((2.2, 690, 210, 80), (4.0, 320, 210, 80)), MASKED)
    scene = Scene((leaving, coming), noise=Noise(false_rate=0, miss=0), unsteady=0.0)
    ids = follow(scene)
    assert ids[0] != ids[1]


def test_weak_faces_continue_a_person_but_begin_none():
    tracker = Tracker(TrackerConfig(start_score=0.5))
    assert tracker.update([face(100, 100)], [0.3], 0.0) == []
    first = tracker.update([face(100, 100)], [0.9], 0.1)
    again = tracker.update([face(101, 100)], [0.3], 0.2)
    assert [t.id for t in again] == [t.id for t in first]
    assert again[0].hits == 2


def test_a_strong_face_has_precedence_over_a_weak_one():
    tracker = Tracker(TrackerConfig())
    tracker.update([face(100, 100)], [0.9], 0.0)
    (track,) = tracker.update([face(100, 100), face(110, 100)], [0.3, 0.8], 0.1)
    assert track.detection == face(110, 100)


def test_tracks_tell_velocity_hits_and_misses():
    tracker = Tracker(TrackerConfig())
    for step in range(20):
        (track,) = tracker.update([face(100 + 10 * step, 200)], [0.9], step / 10)
    assert track.velocity == (pytest.approx(100, rel=0.1), pytest.approx(0, abs=5))
    assert (track.hits, track.misses, track.first_seen, track.last_seen) == (20, 0, 0.0, 1.9)
    (track,) = tracker.update([], [], 2.4)
    assert (track.misses, track.seen) == (1, False)
    assert track.box.centre[0] == pytest.approx(340, abs=10)


def test_a_track_dies_after_max_age_also_when_time_jumps():
    tracker = Tracker(TrackerConfig(max_age=1.5))
    for step in range(5):
        tracker.update([face(100, 100)], [0.9], step / 10)
    (old,) = tracker.tracks
    assert tracker.update([], [], 1.8) == [old]
    (new,) = tracker.update([face(100, 100)], [0.9], 86_400.0)
    assert new.id != old.id


def test_time_running_back_corrupts_nothing():
    tracker = Tracker(TrackerConfig())
    for now in (100.0, 100.1, 100.2, 50.0, 50.1, 50.2):
        (track,) = tracker.update([face(100, 100)], [0.9], now)
    assert track.hits == 6
    assert all(map(math.isfinite, track.box))


def test_somebody_growing_and_then_unseen_for_an_hour_stays_finite():
    tracker = Tracker(TrackerConfig(max_age=86_400.0))
    for step in range(20):
        tracker.update([face(300, 200, 40 * 1.1**step)], [0.9], step / 10)
    for now in (10.0, 3600.0, 80_000.0):
        (track,) = tracker.update([], [], now)
        assert track.box.width < 30_000
    tracker.update([face(300, 200)], [0.9], 80_000.1)


def test_boxes_that_are_no_boxes_are_ignored():
    bad = [Box(0, 0, 0, 10), Box(5, 5, 1, 1), Box(0, 0, math.nan, 1), Box(0, 0, math.inf, 1)]
    assert Tracker(TrackerConfig()).update(bad, [0.9] * 4, 0.0) == []


def test_ids_are_unique_across_trackers():
    ids = [Tracker(TrackerConfig()).update([face(9, 9)], [0.9], 0.0)[0].id for _ in range(3)]
    assert len(set(ids)) == 3


def test_thirty_two_persons_at_once_keep_their_ids():
    tracker = Tracker(TrackerConfig())
    grid = [(60 + 70 * column, 60 + 100 * row) for row in range(4) for column in range(8)]
    seen = []
    for step in range(30):
        sway = 4 * math.sin(step)
        boxes = [face(x + sway, y, 50) for x, y in grid]
        tracks = tracker.update(boxes, [0.9] * 32, step / 10, VIEW)
        seen.append([t.id for t in sorted(tracks, key=lambda t: boxes.index(t.detection))])
    assert all(one == other for one, other in pairwise(seen))
    assert len(seen[0]) == 32


@pytest.mark.parametrize(("fps", "most"), [(3, 12), (10, 3)])
def test_tracks_rarely_go_over_to_another_person_in_a_crowd(fps, most):
    switches = 0
    for seed in range(10):
        ids = follow(crowd(seed, 12, fps=fps))
        owners = {}
        for visit, tracks in ids.items():
            for track in tracks:
                switches += visit is not None and owners.setdefault(track, visit) != visit
    assert switches <= most


numbers = st.floats(-1e4, 1e4)
boxes = st.lists(st.builds(Box, numbers, numbers, numbers, numbers), max_size=8)


@settings(max_examples=50)
@given(st.lists(st.tuples(boxes, st.floats(-1e6, 1e6)), max_size=12))
def test_whatever_comes_tracks_stay_finite_and_ids_unique(frames):
    tracker = Tracker(TrackerConfig())
    for found, now in frames:
        tracks = tracker.update(found, [0.8] * len(found), now)
        assert all(math.isfinite(edge) for track in tracks for edge in track.box)
        assert len({track.id for track in tracks}) == len(tracks)
