"""``python -m convert golden``: what a network says of the drawn pictures, kept beside it.

Where it is installed it must say the same (``maskedge models verify``): else it is another network,
or the interpreter there computes it wrongly.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from convert.output import write_text
from maskedge.errors import InputError
from maskedge.modelfile import ModelFile
from maskedge.models import golden


def record(path: Path) -> golden.Answer:
    """Write a network's answers, and its date, into the JSON beside it; say whether they are right.

    Raises:
        ModelError: it can't be loaded, or isn't the network of its JSON.
        InputError: it has no JSON.
    """
    model = ModelFile.load(path)
    if not model.card:
        raise InputError(f"{path}: has no {path.with_suffix('.json').name} beside it")
    answers, answer = golden.ask(model)
    today = datetime.now(UTC).date().isoformat()
    told = {"pictures": golden.PICTURES, "answers": answers}
    card = {**model.card, "created": model.card.get("created", today), "golden": told}
    text = json.dumps(card, indent=2, ensure_ascii=False)
    write_text(path.with_suffix(".json"), text + "\n")
    return answer


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(models: tuple[Path, ...]) -> None:
    """Record what networks say of drawn pictures, for whoever installs them to compare.

    quantize and calibrate do this themselves; networks made otherwise need it after the last change
    of their JSON.
    """
    for path in models:
        show(path, record(path))


def show(path: Path, answer: golden.Answer) -> None:
    """Say what was recorded."""
    also = "" if answer.good else ": maskedge models install will refuse it"
    click.echo(f"{path}: {answer.message}{also}")
