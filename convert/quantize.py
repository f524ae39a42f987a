"""Full-integer quantisation, its gate, and the JSON that ships beside the network.

TensorFlow's converter is needed here and nowhere else. The dense-layer flag is for networks with a
Dense head: new releases quantise those per channel under an operator version that TFLite 2.5-2.7,
and so the Edge TPU compiler, miscompute.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convert.judging import SIZES
from convert.metrics import PRIOR, fit_prior, fit_temperature, summary
from maskedge.camera.frame import ChannelOrder
from maskedge.errors import InputError, MaskedgeError
from maskedge.modelfile import SCHEMA
from maskedge.vision.base import LABELS
from maskedge.vision.masks import softmax

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore
    from convert.classifier.recipe import Recipe

MOST_LOST = 0.005
LEAST_AGREEMENT = 0.99
REPRESENTATIVE = 400


class GateError(MaskedgeError):
    """The integer network is too far from the float one to ship."""


def to_int8(model: Any, representative: Iterable[NDArray[np.float32]]) -> bytes:
    """A Keras model as a full-integer TFLite flatbuffer, batch 1.

    Args:
        model: keras.Model on the TensorFlow backend, one picture input (N, h, w, 3), 0..255.
        representative: pictures (h, w, 3), 0..255, that show the ranges of its activations; from
            training data.

    Returns:
        Flatbuffer with uint8 input and uint8 outputs.
    """
    import keras
    import tensorflow as tf

    picture = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="picture")
    one = keras.Model(picture, model(picture, training=False))
    converter = tf.lite.TFLiteConverter.from_keras_model(one)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [picture[None].astype(np.float32)] for picture in representative
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has nothing to say that a user could act on
        return bytes(converter.convert())


@dataclass(frozen=True)
class Gate:
    """How near the integer network is to the float one, on validation."""

    float_accuracy: float
    int8_accuracy: float
    agreement: float

    def check(self) -> None:
        """Return if it may ship.

        Raises:
            GateError: it lost more than 0.5 points, or agrees on fewer than 99 % of the faces.
        """
        lost = self.float_accuracy - self.int8_accuracy
        said = []
        if lost > MOST_LOST:
            said.append(f"loses {100 * lost:.2f} points of accuracy (at most {100 * MOST_LOST:g})")
        if self.agreement < LEAST_AGREEMENT:
            said.append(
                f"agrees on {100 * self.agreement:.2f} % of faces (at least "
                f"{100 * LEAST_AGREEMENT:g} %)"
            )
        if said:
            raise GateError(
                f"the int8 network {' and '.join(said)}: give --representative more pictures, or "
                "train on with a smaller learning rate and weight decay"
            )


def compare(
    truth: NDArray[np.int64], exact: NDArray[np.float32], integer: NDArray[np.float32]
) -> Gate:
    """Gate figures of two networks' scores (N, classes) for the same faces."""
    a, b = exact.argmax(1), integer.argmax(1)
    return Gate(float((a == truth).mean()), float((b == truth).mean()), float((a == b).mean()))


def integer_logits(path: Path, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N, 3) of crops (N, size, size, 3) RGB by the shipped runtime."""
    from maskedge.config import ClassifierConfig, InferenceConfig
    from maskedge.vision.masks import open_classifier

    inference = InferenceConfig(accelerator="cpu", threads=1)
    classifier = open_classifier(ClassifierConfig(model=path), inference, path.parent)
    try:
        return np.stack([classifier.logits(crop) for crop in crops])
    finally:
        classifier.close()


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write the JSON beside a network, with the SHA-256 of its bytes."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps({"schema": SCHEMA, "sha256": digest, **card}, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def representative(run: ClassifierRun, count: int) -> Iterator[NDArray[np.float32]]:
    """Training crops as training shows them: half as they are, half augmented."""
    from convert.classifier.augment import plain
    from convert.classifier.batches import Batches

    recipe, store = run.recipe, run.store
    steps = max(1, count // 2 // recipe.batch)
    for crops, _ in (
        b for b in map(Batches(store, run.training, recipe, steps).__getitem__, range(steps))
    ):
        yield from crops
    rng = np.random.default_rng(recipe.seed)
    for index in rng.choice(run.training, count - steps * recipe.batch):
        yield plain(store.square(int(index)), recipe.size, recipe.padding).astype(np.float32)


@dataclass(frozen=True)
class ClassifierRun:
    """A training run's folder, opened: its recipe, crops and split."""

    folder: Path
    recipe: Recipe
    store: CropStore
    training: NDArray[np.int64]
    validation: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> ClassifierRun:
        """Read a folder that ``train --task classifier`` wrote.

        Raises:
            InputError: it isn't one.
        """
        from convert.classifier.batches import split
        from convert.classifier.data import CropStore
        from convert.classifier.recipe import Recipe

        try:
            recipe = Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
            store = CropStore.load(folder / "crops")
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder}: no classifier's training run (recipe.json and crops/): {error}"
            ) from error
        return cls(folder, recipe, store, *split(store, recipe.held_out))

    @property
    def epochs(self) -> int:
        """Epochs up to the one whose weights were kept as the best."""
        history = json.loads((self.folder / "history.json").read_text(encoding="utf-8"))
        return int(max(history, key=lambda entry: entry["score"])["epoch"])

    def validation_crops(self, face: float | None = None) -> NDArray[np.uint8]:
        """Validation crops (N, size, size, 3) RGB; with ``face``, faces shrunk to that edge."""
        from convert.classifier.augment import plain
        from convert.classifier.keeper import shrunk

        squares = (self.store.square(int(i)) for i in self.validation)
        recipe = self.recipe
        return np.stack(
            [plain(shrunk(s, face) if face else s, recipe.size, recipe.padding) for s in squares]
        )

    @property
    def truth(self) -> NDArray[np.int64]:
        """Class indices of the validation faces."""
        from convert.classifier.batches import targets

        allowed = self.store.records["allowed"][self.validation]
        return np.asarray(targets(allowed).argmax(1), np.int64)


def move_head(model: Any, shift: NDArray[np.float32]) -> None:
    """Add to the logits by the head's own bias, so that the runtime needs to know nothing."""
    head = model.get_layer("head")
    weights, bias = head.get_weights()
    head.set_weights([weights, bias + shift])


def card_of(
    run: ClassifierRun, figures: dict[str, Any], calibration: dict[str, Any]
) -> dict[str, Any]:
    """The JSON of a classifier, without the digest."""
    records = run.store.records
    counted: dict[str, int] = {}
    for kind in records["kind"][run.training]:
        counted[str(kind)] = counted.get(str(kind), 0) + 1
    recipe = run.recipe
    return {
        "task": "classifier",
        "labels": list(LABELS),
        "network": f"{recipe.backbone} {recipe.alpha:g}/{recipe.size}",
        "input": {"size": recipe.size, "padding": recipe.padding, "order": ChannelOrder.RGB.value},
        "output": "logits",
        "calibration": calibration,
        "training": {
            "epochs": run.epochs,
            "faces": counted,
            "sources": sorted({str(s) for s in records["source"][run.training]}),
            "recipe": {k: v for k, v in asdict(recipe).items() if k != "weights"},
        },
        "metrics": figures,
    }


@click.command()
@click.option(
    "--run",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of a training run.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .tflite to write; a .json goes beside it.",
)
@click.option("--checkpoint", default="best", show_default=True, help="best or final.")
@click.option(
    "--representative",
    "count",
    default=REPRESENTATIVE,
    show_default=True,
    type=click.IntRange(32),
    help="Training crops that set the ranges.",
)
def command(folder: Path, out: Path, checkpoint: str, count: int) -> None:
    """Make a trained classifier a full-integer network, prove it, and calibrate it.

    The float network and the integer one judge the same validation faces. Unless the integer one is
    within 0.5 points of accuracy and agrees on 99 %, nothing is written and it exits non-zero. The
    float network with the same calibration is left in the run's folder as calibrated.keras, for
    evaluate to compare.
    """
    import keras

    from convert.classifier.keeper import predict

    run = ClassifierRun.open(folder)
    model = keras.models.load_model(folder / f"{checkpoint}.keras", compile=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.stem + ".draft.tflite")
    truth, crops = run.truth, run.validation_crops()
    shift = fit_prior(truth, predict(model, crops))
    move_head(model, shift)
    draft.write_bytes(to_int8(model, representative(run, count)))
    try:
        exact, integer = predict(model, crops), integer_logits(draft, crops)
        gate = compare(truth, exact, integer)
        click.echo(
            f"float {gate.float_accuracy:.4f}, int8 {gate.int8_accuracy:.4f}, "
            f"agreement {gate.agreement:.4f} on {len(truth)} validation faces"
        )
        gate.check()
        temperature = fit_temperature(truth, integer)
        small = integer_logits(draft, run.validation_crops(28))
        own = run.store.records["validation"][run.validation]
        figures: dict[str, Any] = {
            "agreement": round(gate.agreement, 4),
            "float": summary(truth, softmax(exact, temperature)),
            "int8": summary(truth, softmax(integer, temperature)),
            "int8_validation_set": summary(truth[own], softmax(integer[own], temperature)),
            "int8_held_out_of_training": summary(truth[~own], softmax(integer[~own], temperature)),
            "int8_faces_shrunk_to_28": summary(truth, softmax(small, temperature)),
        }
        size = run.store.records["face"][run.validation]
        for name, low, high in SIZES:
            chosen = (size >= low) & (size < high)
            if chosen.any():
                scores = softmax(integer[chosen], temperature)
                figures[f"int8_faces_{name}"] = summary(truth[chosen], scores)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    calibration = {
        "temperature": temperature,
        "prior": list(PRIOR),
        "shift_in_head": [round(float(s), 3) for s in shift],
    }
    card = card_of(run, figures, calibration)
    write_card(out, card)
    model.save(folder / "calibrated.keras")
    write_card(folder / "calibrated.keras", card)
    recall = {k: v["recall"] for k, v in figures["int8"]["by_label"].items()}
    click.echo(
        f"{out}: {out.stat().st_size / 1024:.0f} KB, temperature {temperature}, recall {recall}"
    )
