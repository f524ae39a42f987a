"""``python -m convert report``: measured figures into the networks' JSON and the model card.

What was measured is kept beside the networks, in ``figures/``, so that the card can be written
again at any time, also when only one network or a word of it has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convert.card import Figures, model_card, shipped
from convert.output import write_text
from maskedge.errors import InputError, UsageError
from maskedge.modelfile import ModelFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PARTS = ("detector", "classifier")
NETWORKS_NEEDED = {"chain": PARTS, "robustness": PARTS[1:], "crops": PARTS[1:]}
"""What else of an evaluation is about which networks."""
CLASSIC, DECISIONS = "classic-", "decisions"
"""How files in ``figures/`` begin that hold no evaluation of the shipped networks."""


def read_figures(path: Path) -> dict[str, Any]:
    """What ``evaluate --json`` wrote.

    Raises:
        InputError: it isn't that.
    """
    try:
        figures: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't read the figures: {error}") from error
    named = figures.get("models") if isinstance(figures, dict) else None
    if not isinstance(named, dict) or not all(
        isinstance(model, dict) and {"file", "sha256"} <= model.keys() for model in named.values()
    ):
        raise InputError(f"{path}: no figures of python -m convert evaluate")
    return dict(figures)


def take_up(model: ModelFile, evaluations: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A network's JSON with the figures that were measured on this very file.

    The reference for drift is that of the last evaluation that ran the whole chain.

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
            if part in figures.get("reference", {}):
                card["reference"] = figures["reference"][part]
    return {**card, "evaluations": measured} if measured else card


def kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What of an evaluation the card needs: no curves, and nothing of single pictures."""
    left_out = ("reference", "seconds", "curve")
    return {
        k: {n: v for n, v in part.items() if n not in left_out} if isinstance(part, dict) else part
        for k, part in figures.items()
        if k not in left_out
    }


def merged(before: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """New figures, and those parts of the old ones that weren't measured again."""
    models = {**before.get("models", {}), **measured["models"]}
    known = {part: figures for part, figures in before.items() if part != "unlike"}
    return {**known, **measured, "models": models}


def current(name: str, figures: Mapping[str, Any], networks: Sequence[ModelFile]) -> dict[str, Any]:
    """An evaluation without the parts whose network is no longer the one that was measured."""
    shipped = {network.path.name: network.sha256 for network in networks}
    gone = {
        part
        for part, asked in figures["models"].items()
        if shipped.get(asked["file"]) != asked["sha256"]
    }
    for part in sorted(gone & figures.keys()):
        file = figures["models"][part]["file"]
        click.echo(
            f"{name}: measured another {file} than the one here; its figures are left out of the "
            "card until you evaluate again"
            if file in shipped
            else f"{name}: there is no {file} here; its figures are left out of the card",
            err=True,
        )
    gone |= {part for part, needed in NETWORKS_NEEDED.items() if gone & set(needed)}
    models = {part: asked for part, asked in figures["models"].items() if part not in gone}
    return {k: v for k, v in figures.items() if k not in gone} | {"models": models}


def read_decisions(path: Path) -> list[dict[str, Any]]:
    """Rows that ``benchmarks/decision_curves.py --json`` printed.

    Raises:
        InputError: it isn't that.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all({"rule", "found", "false_per_1000"} <= set(row) for row in rows) or not rows:
            raise InputError(f"{path}: no output of benchmarks/decision_curves.py --json")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: can't read the decision curves: {error}") from error
    return rows


def stored(folder: Path, networks: Sequence[ModelFile]) -> Figures:
    """All figures that are kept, as far as they are still of these networks."""
    found = Figures()
    for path in sorted(folder.glob("*.json")):
        if path.stem == DECISIONS:
            found.decisions = json.loads(path.read_text(encoding="utf-8"))
        elif path.stem.startswith(CLASSIC):
            found.classic[path.stem.removeprefix(CLASSIC)] = read_figures(path)
        else:
            found.evaluations[path.stem] = current(path.stem, read_figures(path), networks)
    return found


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _named(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for pair in pairs:
        name, _, file = pair.rpartition("=")
        found[name or Path(file).stem] = read_figures(Path(file))
    return found


@click.command()
@click.option(
    "--figures",
    multiple=True,
    metavar="NAME=FILE",
    help="A JSON of evaluate, and what to call it; may be repeated.",
)
@click.option(
    "--classic",
    multiple=True,
    metavar="SPLIT=FILE",
    help="A JSON of evaluate on the classic folders, and how they were split; may be repeated.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What benchmarks/decision_curves.py --json printed.",
)
@click.option(
    "--models",
    default=Path("models"),
    show_default=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the networks.",
)
def command(
    figures: tuple[str, ...], classic: tuple[str, ...], decisions: Path | None, models: Path
) -> None:
    """Write measured figures into each network's JSON, and MODEL_CARD.md beside them.

    Figures are kept in MODELS/figures, so that later runs need to be given only what was measured
    anew. Those of a network that is no longer there are left out, and it says so.

    \b
    Example:
      python -m convert evaluate --coco val.json --images val --json figures.json
      python -m convert report --figures validation=figures.json
    """  # noqa: D301 - click reads the \b
    from convert.quantize import write_card

    evaluations = _named(figures)
    networks = [ModelFile.load(path) for path in sorted(models.glob("*.tflite"))]
    if not networks:
        raise InputError(f"{models}: holds no .tflite")
    cards = [take_up(network, evaluations) for network in networks]
    for network, card in zip(networks, cards, strict=True):
        if card == network.card:
            continue
        write_card(network.path, {k: v for k, v in card.items() if k not in {"schema", "sha256"}})
    folder = models / "figures"
    for name, measured in evaluations.items():
        path = folder / f"{name}.json"
        before = current(name, read_figures(path), networks) if path.exists() else {}
        _write(path, merged(before, kept(measured)))
    for name, measured in _named(classic).items():
        _write(folder / f"{CLASSIC}{name}.json", kept(measured))
    if decisions:
        _write(folder / f"{DECISIONS}.json", read_decisions(decisions))
    networks = [ModelFile.load(network.path) for network in networks]
    everything = stored(folder, networks)
    write_text(models / "MODEL_CARD.md", model_card(networks, everything))
    if others := [network.path.name for network in networks if not shipped(network)]:
        click.echo(
            f"note: {', '.join(others)}: not as shipped, so the card's data are those that the "
            "networks' JSON tells",
            err=True,
        )
    click.echo(
        f"{models / 'MODEL_CARD.md'}: {len(networks)} networks, "
        f"{len(everything.evaluations)} evaluations, {len(everything.classic)} classic splits, "
        f"{len(everything.decisions)} decision rules"
    )
