"""An int8 network as a float Keras network again, so that training can go on from what ships.

The ``.tflite`` holds its weights as 8-bit integers with one scale per output channel, the batch
norms already folded in: each is within half a step, 0.4 % of its channel's greatest, of what was
trained. Activations are floats again; nothing is rounded between layers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import keras
import numpy as np

from convert.output import writable
from maskedge.errors import ModelError, UsageError
from maskedge.inference.flatbuffer import load
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.masks import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from maskedge.inference.flatbuffer import Operation, Tensor

NONE, RELU, RELU6 = 0, 1, 3
"""Fused activations, by the schema's numbers."""
PADDINGS = ("same", "valid")
TO_KERAS = (1, 2, 3, 0)
"""A kernel's axes, which the file has with the output channels first (1 for depthwise)."""
LAYER = re.compile(r"([^/;]+?)(?:_1)?/(?:convolution|depthwise|Add)(?=;|$)")
"""The Keras layer that a tensor came from, as the converter names tensors."""


def dequantise(path: Path, rng: Generator | None = None) -> Any:
    """The float Keras model of an int8 classifier that ``quantize`` wrote.

    Args:
        path: the ``.tflite``.
        rng: None: each weight is the middle of the values that round to the stored one, so the
            network is the nearest to the int8 one. Else each is drawn from those values, to train
            on: training moves most weights by less than half a step, and from the middle of their
            steps quantisation would round all of that away.

    Returns:
        keras.Model: (N, size, size, 3) values 0..255 to (N, 3) logits, its layers named as they
        were trained (``block_2_add``, ``pool``, ``head`` ...).

    Raises:
        ModelError: it can't be read, or has an operation that no classifier of ours has.
    """
    graph = load(path)
    layers = Layers(rng)
    picture = keras.Input(graph.inputs[0].shape[1:], name="picture")
    values: dict[int, Any] = {id(graph.inputs[0]): picture}
    last = max((o.number for o in graph.operations if o.name == "CONV_2D"), default=-1)
    for operation in graph.operations:
        make = layers.made_of.get(operation.name)
        if make is None:
            raise ModelError(
                f"{path}: can't go on from this network: layer {operation.layer} is none of "
                f"{', '.join(layers.made_of)}; train a new one by python -m convert train"
            )
        given = [values[id(t)] for t in operation.inputs if t is not None and id(t) in values]
        name = "head" if operation.number == last else layer_name(operation)
        values[id(operation.outputs[0])] = make(operation, given, name)
    return keras.Model(picture, values[id(graph.outputs[0])], name=path.stem)


def real_values(tensor: Tensor, rng: Generator | None = None) -> NDArray[np.float32]:
    """A constant's real values, float32 in its own shape: scale * (stored - zero point).

    Args:
        tensor: int8 or int32.
        rng: see :func:`dequantise`.

    Raises:
        ModelError: it isn't quantised.
    """
    if tensor.dtype not in {"int8", "int32"} or not tensor.scales:
        raise ModelError(f"{tensor.name}: not a quantised constant ({tensor.dtype})")
    quantization = tensor.raw.quantization
    stored = np.frombuffer(tensor.values, np.dtype(tensor.dtype).newbyteorder("<"))
    steps = stored.reshape(tensor.shape or (1,)).astype(np.float64)
    shape = [1] * steps.ndim
    if tensor.scales > 1:
        shape[quantization.quantizedDimension] = tensor.scales
    scale = np.asarray(quantization.scale, np.float64).reshape(shape)
    zero = np.asarray(quantization.zeroPoint, np.float64).reshape(shape)
    if rng is not None:
        steps += rng.uniform(-0.5, 0.5, steps.shape)
    real: NDArray[np.float32] = ((steps - zero) * scale).astype(np.float32)
    return real


def layer_name(operation: Operation) -> str:
    """As the layer was called when it was trained; else by number and kind."""
    tensors = [operation.outputs[0], *(t for t in operation.inputs if t is not None)]
    found = next((m for t in tensors if (m := LAYER.search(t.name))), None)
    return found[1] if found else f"{operation.name.lower()}_{operation.number}"


class Layers:
    """Keras layers for the operations that a MobileNetV2 or ``cnn`` of ours is made of.

    Attributes:
        made_of: by the operation's name, what makes its layer of the operation, its inputs' values
            and the layer's name.
    """

    def __init__(self, rng: Generator | None) -> None:
        self._rng = rng
        self.made_of: dict[str, Callable[[Operation, list[Any], str], Any]] = {
            "QUANTIZE": self._same,
            "MUL": self._multiply,
            "ADD": self._add,
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "MEAN": self._pool,
            "RESHAPE": self._flatten,
        }

    def _same(self, _: Operation, given: list[Any], __: str) -> Any:
        """Quantised otherwise, the same value."""
        return given[0]

    def _pool(self, _: Operation, given: list[Any], __: str) -> Any:
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(given[0])

    def _flatten(self, _: Operation, given: list[Any], __: str) -> Any:
        return keras.layers.Flatten(name="logits")(given[0])

    def _convolution(self, operation: Operation, given: list[Any], name: str) -> Any:
        constants = [t for i in (1, 2) if (t := operation.constant_input(i)) is not None]
        if len(constants) != 2:
            raise ModelError(f"layer {operation.layer}: its kernel or bias isn't in the file")
        kernel = real_values(constants[0], self._rng).transpose(TO_KERAS)
        extent: dict[str, Any] = {
            "kernel_size": kernel.shape[:2],
            "strides": (operation.option("strideH", 1), operation.option("strideW", 1)),
            "padding": PADDINGS[operation.option("padding")],
            "name": name,
        }
        if operation.name == "CONV_2D":
            layer = keras.layers.Conv2D(kernel.shape[3], **extent)
        else:
            layer = keras.layers.DepthwiseConv2D(**extent)
        value = layer(given[0])
        layer.set_weights([kernel, real_values(constants[1])])
        return _activated(operation, value, name)

    def _add(self, operation: Operation, given: list[Any], name: str) -> Any:
        if len(given) == 1:
            return keras.layers.Rescaling(1.0, _scalar(operation), name=name)(given[0])
        return _activated(operation, keras.layers.Add(name=name)(given), name)

    def _multiply(self, operation: Operation, given: list[Any], name: str) -> Any:
        return keras.layers.Rescaling(_scalar(operation), name=name)(given[0])


def _activated(operation: Operation, value: Any, name: str) -> Any:
    fused = operation.option("fusedActivationFunction")
    if fused == NONE:
        return value
    if fused not in {RELU, RELU6}:
        raise ModelError(f"layer {operation.layer}: can't go on from activation {fused}")
    return keras.layers.ReLU(6.0 if fused == RELU6 else None, name=f"{name}_relu")(value)


def _scalar(operation: Operation) -> float:
    constants = [t for i in (0, 1) if (t := operation.constant_input(i)) is not None]
    values = real_values(constants[0]) if constants else np.zeros(0)
    if values.size != 1:
        raise ModelError(f"layer {operation.layer}: only one number can be taken to a picture")
    return float(values.reshape(-1)[0])


@click.command()
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An int8 classifier; default: the one shipped.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .keras to write; a .json goes beside it.",
)
def command(model: Path | None, out: Path) -> None:
    """Make an int8 classifier a float Keras network again.

    Its weights are the values that the .tflite holds, so evaluate says the same of both but for the
    rounding between layers. retrain does this by itself.
    """
    from convert.quantize import write_card

    source = ModelFile.load(model or models_dir() / SHIPPED)
    if out.suffix != ".keras":
        raise UsageError(f"--out {out}: the file's name must end in .keras")
    writable(out.parent)
    dequantise(source.path).save(out)
    write_card(out, {k: v for k, v in source.card.items() if k not in {"schema", "sha256"}})
    click.echo(f"{out}: float copy of {source.path.name}, {source.fingerprint}")
