"""Would the Edge TPU compiler map all of a network? The rules, read from the flatbuffer.

edgetpu_compiler 16 runs on x86-64 only, is no longer in every package index, and says of a layer
that it refuses little more than that. Its rules are known: it takes what TensorFlow Lite 2.5 to 2.8
could, within the limits of https://coral.ai/docs/edgetpu/models-intro/. One rule is of our own
finding: converters since TensorFlow 2.16 quantise dense layers per channel under an operation
version that older parsers take for per tensor, so that the result is silently wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.inference.flatbuffer import NO_ACTIVATION, Graph, Operation, Tensor, load
from maskedge.inference.structure import DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSIONS = {
    "ADD": 3,
    "AVERAGE_POOL_2D": 3,
    "CONCATENATION": 3,
    "CONV_2D": 5,
    "DEPTHWISE_CONV_2D": 6,
    "DEQUANTIZE": 4,
    "FULLY_CONNECTED": 9,
    "LOGISTIC": 3,
    "MAX_POOL_2D": 3,
    "MEAN": 3,
    "MUL": 4,
    "PACK": 3,
    "PAD": 3,
    "PRELU": 1,
    "QUANTIZE": 2,
    "RELU": 3,
    "RELU6": 3,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "SLICE": 5,
    "SOFTMAX": 3,
    "SPLIT": 4,
    "STRIDED_SLICE": 5,
    "SUB": 5,
    "TANH": 3,
    "TRANSPOSE_CONV": 3,
}
"""The operations that the compiler maps, and the newest version of each that it can read."""

WEIGHTS_INPUT = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
UNFUSED = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION")
EIGHT_BIT = ("int8", "uint8")
INNER_DIMENSIONS = 3
SOFTMAX_LIMIT = 16_000
DEPTH_MULTIPLE = 4
RESIZE_LIMIT = 256
"""Edge above which a resize may be left to the CPU. The compiler's documentation gives no number;
resizes of a few dozen pixels are known to be mapped."""
CACHE_BYTES = 8_000_000
CUSTOM_OP = "edgetpu-custom-op"


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a layer breaks.

    Attributes:
        rule: short name of the rule.
        layer: number, kind and output of the operation; empty for the whole file.
        message: what is there and what is allowed.
        fatal: False where the compiler may or may not map it, or maps it at a price.
    """

    rule: str
    layer: str
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        return f"{where}{self.message} [{self.rule}]"


def preflight(path: Path) -> list[Violation]:
    """Check a file against every rule.

    Args:
        path: an int8 ``.tflite`` file.

    Returns:
        What it breaks, in order of execution; empty when the compiler should map all of it.

    Raises:
        ModelError: the file can't be read or isn't whole.
    """
    return check(load(path))


def check(graph: Graph) -> list[Violation]:
    """The rules over a graph that was read."""
    found = list(_whole(graph))
    for operation in graph.operations:
        for rule in OPERATION_RULES:
            try:
                found += [Violation(name, operation.layer, text) for name, text in rule(operation)]
            except DamagedError as error:
                found.append(Violation("parameters", operation.layer, str(error)))
        found += list(_doubtful(operation))
    return found


def first_on_cpu(graph: Graph, violations: list[Violation]) -> int:
    """How many operations run before the first that isn't mapped: the compiler stops there."""
    layers = {v.layer for v in violations if v.fatal}
    return next((o.number for o in graph.operations if o.layer in layers), len(graph.operations))


def _whole(graph: Graph) -> Iterator[Violation]:
    if graph.graphs != 1:
        yield Violation("subgraphs", "", f"has {graph.graphs} graphs, one is allowed")
    for what, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            if tensor.dtype not in EIGHT_BIT:
                message = f"{what} {tensor.name} is {tensor.dtype}, must be int8 or uint8"
                yield Violation("8 bit", "", message)
            if tensor.shape[:1] != (1,):
                message = f"{what} {tensor.name} has shape {tensor.shape}: the batch must be 1"
                yield Violation("batch", "", message)
    if graph.constants > CACHE_BYTES:
        message = (
            f"{graph.constants / 1e6:.1f} MB of constants don't fit the chip's "
            f"{CACHE_BYTES / 1e6:.0f} MB: the rest is sent anew for every picture"
        )
        yield Violation("memory", "", message, fatal=False)


def _known(operation: Operation) -> Iterator[tuple[str, str]]:
    if operation.name == CUSTOM_OP:
        yield "operation", "this file is already compiled"
    elif operation.custom or operation.name not in VERSIONS:
        yield "operation", "the Edge TPU has no such operation"
    elif operation.version > VERSIONS[operation.name]:
        newest = VERSIONS[operation.name]
        yield "version", f"version {operation.version}, the compiler reads up to {newest}"


def _shapes(operation: Operation) -> Iterator[tuple[str, str]]:
    for tensor in _activations(operation):
        if tensor.dynamic:
            yield "static shape", f"{tensor.name} has a dimension that is decided at run time"
        elif any(n != 1 for n in tensor.shape[:-INNER_DIMENSIONS]):
            yield "batch", f"{tensor.name} has shape {tensor.shape}: the batch must be 1"


def _types(operation: Operation) -> Iterator[tuple[str, str]]:
    for tensor in _activations(operation):
        if tensor.dtype not in EIGHT_BIT:
            yield "8 bit", f"{tensor.name} is {tensor.dtype}, must be int8 or uint8"
        elif tensor.scales == 0:
            yield "quantised", f"{tensor.name} has no scale"
    index = WEIGHTS_INPUT.get(operation.name)
    if index is None:
        return
    weights = operation.constant_input(index)
    if weights is None:
        yield "constant weights", "its weights are computed at run time"
    elif weights.dtype not in EIGHT_BIT or weights.scales == 0:
        yield "8 bit", f"its weights are {weights.dtype}, must be quantised int8 or uint8"


def _dense(operation: Operation) -> Iterator[tuple[str, str]]:
    weights = operation.constant_input(1)
    if operation.name == "FULLY_CONNECTED" and weights is not None and weights.scales > 1:
        message = (
            f"{weights.scales} scales for its weights: the compiler reads one and the result is "
            "silently wrong; quantise dense layers per tensor or use a 1x1 convolution"
        )
        yield "dense per channel", message


def _options(operation: Operation) -> Iterator[tuple[str, str]]:
    fused = operation.option("fusedActivationFunction", NO_ACTIVATION)
    if operation.name in UNFUSED and fused != NO_ACTIVATION:
        yield "fused activation", "has an activation fused into it"
    if operation.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        x, y = operation.option("dilationWFactor", 1), operation.option("dilationHFactor", 1)
        if x != y:
            yield "dilation", f"dilation {x} in x and {y} in y must be equal"
    if operation.name == "SOFTMAX":
        shape = _first_shape(operation)
        if sum(n > 1 for n in shape) > 1 or max(shape, default=0) > SOFTMAX_LIMIT:
            yield "softmax", f"over {shape}: one dimension of up to {SOFTMAX_LIMIT} is allowed"


def _parameters(operation: Operation) -> Iterator[tuple[str, str]]:
    """Rules about a constant input that says what to do."""
    if operation.name == "MEAN":
        yield from _mean(operation)
    elif operation.name == "PAD":
        paddings = operation.constant_input(1)
        if paddings is None or (_rank(operation) > INNER_DIMENSIONS and any(paddings.integers[:2])):
            yield "padding", "must be constant, and none for the batch"
    elif operation.name == "STRIDED_SLICE":
        strides = operation.constant_input(3)
        if strides is None or any(step != 1 for step in strides.integers):
            yield "strides", "all strides must be the constant 1"


def _mean(operation: Operation) -> Iterator[tuple[str, str]]:
    axes, shape = operation.constant_input(1), _first_shape(operation)
    if axes is None:
        yield "mean", "its axes are computed at run time"
        return
    reduced = {axis % len(shape) for axis in axes.integers} if shape else set()
    if 0 in reduced and len(shape) > INNER_DIMENSIONS:
        yield "mean", "over the batch"
    if len(shape) - 1 in reduced and shape[-1] % DEPTH_MULTIPLE:
        yield "mean", f"over a depth of {shape[-1]}, which is no multiple of {DEPTH_MULTIPLE}"


OPERATION_RULES: tuple[Callable[[Operation], Iterator[tuple[str, str]]], ...] = (
    _known,
    _shapes,
    _types,
    _dense,
    _options,
    _parameters,
)


def _doubtful(operation: Operation) -> Iterator[Violation]:
    if operation.name.startswith("RESIZE_") and operation.outputs:
        shape = operation.outputs[0].shape
        if max(shape[1:3], default=0) > RESIZE_LIMIT:
            message = f"to {shape}: so large a resize may be left to the CPU"
            yield Violation("resize", operation.layer, message, fatal=False)


def _activations(operation: Operation) -> Iterator[Tensor]:
    """Its outputs, and the inputs that aren't constants: what flows through the chip."""
    yield from (t for t in operation.inputs if t is not None and not t.constant)
    yield from operation.outputs


def _first_shape(operation: Operation) -> tuple[int, ...]:
    first = operation.inputs[0] if operation.inputs else None
    return first.shape if first is not None else ()


def _rank(operation: Operation) -> int:
    return len(_first_shape(operation))
