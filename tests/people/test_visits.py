"""Whatever persons, masks, time and settings do: every violation starts once and ends once."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.geometry import Box
from maskedge.people.simulate import Sighting, SimulatedVision
from maskedge.pipeline import Pipeline
from maskedge.trial import clear
from maskedge.vision.base import Face

PIXELS = np.zeros((480, 1280, 3), np.uint8)
PLACES = [150.0, 450.0, 750.0, 1050.0]
SCORES = {
    "with_mask": (0.96, 0.02, 0.02),
    "without_mask": (0.02, 0.96, 0.02),
    "incorrect_mask": (0.02, 0.02, 0.96),
    "any": (0.4, 0.3, 0.3),
}
places = st.integers(0, len(PLACES) - 1)
worn = st.sampled_from(sorted(SCORES))
CONFIGS = [
    {},
    {"verdict": {"alert_on": ["without_mask"]}},
    {"verdict": {"alert_on": [], "cooldown": 0.0}},
    {"verdict": {"leave_after": 0.5, "clear_after": 0.3, "cooldown": 0.0, "min_evidence": 1.0}},
    {"tracker": {"max_age": 0.5}, "classifier": {"budget": 1}},
    {"tracker": {"max_age": 10.0}},
]


def box(place):
    return Box(PLACES[place] - 24, 170, PLACES[place] + 24, 230)


class Visits(RuleBasedStateMachine):
    """Persons come to places far apart, change their masks and go."""

    def __init__(self):
        super().__init__()
        self.vision = SimulatedVision()
        self.pipeline = Pipeline(self.vision, self.vision, clear, None, Config())
        self.present = {}
        self.now = 1000.0
        self.open = {}
        self.known = set()

    def frame(self, dt, hidden=False):
        self.now += dt
        persons = {} if hidden else self.present
        shown = [Sighting(Face(box(p), 0.9), SCORES[label], p) for p, label in persons.items()]
        self.vision.show(shown)
        result = self.pipeline.process(Frame(PIXELS, ChannelOrder.RGB, self.now), self.now)
        self.take(result.decisions)

    def take(self, decisions):
        for decision in decisions:
            if decision.type == "started":
                assert decision.key not in self.known
                assert decision.reason is decision.ended_at is None
                self.known.add(decision.key)
                self.open[decision.key] = decision
            else:
                started = self.open.pop(decision.key)
                assert decision.reason
                assert decision.ended_at >= decision.decided_at >= decision.first_seen
                for name in ("label", "track_id", "confidence", "frames", "agree"):
                    assert getattr(decision, name) == getattr(started, name)

    @rule(place=places, label=worn)
    def come_or_change(self, place, label):
        self.present[place] = label

    @rule(place=places)
    def go(self, place):
        self.present.pop(place, None)

    @rule(frames=st.integers(1, 40), fps=st.sampled_from([3, 10, 15, 60]))
    def watch(self, frames, fps):
        for _ in range(frames):
            self.frame(1 / fps)

    @rule(frames=st.integers(1, 30))
    def miss(self, frames):
        for _ in range(frames):
            self.frame(0.1, hidden=True)

    @rule(dt=st.sampled_from([0.0, -0.5, -86_400.0, 2.0, 60.0, 86_400.0]))
    def jump(self, dt):
        self.frame(dt)

    @rule(change=st.sampled_from(CONFIGS))
    def reconfigure(self, change):
        self.pipeline.reconfigure(Config.model_validate(change))

    @rule()
    def flush(self):
        self.take(self.pipeline.flush(self.now))
        assert not self.open

    @invariant()
    def what_is_told_is_what_is_held(self):
        assert {d.key for d in self.pipeline.open_violations} == set(self.open)

    @invariant()
    def no_person_has_two_violations(self):
        started = [
            min(PLACES, key=lambda x: abs(x - d.box.centre[0] * 1280)) for d in self.open.values()
        ]
        assert len(set(started)) == len(started)

    @invariant()
    def memory_is_bounded(self):
        assert len(self.pipeline._judge._persons) + len(self.pipeline._judge._lost) <= 40

    def teardown(self):
        self.present.clear()
        for _ in range(200):
            self.frame(0.1)
        assert not self.open


TestVisits = pytest.mark.slow(Visits.TestCase)
TestVisits.settings = settings(max_examples=25, stateful_step_count=25)
