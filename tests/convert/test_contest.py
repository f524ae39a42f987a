from dataclasses import replace

import numpy as np
import pytest

from convert.contest import Answers, Bootstrap, judge, mcnemar
from maskedge.vision.masks import softmax


def scores(called, confidence=0.9):
    """Probabilities that call each face so."""
    rest = np.full((len(called), 3), (1 - confidence) / 2, np.float32)
    rest[np.arange(len(called)), called] = confidence
    return rest


def contest(champion, challenger, *, truth=None, confidence=(0.9, 0.9), **columns):
    """A test of as many faces, all labels alike often, every face its own group."""
    number = len(champion)
    truth = np.arange(number) % 3 if truth is None else truth
    old, new = (
        scores((truth + wrong) % 3, c)
        for wrong, c in zip((champion, challenger), confidence, strict=True)
    )
    given = {
        "truth": truth,
        "groups": np.arange(number),
        "own": np.arange(number) % 2 == 0,
        "size": np.full(number, 50, np.float32),
        "champion": old,
        "challenger": new,
        "champion_small": old,
        "challenger_small": new,
    }
    return Answers(**{**given, **columns})


def wrong(number, faces=300, first=0):
    """How much each face's call is off: ``number`` of them by one, from ``first`` on."""
    off = np.zeros(faces, int)
    off[first : first + number] = 1
    return off


def verdicts(test):
    return {c["name"]: c["verdict"] for c in judge(test)["criteria"]}


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(1, 9, 0.02148), (0, 6, 0.03125), (5, 5, 1.0), (0, 0, 1.0), (2, 3, 1.0)]
)
def test_mcnemar_by_hand(lost, won, p):
    assert mcnemar(lost, won) == pytest.approx(p, abs=1e-5)
    assert mcnemar(won, lost) == mcnemar(lost, won)


def test_the_same_network_again_is_accepted_and_nowhere_better():
    report = judge(contest(wrong(15), wrong(15)))
    assert report["accepted"]
    assert "nowhere proven better" in report["reasons"][0]
    assert {c["verdict"] for c in report["criteria"]} == {"as good"}
    assert set(report["mcnemar"].values()) == {0, 1.0}
    assert report["mcnemar"]["p"] == 1


def test_a_better_network_is_accepted_and_told_so():
    report = judge(contest(wrong(60), wrong(6)))
    assert report["accepted"]
    assert "accuracy" in report["reasons"][0]
    assert report["mcnemar"]["challenger_only"] == 54


def test_a_worse_network_is_refused_and_told_where():
    report = judge(contest(wrong(6), wrong(60)))
    assert not report["accepted"]
    assert any(r.startswith("accuracy: 0.980 became 0.800 on 300 faces") for r in report["reasons"])
    assert any(r.startswith("McNemar: 54 groups lost, 0 won") for r in report["reasons"])


def test_one_face_decides_nothing():
    assert judge(contest(wrong(0, 30), wrong(1, 30)))["accepted"]
    assert not judge(contest(wrong(0, 30), wrong(4, 30)))["accepted"]


def test_gains_elsewhere_do_not_pay_for_one_label():
    truth = np.arange(300) % 3
    off = np.where(truth == 2, np.arange(300) % 30 < 9, 0)
    old = np.where(truth == 2, 0, np.arange(300) % 10 < 3)
    test = contest(old.astype(int), off.astype(int), truth=truth)
    report = judge(test)
    assert not report["accepted"]
    assert verdicts(test)["accuracy"] == "better"
    assert verdicts(test)["recall of incorrect_mask"] == "worse"
    # (2 + 1) % 3 is with_mask: the worst of all errors has its own line.
    assert verdicts(test)["incorrect_mask called with_mask"] == "worse"


@pytest.mark.parametrize("own", [True, False])
def test_own_pictures_and_the_others_are_judged_apart(own):
    member = np.arange(300) < 60
    old, new = wrong(0), wrong(6)
    old[60:90] = 1  # it gained on all the rest
    test = contest(old, new, own=member if own else ~member)
    found = verdicts(test)
    assert found["accuracy"] == "better"
    assert found[f"accuracy, {'own' if own else 'other'} pictures"] == "worse"


def test_small_faces_and_shrunk_ones_count():
    size = np.where(np.arange(300) < 60, 25, 60).astype(np.float32)
    old, new = wrong(0), wrong(6)
    old[60:90] = 1
    assert verdicts(contest(old, new, size=size))["accuracy, faces below 32 px"] == "worse"
    test = contest(wrong(6), wrong(6), challenger_small=scores((np.arange(300) + wrong(40)) % 3))
    assert verdicts(test)["accuracy, faces shrunk to 28 px"] == "worse"
    assert not judge(test)["accepted"]


def test_a_network_too_sure_of_itself_is_refused():
    test = contest(wrong(30), wrong(30), confidence=(0.9, 0.999))
    assert verdicts(test)["calibration error (ECE)"] == "worse"
    report = judge(test)
    assert not report["accepted"]
    assert [r.partition(":")[0] for r in report["reasons"]] == ["calibration error (ECE)"]


def test_a_slice_of_few_faces_says_so_and_does_not_decide():
    size = np.where(np.arange(300) < 8, 25, 60).astype(np.float32)
    test = contest(wrong(0), wrong(1), size=size)
    assert verdicts(test)["accuracy, faces below 32 px"] == "too few faces"
    assert judge(test)["accepted"]


def test_faces_of_one_clip_are_one_piece_of_evidence():
    """Ten frames of each of 30 clips, two clips lost: by faces it would look certain."""
    groups = np.arange(300) // 10
    alone, together = (
        next(c for c in judge(t)["criteria"] if c["name"] == "accuracy")
        for t in (contest(wrong(0), wrong(20)), contest(wrong(0), wrong(20), groups=groups))
    )
    assert together["high"] > alone["high"]
    assert together["low"] < alone["low"]


@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize("persons", [1, 9, 10])
def test_of_few_groups_an_interval_decides_nothing(persons, better):
    """Of each person with the nose out sixty frames, one of them won or lost."""
    truth = np.repeat([0, 1, 2], [150, 150, 60 * persons])
    groups = np.r_[np.arange(300), 300 + np.arange(60 * persons) // 60]
    same, other = np.zeros((2, len(truth)), int)
    other[300::60] = 1
    test = contest(*((other, same) if better else (same, other)), truth=truth, groups=groups)
    row = next(c for c in judge(test)["criteria"] if c["name"] == "recall of incorrect_mask")
    assert row["groups"] == persons
    assert (row["low"] > 0, row["high"] < 0) == (better, not better)
    proven = "better" if better else "worse"
    assert row["verdict"] == (proven if persons == 10 else "too few groups")


def test_a_test_of_few_groups_says_that_it_proves_nothing():
    report = judge(contest(wrong(60), wrong(6), groups=np.arange(300) % 4))
    assert report["reasons"] == [
        "worse in none of 9 criteria; nowhere proven better: 4 groups are too few"
    ]


def test_a_single_face_of_a_label_proves_nothing_and_refuses_nothing():
    truth = np.repeat([0, 1, 2], [150, 150, 1])
    old, new = wrong(3, 301), wrong(0, 301)
    new[300] = 1
    test = contest(old, new, truth=truth)
    assert verdicts(test)["recall of incorrect_mask"] == "too few faces"
    assert judge(test)["accepted"]


def test_frames_of_one_person_count_once_in_mcnemars_test():
    groups = np.r_[np.zeros(6, int), np.arange(1, 295)]
    for networks in ((wrong(6), wrong(0)), (wrong(0), wrong(6))):
        report = judge(contest(*networks, groups=groups))
        assert report["mcnemar"]["p"] == 1
        assert report["mcnemar"]["groups_won"] + report["mcnemar"]["groups_lost"] == 1
        assert not any("McNemar" in reason for reason in report["reasons"])
    pairs = np.arange(300) // 2
    report = judge(contest(wrong(1), wrong(299, first=1), groups=pairs))["mcnemar"]
    assert (report["groups_won"], report["groups_lost"]) == (0, 149)  # the first pair is even


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        old, new = rng.random(200) < 0.9, rng.random(200) < 0.9
        every = np.ones(200, bool)
        row = Bootstrap(np.arange(200), seed).share("x", (old, new), every, 0.01)
        covered += row.low <= 0 <= row.high
    assert 50 <= covered <= 60


def calibrations(sure, trials, faces=100):
    """Verdicts on the calibration of a network whose logits are so many times what is right.

    Both see each face's label through noise that is nearly the same; the one in use is calibrated.
    """
    rng, found = np.random.default_rng(3), []
    for _ in range(trials):
        truth = rng.integers(0, 3, faces)
        common = rng.normal(size=(faces, 3))
        seen = [np.eye(3)[truth] + 0.35 * common + 0.08 * rng.normal(size=(faces, 3)) for _ in "ab"]
        first, second = (
            softmax((s / 0.36**2 * k), 1.0) for s, k in zip(seen, (1, sure), strict=True)
        )
        zeros = np.zeros(faces, int)
        test = replace(contest(zeros, zeros, truth=truth), champion=first, challenger=second)
        found.append(Bootstrap(test.groups).calibration(test))
    return found


def test_chance_seldom_refuses_a_network_that_is_as_well_calibrated():
    rows = calibrations(1, trials=100)
    lost = [row for row in rows if row.difference < -0.015]
    assert len(lost) > 0.1 * len(rows)  # more than the margin, by chance
    assert sum(row.verdict == "worse" for row in rows) <= 0.1 * len(rows)
    assert {row.verdict for row in lost} <= {"worse", "may be chance"}


def test_a_network_that_is_calibrated_worse_is_refused_where_that_can_be_told():
    rows = calibrations(0.5, trials=40)
    assert sum(row.verdict == "worse" for row in rows) > 0.7 * len(rows)


def test_of_few_groups_a_loss_of_calibration_refuses_for_chance_can_not_be_told():
    test = contest(wrong(30), wrong(30), confidence=(0.9, 0.999), groups=np.arange(300) % 4)
    assert verdicts(test)["calibration error (ECE)"] == "worse"
