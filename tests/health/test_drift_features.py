"""Bins, distances and their chance, visits, windows: against what is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge.config import Config
from maskedge.config.drift import FeatureName
from maskedge.geometry import Box
from maskedge.health.features import (
    BY_NAME,
    FEATURES,
    GROUPS,
    OFFSETS,
    SMOOTHING,
    WIDTH,
    chi_squared,
    distance,
    grouping,
    part,
)
from maskedge.health.visits import Visits, bins
from maskedge.health.window import BLOCK, BLOCKS, DAY_SLOTS, SLOT, SLOTS, Window
from maskedge.pipeline import FrameResult, Look, PersonView
from maskedge.trial import ClearQuality

BRIGHTNESS, LABEL, CONFIDENCE = BY_NAME["brightness"], BY_NAME["label"], BY_NAME["confidence"]


def counted(feature, values):
    return np.bincount([feature.bin(v) for v in values], minlength=feature.bins)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
def test_every_value_has_a_bin_and_bins_ascend(feature):
    assert list(feature.edges) == sorted(set(feature.edges))
    if feature.names:
        assert [feature.bin(float(n)) for n in range(feature.bins)] == list(range(feature.bins))
    else:
        assert feature.bin(-math.inf) == 0
        assert feature.bin(math.inf) == feature.bins - 1
        assert [feature.bin(edge) for edge in feature.edges] == list(range(1, feature.bins))


def test_features_lie_side_by_side_in_a_row():
    row = np.arange(WIDTH)
    assert np.concatenate([part(row, f) for f in FEATURES]).tolist() == row.tolist()
    assert set(OFFSETS) == set(BY_NAME) == set(FeatureName.__args__)


@pytest.mark.parametrize(
    ("freedom", "deviations", "table"),
    [(1, 1.96, 5.02), (9, 3.0902, 27.88), (9, 0.0, 8.343), (2, 2.3263, 9.21)],
)
def test_chi_squared_is_that_of_the_tables(freedom, deviations, table):
    # Wilson and Hilferty's is an approximation: 5 % at one degree of freedom, 1 % at nine.
    tolerance = 0.05 if freedom < 3 else 0.01
    assert chi_squared(freedom, deviations) == pytest.approx(table, rel=tolerance)


def test_the_index_is_that_of_its_formula():
    found, known = np.array([20, 60, 20]), np.array([500, 300, 200])
    p, q = ((c + SMOOTHING) / (c.sum() + 3 * SMOOTHING) for c in (found, known))
    plain = float(sum((p - q) * np.log(p / q)))
    chance = 2 * (1 / 100 + 1 / 1000)
    assert distance(LABEL, found, known).psi == pytest.approx(plain - chance)


def test_without_drift_it_is_zero_on_average_and_beyond_chance_as_rarely_as_asked():
    rng = np.random.default_rng(4)
    known = counted(BRIGHTNESS, rng.normal(120, 25, 600))
    apart = [
        distance(BRIGHTNESS, counted(BRIGHTNESS, rng.normal(120, 25, 120)), known)
        for _ in range(1500)
    ]
    # The reference is one sample, so its own chance stays in the mean.
    assert abs(np.mean([d.psi for d in apart])) < 0.03
    assert np.std([d.psi for d in apart]) == pytest.approx(
        math.sqrt(2 * apart[0].freedom) * apart[0].scale, rel=0.35
    )
    assert sum(d.beyond_chance(1.645) for d in apart) / 1500 < 0.15
    assert not any(d.beyond_chance(5.0) for d in apart)


@pytest.mark.parametrize(("mean", "lower"), [(80, True), (160, False)])
def test_it_says_which_way(mean, lower):
    rng = np.random.default_rng(4)
    known = counted(BRIGHTNESS, rng.normal(120, 25, 600))
    apart = distance(BRIGHTNESS, counted(BRIGHTNESS, rng.normal(mean, 25, 200)), known)
    assert apart.lower is lower
    assert apart.psi > 1
    assert apart.beyond_chance(5.0)
    assert apart.worsens(BRIGHTNESS)
    assert apart.worsens(CONFIDENCE) is lower


@pytest.mark.parametrize("light", [60.0, 200.0])
def test_a_light_that_never_varied_is_noticed_to_either_side(light):
    known = counted(BRIGHTNESS, [120.0] * 300)
    moved = counted(BRIGHTNESS, [120.0] * 80 + [light] * 20)
    assert distance(BRIGHTNESS, moved, known).psi > 0.5
    assert distance(BRIGHTNESS, counted(BRIGHTNESS, [120.0] * 100), known).psi < 0.05


def test_nothing_is_no_distance():
    known = counted(BRIGHTNESS, [100.0, 120.0])
    nothing = np.zeros(BRIGHTNESS.bins, np.int64)
    assert distance(BRIGHTNESS, nothing, known) is None
    assert distance(BRIGHTNESS, known, nothing) is None


@given(st.lists(st.integers(0, 500), min_size=BRIGHTNESS.bins, max_size=BRIGHTNESS.bins))
def test_groups_cover_all_bins_whatever_the_reference(counts):
    groups = grouping(BRIGHTNESS, np.array(counts))
    assert groups[0] == 0
    assert (np.diff(groups) > 0).all()
    assert groups[-1] < BRIGHTNESS.bins
    assert len(groups) <= len(GROUPS) + 1


def test_quantiles_are_those_of_the_values():
    values = np.random.default_rng(2).uniform(20, 220, 20_000)
    counts = counted(BRIGHTNESS, values)
    for share in (0.1, 0.25, 0.5, 0.9):
        assert BRIGHTNESS.quantile(counts, share) == pytest.approx(20 + 200 * share, abs=3)
    assert BRIGHTNESS.describe(counts) in {"70 to 170", "69 to 170", "70 to 169", "69 to 169"}
    assert LABEL.describe(np.array([3, 1, 0])) == (
        "with_mask 75%, without_mask 25%, incorrect_mask 0%"
    )


# visits

MASKED, BARE, UNCLEAR = (0.98, 0.01, 0.01), (0.02, 0.95, 0.03), ()


def frame(*persons):
    """``(track, label, scores or None for no look, brightness)`` each."""
    views = tuple(
        PersonView(t, Box(0, 0, 80, 100), label, 0.9, seen=True, violation=None)
        for t, label, *_ in persons
    )
    looks = [
        Look(
            t,
            Box(0, 0, 80, 100),
            0.9,
            ClearQuality(100.0, brightness=light),
            1.0 if scores else 0.0,
            scores,
        )
        for t, _, scores, light in persons
        if scores is not None
    ]
    return FrameResult(
        persons=views,
        looks=tuple(look for look in looks if look.scores),
        unclear=tuple(look for look in looks if not look.scores),
    )


def visit(*frames):
    visits = Visits()
    for one in frames:
        assert visits.frame(frame(one)) == {}
    return visits.frame(FrameResult()).get(1)


def test_a_visit_counts_once_when_it_is_over():
    values = visit(
        (1, "unsure", MASKED, 90.0),
        (1, "unsure", MASKED, 90.0),
        (1, "with_mask", MASKED, 90.0),
        (1, "with_mask", None, 90.0),
    )
    assert values == {
        "confidence": pytest.approx(0.98),
        "margin": pytest.approx(0.97),
        "score": 0.9,
        "brightness": 90.0,
        "sharpness": 1000.0,
        "warmth": 0.0,
        "size": 100.0,
        "flips": 0.0,
        "unsure": 0.0,
        "label": 0.0,
    }
    assert len(bins(values)) == len(FEATURES)


def test_changes_of_mind_and_staying_unsure_are_told():
    values = visit(*[(1, "unsure", s, 90.0) for s in (MASKED, BARE, BARE, MASKED, MASKED)])
    assert values["flips"] == pytest.approx(2 / 4)
    assert values["unsure"] == 1.0
    assert "label" not in values


def test_a_face_too_unclear_to_be_judged_still_tells_of_light_and_focus():
    values = visit(*[(1, "unsure", UNCLEAR, 20.0)] * 4)
    assert values["brightness"] == 20.0
    assert not {"confidence", "flips", "unsure", "label"} & values.keys()


def test_who_is_seen_twice_is_no_visit():
    assert visit((1, "unsure", MASKED, 90.0), (1, "unsure", MASKED, 90.0)) is None


def test_which_look_stands_for_a_visit_is_drawn_evenly():
    lights = (40.0, 80.0, 120.0, 160.0)
    visits = Visits()
    drawn = []
    for track in range(2000):
        for light in lights:
            visits.frame(frame((track, "unsure", MASKED, light)))
        drawn += [values["brightness"] for values in visits.frame(FrameResult()).values()]
    shares = [drawn.count(light) / len(drawn) for light in lights]
    assert shares == pytest.approx([0.25] * 4, abs=0.04)


def test_nobody_is_kept_who_has_left():
    visits = Visits()
    for track in range(500):
        visits.frame(frame((track, "unsure", MASKED, 90.0), (track + 1, "unsure", MASKED, 90.0)))
    assert len(visits._open) == 2


# windows


def fill(window, count, light, hour):
    where = np.array([OFFSETS["brightness"] + BRIGHTNESS.bin(light)])
    return [window.add(where, hour * SLOT) for _ in range(count)]


def test_a_window_is_the_last_day_and_more_only_for_want_of_visits():
    window = Window()
    for hour in range(3 * DAY_SLOTS):
        fill(window, 10, 100.0, hour)
    assert window.day(BRIGHTNESS, 100).sum() == 10 * DAY_SLOTS
    assert window.day(BRIGHTNESS, 300).sum() == 300
    assert window.day(BRIGHTNESS, 5000).sum() == 10 * 3 * DAY_SLOTS
    fill(window, 1, 100.0, 3 * DAY_SLOTS + SLOTS)
    assert window.day(BRIGHTNESS, 100).sum() == 1
    assert window.visits == 10 * 3 * DAY_SLOTS + 1


def test_a_clock_that_steps_back_loses_nothing():
    window = Window()
    fill(window, 5, 100.0, 10)
    fill(window, 5, 100.0, 3)
    assert window.day(BRIGHTNESS, 10).sum() == 10


def test_blocks_have_no_visit_in_common():
    window = Window()
    ended = [
        end for number in range(BLOCKS + 1) for end in fill(window, BLOCK, 20.0 + 40 * number, 0)
    ]
    assert [n + 1 for n, end in enumerate(ended) if end] == [
        BLOCK * (n + 1) for n in range(BLOCKS + 1)
    ]
    blocks = window.blocks(BRIGHTNESS)
    assert [block.argmax() for block in blocks] == [
        BRIGHTNESS.bin(20.0 + 40 * n) for n in range(1, BLOCKS + 1)
    ]
    assert [block.sum() for block in blocks] == [BLOCK] * BLOCKS


def test_one_feature_can_begin_anew():
    window = Window()
    where = np.array([OFFSETS["brightness"], OFFSETS["size"]])
    for _ in range(BLOCK + 5):
        window.add(where, 0.0)
    window.forget(BRIGHTNESS)
    assert window.day(BRIGHTNESS, 1).sum() == sum(b.sum() for b in window.blocks(BRIGHTNESS)) == 0
    assert window.day(BY_NAME["size"], 1).sum() == BLOCK + 5


def test_the_configuration_may_ignore_every_feature():
    assert Config(drift={"ignore": list(BY_NAME)}).drift.ignore == tuple(BY_NAME)
