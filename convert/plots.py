"""Plots of an evaluation or a training run, and one HTML page that holds them with the figures."""

from __future__ import annotations

import base64
import html
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from convert.card import nobody_text
from convert.metrics import ECE_BINS, precision_recall, roc
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.judging import Judged

mpl.use("Agg")  # no display is needed to draw into a file

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { padding: .25rem .7rem }
td { text-align: right; border-top: 1px solid #ddd } td:first-child, th:first-child
{ text-align: left } img { max-width: 100% } h2 { margin-top: 2.5rem }
"""


def _figure(width: float = 5.0, height: float = 4.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def confusion_plot(table: list[list[int]], path: Path) -> None:
    """Rows truth, columns what it was called; shaded by share of the row."""
    figure, axes = _figure()
    counts = np.array(table)
    axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        dark = count > 0.5 * counts[row].sum()
        axes.text(column, row, str(count), ha="center", color="white" if dark else "black")
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=20)
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set_xlabel("called")
    axes.set_ylabel("truth")
    figure.savefig(path, dpi=110)


def curves_plot(truth: NDArray[np.int64], scores: NDArray[np.float32], path: Path) -> None:
    """Precision and recall of each label against the rest."""
    figure, axes = _figure()
    for i, label in enumerate(LABELS):
        if (truth == i).any():
            precision, recall = precision_recall(truth == i, scores[:, i])
            axes.plot(recall, precision, label=label)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_ylim(0, 1.02)
    axes.legend()
    figure.savefig(path, dpi=110)


def roc_plot(truth: NDArray[np.int64], scores: NDArray[np.float32], path: Path) -> None:
    """True against false positive rate of each label against the rest."""
    figure, axes = _figure()
    for i, label in enumerate(LABELS):
        if (truth == i).any() and (truth != i).any():
            axes.plot(*roc(truth == i, scores[:, i]), label=label)
    axes.plot([0, 1], [0, 1], "grey", linewidth=1)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    if len(axes.lines) > 1:
        axes.legend()
    figure.savefig(path, dpi=110)


def detector_plot(figures: dict[str, Any], path: Path) -> None:
    """Precision and recall of the detector, at both overlaps where they are given."""
    figure, axes = _figure()
    for name, part in (("overlap 0.5", figures), ("overlap 0.3", figures.get("at_iou_0.3", {}))):
        if part.get("curve"):
            axes.plot(part["curve"]["recall"], part["curve"]["precision"], label=name)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_ylim(0, 1.02)
    axes.legend()
    figure.savefig(path, dpi=110)


def reliability_plot(truth: NDArray[np.int64], scores: NDArray[np.float32], path: Path) -> None:
    """How often a confidence is right, and how many faces have it."""
    figure, axes = _figure()
    confidence, right = scores.max(1), scores.argmax(1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    used = np.unique(bins)
    centres = [confidence[bins == b].mean() for b in used]
    axes.bar(
        centres, [right[bins == b].mean() for b in used], 0.9 / ECE_BINS, alpha=0.8, label="right"
    )
    axes.plot(centres, [(bins == b).mean() for b in used], "k.:", label="share of faces")
    axes.plot([0, 1], [0, 1], "grey", linewidth=1)
    axes.set_xlabel("confidence")
    axes.legend()
    figure.savefig(path, dpi=110)


def history_plot(history: list[dict[str, float]], path: Path, shown: tuple[str, ...]) -> None:
    """Named figures of a training run over its epochs."""
    figure, axes = _figure(7.0, 4.0)
    for name in shown:
        points = [(h["epoch"], h[name]) for h in history if name in h]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _table(title: str, slices: dict[str, Any], columns: dict[str, Any]) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in ("", *columns))
    rows = []
    for name, figures in slices.items():
        cells = "".join(f"<td>{_shown(get(figures))}</td>" for get in columns.values())
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return f"<h3>{html.escape(title)}</h3><table><tr>{head}</tr>{''.join(rows)}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else html.escape(str(value))


def _flat(figures: dict[str, Any]) -> str:
    plain = {k: v for k, v in figures.items() if not isinstance(v, dict | list)}
    return _table("All", {k: {"v": v} for k, v in plain.items()}, {"": itemgetter("v")})


def _called(label: str) -> Any:
    return lambda figures: figures["called"][label]


def _recall(label: str) -> Any:
    return lambda figures: figures["by_label"][label]["recall"]


CLASSIFIER_COLUMNS: dict[str, Any] = {
    "faces": itemgetter("faces"),
    "accuracy": itemgetter("accuracy"),
    "balanced": itemgetter("balanced_accuracy"),
    **{f"recall {label}": _recall(label) for label in LABELS},
    "incorrect called with": itemgetter("incorrect_called_with_mask"),
    "ECE": itemgetter("ece"),
}
LABEL_COLUMNS = ("faces", "precision", "recall", "f1", "roc_auc", "average_precision")


def write_report(folder: Path, report: dict[str, Any], seen: Judged) -> None:
    """Write PNG plots and ``report.html``, one page that holds them and the figures.

    Args:
        folder: made if needed.
        report: from :func:`convert.evaluate.evaluate`.
        seen: what it was computed from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"<h1>maskedge on {html.escape(str(report.get('coco', 'a set')))}</h1>", _flat(report)]
    if "detector" in report:
        parts += _detector_part(folder, report["detector"])
    if "classifier" in report:
        parts += _classifier_part(folder, report["classifier"], seen)
    if "robustness" in report:
        parts.append(_table("Under hardship", report["robustness"], CLASSIFIER_COLUMNS))
    if "crops" in report:
        parts += _crops_part(report["crops"])
    if "chain" in report:
        parts += _chain_part(report["chain"])
    page = f'<!doctype html><meta charset="utf-8"><title>maskedge</title><style>{STYLE}</style>'
    (folder / "report.html").write_text(page + "\n".join(parts), encoding="utf-8")


def _detector_part(folder: Path, figures: dict[str, Any]) -> list[str]:
    parts = ["<h2>Detector</h2>", _flat(figures)]
    if figures.get("curve"):
        detector_plot(figures, folder / "detector.png")
        parts.append(_picture(folder / "detector.png"))
    for name, slices in figures.items():
        if isinstance(slices, dict) and all(isinstance(v, dict) for v in slices.values()):
            keys = [
                k for v in slices.values() for k, x in v.items() if not isinstance(x, dict | list)
            ]
            columns = {k: itemgetter(k) for k in dict.fromkeys(keys)}
            parts.append(_table(name.replace("_", " "), slices, columns))
    return parts


def _classifier_part(folder: Path, figures: dict[str, Any], seen: Judged) -> list[str]:
    from convert.worst import contact_sheet

    parts = ["<h2>Classifier</h2>", _table("All", {"all": figures}, CLASSIFIER_COLUMNS)]
    columns = {k: itemgetter(k) for k in LABEL_COLUMNS}
    parts.append(_table("by label", figures["by_label"], columns))
    parts += [
        _table(name.replace("_", " "), figures[name], CLASSIFIER_COLUMNS)
        for name in figures
        if name.startswith("by_") and name != "by_label"
    ]
    truth, scores = seen.arrays()
    if not len(truth):
        return parts
    confusion_plot(figures["confusion"], folder / "confusion.png")
    curves_plot(truth, scores, folder / "precision_recall.png")
    roc_plot(truth, scores, folder / "roc.png")
    reliability_plot(truth, scores, folder / "reliability.png")
    names = ["confusion.png", "precision_recall.png", "roc.png", "reliability.png"]
    rows = contact_sheet(seen, folder / "worst.png")
    if rows:
        numbered = {str(number): row for number, row in enumerate(rows, 1)}
        parts.append(_table("Worst errors", numbered, {k: itemgetter(k) for k in rows[0]}))
        names = ["worst.png", *names]
    return [*parts, *(_picture(folder / name) for name in names)]


def _picture(path: Path) -> str:
    coded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{path.name}" src="data:image/png;base64,{coded}">'


def _crops_part(figures: dict[str, Any]) -> list[str]:
    kinds = {name: figures[name] for name in figures if name != "by_tag"}
    columns: dict[str, Any] = {"faces": itemgetter("faces")}
    columns |= {f"called {label}": _called(label) for label in LABELS}
    return [_table("Tight crops", {**kinds, **figures["by_tag"]}, columns)]


def _chain_part(figures: dict[str, Any]) -> list[str]:
    columns = {k: itemgetter(k) for k in ("faces", "found", "found_and_right")}
    parts = ["<h2>The whole chain</h2>"]
    for title, part in (
        ("Found: boxes overlap by half", figures),
        ("Found: boxes overlap by 0.3", figures["at_iou_0.3"]),
    ):
        parts.append(_table(title, {"all": part["all"], **part["by"]}, columns))
    return [*parts, f"<p>{html.escape(nobody_text(figures['nobody']))}</p>"]
