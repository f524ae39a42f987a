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
from click.core import ParameterSource

from convert.backend import SEED, UNREADABLE, compiled_steps, limit_threads
from convert.classifier.recipe import Recipe
from convert.output import writable, write_text
from convert.resume import same_settings
from maskedge.errors import InputError, UsageError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from convert.classifier.data import CropStore


def partial_loss(smoothing: float) -> Callable[[Any, Any], Any]:
    """Cross-entropy for labels that may allow several classes.

    -log of the summed probability of the allowed classes (Cour et al., 2011), mixed with label
    smoothing towards uniform. Where none is allowed, the cross-entropy to uniform alone: of what is
    no face the network shall be as unsure as can be ("outlier exposure", Hendrycks et al., 2019).
    """
    from keras import ops

    def loss(allowed: Any, logits: Any) -> Any:
        log_p = ops.log_softmax(logits)
        even = ops.mean(log_p, axis=-1)
        hit = ops.logsumexp(log_p + ops.log(allowed + 1e-9), axis=-1)
        hit = ops.where(ops.max(allowed, axis=-1) > 0, hit, even)
        return -(1 - smoothing) * hit - smoothing * even

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
        UsageError: the folder has a run and ``resume`` isn't asked, or the other way round; or it
            is a run of another network.
        InputError: there are no faces to train on, or none of an exact label to validate on.
    """
    import keras

    from convert.classifier.batches import Batches, divided, told, untaught
    from convert.classifier.keeper import Keeper, Validation

    if resume != (folder / "last" / "state.json").exists():
        raise _not_so(folder, resume=resume)
    if resume:
        same_settings(folder, FIXED, asdict(recorded(folder)), asdict(recipe))
    training, validation = divided(store, recipe.held_out)
    click.echo(told(store, training, validation))
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(recipe), indent=1)
    write_text(folder / "recipe.json", text)
    missing = untaught(store, training)
    for label in missing if len(missing) < len(LABELS) else ():
        click.echo(
            f"note: no training face is {label}, nor can one be drawn: it can't be learnt; add "
            "pictures, or --landmarks and bare faces",
            err=True,
        )
    keeper = Keeper(folder, recipe, Validation(store, validation, recipe))
    keras.utils.set_random_seed(recipe.seed)
    done = keeper.resume() if resume else 0
    model = (
        keeper.resumed(partial_loss(recipe.smoothing))
        if resume
        else (start or _begun)(store, training, recipe)
    )
    batches = (mix or Batches)(store, training, recipe, recipe.steps, done)
    epochs = {"initial_epoch": done, "epochs": recipe.epochs}
    model.fit(batches, **epochs, callbacks=[keeper], shuffle=False)  # random as they are
    return keeper.history


FIXED = ("backbone", "alpha", "size", "padding", "held_out", "weights", "start", "freeze")
"""What can't change when a run goes on: its weights, crops, division or layers depend on it."""


def recorded(folder: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        InputError: it can't be read.
    """
    try:
        return Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder / 'recipe.json'}: can't read how this run was begun: {error}; train anew "
            "with another --out"
        ) from error


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
        except UNREADABLE as error:
            raise InputError(
                f"--start {file}: neither a .tflite that quantize wrote nor a .keras: {error}"
            ) from error
    return second_stage(resized(model, recipe.size), recipe)


def second_stage(model: Any, recipe: Recipe) -> Any:
    """A model that trains a network's layers above ``recipe.freeze``, kernels rounded; compiled."""
    import keras

    from convert.classifier.model import freeze_until
    from convert.rounded import with_rounded

    freeze_until(model, recipe.freeze)
    model = with_rounded(model)
    optimizer = keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.decay, clipnorm=5.0)
    model.compile(optimizer, partial_loss(recipe.smoothing), jit_compile=compiled_steps())
    return model


FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="classifier")
@click.option(
    "--data", required=True, type=FOLDER, help="COCO set: train.json, train/, val.json, val/."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--crops", type=FOLDER, help="More faces: {train,val}/{covered,not_covered}/.")
@click.option(
    "--tags",
    type=FILE,
    help="What faces show, where somebody looked: a CSV of file,tag. The tag is a label, or "
    "unclear for what isn't to be learnt; a.jpg#2 is the picture's second face.",
)
@click.option("--folders", type=FOLDER, help="More pictures: with_mask/ and without_mask/.")
@click.option(
    "--negatives",
    type=FILE,
    help="What looks like a face and is none: a JSON of convert mine. Training teaches the network "
    "to be sure of nothing there; not_a_face in DATA/train.json is always heard.",
)
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
@click.option(
    "--alpha",
    default=Recipe.alpha,
    type=click.FloatRange(0, min_open=True),
    show_default=True,
    help="Width of mobilenet_v2.",
)
@click.option(
    "--size",
    default=Recipe.size,
    type=click.IntRange(16, 512),
    show_default=True,
    help="Edge of the input, pixels.",
)
@click.option(
    "--padding",
    default=Recipe.padding,
    type=click.FloatRange(0, 0.5),
    show_default=True,
    help="Margin around a face, as a share of its longer edge.",
)
@click.option(
    "--smallest",
    default=Recipe.smallest,
    type=click.FloatRange(4),
    show_default=True,
    help="Pixels down to which training shrinks faces.",
)
@click.option(
    "--freeze",
    default=Recipe.freeze,
    show_default=True,
    help="Last layer that stays as it is in the second stage; none for no such layer.",
)
@click.option("--epochs", default=Recipe.epochs, type=click.IntRange(1), show_default=True)
@click.option(
    "--steps",
    default=Recipe.steps,
    type=click.IntRange(1),
    show_default=True,
    help="Batches per epoch.",
)
@click.option(
    "--head-steps",
    default=Recipe.head_steps,
    type=click.IntRange(0),
    show_default=True,
    help="Batches of the first stage.",
)
@click.option("--batch", default=Recipe.batch, type=click.IntRange(2), show_default=True)
@click.option(
    "--rate",
    default=Recipe.rate,
    type=click.FloatRange(0, min_open=True),
    show_default=True,
    help="Peak learning rate.",
)
@click.option(
    "--patience",
    default=Recipe.patience,
    type=click.IntRange(1),
    show_default=True,
    help="Epochs without gain until it stops.",
)
@click.option(
    "--held-out",
    default=Recipe.held_out,
    type=click.FloatRange(0, 1, max_open=True),
    show_default=True,
    help="Share of training groups kept for validation.",
)
@click.option("--seed", default=Recipe.seed, type=SEED, show_default=True)
@click.option(
    "--threads", default=0, type=click.IntRange(0), help="Of the framework; 0: as many as it likes."
)
def command(data: Path, out: Path, **options: Any) -> None:
    """Train the mask classifier: faces are cut out once, then the head and the network trained."""
    import cv2

    from convert.classifier.gather import collect, noted, open_crops, unheard
    from convert.plots import history_plot
    from convert.tags import read_tags

    if options["threads"]:
        cv2.setNumThreads(options["threads"])
        limit_threads(options["threads"])
    crops, folders = options["crops"], options["folders"]
    if options["start"]:
        if options["weights"]:
            raise UsageError("--start and --weights: give one, what to begin with")
        options["start"] = str(options["start"])
    resume = options["resume"]
    if resume != (out / "last" / "state.json").exists():
        raise _not_so(out, resume=resume)
    recipe = Recipe(**{f.name: options[f.name] for f in fields(Recipe) if f.name in options})
    recipe = _as_it_was(out, recipe) if resume else settle(recipe)
    writable(out)
    samples = collect(data, crops, folders, options["negatives"])
    if options["tags"]:
        tags = read_tags(options["tags"])
        if unused := unheard(tags, samples):
            click.echo(f"note: {options['tags']}: tags {unused}", err=True)
        samples = list(noted(samples, tags))
    store = open_crops(out, samples, options["landmarks"], recipe.size, resume=resume)
    history = train(store, out, recipe, resume=resume)
    history_plot(history, out / "history.png", ("loss", "balanced", "small_balanced", "score"))
    best = max(history, key=lambda entry: entry["score"])
    click.echo(f"{out / 'best.keras'}: epoch {best['epoch']:.0f}, {json.dumps(best)}")


def _not_so(folder: Path, *, resume: bool) -> UsageError:
    return UsageError(
        f"{folder}: there is no run to resume; leave --resume out to begin one"
        if resume
        else f"{folder}: has a run; give --resume to go on with it, or another --out"
    )


def _as_it_was(out: Path, asked: Recipe) -> Recipe:
    """The recipe of a run, and what the command line says otherwise."""
    from dataclasses import replace as changed

    given = click.get_current_context().get_parameter_source
    said = {f.name for f in fields(Recipe) if given(f.name) is ParameterSource.COMMANDLINE}
    asked = settle(asked) if "freeze" in said else asked
    return changed(recorded(out), **{name: getattr(asked, name) for name in said})


def settle(recipe: Recipe) -> Recipe:
    """A recipe whose ``freeze`` fits its backbone: the default names a layer of MobileNetV2."""
    from dataclasses import replace

    if recipe.freeze == "none" or (
        recipe.freeze == Recipe.freeze and recipe.backbone != Recipe.backbone
    ):
        return replace(recipe, freeze=None)
    return recipe
