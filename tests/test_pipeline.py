import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.config.vision import MOST_FACES
from maskedge.errors import AcceleratorError
from maskedge.geometry import Box
from maskedge.people.simulate import Noise, Scene, Sighting, SimulatedVision, Visit
from maskedge.pipeline import Pipeline, look_weight
from maskedge.trial import ClearQuality, clear, play
from maskedge.vision.base import Face

BARE = (0.02, 0.96, 0.02)
MASK = (0.96, 0.02, 0.02)
PIXELS = np.zeros((480, 640, 3), np.uint8)


def face(x, y=200.0, size=80.0):
    return Box(x - 0.4 * size, y - size / 2, x + 0.4 * size, y + size / 2)


class Gate:
    """Says what it is told, and notes until when it was asked to look on."""

    def __init__(self):
        self.moving = True
        self.kept = None

    def moved(self, _frame, _now):
        return self.moving

    def keep(self, now):
        self.kept = now


class Door:
    """A pipeline and what its networks see."""

    def __init__(self, gate=None, assess=clear, **config):
        self.vision = SimulatedVision()
        self.config = Config.model_validate(config)
        self.pipeline = Pipeline(
            self.vision, self.vision, assess, gate, self.config, timer=itertools.count().__next__
        )
        self.now = 50.0

    def step(self, *persons, dt=0.1, pixels=PIXELS):
        self.now += dt
        shown = [Sighting(Face(box, 0.9), scores, 0) for box, scores in persons]
        self.vision.show(shown)
        return self.pipeline.process(Frame(pixels, ChannelOrder.RGB, self.now), self.now)

    def stay(self, seconds, *persons, pixels=PIXELS):
        return [self.step(*persons, pixels=pixels) for _ in range(round(seconds * 10))]


def decided(results):
    return [(d.type, d.reason) for result in results for d in result.decisions]


def test_a_visit_from_start_to_end():
    door = Door()
    results = door.stay(3, (face(320), BARE)) + door.stay(8)
    started, ended = (d for result in results for d in result.decisions)
    assert (started.type, ended.type, ended.reason) == ("started", "ended", "left")
    assert started.key == ended.key
    assert started.box == pytest.approx(face(320).scaled(1 / 640, 1 / 480))
    person = results[20].persons[0]
    assert (person.label, person.seen, person.violation) == ("without_mask", True, started.key)
    assert person.box == face(320)
    assert results[20].faces == (Face(face(320), 0.9),)
    assert results[-1].persons == ()


def test_a_result_tells_what_the_classifier_saw():
    door = Door()
    results = door.stay(1, (face(320), BARE))
    (look,) = results[-1].looks
    assert look.track_id == results[-1].persons[0].track_id
    assert (look.box, look.score, look.weight) == (face(320), 0.9, 1.0)
    assert look.scores == pytest.approx(BARE)
    assert look.quality.size == face(320).size
    assert results[-1].classified == 1


def test_boxes_over_the_edge_are_told_within_the_picture():
    door = Door()
    results = door.stay(3, (Box(-10, 100, 70, 200), BARE))
    (started,) = (d for result in results for d in result.decisions)
    assert started.box == pytest.approx((0, 100 / 480, 70 / 640, 200 / 480))


def test_who_is_in_an_area_to_ignore_is_seen_and_not_followed():
    poster = face(560, y=100)
    door = Door(tracker={"ignore": [[0.75, 0, 1, 0.5]]})
    results = door.stay(3, (poster, BARE))
    assert results[-1].faces == (Face(poster, 0.9),)
    assert not any(result.persons or result.decisions or result.looks for result in results)
    results = door.stay(3, (poster, BARE), (face(320), BARE))
    assert decided(results) == [("started", None)]
    assert [person.box for person in results[-1].persons] == [face(320)]


def test_faces_in_an_area_to_ignore_take_nobodys_place():
    wall = [(face(60 + 120 * number, y=100), BARE) for number in range(5)]
    door = Door(tracker={"ignore": [[0, 0, 1, 0.4]]}, detector={"max_faces": 2})
    assert door.vision.max_faces == MOST_FACES
    people = [(face(100 + 150 * number, y=350), MASK) for number in range(4)]
    results = door.stay(1, *wall, *people)
    assert len(results[-1].persons) == 2
    assert len(results[-1].faces) == 7
    door.pipeline.reconfigure(Config.model_validate({"detector": {"max_faces": 3}}))
    assert door.vision.max_faces == 3


def test_an_area_to_ignore_is_taken_over_between_frames_and_its_violation_ends():
    door = Door()
    assert decided(door.stay(3, (face(320), BARE))) == [("started", None)]
    door.pipeline.reconfigure(
        Config.model_validate({"tracker": {"ignore": [[0.4, 0.3, 0.6, 0.6]]}})
    )
    assert decided(door.stay(8, (face(320), BARE))) == [("ended", "left")]


def test_small_and_blurred_faces_are_not_judged():
    small = Door(verdict={"min_face": 100})
    results = small.stay(5, (face(320, size=99), BARE))
    assert decided(results) == []
    assert not any(result.unclear for result in results)  # nor measured
    assert small.step((face(320, size=99), BARE)).persons[0].label == "unsure"

    blurred = Door(
        assess=lambda _frame, box: ClearQuality(box.size, sharpness=5.0),
        verdict={"min_sharpness": 6},
    )
    results = blurred.stay(5, (face(320), BARE))
    assert decided(results) == []
    assert not any(result.classified for result in results)


def test_weights_of_looks():
    config = Config().verdict
    assert look_weight(ClearQuality(100.0), 0.9, config) == 1.0
    assert look_weight(ClearQuality(config.min_face - 1), 0.9, config) == 0.0
    assert look_weight(ClearQuality(100.0, sharpness=config.min_sharpness - 1), 0.9, config) == 0.0
    anything = config.model_copy(update={"min_sharpness": 0.0})
    assert look_weight(ClearQuality(100.0, sharpness=0.0), 0.9, anything) == 1.0
    assert look_weight(ClearQuality(100.0, inside=0.5), 0.9, config) == 0.0
    for poor, score in (
        (ClearQuality(config.min_face), 0.9),
        (ClearQuality(100.0, inside=0.8), 0.9),
        (ClearQuality(100.0, sharpness=2 * config.min_sharpness), 0.9),
        (ClearQuality(100.0), 0.5),
    ):
        assert 0.5 < look_weight(poor, score, config) < 1.0


def test_a_still_scene_without_persons_is_not_looked_at():
    gate = Gate()
    door = Door(gate)
    gate.moving = False
    assert not any(result.looked for result in door.stay(2))
    assert gate.kept is None
    gate.moving = True
    assert door.step((face(320), MASK)).looked


def test_the_gate_makes_nobody_invisible():
    gate = Gate()
    door = Door(gate)
    door.step((face(320), BARE))
    gate.moving = False
    results = door.stay(60, (face(320), BARE))
    assert all(result.looked for result in results)
    assert decided(results) == [("started", None)]
    assert gate.kept == pytest.approx(door.now)


def test_while_somebody_is_watched_the_gate_sees_some_frames_and_then_all_again():
    gate = Gate()
    shown = []
    gate.moved = lambda _frame, now: shown.append(now) or True
    door = Door(gate)
    door.stay(3, (face(320), BARE))
    assert 5 <= len(shown) <= 8  # of 30
    door.stay(9)  # gone
    shown.clear()
    door.stay(1)
    assert len(shown) == 10


def test_somebody_lost_is_still_looked_for():
    gate = Gate()
    door = Door(gate)
    door.stay(3, (face(320), BARE))
    gate.moving = False
    assert all(result.looked for result in door.stay(4))
    assert decided(door.stay(2)) == [("ended", "left")]
    assert not door.step().looked


def test_a_label_named_twice_counts_once():
    once, twice = (
        Door(verdict={"alert_on": labels}) for labels in (["without_mask"], ["without_mask"] * 2)
    )
    assert twice.config == once.config
    torn = [(0.40, 0.60, 0.0), (0.60, 0.40, 0.0)] * 30
    results = [twice.step((face(320), scores)) for scores in torn]
    assert decided(results) == []


def test_the_budget_bounds_the_faces_classified():
    door = Door(classifier={"budget": 4})
    crowd = [(face(40 + 75 * (i % 8), 60 + 100 * (i // 8), 55), BARE) for i in range(32)]
    results = door.stay(8, *crowd)
    assert max(result.classified for result in results) == 4
    started = [d for result in results for d in result.decisions]
    assert len(started) == len({d.track_id for d in started}) == 32


def test_of_those_equally_unsure_the_largest_face_is_judged_first():
    door = Door(classifier={"budget": 1})
    small, large = (face(200, size=60), BARE), (face(450, size=120), BARE)
    looks = [look for result in door.stay(1, small, large) for look in result.looks]
    assert [look.box for look in looks[:2]] == [large[0], small[0]]


def test_a_face_too_blurred_to_be_judged_takes_nobodys_turn():
    blurred, clear_one = (face(200, size=120), BARE), (face(450, size=60), BARE)

    def assess(_frame, box):
        return ClearQuality(box.size, sharpness=0.0 if box == blurred[0] else 1000.0)

    door = Door(assess=assess, classifier={"budget": 1})
    results = door.stay(2, blurred, clear_one)
    assert any(look.box == blurred[0] for result in results for look in result.unclear)
    assert decided(results) == [("started", None)]


def test_who_is_not_decided_on_comes_before_who_is():
    door = Door(classifier={"budget": 1})
    door.stay(5, (face(200, size=120), MASK))
    both = door.stay(0.8, (face(200, size=120), MASK), (face(450, size=60), BARE))
    assert both[-1].persons[0].label == "with_mask"
    boxes = [look.box for result in both for look in result.looks]
    assert boxes.count(face(450, size=60)) > boxes.count(face(200, size=120))


def test_decided_persons_cost_little():
    door = Door()
    door.stay(3, (face(320), MASK))
    assert sum(result.classified for result in door.stay(10, (face(320), MASK))) <= 12


def test_no_more_faces_than_configured():
    door = Door(detector={"max_faces": 2})
    result = door.step(*[(face(100 + 150 * i), MASK) for i in range(4)])
    assert len(result.faces) == 2


def test_flush_ends_what_is_open_and_starts_anew():
    door = Door()
    door.stay(3, (face(320), BARE))
    (ended,) = door.pipeline.flush(door.now)
    assert (ended.type, ended.reason) == ("ended", "shutdown")
    assert ended.box == pytest.approx(face(320).scaled(1 / 640, 1 / 480))
    assert door.pipeline.open_violations == ()
    assert door.pipeline.flush(door.now) == ()


def test_new_thresholds_keep_tracks_and_violations():
    door = Door()
    before = door.stay(3, (face(320), BARE))[-1].persons[0]
    changed = Config.model_validate({"verdict": {"min_face": 200}, "tracker": {"max_age": 5.0}})
    door.pipeline.reconfigure(changed)
    results = door.stay(5, (face(320), BARE))
    assert results[-1].persons[0].track_id == before.track_id
    assert decided(results) == []
    assert not any(result.classified for result in results)
    assert results[-1].persons[0].violation == before.violation


def test_the_detector_knows_the_smallest_face_that_is_judged():
    door = Door(verdict={"min_face": 30})
    assert door.vision.min_face == 30
    door.pipeline.reconfigure(Config.model_validate({"verdict": {"min_face": 70}}))
    assert door.vision.min_face == 70
    other = SimulatedVision()
    door.pipeline.replace_vision(other, other, None)
    assert other.min_face == 70


def test_time_running_back_neither_decides_nor_blinds():
    door = Door()
    results = door.stay(3, (face(320), MASK))
    results.append(door.step((face(320), MASK), dt=-86_400.0))
    results += door.stay(2, (face(320), MASK))
    assert decided(results) == []
    assert len({result.persons[0].track_id for result in results[5:]}) == 1
    bare = door.stay(6, (face(320), BARE))
    (started,) = (d for result in bare for d in result.decisions)
    assert door.now - 6 < started.decided_at <= door.now
    assert decided(door.stay(8)) == [("ended", "left")]


def test_a_long_pause_ends_what_was_open():
    door = Door()
    door.stay(3, (face(320), BARE))
    results = [door.step((face(320), BARE), dt=3600.0)]
    assert decided(results) == [("ended", "left")]
    assert decided(door.stay(3, (face(320), BARE))) == [("started", None)]


def test_a_failing_network_loses_a_frame_but_no_person(monkeypatch):
    door = Door()
    person = (face(320), BARE)
    before = door.stay(3, person)[-1].persons[0]

    def fail(*_):
        raise AcceleratorError("gone")

    for method in ("detect", "classify"):
        with monkeypatch.context() as patch:
            patch.setattr(door.vision, method, fail)
            patch.setattr(door.pipeline._judge, "needs_look", lambda *_: 1.0)
            with pytest.raises(AcceleratorError):
                door.step(person)
    after = door.step(person).persons[0]
    assert (after.track_id, after.violation) == (before.track_id, before.violation)


def test_every_stage_is_timed():
    timings = Door().step((face(320), MASK)).timings
    assert list(timings) == ["motion", "detect", "track", "quality", "classify", "decide"]
    assert all(seconds == 1 for seconds in timings.values())


def test_without_a_timer_nothing_is_timed():
    vision = SimulatedVision()
    pipeline = Pipeline(vision, vision, clear, None, Config())
    assert pipeline.process(Frame(PIXELS, ChannelOrder.RGB, 0.0), 0.0).timings == {}


WIDE = np.zeros((960, 1280, 3), np.uint8)


def wide(box):
    return box.scaled(2, 2)


def test_a_picture_of_another_size_tells_nobody_twice():
    door = Door()
    before = door.stay(5, (face(480), BARE))
    assert decided(before) == [("started", None)]
    results = door.stay(15, (wide(face(480)), BARE), pixels=WIDE)
    assert decided(results) == []
    (person,) = results[-1].persons
    assert person == replace(
        before[-1].persons[0], box=wide(face(480)), confidence=person.confidence
    )


def test_nobody_is_told_twice_when_the_size_changes_while_a_camera_is_opened_anew():
    door = Door()
    door.stay(5, (face(480), BARE))
    first = door.step((wide(face(480)), BARE), pixels=WIDE, dt=3.0)
    later = door.stay(15, (wide(face(480)), BARE), pixels=WIDE)
    assert decided([first, *later]) == []


def test_who_left_while_the_size_changed_ended_where_they_stood():
    door = Door()
    door.stay(5, (wide(face(480)), BARE), pixels=WIDE)
    assert door.pipeline.open_violations[0].box == wide(face(480))
    (ended,) = (d for result in door.stay(8) for d in result.decisions)
    assert (ended.type, ended.reason) == ("ended", "left")
    assert ended.box == pytest.approx(face(480).scaled(1 / 640, 1 / 480))


def test_who_walks_while_the_size_changes_is_followed_on():
    door = Door()
    steps = [face(100 + 8 * i) for i in range(60)]
    before = [door.step((box, MASK)) for box in steps[:30]]
    after = [door.step((wide(box), MASK), pixels=WIDE) for box in steps[30:]]
    assert {p.track_id for result in after for p in result.persons} == {
        before[-1].persons[0].track_id
    }
    assert all(result.persons[0].seen for result in after)


@dataclass
class Case:
    """A visit's way and what should be said of it."""

    visit: Visit
    starts: int
    reason: str | None = None


STAND = ((0.0, -80.0, 220.0, 80.0), (2.0, 320.0, 220.0, 80.0), (20.0, 320.0, 220.0, 80.0))
OUT = (22.0, 720.0, 220.0, 80.0)
CASES = {
    "bare": Case(Visit((*STAND, OUT), ((0, "without_mask"),)), 1, "left"),
    "nose out": Case(Visit((*STAND, OUT), ((0, "incorrect_mask"),)), 1, "left"),
    "masked": Case(Visit((*STAND, OUT), ((0, "with_mask"),)), 0),
    "puts it on": Case(
        Visit((*STAND, OUT), ((0, "without_mask"), (10.0, "with_mask"))), 1, "mask_on"
    ),
    "takes it off": Case(
        Visit((*STAND, OUT), ((0, "with_mask"), (10.0, "without_mask"))), 1, "left"
    ),
    "walks by": Case(
        Visit(((0, -90, 200, 90), (4, 730, 200, 90)), ((0, "without_mask"),)), 1, "left"
    ),
    "stays at the edge": Case(
        Visit(
            ((0, -80, 220, 80), (1, 30, 220, 80), (15, 30, 220, 80), (16, -90, 220, 80)),
            ((0, "without_mask"),),
        ),
        1,
        "left",
    ),
    "walks up": Case(
        Visit(((0, 250, 150, 30), (5, 300, 200, 110), (6, -60, 240, 130)), ((0, "without_mask"),)),
        1,
        "left",
    ),
}
QUIET = Noise(visit_bias=0.0, drift=0.7, false_rate=0.0)


@pytest.mark.parametrize("fps", [3, 5, 10, 15])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_each_visit_is_told_once_or_not_at_all(name, fps, seed):
    case = CASES[name]
    scene = Scene((case.visit,), fps=fps, seed=seed, noise=QUIET, tail=10.0)
    decisions, outcome = play(scene, Config())
    starts = [d for _, d in decisions if d.type == "started"]
    ends = [d for _, d in decisions if d.type == "ended"]
    assert len(starts) == len(ends) == case.starts
    assert [d.key for d in starts] == [d.key for d in ends]
    if starts:
        assert ends[0].reason == case.reason
        truth = [label for _, label in case.visit.wears if label != "with_mask"]
        assert [d.label for d in starts] == truth
    assert outcome.false_alerts == outcome.ghosts == outcome.repeated == 0
