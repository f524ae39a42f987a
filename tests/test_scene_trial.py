"""How good the defaults are, counted on simulated scenes, with margins for the small sample."""

import numpy as np
import pytest

from maskedge.config import Config
from maskedge.people.rules import agreement, attempts, confidence
from maskedge.people.scenes import crowd
from maskedge.people.simulate import Noise, Scene, Visit
from maskedge.trial import Outcome, clear_since, play, who


def total(seeds, persons, rule=None, **scene):
    outcome = Outcome()
    for seed in seeds:
        outcome += play(crowd(seed, persons, **scene), Config(), rule=rule)[1]
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize(("fps", "found", "p50"), [(3, 0.8, 1.6), (10, 0.9, 1.0)])
def test_defaults_in_a_crowd(fps, found, p50):
    outcome = total(range(12), 12, fps=fps)
    assert outcome.found_share >= found
    assert outcome.delay(0.5) <= p50
    assert outcome.false_alerts <= 2
    assert outcome.repeated <= 4
    assert outcome.ghosts <= 3


@pytest.mark.slow
def test_masked_visits_raise_few_alerts():
    outcome = total(range(10), 15, labels=("with_mask",), every=2.0)
    assert outcome.visits["with_mask"] == 150
    assert outcome.false_alerts <= 4


@pytest.mark.slow
def test_the_evidence_rule_alerts_falsely_less_than_counting_attempts():
    scene = {"labels": ("with_mask",), "every": 2.0, "noise": Noise(margin=3.0, drift=2.0)}
    attempts_rule = attempts(3) & agreement(0.6) & confidence(0.8)
    ours = total(range(5), 15, **scene)
    counted = total(range(5), 15, rule=attempts_rule, **scene)
    assert counted.false_alerts > 5
    assert ours.false_alerts < 0.8 * counted.false_alerts


@pytest.mark.slow
def test_thirty_two_persons_at_once():
    path = [(70.0 + 72 * (i % 8), 60.0 + 110 * (i // 8)) for i in range(32)]
    visits = tuple(
        Visit(
            ((0.0, x, y, 64.0), (8.0, x, y, 64.0)),
            ((0.0, "with_mask" if i % 2 else "without_mask"),),
        )
        for i, (x, y) in enumerate(path)
    )
    noise = Noise(visit_bias=0.0, drift=0.5, false_rate=0.0)
    _, outcome = play(Scene(visits, noise=noise), Config())
    assert outcome.found == outcome.clear == 16
    assert outcome.false_alerts == outcome.repeated == outcome.switches == 0


def test_without_noise_all_is_right():
    outcome = total(range(3), 6, noise=Noise.none())
    assert outcome.found == outcome.clear > 0
    assert outcome.false_alerts == outcome.ghosts == outcome.wrong_label == 0


def test_outcomes_add_up():
    one, two = (play(crowd(seed, 3), Config())[1] for seed in (1, 2))
    both = one + two
    assert both.frames == one.frames + two.frames
    assert both.visits.total() == 6
    assert sorted(both.delays) == sorted(one.delays + two.delays)
    assert np.isnan(Outcome().delay(0.5))
    assert (Outcome().found_share, Outcome().false_per_1000) == (0.0, 0.0)


def test_who_a_decision_is_about():
    scene = Scene((Visit(((0, 300, 200, 80), (9, 300, 200, 80)), ((0, "without_mask"),)),))
    decisions, _ = play(scene, Config())
    time, started = decisions[0]
    assert who(scene, time, started) == 0
    assert who(scene, 20.0, started) is None


def test_when_a_visit_is_in_clear_view():
    far = Visit(((0, 300, 200, 30), (9, 300, 200, 30)), ((0, "without_mask"),))
    near = Visit(((0, -300, 200, 80), (6, 300, 200, 80)), ((0, "without_mask"),))
    scene = Scene((far, near))
    assert clear_since(scene, far) is None
    assert clear_since(scene, near) == pytest.approx(3.3, abs=0.2)
