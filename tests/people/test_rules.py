import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge.people.rules import Ballot, Tally, agreement, attempts, confidence, evidence
from maskedge.vision.base import LABELS

BARE = (0.1, 0.8, 0.1)
MASK = (0.9, 0.05, 0.05)
NOSE = (0.2, 0.2, 0.6)


def ballot(*votes, spacing=0.3, half_life=2.0):
    result = Ballot()
    for time, scores in votes:
        result.cast(scores, 1.0, time, spacing=spacing, half_life=half_life)
    return result


def tally(weight=3.0, bare=0.0, nose=0.0, frames=3):
    shares = dict(zip(LABELS, (1 - bare - nose, bare, nose), strict=True))
    return Tally(weight, shares, shares, frames, dict.fromkeys(LABELS, 0))


def test_looks_close_together_count_in_part():
    apart = ballot((0.0, BARE), (0.3, BARE), (0.6, BARE)).tally(0.6, 1e9)
    close = ballot((0.0, BARE), (0.1, BARE), (0.2, BARE)).tally(0.2, 1e9)
    assert apart.weight == pytest.approx(3.0)
    assert close.weight == pytest.approx(1 + 2 / 3)


def test_the_same_second_is_worth_the_same_at_any_frame_rate():
    weights = [
        ballot(*((i / fps, BARE) for i in range(fps + 1))).tally(1.0, 1e9).weight
        for fps in (4, 10, 15, 30, 60)
    ]
    assert max(weights) - min(weights) < 0.4


def test_more_looks_make_the_mean_steadier_but_not_surer():
    few = ballot(*((i / 10, NOSE) for i in range(3))).tally(0.3, 2.0)
    many = ballot(*((i / 10, NOSE) for i in range(50))).tally(5.0, 2.0)
    assert few.means == pytest.approx(many.means)


def test_a_vote_counts_half_after_its_half_life():
    assert ballot((0.0, BARE)).tally(2.0, 2.0).weight == pytest.approx(0.5)
    mixed = ballot((0.0, MASK), (2.0, BARE)).tally(2.0, 2.0)
    assert mixed.shares["without_mask"] == pytest.approx(2 / 3)


def test_quality_weighs():
    box = Ballot()
    box.cast(MASK, 0.25, 0.0, spacing=0.3, half_life=1e9)
    box.cast(BARE, 0.75, 1.0, spacing=0.3, half_life=1e9)
    assert box.tally(1.0, 1e9).shares["without_mask"] == pytest.approx(0.75)


def test_old_votes_are_dropped_so_that_memory_is_bounded():
    assert len(ballot(*((i / 10, BARE) for i in range(10_000)))) < 100


def test_since_leaves_earlier_votes_out():
    votes = ballot((0.0, MASK), (1.0, BARE), (2.0, BARE))
    assert votes.tally(2.0, 2.0, since=1.0).agree == {
        "with_mask": 0,
        "without_mask": 2,
        "incorrect_mask": 0,
    }


def test_rules_compose():
    rule = evidence(3.0) & agreement(0.7) & confidence(0.75)
    assert rule(tally(3.0, bare=0.8), "without_mask")
    assert not rule(tally(2.9, bare=0.8), "without_mask")
    assert not rule(tally(3.0, bare=0.72), "without_mask")
    assert not rule(tally(3.0, bare=0.8), "with_mask")
    either = evidence(9.0) | attempts(3)
    assert either(tally(frames=3), "with_mask")
    assert not either(tally(frames=2), "with_mask")
    assert (~either)(tally(frames=2), "with_mask")


def test_labels_can_be_taken_together():
    unclear = tally(bare=0.5, nose=0.4)
    assert not confidence(0.8)(unclear, "without_mask")
    assert confidence(0.8)(unclear, "without_mask", "incorrect_mask")
    assert agreement(0.9)(unclear, "without_mask", "incorrect_mask")
    assert unclear.leader(("incorrect_mask", "without_mask")) == "without_mask"


votes = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.tuples(*[st.floats(0.01, 1)] * 3).map(lambda p: tuple(x / sum(p) for x in p)),
    ),
    min_size=1,
    max_size=30,
)


@given(votes)
def test_shares_and_means_are_distributions(steps):
    now, cast = 0.0, []
    for wait, scores in steps:
        now += wait
        cast.append((now, scores))
    result = ballot(*cast).tally(now, 2.0)
    assert sum(result.shares.values()) == pytest.approx(1)
    assert sum(result.means.values()) == pytest.approx(1)
    assert sum(result.agree.values()) == result.frames


def test_no_votes_decide_nothing():
    nothing = Ballot().tally(0.0, 2.0)
    assert (nothing.weight, nothing.frames) == (0.0, 0)
    assert Ballot().last is None
