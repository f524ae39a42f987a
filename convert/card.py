"""The tables of MODEL_CARD.md, from measured figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from convert.sources import PARTS as USES
from convert.sources import learnt_from
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from maskedge.modelfile import ModelFile

WORDS = Path(__file__).with_name("card.md")
OWN_WORDS = Path(__file__).with_name("own_card.md")
WORDS_ARE_OF = {
    "1218f507be83", "255819a60c2b", "465288b2b8c9", "493970238bf7", "64c852b4b202", "97503e4a0461",
    "9e138b335243", "d892b274fd1e",
}  # fmt: skip
"""Fingerprints of the networks that ship. What :data:`WORDS` says of their data, and of what eyes
saw in their figures, is true of these alone; for others there are :data:`OWN_WORDS`."""
NOT_STATED = "not stated: name it"
NOT_MEASURED = "Not measured."
SQUARE = "face_detector_320x320"
PARTS = {"val": "on the validation collection", "held_out": "on the held-out training pictures"}
SAID = {
    "ap": "average precision",
    "recall": "found at any score",
    "recall_at_95_precision": "found at 95 % precision",
}


@dataclass
class Figures:
    """Everything that was measured.

    Attributes:
        evaluations: of ``convert evaluate`` on the shipped networks, by name.
        classic: of ``convert evaluate`` on the classic folders, by name of the split.
        decisions: rows of ``benchmarks/decision_curves.py``.
    """

    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    classic: dict[str, dict[str, Any]] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_shown(cell) for cell in line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def networks_table(models: Sequence[ModelFile]) -> str:
    """File, kind, input, size and fingerprint of each network."""
    rows = []
    for model in models:
        card = model.card
        given = card.get("input", {})
        size = given.get("size") or f"{given.get('width', '?')} x {given.get('height', '?')}"
        kilobytes = model.path.stat().st_size / 1024
        rows.append(
            [
                f"`{model.path.name}`", card.get("network", card.get("task", "")), size,
                f"{kilobytes:.0f} KB", f"`{model.fingerprint}`",
            ]
        )  # fmt: skip
    return table(("file", "network", "input, pixels", "size", "SHA-256"), rows)


CLASSIFIER_HEAD = ("faces of", "number", *LABELS, "incorrect called with_mask", "ECE")


def classifier_row(name: str, figures: Mapping[str, Any]) -> list[Any]:
    """Recall by label and what else matters, of one slice."""
    recalls = [figures["by_label"][label]["recall"] for label in LABELS]
    return [
        name, figures["faces"], *recalls, figures["incorrect_called_with_mask"], figures["ece"]
    ]  # fmt: skip


def classifier_tables(card: Mapping[str, Any], evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Figures of the last quantisation (its own crops) and of each evaluation, by slice."""
    parts = []
    own = {k: v for k, v in card.get("metrics", {}).items() if isinstance(v, dict)}
    if own:
        rows = [classifier_row(name.replace("_", " "), v) for name, v in own.items()]
        parts.append(
            "Recall by label on validation faces, at quantisation (boxes drawn by people; "
            "`float` and `int8` are the same faces):\n\n" + table(CLASSIFIER_HEAD, rows)
        )
    for name, figures in evaluations.items():
        if "classifier" not in figures:
            continue
        judged = figures["classifier"]
        rows = [classifier_row("all", judged)]
        for kind, members in judged.items():
            if kind.startswith("by_") and kind != "by_label":
                rows += [classifier_row(key, value) for key, value in members.items()]
        parts.append(f"`{name}`, boxes drawn by people:\n\n{table(CLASSIFIER_HEAD, rows)}")
        counts = [[label, *row] for label, row in zip(LABELS, judged["confusion"], strict=True)]
        parts.append(f"`{name}`, counts:\n\n{table(('truth, called', *LABELS), counts)}")
    return "\n\n".join(parts) or NOT_MEASURED


def hardship_tables(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """The same faces changed in one way at a time."""
    return _each(
        evaluations,
        "robustness",
        lambda hard: table(CLASSIFIER_HEAD, [classifier_row(k, v) for k, v in hard.items()]),
    )


def crops_tables(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """How often each label is called on crops of which only "covered" or a tag is known."""

    def rows(crops: Mapping[str, Any]) -> str:
        kinds = {k: v for k, v in crops.items() if k != "by_tag"} | crops.get("by_tag", {})
        found = [
            [k, v["faces"], *(v["called"][label] for label in LABELS)] for k, v in kinds.items()
        ]
        return table(("crops", "number", *(f"called {label}" for label in LABELS)), found)

    return _each(evaluations, "crops", rows)


def _each(evaluations: Mapping[str, dict[str, Any]], part: str, write: Callable[[Any], str]) -> str:
    found = [f"`{name}`:\n\n{write(f[part])}" for name, f in evaluations.items() if part in f]
    return "\n\n".join(found) or NOT_MEASURED


def detector_table(strict: Mapping[str, Any]) -> str:
    """What ``score_detections`` measured, at an overlap of one half and at a looser one."""
    loose = strict.get("at_iou_0.3", {})
    keys = ("ap", "recall", "recall_at_95_precision")
    rows = [[SAID[key], strict.get(key), loose.get(key)] for key in keys]
    for group in ("recall_by_label", "recall_by_size"):
        rows += [
            [f"of {name}", face["recall"], loose.get(group, {}).get(name, {}).get("recall")]
            for name, face in strict.get(group, {}).items()
        ]
    head = (f"of {strict.get('faces', '?')} faces", "overlap 0.5", "overlap 0.3")
    return table(head, rows)


def chain_tables(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Detector and chain figures of each evaluation."""
    parts = []
    for name, figures in evaluations.items():
        if apart := figures.get("unlike"):
            parts.append(
                f"`{name}` is without {apart['left_out']} pictures that look like one in "
                f"{apart['file']}, mirrored or not (`evaluate --unlike`)."
            )
        if "detector" in figures:
            parts.append(f"`{name}`, detector:\n\n{detector_table(figures['detector'])}")
        if "chain" in figures:
            chain = figures["chain"]
            loose = chain.get("at_iou_0.3", {"by": {}, "all": {}})
            lines = {"all": (chain["all"], loose["all"])}
            lines |= {k: (v, loose["by"].get(k, {})) for k, v in chain["by"].items()}
            keys = ("found", "found_and_right")
            rows = [
                [k, one["faces"], *(one[x] for x in keys), *(other.get(x) for x in keys)]
                for k, (one, other) in lines.items()
            ]
            head = ("faces of", "number", "found", "and right", "found, IoU 0.3", "and right")
            parts.append(
                f"`{name}`, the chain at detector score {figures['threshold']}:\n\n"
                + table(head, rows)
            )
            if nobody := chain.get("nobody"):
                parts.append(nobody_text(nobody))
    return "\n\n".join(parts) or NOT_MEASURED


def nobody_text(nobody: Mapping[str, Any]) -> str:
    """What the chain makes of boxes in which nobody annotated a face."""
    believed = ", ".join(f"{count} {label}" for label, count in nobody["believed"].items())
    return (
        f"{nobody['boxes']} boxes found were of no annotated face. Called with a probability of "
        f"{nobody['sure']} or more, which is enough for a decision: {believed}."
    )


def decision_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Violations found against false alerts, by evidence rule."""
    head = (
        "rule", "false alerts per 1,000 compliant visits", "violations found", "seconds, median",
        "seconds, 95 of 100", "told twice", "about nobody",
    )  # fmt: skip
    lines = [
        [
            row["rule"],
            f"{row['false_per_1000']} ({row['false_interval'][0]}-{row['false_interval'][1]})",
            f"{row['found']:.3f} ({row['found_interval'][0]}-{row['found_interval'][1]})",
            f"{row['delay_p50']:.1f}",
            f"{row['delay_p95']:.1f}",
            row.get("repeated"),
            row.get("nobody"),
        ]
        for row in rows
    ]
    return table(head, lines) if lines else NOT_MEASURED


def classic_table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """The field's folders, one picture one face: a row per way of splitting them."""
    rows = [
        [
            name, figures["classifier"]["faces"], figures["classifier"]["accuracy"],
            figures["classifier"]["loss"],
        ]
        for name, figures in measured.items()
    ]  # fmt: skip
    head = ("split", "test pictures", "accuracy", "loss")
    return table(head, rows) if rows else NOT_MEASURED


def boxes_text(models: Sequence[ModelFile]) -> str:
    """How much of the detector's AP is a matter of where annotators draw boxes."""
    metrics = next((m.card["metrics"] for m in models if m.path.stem == SQUARE), None)
    if metrics is None:
        return ""
    shown = {name: [metrics[name]["ap"], metrics[name]["at_iou_0.3"]["ap"]] for name in metrics}
    said = "; ".join(
        f"{PARTS.get(name, name)} {half:.2f} at an overlap of 0.5 and {loose:.2f} at 0.3"
        for name, (half, loose) in shown.items()
    )
    return f"AP of the 320-pixel detector: {said}."


def shipped(model: ModelFile) -> bool:
    """Whether it is one of the networks that :data:`WORDS` is about."""
    return model.fingerprint in WORDS_ARE_OF


def data_text(models: Sequence[ModelFile]) -> str:
    """What the networks' own notes say of the pictures that they learnt from."""
    told: dict[str, list[str]] = {}
    for model in models:
        name = f"`{model.path.name}`"
        told.setdefault(_descent(model.fingerprint, model.card.get("training", {})), []).append(
            name
        )
    return "\n\n".join(f"{', '.join(names)}:\n\n{text}" for text, names in told.items())


def _descent(fingerprint: str, training: Mapping[str, Any]) -> str:
    """The collections of a network, and those of the networks that its training began with."""
    if fingerprint in WORDS_ARE_OF:
        return (
            "As it ships with maskedge, whose `models/MODEL_CARD.md` names the collections that it "
            "learnt from and their licences."
        )
    rows = [
        [name, *(entry.get(use) for use in USES), entry.get("licence") or NOT_STATED]
        for name, entry in learnt_from(training).items()
    ]
    text = table(("collection", *USES, "licence"), rows) if rows else f"Collections {NOT_STATED}."
    if before := training.get("started_from"):
        digest = before.get("sha256", "")[:12]
        text += f"\n\nIts training went on from `{before['file']}`" + (
            f" (`{digest}`). {_descent(digest, before.get('training', {}))}" if digest else "."
        )
    return text


def model_card(models: Sequence[ModelFile], figures: Figures) -> str:
    """The text of MODEL_CARD.md."""
    evaluations = figures.evaluations
    judges = [m.card for m in models if m.card.get("task") == "classifier"]
    card = judges[0] if judges else {}
    calibration = card.get("calibration", {})
    learnt = card.get("training", {})
    training, runs = learnt.get("recipe", {}), learnt.get("mean_of", 1)
    text = (
        (f"The mean of {runs} runs, the last " if runs > 1 else "Trained ")
        + f"for {learnt.get('epochs', '?')} epochs of "
        f"{training.get('steps', '?')} batches of {training.get('batch', '?')} crops; softmax "
        f"temperature {calibration.get('temperature', 1)}, expected share of labels "
        f"{calibration.get('prior', 'as in training')}."
    )
    words = WORDS if all(map(shipped, models)) else OWN_WORDS
    return Template(words.read_text(encoding="utf-8")).substitute(
        data=data_text(models),
        networks=networks_table(models),
        held_out=f"{100 * training.get('held_out', 0):.0f} %",
        classifier_text=text if judges else "There is none here.",
        classifier=classifier_tables(card, evaluations),
        hardships=hardship_tables(evaluations),
        crops=crops_tables(evaluations),
        classic=classic_table(figures.classic),
        detector=chain_tables(evaluations),
        boxes=boxes_text(models),
        decisions=decision_table(figures.decisions),
    )
