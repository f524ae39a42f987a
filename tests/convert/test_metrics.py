import numpy as np
import pytest

from convert.metrics import (
    PRIOR,
    average_precision,
    calibration_error,
    confusion,
    fit_prior,
    fit_temperature,
    precision_recall,
    roc,
    roc_auc,
    summary,
)


def test_confusion_rows_are_the_truth():
    table = confusion(np.array([0, 0, 2]), np.array([0, 1, 0]))
    assert table.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_calibration_error_is_the_gap_between_confidence_and_truth():
    scores = np.array([[0.8, 0.1, 0.1]] * 10, np.float32)
    truth = np.array([0] * 8 + [1] * 2)
    assert calibration_error(truth, scores) == pytest.approx(0, abs=1e-6)
    assert calibration_error(np.zeros(10, int), scores) == pytest.approx(0.2, abs=1e-6)


def test_too_sure_here_does_not_make_up_for_too_careful_there():
    confidence = np.repeat([0.9, 0.6], 10)
    scores = np.column_stack([confidence, 1 - confidence, np.zeros(20)]).astype(np.float32)
    truth = np.array([0] * 8 + [1] * 2 + [0] * 7 + [1] * 3)
    assert calibration_error(truth, scores) == pytest.approx(0.1, abs=1e-6)


def test_the_head_is_moved_to_the_shares_of_an_entrance():
    """Scores that expect each class as often as training showed it, and then as the prior says."""
    rng = np.random.default_rng(0)
    share = np.array([0.6, 0.1, 0.3])
    truth = rng.choice(3, 6000, p=share)
    seen = np.eye(3)[truth] * 2 + rng.normal(0, 1, (6000, 3))
    logits = (2 * seen + np.log(share)).astype(np.float32)  # Bayes' rule for these Gaussians
    wanted = np.log(np.array(PRIOR) / share)
    assert fit_prior(truth, logits) == pytest.approx(wanted - wanted[0], abs=0.15)
    absent = truth != 2
    kept = fit_prior(truth[absent], logits[absent], np.array([0, 0, 0.7], np.float32))
    assert kept[2] == pytest.approx(0.7)


def test_temperature_makes_overconfident_scores_honest():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3)).astype(np.float32)
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # drawn from their softmax
    assert fit_temperature(truth, logits * 3) == pytest.approx(3, rel=0.1)


def test_few_faces_that_are_all_judged_right_move_little():
    truth = np.repeat([0, 1, 2], [28, 3, 5])
    noise = np.random.default_rng(0).normal(0, 1, (36, 3))
    logits = (np.eye(3)[truth] * 8 + noise).astype(np.float32)
    start = np.array([0, -0.4, -1.15], np.float32)
    assert fit_prior(truth, logits, start) == pytest.approx(start, abs=0.5)
    assert 0.7 < fit_temperature(truth, logits) < 1.1
    assert 1.2 < fit_temperature(truth, logits, 2) < 2.1


def test_ranking_figures():
    positive = np.array([True, True, False, False])
    assert roc_auc(positive, np.array([0.9, 0.8, 0.2, 0.1])) == 1
    assert roc_auc(positive, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert roc_auc(np.array([True]), np.array([0.5])) is None
    assert average_precision(positive, np.array([0.9, 0.2, 0.5, 0.1])) == pytest.approx(
        5 / 6, abs=1e-4
    )
    assert average_precision(np.array([False]), np.array([0.5])) is None


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_faces_of_one_score_count_alike_in_whatever_order_they_come(order):
    positive = np.array([True, True, True, False, False, True, False, False])[order]
    score = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1], np.float32)[order]
    assert average_precision(positive, score) == round(1 / 4 + 3 / 4 * 4 / 7, 4)
    assert average_precision(positive, np.ones(8, np.float32)) == 0.5
    np.testing.assert_allclose(precision_recall(positive, score), [[1, 4 / 7, 0.5], [0.25, 1, 1]])


def test_the_roc_curve_holds_the_area_that_ranks_tell():
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    score = np.round(rng.normal(positive, 1), 1).astype(np.float32)  # with ties
    wrong, found = roc(positive, score)
    assert (wrong[0], found[0], wrong[-1], found[-1]) == (0, 0, 1, 1)
    area = float(np.sum(np.diff(wrong) * (found[1:] + found[:-1]) / 2))
    assert area == pytest.approx(roc_auc(positive, score), abs=1e-4)


def test_summary_counts_what_matters():
    truth = np.array([0, 0, 1, 2, 2])
    called = np.array([0, 2, 1, 0, 2])
    scores = np.eye(3, dtype=np.float32)[called] * 0.8 + 0.2 / 3
    figures = summary(truth, scores)
    assert figures["accuracy"] == 0.6
    assert figures["incorrect_called_with_mask"] == 0.5
    assert figures["by_label"]["with_mask"]["recall"] == 0.5
    assert figures["by_label"]["without_mask"]["f1"] == 1
    assert figures["balanced_accuracy"] == pytest.approx(2 / 3, abs=1e-3)


def test_summary_of_nothing_is_none_not_an_error():
    figures = summary(np.zeros(0, int), np.zeros((0, 3), np.float32))
    assert figures["accuracy"] is None
    assert figures["by_label"]["with_mask"]["recall"] is None
