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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convert.backend import UNREADABLE, need_tensorflow
from convert.batch import free_batch
from convert.metrics import PRIOR, fit_prior, fit_temperature, summary
from convert.output import writable, write_text
from convert.slices import SIZES
from maskedge.errors import InputError, MaskedgeError, UsageError
from maskedge.modelfile import SCHEMA
from maskedge.vision.masks import softmax

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from convert.classifier.run import ClassifierRun

MOST_LOST = 0.005
LEAST_AGREEMENT = 0.99
REPRESENTATIVE = 400
CURE = (
    "give --representative more pictures, or train on with a smaller learning rate and weight decay"
)
"""What to do where the gate refuses what ``quantize`` made."""


class GateError(MaskedgeError):
    """The integer network is too far from the float one to ship."""


def to_int8(model: Any, representative: Iterable[NDArray[np.float32]]) -> bytes:
    """A Keras model as a full-integer TFLite flatbuffer, batch 1 unless the input is resized.

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
        return free_batch(bytes(converter.convert()))


@dataclass(frozen=True)
class Gate:
    """How near the integer network is to the float one, on validation."""

    float_accuracy: float
    int8_accuracy: float
    agreement: float

    def check(self, cure: str = CURE) -> None:
        """Return if it may ship.

        Args:
            cure: what to do if it may not, for the error.

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
            raise GateError(f"the int8 network {' and '.join(said)}: {cure}")


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
    write_text(path.with_suffix(".json"), text + "\n")


def move_head(model: Any, shift: NDArray[np.float32]) -> None:
    """Add to the logits by the head's own bias, so that the runtime needs to know nothing."""
    head = model.get_layer("head")
    weights, bias = head.get_weights()
    head.set_weights([weights, bias + shift])


def mean_into(model: Any, others: Sequence[Path]) -> None:
    """Make a network the mean of its weights and others', each counting the same.

    See :func:`convert.detector.export.mean_of`.

    Raises:
        InputError: a file can't be read, or is another network.
    """
    import keras

    every = [model.get_weights()]
    for path in others:
        try:
            weights = keras.models.load_model(path, compile=False).get_weights()
        except UNREADABLE as error:
            raise InputError(f"--mean-with {path}: no .keras of a run: {error}") from error
        if [w.shape for w in weights] != [w.shape for w in every[0]]:
            raise InputError(f"--mean-with {path}: another network than the run's")
        every.append(weights)
    model.set_weights([np.mean(same, axis=0) for same in zip(*every, strict=True)])


def prove(
    run: ClassifierRun,
    model: Any,
    out: Path,
    count: int = REPRESENTATIVE,
    shift: NDArray[np.float32] | None = None,
    temperature: float = 1.0,
    descent: dict[str, Any] | None = None,
    checkpoint: str = "best",
    mean_of: int = 1,
    cure: str = CURE,
) -> dict[str, Any]:
    """Quantise a trained classifier, hold it against its float self, and calibrate it.

    Args:
        run: the training run.
        model: its float network; its head is moved to the prior.
        out: the ``.tflite`` to write; a JSON goes beside it, and the float network with the same
            calibration into the run's folder.
        count: training crops that set the ranges.
        shift: where the prior starts, see :func:`convert.metrics.fit_prior`.
        temperature: where that starts, see :func:`convert.metrics.fit_temperature`.
        descent: the network that training started from, for the JSON.
        checkpoint: which of the run's networks it is, for the JSON.
        mean_of: how many runs' weights the network is the mean of, for the JSON.
        cure: see :meth:`Gate.check`.

    Returns:
        The JSON's content.

    Raises:
        GateError: it is too far from the float network; nothing is written.
    """
    from convert.classifier.keeper import predict
    from convert.classifier.run import CALIBRATED, card_of, representative
    from convert.golden import record, show

    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.stem + ".draft.tflite")
    truth, crops = run.truth, run.validation_crops()
    shift = fit_prior(truth, predict(model, crops), shift)
    move_head(model, shift)
    draft.write_bytes(to_int8(model, representative(run, count)))
    try:
        exact, integer = predict(model, crops), integer_logits(draft, crops)
        gate = compare(truth, exact, integer)
        click.echo(
            f"float {gate.float_accuracy:.4f}, int8 {gate.int8_accuracy:.4f}, "
            f"agreement {gate.agreement:.4f} on {len(truth)} validation faces"
        )
        gate.check(cure)
        temperature = fit_temperature(truth, integer, temperature)
        figures = slices(run, draft, truth, exact, integer, temperature)
        figures = {"agreement": round(gate.agreement, 4), **figures}
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    calibration = {
        "temperature": temperature,
        "prior": list(PRIOR),
        "shift_in_head": [round(float(s), 3) for s in shift],
    }
    card = card_of(run, run.epochs(checkpoint), figures, calibration)
    if descent:
        card["training"]["started_from"] = descent
    if mean_of > 1:
        card["training"]["mean_of"] = mean_of
    write_card(out, card)
    show(out, record(out))
    beside = run.folder / f"{CALIBRATED}.keras"
    model.save(beside)
    write_card(beside, card)
    return card


def slices(
    run: ClassifierRun,
    network: Path,
    truth: NDArray[np.int64],
    exact: NDArray[np.float32],
    integer: NDArray[np.float32],
    temperature: float,
) -> dict[str, Any]:
    """Figures of the float and the integer network on validation faces, all and by slice."""
    small = integer_logits(network, run.validation_crops(28))
    records = run.store.records[run.validation]
    own, size = records["validation"], records["face"]
    parts = {"int8_validation_set": own, "int8_held_out_of_training": ~own}
    parts |= {f"int8_faces_{n}": (size >= low) & (size < high) for n, low, high in SIZES}
    scores = softmax(integer, temperature)
    return {
        "float": summary(truth, softmax(exact, temperature)),
        "int8": summary(truth, scores),
        "int8_faces_shrunk_to_28": summary(truth, softmax(small, temperature)),
        **{n: summary(truth[c], scores[c]) for n, c in parts.items() if c.any()},
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
@click.option(
    "--mean-with",
    "others",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Another run's .keras, where one went on from the other: their mean is quantised.",
)
def command(folder: Path, out: Path, checkpoint: str, count: int, others: tuple[Path, ...]) -> None:
    """Make a trained classifier a full-integer network, prove it, and calibrate it.

    The float network and the integer one judge the same validation faces. Unless the integer one is
    within 0.5 points of accuracy and agrees on 99 %, nothing is written and it exits non-zero. The
    float network with the same calibration is left in the run's folder as calibrated.keras, for
    evaluate to compare.
    """
    need_tensorflow("quantize")
    if out.suffix != ".tflite":
        raise UsageError(f"--out {out}: the file's name must end in .tflite")
    from convert.classifier.run import ClassifierRun

    run = ClassifierRun.open(folder)
    model = run.network(checkpoint)
    mean_into(model, others)
    writable(out.parent)
    card = prove(run, model, out, count, checkpoint=checkpoint, mean_of=1 + len(others))
    int8 = card["metrics"]["int8"]
    recall = {k: v["recall"] for k, v in int8["by_label"].items()}
    click.echo(
        f"{out}: {out.stat().st_size / 1024:.0f} KB, temperature "
        f"{card['calibration']['temperature']}, recall {recall}"
    )
