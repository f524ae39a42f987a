"""Figures of a classifier from its scores: confusion, recall, F1, calibration. Only numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.vision.base import LABELS
from maskedge.vision.masks import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

ECE_BINS = 15
TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 162))
SHIFTS = np.linspace(-3, 3, 121)
PRIOR = (0.4, 0.4, 0.2)
"""How often each label is expected at an entrance, for want of better knowledge."""
SHIFT_SPREAD, TEMPERATURE_SPREAD = 2.0, 0.5
"""How far (standard deviation, nats) shifts and the temperature's logarithm are expected to be from
where they start. Few faces are often all judged right: of those alone the best shift or temperature
is as large as it may be."""


def confusion(truth: NDArray[np.int64], called: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (classes, classes): row = truth, column = what it was called."""
    table = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(table, (truth, called), 1)
    return table


def calibration_error(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    """Expected calibration error of the top class in 15 equal bins (Naeini et al., 2015)."""
    if not len(truth):
        return float("nan")
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps))


def log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    """Mean negative log-likelihood, nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def fit_temperature(
    truth: NDArray[np.int64], logits: NDArray[np.float32], start: float = 1.0
) -> float:
    """The temperature of least log loss (Guo et al., 2017), searched on a log grid, 0.2 to 5.

    Of few faces it stays near ``start`` (:data:`TEMPERATURE_SPREAD`).
    """
    losses = [
        log_loss(truth, softmax(logits, t)) + _unlikely_temperature(t / start, len(truth))
        for t in TEMPERATURES.tolist()
    ]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 3)


def fit_prior(
    truth: NDArray[np.int64],
    logits: NDArray[np.float32],
    start: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """What to add to the logits so that they expect the classes as often as :data:`PRIOR` says.

    Training shows rare classes often; left so, a network calls too many faces by them. The shift
    (and a temperature, which is thrown away) is the one of least log loss on validation faces
    weighted to the prior, coordinate by coordinate (vector scaling, Guo et al., 2017). A class of
    few faces stays near its start (:data:`SHIFT_SPREAD`).

    Args:
        truth: class indices (N,).
        logits: (N, 3).
        start: what is right if there are no faces that say otherwise; None: nothing.

    Returns:
        float32 (3,), zero for the first class.
    """
    count = np.bincount(truth, minlength=len(LABELS))
    weight = (np.array(PRIOR) / np.maximum(count / len(truth), 1e-9))[truth]
    faces = np.maximum(np.minimum(count, count[0]), 1)
    first = np.zeros(len(LABELS), np.float32) if start is None else start

    def loss(shift: NDArray[np.float32], temperature: float) -> float:
        scores = softmax(logits + shift, temperature)[np.arange(len(truth)), truth]
        unlikely = float(((shift - first) ** 2 / faces).sum()) / (2 * SHIFT_SPREAD**2)
        return float(-(weight * np.log(np.maximum(scores, 1e-12))).mean()) + unlikely

    shift = first.copy()
    temperature = 1.0
    for _ in range(4):
        for i in (int(c) for c in np.unique(truth) if c):
            tried = [np.where(np.arange(len(LABELS)) == i, s, shift) for s in SHIFTS]
            losses = [loss(s.astype(np.float32), temperature) for s in tried]
            shift = tried[int(np.argmin(losses))].astype(np.float32)
        losses = [loss(shift, float(t)) for t in TEMPERATURES]
        temperature = float(TEMPERATURES[int(np.argmin(losses))])
    return shift


def _unlikely_temperature(temperature: float, faces: int) -> float:
    """What a temperature that is so many times the expected one costs, as log loss of faces."""
    return float(np.log(temperature) ** 2 / (2 * TEMPERATURE_SPREAD**2 * max(1, faces)))


def roc_auc(positive: NDArray[np.bool_], score: NDArray[np.float32]) -> float | None:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half; None for one class."""
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return round(float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)), 4)


def roc(
    positive: NDArray[np.bool_], score: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rate from nothing called to everything; equal scores are one step."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    found, wrong = (np.cumsum(hits[order])[ends] for hits in (positive, ~positive))
    return (
        np.concatenate([[0.0], wrong / max(1, int((~positive).sum()))]),
        np.concatenate([[0.0], found / max(1, int(positive.sum()))]),
    )


def precision_recall(
    positive: NDArray[np.bool_], score: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall down to each score, the surest first; equal scores are one step."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    hits = np.cumsum(positive[order])[ends]
    return hits / (ends + 1), hits / max(1, int(positive.sum()))


def average_precision(positive: NDArray[np.bool_], score: NDArray[np.float32]) -> float | None:
    """Mean precision at each positive (no interpolation); None without positives."""
    if not positive.any():
        return None
    precision, recall = precision_recall(positive, score)
    return round(float(np.sum(np.diff(recall, prepend=0.0) * precision)), 4)


def summary(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """All figures of one slice of faces, ready for JSON.

    Args:
        truth: class indices (N,).
        probabilities: (N, 3) in the order of LABELS.

    Returns:
        ``faces``, ``loss``, ``accuracy``, ``balanced_accuracy`` (over classes that occur), ``ece``,
        ``confusion`` (rows truth), and by label ``faces``, ``precision``, ``recall``, ``f1``,
        ``roc_auc`` and ``average_precision`` (one against the rest). What can't be told is None.
    """
    table = confusion(truth, probabilities.argmax(1).astype(np.int64))
    true, called, hit = table.sum(1), table.sum(0), np.diag(table)
    by_label: dict[str, Any] = {}
    for i, label in enumerate(LABELS):
        precision = _ratio(hit[i], called[i])
        recall = _ratio(hit[i], true[i])
        f1 = _ratio(2 * hit[i], true[i] + called[i])
        by_label[label] = {
            "faces": int(true[i]),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "roc_auc": roc_auc(truth == i, probabilities[:, i]),
            "average_precision": average_precision(truth == i, probabilities[:, i]),
        }
    recalls = [v["recall"] for v in by_label.values() if v["recall"] is not None]
    return {
        "faces": len(truth),
        "loss": round(log_loss(truth, probabilities), 4) if len(truth) else None,
        "accuracy": _ratio(hit.sum(), len(truth)),
        "balanced_accuracy": round(float(np.mean(recalls)), 4) if recalls else None,
        "ece": round(calibration_error(truth, probabilities), 4) if len(truth) else None,
        "incorrect_called_with_mask": _ratio(table[2, 0], true[2]),
        "confusion": table.tolist(),
        "by_label": by_label,
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part) / float(whole), 4) if whole else None
