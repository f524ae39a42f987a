"""Training the mask classifier: the head first, then the network, towards an averaged copy.

Backend-neutral: ``KERAS_BACKEND=torch`` or ``jax`` runs the same code. What is kept is the
exponential average of the weights (Polyak and Juditsky, 1992), scored on validation after each
epoch; the best is ``best.keras``, and ``last/`` holds all that ``--resume`` needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convert.backend import compiled_steps, limit_threads
from convert.classifier.recipe import Recipe
from maskedge.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from convert.classifier.data import CropStore, Sample


def partial_loss(smoothing: float) -> Callable[[Any, Any], Any]:
    """Cross-entropy for labels that may allow several classes.

    -log of the summed probability of the allowed classes (Cour et al., 2011), mixed with label
    smoothing towards uniform.
    """
    from keras import ops

    def loss(allowed: Any, logits: Any) -> Any:
        log_p = ops.log_softmax(logits)
        hit = ops.logsumexp(log_p + ops.log(allowed + 1e-9), axis=-1)
        return -(1 - smoothing) * hit - smoothing * ops.mean(log_p, axis=-1)

    return loss


def train(  # noqa: PLR0913 - two of them for retraining alone
    store: CropStore,
    folder: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    start: Callable[[CropStore, Any, Recipe], Any] | None = None,
    mix: Callable[[CropStore, Any, Recipe, int, int], Any] | None = None,
) -> list[dict[str, float]]:
    """Train to the end, or until validation has stopped getting better.

    Args:
        store: crops of training and validation.
        folder: run folder: ``best.keras``, ``final.keras``, ``history.json``, ``last/``.
        recipe: what to do.
        resume: go on where a killed run of this folder stopped.
        start: makes the network, compiled, of store, training indices and recipe; None: a new one
            from the recipe's weights, its head trained.
        mix: makes the batches, as :class:`convert.classifier.batches.Batches` does, which None is.

    Returns:
        Figures of each epoch; the best averaged network is ``best.keras``.

    Raises:
        UsageError: the folder has a run and ``resume`` isn't asked, or the other way round.
        InputError: there are no faces of an exact label to validate on.
    """
    import keras

    from convert.classifier.batches import Batches, split
    from convert.classifier.keeper import Keeper, Validation

    if resume != (folder / "last" / "state.json").exists():
        raise UsageError(
            f"{folder}: there is no run to resume"
            if resume
            else f"{folder}: has a run; give --resume to go on with it, or another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1), encoding="utf-8")
    training, validation = split(store, recipe.held_out)
    if not len(validation):
        raise InputError("no faces to validate on: give a set with val.json, or more --held-out")
    keeper = Keeper(folder, recipe, Validation(store, validation, recipe))
    keras.utils.set_random_seed(recipe.seed)
    done = keeper.resume() if resume else 0
    model = (
        keeper.resumed(partial_loss(recipe.smoothing))
        if resume
        else (start or _begun)(store, training, recipe)
    )
    batches = (mix or Batches)(store, training, recipe, recipe.steps, done)
    model.fit(batches, epochs=recipe.epochs, initial_epoch=done, callbacks=[keeper])
    return keeper.history


HEAD_EPOCH = 2**20
"""Far from any real epoch, so that the head's batches come from other random numbers."""


def _begun(store: CropStore, training: Any, recipe: Recipe) -> Any:
    """A network to train: one to go on from, or a new one."""
    return going_on(recipe) if recipe.start else _fresh(store, training, recipe)


def _fresh(store: CropStore, training: Any, recipe: Recipe) -> Any:
    """A new network whose head is trained, compiled for the second stage."""
    import keras

    from convert.classifier.batches import Batches
    from convert.classifier.model import build, freeze_until

    online = recipe.weights in {None, "imagenet"}
    weights = recipe.weights if online else Path(str(recipe.weights))
    model = build(recipe.backbone, alpha=recipe.alpha, size=recipe.size, weights=weights)
    if recipe.head_steps:
        freeze_until(model, "pool")
        model.compile(
            keras.optimizers.Adam(recipe.head_rate),
            partial_loss(recipe.smoothing),
            jit_compile=compiled_steps(),
        )
        model.fit(Batches(store, training, recipe, recipe.head_steps, HEAD_EPOCH))
    return second_stage(model, recipe)


def going_on(recipe: Recipe) -> Any:
    """The network that ``recipe.start`` names, at the recipe's input size, compiled.

    Raises:
        InputError: it can't be read, or is no mask classifier.
        ModelError: its ``.tflite`` isn't made of what our classifiers are made of.
    """
    import keras

    from convert.classifier.champion import start_from
    from convert.classifier.model import resized
    from maskedge.modelfile import ModelFile

    file = Path(str(recipe.start))
    if file.suffix == ".tflite":
        model = start_from(ModelFile.load(file), recipe.seed)
    else:
        try:
            model = keras.models.load_model(file, compile=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"--start {file}: neither a .tflite that quantize wrote nor a .keras: {error}"
            ) from error
    return second_stage(resized(model, recipe.size), recipe)


def second_stage(model: Any, recipe: Recipe) -> Any:
    """A network whose layers above ``recipe.freeze`` train, compiled."""
    import keras

    from convert.classifier.model import freeze_until

    freeze_until(model, recipe.freeze)
    optimizer = keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.decay, clipnorm=5.0)
    model.compile(optimizer, partial_loss(recipe.smoothing), jit_compile=compiled_steps())
    return model


def collect(data: Path, crops: Path | None, folders: Path | None) -> list[Sample]:
    """All labelled faces of a data folder.

    Args:
        data: ``train.json``, ``train/``, ``val.json``, ``val/`` (COCO).
        crops: ``{train,val}/{covered,not_covered}``: tight face crops.
        folders: ``with_mask/`` and ``without_mask/``: pictures of one face each.
    """
    from convert.classifier.data import (
        INCORRECT,
        WITH,
        WITHOUT,
        coco_samples,
        folder_samples,
    )

    samples: list[Sample] = []
    for part in ("train", "val"):
        validation = part == "val"
        if (data / f"{part}.json").exists():
            samples += coco_samples(data / f"{part}.json", data / part, validation=validation)
        for name, allowed in (("covered", WITH), ("not_covered", WITHOUT | INCORRECT)):
            if crops is not None:
                samples += folder_samples(
                    crops / part / name, allowed, name, margin=0.1, validation=validation
                )
    if folders is not None:
        samples += folder_samples(folders / "with_mask", WITH, "folder_with")
        samples += folder_samples(folders / "without_mask", WITHOUT, "folder_bare")
    if not samples:
        raise InputError(f"{data}: no labelled faces; it needs train.json and train/ (COCO)")
    return samples


def _store(out: Path, samples: Callable[[], list[Sample]], landmarks: Path | None) -> CropStore:
    """The crops of a run: cut out once, then reused."""
    from tqdm import tqdm

    from convert.classifier.data import CropStore, FaceFinder, build_store

    if (out / "crops" / "records.npy").exists():
        return CropStore.load(out / "crops")
    finder = FaceFinder(landmarks) if landmarks else None
    return build_store(
        samples(),
        out / "crops",
        finder,
        progress=lambda items: tqdm(items, desc="faces", unit="face", dynamic_ncols=True),
    )


FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="classifier")
@click.option(
    "--data", required=True, type=FOLDER, help="COCO set: train.json, train/, val.json, val/."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--crops", type=FOLDER, help="More faces: {train,val}/{covered,not_covered}/.")
@click.option("--folders", type=FOLDER, help="More pictures: with_mask/ and without_mask/.")
@click.option("--landmarks", type=FILE, help="YuNet's ONNX file: needed to draw masks on faces.")
@click.option("--weights", help="ImageNet weights of the trunk: a file, or imagenet to download.")
@click.option(
    "--start",
    type=FILE,
    help="A classifier to go on from, .tflite or .keras, at any --size; instead of --weights.",
)
@click.option("--resume", is_flag=True, help="Go on after the last finished epoch.")
@click.option(
    "--backbone",
    default=Recipe.backbone,
    show_default=True,
    help="mobilenet_v2, resnet50v2, vgg16 or cnn.",
)
@click.option("--alpha", default=Recipe.alpha, show_default=True, help="Width of mobilenet_v2.")
@click.option("--size", default=Recipe.size, show_default=True, help="Edge of the input, pixels.")
@click.option(
    "--padding",
    default=Recipe.padding,
    show_default=True,
    help="Margin around a face, as a share of its longer edge.",
)
@click.option(
    "--smallest",
    default=Recipe.smallest,
    show_default=True,
    help="Pixels down to which training shrinks faces.",
)
@click.option(
    "--freeze",
    default=Recipe.freeze,
    show_default=True,
    help="Last layer that stays as it is in the second stage; none for no such layer.",
)
@click.option("--epochs", default=Recipe.epochs, show_default=True)
@click.option("--steps", default=Recipe.steps, show_default=True, help="Batches per epoch.")
@click.option(
    "--head-steps", default=Recipe.head_steps, show_default=True, help="Batches of the first stage."
)
@click.option("--batch", default=Recipe.batch, show_default=True)
@click.option("--rate", default=Recipe.rate, show_default=True, help="Peak learning rate.")
@click.option(
    "--patience",
    default=Recipe.patience,
    show_default=True,
    help="Epochs without gain until it stops.",
)
@click.option(
    "--held-out",
    default=Recipe.held_out,
    show_default=True,
    help="Share of training groups kept for validation.",
)
@click.option("--seed", default=Recipe.seed, show_default=True)
@click.option("--threads", default=0, help="Of the framework; 0: as many as it likes.")
def command(data: Path, out: Path, **options: Any) -> None:
    """Train the mask classifier: faces are cut out once, then the head and the network trained."""
    import cv2

    from convert.plots import history_plot

    if options["threads"]:
        cv2.setNumThreads(options["threads"])
        limit_threads(options["threads"])
    crops, folders = options["crops"], options["folders"]
    if options["start"]:
        if options["weights"]:
            raise UsageError("--start and --weights: give one, what to begin with")
        options["start"] = str(options["start"])
    recipe = Recipe(**{f.name: options[f.name] for f in fields(Recipe) if f.name in options})
    recipe = settle(recipe)
    store = _store(out, lambda: collect(data, crops, folders), options["landmarks"])
    history = train(store, out, recipe, resume=options["resume"])
    history_plot(history, out / "history.png", ("loss", "balanced", "small_balanced", "score"))
    best = max(history, key=lambda entry: entry["score"])
    click.echo(f"{out / 'best.keras'}: epoch {best['epoch']:.0f}, {json.dumps(best)}")


def settle(recipe: Recipe) -> Recipe:
    """A recipe whose ``freeze`` fits its backbone: the default names a layer of MobileNetV2."""
    from dataclasses import replace

    if recipe.freeze == "none" or (
        recipe.freeze == Recipe.freeze and recipe.backbone != Recipe.backbone
    ):
        return replace(recipe, freeze=None)
    return recipe
