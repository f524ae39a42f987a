"""A ``.tflite`` file as objects: operations with their names, versions, options and tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError, ModelError
from maskedge.inference.structure import DamagedError, verify

try:
    # The schema's own generated classes; needs no interpreter and no TensorFlow.
    from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]
except ImportError as error:  # beside tflite-runtime, which runs networks but can't show them
    raise MaskedgeError(
        "looking into a network needs LiteRT, whichever interpreter runs it: "
        "pip install 'ai-edge-litert>=2'"
    ) from error

if TYPE_CHECKING:
    from pathlib import Path

OP_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
CUSTOM = OP_NAMES[schema.BuiltinOperator.CUSTOM]
NO_ACTIVATION = int(schema.ActivationFunctionType.NONE)
TYPE_NAMES = {v: k.lower() for k, v in vars(schema.TensorType).items() if not k.startswith("_")}


@dataclass(frozen=True)
class Tensor:
    """One tensor, of the schema's ``TensorT``.

    Attributes:
        raw: the schema's object.
        constant: whether its values lie in the file.
        values: those values as bytes.
    """

    raw: Any
    constant: bool
    values: bytes

    @property
    def name(self) -> str:
        """As in the file."""
        return text(self.raw.name)

    @property
    def dtype(self) -> str:
        """``int8``, ``float32`` ..."""
        return str(TYPE_NAMES.get(self.raw.type, f"type {self.raw.type}"))

    @property
    def shape(self) -> tuple[int, ...]:
        """With the batch dimension."""
        return tuple(int(n) for n in listed(self.raw.shape))

    @property
    def dynamic(self) -> bool:
        """Whether a dimension is decided only when the network runs."""
        signature = [int(n) for n in listed(self.raw.shapeSignature)]
        return any(n < 0 for n in signature) or any(n <= 0 for n in self.shape)

    @property
    def scales(self) -> int:
        """How many scales: 0 not quantised, 1 per tensor, more per channel."""
        quantization = self.raw.quantization
        return 0 if quantization is None else len(listed(quantization.scale))

    @cached_property
    def integers(self) -> list[int]:
        """A constant int32 tensor's values.

        Raises:
            DamagedError: it holds none such.
        """
        import numpy as np  # noqa: PLC0415 - most tensors aren't asked

        if self.dtype != "int32" or len(self.values) % 4:
            size = len(self.values)
            raise DamagedError(f"{self.name} is {self.dtype} of {size} bytes, must be int32")
        return [int(v) for v in np.frombuffer(self.values, "<i4")]


@dataclass(frozen=True)
class Operation:
    """One operation of the graph.

    Attributes:
        number: position in the order of execution.
        name: ``CONV_2D`` ...; for a custom operation its own name.
        custom: whether it isn't one of TensorFlow Lite's.
        version: of the operation.
        inputs: tensors; None where an optional one is left out.
        outputs: tensors.
        options: the schema's options object, or None.
    """

    number: int
    name: str
    custom: bool
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any

    @property
    def layer(self) -> str:
        """How a message names it: its number, its kind and its output."""
        output = self.outputs[0].name if self.outputs else "no output"
        return f"{self.number} {self.name} ({output})"

    def option(self, name: str, default: int = 0) -> int:
        """One number of the options."""
        return int(getattr(self.options, name, default))

    def constant_input(self, index: int) -> Tensor | None:
        """An input whose values lie in the file."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return tensor if tensor is not None and tensor.constant else None


@dataclass(frozen=True)
class Graph:
    """The first graph of a file.

    Attributes:
        graphs: how many the file has.
        operations: in order of execution.
        inputs: of the network.
        outputs: of the network.
        constants: bytes of all constants.
    """

    graphs: int
    operations: tuple[Operation, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constants: int


def load(path: Path) -> Graph:
    """Read a file.

    Raises:
        ModelError: it can't be read or is no whole TFLite file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: can't read the network: {error.strerror}") from error
    if data[4:8] != b"TFL3":
        raise ModelError(f"{path}: not a TFLite file ({len(data)} bytes)")
    try:
        verify(data)
    except DamagedError as error:
        raise ModelError(f"{path}: damaged: {error}") from error
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    buffers = [_bytes(buffer.data) for buffer in model.buffers]
    graph = model.subgraphs[0]
    tensors = [
        Tensor(raw, constant=bool(buffers[raw.buffer]), values=buffers[raw.buffer])
        for raw in listed(graph.tensors)
    ]
    operations = []
    for number, raw in enumerate(listed(graph.operators)):
        code = model.operatorCodes[raw.opcodeIndex]
        name = kind(model, raw)
        custom = name == CUSTOM
        inputs = (tensors[i] if i >= 0 else None for i in listed(raw.inputs))
        outputs = (tensors[i] for i in listed(raw.outputs))
        operations.append(
            Operation(
                number,
                text(code.customCode) if custom else name,
                custom,
                code.version,
                tuple(inputs),
                tuple(outputs),
                raw.builtinOptions,
            )
        )
    return Graph(
        graphs=len(model.subgraphs),
        operations=tuple(operations),
        inputs=tuple(tensors[i] for i in listed(graph.inputs)),
        outputs=tuple(tensors[i] for i in listed(graph.outputs)),
        constants=sum(map(len, buffers)),
    )


def kind(model: Any, operator: Any) -> str:
    """``CONV_2D`` ...; ``CUSTOM`` for all that aren't TensorFlow Lite's.

    Args:
        model: the schema's ``ModelT``.
        operator: one of its ``OperatorT``.
    """
    code = model.operatorCodes[operator.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    return str(OP_NAMES.get(builtin, f"operation {builtin}"))


def listed(value: Any) -> Any:
    """The schema's absent vector, None, as an empty one."""
    return () if value is None else value


def text(value: bytes | str | None) -> str:
    """A name of the schema's, which are bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _bytes(values: Any) -> bytes:
    return b"" if values is None else bytes(values)
