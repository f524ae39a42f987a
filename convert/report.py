"""``python -m convert report``: measured figures into the networks' JSON and the model card."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import click

from maskedge.errors import InputError, UsageError
from maskedge.modelfile import ModelFile
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORDS = Path(__file__).with_name("card.md")
PARTS = ("detector", "classifier")


def read_figures(path: Path) -> dict[str, Any]:
    """What ``evaluate --json`` wrote.

    Raises:
        InputError: it isn't that.
    """
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't read the figures: {error}") from error
    if not isinstance(figures, dict) or "models" not in figures:
        raise InputError(f"{path}: no figures of python -m convert evaluate")
    return figures


def take_up(model: ModelFile, evaluations: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A network's JSON with the figures that were measured on this very file.

    Raises:
        UsageError: figures of the same file name, but of other bytes.
    """
    card = {**model.card}
    measured = dict(card.get("evaluations", {}))
    for name, figures in evaluations.items():
        for part in PARTS:
            asked = figures["models"].get(part)
            if not asked or asked["file"] != model.path.name:
                continue
            if asked["sha256"] != model.sha256:
                raise UsageError(
                    f"{name}: measured another {model.path.name} (SHA-256 {asked['sha256'][:12]}, "
                    f"here {model.fingerprint}); evaluate again"
                )
            measured[name] = {k: v for k, v in figures[part].items() if k != "curve"}
    return {**card, "evaluations": measured} if measured else card


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
        for group in ("by_size", "by_light", "by_source"):
            rows += [classifier_row(key, value) for key, value in judged.get(group, {}).items()]
        parts.append(f"`{name}`, boxes drawn by people:\n\n{table(CLASSIFIER_HEAD, rows)}")
        counts = [[label, *row] for label, row in zip(LABELS, judged["confusion"], strict=True)]
        parts.append(f"`{name}`, counts:\n\n{table(('truth, called', *LABELS), counts)}")
    return "\n\n".join(parts)


def chain_tables(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Detector and chain figures of each evaluation."""
    parts = []
    for name, figures in evaluations.items():
        if "detector" in figures:
            found = figures["detector"]
            rows = [
                [key.replace("_", " "), value]
                for key, value in found.items()
                if not isinstance(value, dict | list)
            ]
            for group in ("recall_by_label", "recall_by_size"):
                rows += [[f"recall, {k}", v["recall"]] for k, v in found.get(group, {}).items()]
            parts.append(f"`{name}`, detector:\n\n{table(('figure', 'value'), rows)}")
        if "chain" in figures:
            chain = {"all": figures["chain"]["all"], **figures["chain"]["by"]}
            rows = [[k, v["faces"], v["found"], v["found_and_right"]] for k, v in chain.items()]
            head = ("faces of", "number", "found", "found and judged right")
            parts.append(
                f"`{name}`, the chain at detector score {figures['threshold']}:\n\n"
                + table(head, rows)
            )
    return "\n\n".join(parts) or "Not measured."


def model_card(models: Sequence[ModelFile], evaluations: Mapping[str, dict[str, Any]]) -> str:
    """The text of MODEL_CARD.md."""
    judges = [m.card for m in models if m.card.get("task") == "classifier"]
    card = judges[0] if judges else {}
    calibration = card.get("calibration", {})
    training = card.get("training", {}).get("recipe", {})
    text = (
        f"Trained for {card.get('training', {}).get('epochs', '?')} epochs of "
        f"{training.get('steps', '?')} batches of {training.get('batch', '?')} crops; softmax "
        f"temperature {calibration.get('temperature', 1)}, expected share of labels "
        f"{calibration.get('prior', 'as in training')}."
    )
    return Template(WORDS.read_text(encoding="utf-8")).substitute(
        networks=networks_table(models),
        held_out=f"{100 * training.get('held_out', 0):.0f} %",
        classifier_text=text,
        classifier=classifier_tables(card, evaluations) or "Not measured.",
        detector=chain_tables(evaluations),
    )


@click.command()
@click.option(
    "--figures",
    multiple=True,
    metavar="NAME=FILE",
    help="A JSON of evaluate, and what to call it; may be repeated.",
)
@click.option(
    "--models",
    default=Path("models"),
    show_default=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the networks.",
)
def command(figures: tuple[str, ...], models: Path) -> None:
    """Write measured figures into each network's JSON, and MODEL_CARD.md beside them.

    \b
    Example:
      python -m convert evaluate --coco val.json --images val --json figures.json
      python -m convert report --figures validation=figures.json
    """  # noqa: D301 - click reads the \b
    from convert.quantize import write_card

    evaluations = {}
    for pair in figures:
        name, _, file = pair.rpartition("=")
        evaluations[name or Path(file).stem] = read_figures(Path(file))
    networks = [ModelFile.load(path) for path in sorted(models.glob("*.tflite"))]
    if not networks:
        raise InputError(f"{models}: holds no .tflite")
    cards = [take_up(network, evaluations) for network in networks]
    for network, card in zip(networks, cards, strict=True):
        if card == network.card:
            continue
        write_card(network.path, {k: v for k, v in card.items() if k not in {"schema", "sha256"}})
    text = model_card([ModelFile.load(n.path) for n in networks], evaluations)
    (models / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    click.echo(
        f"{models / 'MODEL_CARD.md'}: {len(networks)} networks, {len(evaluations)} evaluations"
    )
