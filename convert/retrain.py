"""``python -m convert retrain``: the shipped classifier learns your pictures, if it stays as good.

The float network is made again from the shipped ``.tflite`` (``classifier/dequantise.py``), trained
on a little with the batches and augmentation that made it, quantised through the same gate, and
held against the one in use on test pictures that neither was trained on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from convert.backend import SEED, limit_threads, need_tensorflow
from convert.card import table
from convert.classifier.recipe import Recipe
from convert.contest import judge
from convert.metrics import summary
from convert.output import writable, write_text
from convert.resume import same_settings
from maskedge.errors import MaskedgeError, UsageError
from maskedge.inference.preflight import preflight
from maskedge.modelfile import ModelFile, models_dir
from maskedge.models import golden
from maskedge.vision.masks import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convert.classifier.data import CropStore
    from convert.contest import Answers

DEFAULTS = Recipe(
    freeze="block_5_add", head_steps=0, steps=60, epochs=6, rate=1e-4, warm_up=30, patience=3,
)  # fmt: skip
"""Gentle: a low rate for a few hundred steps, the first blocks left as they are."""

SHARE = 0.5
"""Of the user's own pictures in each batch."""
BEGUN = "begun.json"
"""In the folder of a run: the network that it began with, and the share."""
FIXED = ("share", "steps", "batch", "rate", "freeze", "seed")
"""Options that can't change when a run goes on: what it has learnt depends on them."""
CURE = "train anew, in another --out, with a smaller --rate or fewer --steps"
"""What to do where the new network is too far from its own float form."""


class RefusedError(MaskedgeError):
    """The new network is worse than the one in use somewhere that matters."""


def recipe_of(champion: ModelFile, **options: Any) -> Recipe:
    """How to train on from a network: its shape, :data:`DEFAULTS` and the user's wishes.

    What was held out when it was trained stays held out: on that it was never taught.
    """
    known = {f.name for f in fields(Recipe)}
    given = champion.card.get("training", {}).get("recipe", {})
    first = Recipe(**{k: v for k, v in given.items() if k in known})
    kept = ("backbone", "alpha", "size", "padding", "held_out")
    recipe = replace(DEFAULTS, **{k: getattr(first, k) for k in kept}, **options)
    other_kind = recipe.freeze == DEFAULTS.freeze and recipe.backbone != DEFAULTS.backbone
    return replace(recipe, freeze=None) if recipe.freeze == "none" or other_kind else recipe


def begin(folder: Path, champion: ModelFile, share: float) -> None:
    """Note what a run is begun with, besides its recipe."""
    begun = {"model": str(champion.path.resolve()), "sha256": champion.sha256, "share": share}
    write_text(folder / BEGUN, json.dumps(begun, indent=1))


def as_begun(
    folder: Path, model: Path | None, said: Mapping[str, Any]
) -> tuple[ModelFile, Recipe, float]:
    """Network in use, recipe and share with which a run goes on: those that it was begun with.

    Args:
        folder: of the run.
        model: the network in use, where the user names it.
        said: options that the user gives anew; only ``epochs`` may differ.

    Raises:
        UsageError: it was begun with another network or other options.
        InputError: it can't be read how it was begun.
    """
    from convert.classifier.train import recorded

    recipe = recorded(folder)
    file = folder / BEGUN
    begun = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}  # an older run
    champion = ModelFile.load(model or Path(begun.get("model", models_dir() / SHIPPED)))
    if champion.sha256 != begun.get("sha256", champion.sha256):
        before = {"network in use": f"{begun['model']} ({begun['sha256'][:12]})"}
        now = {"network in use": f"{champion.path} ({champion.fingerprint})"}
        same_settings(folder, before, before, now)
    share = said.get("share", begun.get("share", SHARE))
    told = {name: value for name, value in said.items() if name != "share"}
    if "freeze" in told:
        told["freeze"] = recipe_of(champion, freeze=told["freeze"]).freeze
    asked = replace(recipe, **told)
    before = {"share": begun.get("share", share), **asdict(recipe)}
    same_settings(folder, FIXED, before, {"share": share, **asdict(asked)})
    return champion, asked, share


def retrain(
    champion: ModelFile, store: CropStore, folder: Path, recipe: Recipe, *, share: float
) -> dict[str, Any]:
    """Train on from a network, and hold the new one against it; go on where a kill stopped it.

    Args:
        champion: the network in use.
        store: faces of training, validation and test.
        folder: of the run; gets ``report.json``, ``report.md`` and, if it is accepted, the
            ``.tflite`` and JSON under the champion's name.
        recipe: how to train.
        share: of the user's own pictures in each batch.

    Returns:
        The report: :func:`convert.contest.judge`'s, with both networks' figures.

    Raises:
        RefusedError: it is worse somewhere that matters; the report says where.
        GateError: its int8 form is too far from its float one.
    """
    import keras

    from convert.classifier.champion import (
        fidelity,
        shift_of,
        start_from,
        temperature_of,
        test_of,
    )
    from convert.classifier.own import mixer
    from convert.classifier.run import ClassifierRun
    from convert.classifier.train import second_stage, train
    from convert.quantize import prove

    copied = fidelity(champion, store, recipe)
    train(
        store,
        folder,
        recipe,
        resume=(folder / "last" / "state.json").exists(),
        start=lambda *_: second_stage(start_from(champion, recipe.seed), recipe),
        mix=mixer(share),
    )
    model = keras.models.load_model(folder / "best.keras", compile=False)
    draft = folder / "challenger.tflite"
    try:
        run = ClassifierRun.open(folder)
        descent = {"file": champion.path.name, "sha256": champion.sha256}
        descent["training"] = champion.card.get("training", {})
        prove(
            run,
            model,
            draft,
            shift=shift_of(champion),
            temperature=temperature_of(champion),
            descent=descent,
            cure=CURE,
        )
        report = judged(test_of(store, champion.path, draft), champion, draft)
        report["float_copy"] = copied
        write_text(folder / "report.json", json.dumps(report, indent=2))
        write_text(folder / "report.md", readable(report))
        if not report["accepted"]:
            raise RefusedError(
                f"{champion.path.name} stays: the new network is worse: "
                f"{'; '.join(report['reasons'])}; see {folder / 'report.md'}"
            )
        out = folder / champion.path.name
        draft.replace(out)
        draft.with_suffix(".json").replace(out.with_suffix(".json"))
    finally:
        draft.unlink(missing_ok=True)
        draft.with_suffix(".json").unlink(missing_ok=True)
    return report


def judged(test: Answers, champion: ModelFile, challenger: Path) -> dict[str, Any]:
    """The contest's outcome with both networks' figures, and what else ``install`` will ask."""
    digest = hashlib.sha256(challenger.read_bytes()).hexdigest()
    report = judge(test)
    broken = [f"Edge TPU: {v.message} ({v.layer})" for v in preflight(challenger) if v.fatal]
    before, after = (golden.ask(ModelFile.load(p))[1] for p in (champion.path, challenger))
    if before.good and not after.good:
        broken.append(f"golden pictures: {after.message}")
    if broken:
        report |= {"accepted": False, "reasons": [*broken, *report["reasons"]]}
    return report | {
        "champion": {"sha256": champion.sha256, **summary(test.truth, test.champion)},
        "challenger": {"sha256": digest, **summary(test.truth, test.challenger)},
    }


def readable(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    said = "Accepted" if report["accepted"] else "Refused"
    head = ("criterion", "faces", "in use", "new", "better by", "95 % interval", "")
    rows = [
        [
            c["name"], c["faces"], c["champion"], c["challenger"], f"{c['difference']:+.3f}",
            f"{c['low']:+.3f} to {c['high']:+.3f}", c["verdict"],
        ]
        for c in report["criteria"]
    ]  # fmt: skip
    told = report["mcnemar"]
    test = (
        f"On {report['faces']} test faces of {report['groups']} groups, the new network is right "
        f"on {told['challenger_only']} that the one in use gets wrong, and wrong on "
        f"{told['champion_only']} that it gets right. By most of their faces it wins "
        f"{told['groups_won']} groups and loses {told['groups_lost']} (McNemar's exact test: "
        f"p = {told['p']:.4f})."
    )
    old, new = (report[name]["sha256"][:12] for name in ("champion", "challenger"))
    reasons = "\n".join(f"- {reason}" for reason in report["reasons"])
    files = f"In use: `{old}`; new: `{new}`."
    return "\n\n".join([f"# {said}", reasons, test, table(head, rows), files]) + "\n"


FOLDERS = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=FOLDERS,
    help="Your own COCO set: train.json, train/, val and test; may be repeated.",
)
@click.option(
    "--with",
    "others",
    multiple=True,
    type=FOLDERS,
    help="Another set to mix in, so that nothing is forgotten; may be repeated.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--model", type=FILE, help="The network in use; default: the one shipped.")
@click.option("--landmarks", type=FILE, help="YuNet's ONNX file: to draw masks on bare faces.")
@click.option(
    "--share",
    default=SHARE,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Of your own pictures in each batch.",
)
@click.option("--epochs", default=DEFAULTS.epochs, show_default=True, type=click.IntRange(1))
@click.option(
    "--steps",
    default=DEFAULTS.steps,
    show_default=True,
    type=click.IntRange(1),
    help="Batches per epoch.",
)
@click.option("--batch", default=DEFAULTS.batch, show_default=True, type=click.IntRange(2))
@click.option(
    "--rate",
    default=DEFAULTS.rate,
    type=click.FloatRange(0, min_open=True),
    show_default=True,
    help="Peak learning rate.",
)
@click.option(
    "--freeze",
    default=DEFAULTS.freeze,
    show_default=True,
    help="Last layer that stays as it is; none for no such layer, pool for all but the head.",
)
@click.option("--resume", is_flag=True, help="Go on after the last finished epoch.")
@click.option("--seed", default=DEFAULTS.seed, type=SEED, show_default=True)
@click.option(
    "--threads", default=0, type=click.IntRange(0), help="Of the framework; 0: as many as it likes."
)
def command(
    data: tuple[Path, ...],
    others: tuple[Path, ...],
    out: Path,
    model: Path | None,
    landmarks: Path | None,
    share: float,
    threads: int,
    resume: bool,
    **options: Any,
) -> None:
    """Train the classifier in use on with your pictures; keep the result only if it is as good.

    The new network is written to OUT only if it is not worse anywhere that matters on test pictures
    that neither network was trained on: overall, on your own pictures and on the others, per label,
    in taking a mask worn wrong for a right one, on small faces, in calibration. Else it exits
    non-zero and says where. OUT/report.md has all figures with their intervals.

    \b
    Example:
      python -m convert dataset my-pictures --out data/mine
      python -m convert retrain --data data/mine --with DATA/detection --out runs/mine
    """  # noqa: D301 - click reads the \b
    need_tensorflow("retrain")
    crops = out / "crops" / "records.npy"
    if resume != crops.exists():
        raise UsageError(
            f"{out}: there is no run to resume; leave --resume out to begin one"
            if resume
            else f"{out}: has a run; give --resume to go on with it, or another --out"
        )
    if threads:
        limit_threads(threads)
    writable(out)
    from convert.classifier.own import open_store

    if (out / "last" / "state.json").exists():
        given = click.get_current_context().get_parameter_source
        every = {**options, "share": share}
        said = {k: v for k, v in every.items() if given(k) is ParameterSource.COMMANDLINE}
        champion, recipe, share = as_begun(out, model, said)
    else:
        champion = ModelFile.load(model or models_dir() / SHIPPED)
        recipe = recipe_of(champion, **options)
    store = open_store(data, others, out, landmarks, recipe)
    begin(out, champion, share)
    report = retrain(champion, store, out, recipe, share=share)
    click.echo(f"{out / champion.path.name}: {report['reasons'][0]}; see {out / 'report.md'}")
