"""Trains the face detector: ``python -m convert train --task detector``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convert.backend import SEED, compiled_steps, limit_threads
from convert.coco import read_coco
from maskedge.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convert.coco import Picture


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a training run depends on besides the pictures.

    Attributes:
        height: rows of the training pictures.
        width: columns of the training pictures.
        epochs: passes; the learning rate reaches its end with the last.
        steps: batches per epoch; 0 for as many as it takes to draw every picture once.
        batch: pictures per batch.
        rate: peak learning rate.
        decay: AdamW's weight decay.
        momentum: of the weights' running mean, which is what is kept.
        seed: of all randomness.
        hold_out: every so many pictures of the training split one is kept for validation; 0: none.
        mosaic: how often four pictures are put together in one.
        labels: name of the file with the training labels; empty: the set's own.
        hard: how often a picture is laid around something that looks like a face and is none.
    """

    height: int = 256
    width: int = 256
    epochs: int = 60
    steps: int = 0
    batch: int = 24
    rate: float = 1e-3
    decay: float = 2e-4
    momentum: float = 0.998
    seed: int = 1
    hold_out: int = 20
    mosaic: float = 0.5
    labels: str = ""
    hard: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The files of a run, in its folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """Weights and optimiser as they were after the last epoch: what ``--resume`` takes."""
        return self.folder / "last.keras"

    @property
    def mean(self) -> Path:
        """The running mean of the weights: what is evaluated and exported."""
        return self.folder / "mean.weights.h5"

    @property
    def exported(self) -> Path:
        """The weights that ``export --mean-with`` made of several runs'."""
        return self.folder / "exported.weights.h5"

    @property
    def history(self) -> Path:
        """JSON: settings, and per epoch loss, seconds and validation figures."""
        return self.folder / "history.json"


def train(  # noqa: PLR0913 - all but three are named settings
    data: Path,
    out: Path,
    settings: Settings,
    *,
    weights: Path | None = None,
    start: Path | None = None,
    labels: Path | None = None,
    resume: bool = False,
    workers: int = 2,
    validate_every: int = 5,
    stop_after: int | None = None,
    limit: int | None = None,
) -> Path:
    """Train, keeping a checkpoint after every epoch.

    Args:
        data: a folder with ``train.json`` and ``train/``, and maybe ``val.json`` and ``val/``.
        out: where checkpoints and history go.
        settings: see :class:`Settings`.
        weights: ImageNet weights of the trunk; None downloads them.
        start: weights of an earlier run to start from instead.
        labels: of the training pictures, instead of ``train.json``.
        resume: go on after the last checkpoint in ``out``.
        workers: threads that make batches.
        validate_every: epochs between validations; 0: never.
        stop_after: end after so many epochs in all, short of the settings' number.
        limit: use only so many pictures of each split.

    Returns:
        The file of the weights to export.

    Raises:
        InputError: pictures, labels or weights can't be read.
        UsageError: ``out`` has a run and ``resume`` isn't asked, or the other way round.
    """
    from convert.detector.data import (  # noqa: PLC0415 - loads Keras
        DetectorBatches,
        load_samples,
        source_weights,
    )
    from convert.detector.progress import Keeper  # noqa: PLC0415

    files = Checkpoint(out)
    if resume != files.history.exists():
        raise UsageError(
            f"{out}: there is no run to resume"
            if resume
            else f"{out}: has a run; give --resume to go on with it, or another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    pictures, held_out = split(
        read_coco(data / "train.json", data / "train")[:limit], settings.hold_out
    )
    if labels is not None:  # what is held out is measured with its own
        pictures, _ = split(read_coco(labels, data / "train")[:limit], settings.hold_out)
    if not any(picture.faces for picture in pictures):
        raise InputError(f"{labels or data / 'train.json'}: no face to learn from")
    steps = settings.steps or max(1, len(pictures) // settings.batch)
    validation = {"held_out": held_out} if held_out else {}
    if (data / "val.json").exists():
        validation["val"] = read_coco(data / "val.json", data / "val")[:limit]
    pictures = apart(pictures, [p for examined in validation.values() for p in examined])
    keeper = Keeper(files, asdict(settings), validation, validate_every)
    model = keeper.resumed() if resume else _fresh(settings, steps, weights, start)
    batches = DetectorBatches(
        load_samples(pictures),
        source_weights(pictures),
        (settings.height, settings.width),
        batch=settings.batch,
        steps=steps,
        seed=settings.seed,
        epoch=keeper.epoch,
        mosaic=settings.mosaic,
        hard=settings.hard,
        workers=workers,
        max_queue_size=8,
    )
    model.fit(
        batches,
        initial_epoch=keeper.epoch,
        epochs=min(settings.epochs, stop_after or settings.epochs),
        callbacks=[keeper],
        shuffle=False,  # random as they are; else a resumed run has another order
        verbose="auto",
    )
    return files.mean


def split(pictures: list[Picture], hold_out: int) -> tuple[list[Picture], list[Picture]]:
    """Training pictures, and every ``hold_out``-th one, which isn't trained on.

    Pictures of one group, where the set names groups, count as one.
    """
    if not hold_out:
        return pictures, []
    numbers: dict[str, int] = {}
    parts: tuple[list[Picture], list[Picture]] = [], []
    for picture in pictures:
        number = numbers.setdefault(picture.group or str(picture.path), len(numbers))
        parts[number % hold_out == hold_out // 2].append(picture)
    return parts


def apart(pictures: list[Picture], examined: Sequence[Picture]) -> list[Picture]:
    """Training pictures without those that look like one that the detector is examined on.

    Where most do, which is so with a fixed camera's, they stay, and that is told.

    Raises:
        InputError: one can't be read.
    """
    from convert.likeness import alike  # noqa: PLC0415 - loads OpenCV

    known = alike(pictures, examined)
    if 2 * sum(known) > len(known):
        click.echo(
            f"note: {sum(known)} of {len(known)} training pictures look like one that is held out "
            "or of validation, as those of a fixed camera do; they are trained on, so expect less "
            "in other places than is measured here",
            err=True,
        )
        return pictures
    if any(known):
        click.echo(
            f"left out of training: {sum(known)} pictures that look like one that is held out or "
            "of validation",
            err=True,
        )
    return [picture for picture, seen in zip(pictures, known, strict=True) if not seen]


def load_weights(network: Any, path: Path, option: str) -> None:
    """Give a network the weights of an earlier run.

    Args:
        network: from ``build_detector``.
        path: the file.
        option: where its name was given, for the message.

    Raises:
        InputError: it isn't the weights of a face detector.
    """
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{option} {path}: not the weights of a face detector of this network: {error}"
        ) from error


def _fresh(settings: Settings, steps: int, weights: Path | None, start: Path | None) -> Any:
    import keras  # noqa: PLC0415

    from convert.detector.loss import DetectorLoss  # noqa: PLC0415
    from convert.detector.network import (  # noqa: PLC0415
        build_detector,
        load_imagenet,
        training_model,
    )
    from convert.detector.optimiser import PointwiseMuon  # noqa: PLC0415

    keras.utils.set_random_seed(settings.seed)
    network = build_detector(settings.height, settings.width)
    if start is None:
        load_imagenet(network, weights)
    else:
        load_weights(network, start, "--start")
    total = steps * settings.epochs
    warm_up = min(400, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.rate * 0.02,
        decay_steps=max(1, total - warm_up),
        alpha=0.02,
        warmup_target=settings.rate,
        warmup_steps=warm_up,
    )
    model = training_model(network)
    model.compile(
        PointwiseMuon(
            schedule,
            weight_decay=settings.decay,
            adam_weight_decay=settings.decay,
            global_clipnorm=10.0,
        ),
        loss=DetectorLoss(settings.height, settings.width),
        jit_compile=compiled_steps(),
    )
    return model


@click.command(name="detector")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/detector"),
    show_default=True,
    help="Folder of the run.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="ImageNet weights of the trunk.")
@click.option("--start", type=click.Path(path_type=Path), help="Weights of an earlier run.")
@click.option("--labels", type=click.Path(path_type=Path), help="From convert relabel.")
@click.option("--resume", is_flag=True, help="Go on after the last checkpoint.")
@click.option("--size", default="256x256", show_default=True, help="Training pictures, WxH.")
@click.option("--epochs", default=60, type=click.IntRange(1), show_default=True)
@click.option(
    "--steps",
    default=0,
    type=click.IntRange(0),
    help="Batches per epoch; 0: as many as pictures need.",
)
@click.option("--batch", default=24, type=click.IntRange(1), show_default=True)
@click.option(
    "--rate",
    default=1e-3,
    type=click.FloatRange(0, min_open=True),
    show_default=True,
    help="Peak learning rate.",
)
@click.option("--seed", default=1, type=SEED, show_default=True)
@click.option(
    "--hold-out",
    default=20,
    type=click.IntRange(0),
    show_default=True,
    help="Keep one in so many, from 2; 0: none.",
)
@click.option("--stop-after", type=int, help="Stop after so many epochs; --resume goes on.")
@click.option(
    "--mosaic",
    default=0.5,
    type=click.FloatRange(0, 1),
    show_default=True,
    help="Share of pictures made of four.",
)
@click.option(
    "--hard",
    default=0.25,
    type=click.FloatRange(0, 1),
    show_default=True,
    help="Share of pictures around what convert mine found, if labels have any.",
)
@click.option("--threads", default=0, help="Of the framework; 0: as many as it likes.")
@click.option("--workers", default=2, show_default=True, help="Threads that make batches.")
@click.option("--validate-every", default=5, show_default=True, help="Epochs; 0: never.")
@click.option("--limit", type=int, help="Use only so many pictures.")
def command(size: str, threads: int, **options: Any) -> None:
    """Train the face detector on a COCO set."""
    try:
        width, height = (int(n) for n in size.lower().split("x"))
    except ValueError:
        raise UsageError(f"--size {size}: give width x height, e.g. 256x256") from None
    if width % 32 or height % 32 or min(width, height) < 64:  # noqa: PLR2004
        raise UsageError(f"--size {size}: both must be multiples of 32, at least 64")
    if options["hold_out"] == 1:
        raise UsageError("--hold-out 1: would keep every picture; give 0 for none, or 2 and more")
    if threads:
        limit_threads(threads)
    names = ("epochs", "steps", "batch", "rate", "seed", "hold_out", "mosaic", "hard")
    labels = options["labels"].name if options["labels"] else ""
    chosen = {name: options.pop(name) for name in names}
    settings = Settings(height=height, width=width, labels=labels, **chosen)
    data, out = options.pop("data"), options.pop("out")
    kept = train(data, out, settings, **options)
    click.echo(f"weights to export: {kept}")
    click.echo(json.dumps(json.loads((out / "history.json").read_text())["epochs"][-1]))


def main(argv: Sequence[str] | None = None) -> None:
    """Run :data:`command`."""
    command.main(argv, standalone_mode=False)
