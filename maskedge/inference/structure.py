"""Whether the bytes of a ``.tflite`` file hold together, before any interpreter sees them.

A FlatBuffer is a web of offsets, and interpreters differ in how far they check it: tflite-runtime
2.14 follows an offset over the end of a truncated file and crashes. This module reads every table
that an interpreter reads while it loads (schema 3 of TensorFlow Lite; field numbers below are the
schema's), with every offset checked, then the numbers by which tables refer to each other.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

Kind = str | tuple[str, str]
"""``b B i I q Q f``: a scalar; ``s``: string; ``?``: a table of any kind; ``*`` before a scalar:
a vector of it; ``=`` before one: a vector of which only place and length matter; a pair: ``t`` a
table or ``v`` a vector of tables of the named kind."""

SCHEMA: Final[dict[str, dict[int, tuple[str, Kind]]]] = {
    "Model": {
        0: ("version", "I"),
        1: ("operator_codes", ("v", "OperatorCode")),
        2: ("subgraphs", ("v", "SubGraph")),
        3: ("description", "s"),
        4: ("buffers", ("v", "Buffer")),
        5: ("metadata_buffer", "*i"),
        6: ("metadata", ("v", "Metadata")),
        7: ("signature_defs", ("v", "SignatureDef")),
    },
    "OperatorCode": {
        0: ("deprecated_builtin_code", "b"),
        1: ("custom_code", "s"),
        2: ("version", "i"),
        3: ("builtin_code", "i"),
    },
    "SubGraph": {
        0: ("tensors", ("v", "Tensor")),
        1: ("inputs", "*i"),
        2: ("outputs", "*i"),
        3: ("operators", ("v", "Operator")),
        4: ("name", "s"),
    },
    "Tensor": {
        0: ("shape", "*i"),
        1: ("type", "b"),
        2: ("buffer", "I"),
        3: ("name", "s"),
        4: ("quantization", ("t", "Quantization")),
        6: ("sparsity", "?"),
        7: ("shape_signature", "*i"),
    },
    "Quantization": {
        0: ("min", "*f"),
        1: ("max", "*f"),
        2: ("scale", "*f"),
        3: ("zero_point", "*q"),
        4: ("details_type", "B"),
        5: ("details", "?"),
        6: ("quantized_dimension", "i"),
    },
    "Operator": {
        0: ("opcode_index", "I"),
        1: ("inputs", "*i"),
        2: ("outputs", "*i"),
        3: ("builtin_options_type", "B"),
        4: ("builtin_options", "?"),
        5: ("custom_options", "=B"),
        7: ("mutating_variable_inputs", "*B"),
        8: ("intermediates", "*i"),
    },
    "Buffer": {0: ("data", "=B"), 1: ("offset", "Q"), 2: ("size", "Q")},
    "Metadata": {0: ("name", "s"), 1: ("buffer", "I")},
    "SignatureDef": {
        0: ("inputs", ("v", "TensorMap")),
        1: ("outputs", ("v", "TensorMap")),
        2: ("signature_key", "s"),
        4: ("subgraph_index", "I"),
    },
    "TensorMap": {0: ("name", "s"), 1: ("tensor_index", "I")},
}
MAX_ELEMENTS = 1 << 28
"""More elements than any tensor of a network for a Pi has: a damaged shape."""

Table = dict[str, Any]


class DamagedError(ValueError):
    """The file doesn't hold together; says where."""


def verify(data: bytes) -> None:
    """Return if the flatbuffer holds together.

    Raises:
        DamagedError: it doesn't.
    """
    _verify_references(read(data))


def read(data: bytes) -> Table:
    """The file's tables as nested dictionaries; absent fields are absent.

    Raises:
        DamagedError: an offset leads out of the file.
    """
    reader = _Reader(data)
    return reader.table(reader.follow(0), "Model")


class _Reader:
    """Reads with every access checked against the end of the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Damage could make tables share parts so that reading takes for ever; an undamaged file
        # has no more tables than it has room for.
        self._tables_left = len(data) // 4

    def scalar(self, code: str, at: int) -> Any:
        if at < 0 or at + struct.calcsize(code) > len(self._data):
            raise DamagedError(f"an offset leads to byte {at} of {len(self._data)}")
        return struct.unpack_from("<" + code, self._data, at)[0]

    def follow(self, at: int) -> int:
        """Where the offset that lies here leads."""
        return at + int(self.scalar("I", at))

    def vector(self, at: int, item: int) -> tuple[int, int]:
        """Start and number of a vector's items."""
        start = self.follow(at)
        count = int(self.scalar("I", start))
        if start + 4 + count * item > len(self._data):
            raise DamagedError(
                f"{count} items at byte {start} reach over the end at {len(self._data)}"
            )
        return start + 4, count

    def fields(self, at: int) -> dict[int, int]:
        """Where a table's present fields lie, by number."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise DamagedError("its tables lie over each other")
        vtable = at - int(self.scalar("i", at))
        size, length = int(self.scalar("H", vtable)), int(self.scalar("H", vtable + 2))
        if at + length > len(self._data):
            raise DamagedError(f"a table at byte {at} reaches over the end at {len(self._data)}")
        present = {}
        for number in range(max(size - 4, 0) // 2):
            offset = int(self.scalar("H", vtable + 4 + 2 * number))
            if offset:
                present[number] = at + offset
        return present

    def table(self, at: int, kind: str) -> Table:
        present = self.fields(at)
        return {
            name: self.value(present[number], what)
            for number, (name, what) in SCHEMA[kind].items()
            if number in present
        }

    def tables(self, at: int, one_or_many: str, kind: str) -> Any:
        if one_or_many == "t":
            return self.table(self.follow(at), kind)
        start, count = self.vector(at, 4)
        return [self.table(self.follow(start + 4 * i), kind) for i in range(count)]

    def value(self, at: int, kind: Kind) -> Any:
        if isinstance(kind, tuple):
            return self.tables(at, *kind)
        if kind == "?":
            return self.fields(self.follow(at))
        if kind == "s":
            start, count = self.vector(at, 1)
            return self._data[start : start + count].decode("utf-8", "replace")
        if kind[0] in "*=":
            start, count = self.vector(at, struct.calcsize(kind[1]))
            if kind[0] == "=":
                return range(start, start + count)
            return struct.unpack_from(f"<{count}{kind[1]}", self._data, start)
        return self.scalar(kind, at)


def _verify_references(model: Table) -> None:
    codes, buffers = model.get("operator_codes", []), model.get("buffers", [])
    subgraphs = model.get("subgraphs", [])
    if not codes or not buffers or not subgraphs:
        raise DamagedError("it has no operations, no buffers or no graph")
    for graph in subgraphs:
        tensors = graph.get("tensors", [])
        for tensor in tensors:
            _verify_tensor(tensor, len(buffers))
        _within(graph.get("inputs", ()), len(tensors), "an input")
        _within(graph.get("outputs", ()), len(tensors), "an output")
        for operator in graph.get("operators", []):
            _within([operator.get("opcode_index", 0)], len(codes), "an operation's code")
            _within(operator.get("inputs", ()), len(tensors), "an operation's input", least=-1)
            _within(operator.get("outputs", ()), len(tensors), "an operation's output")
            _within(operator.get("intermediates", ()), len(tensors), "a tensor", least=-1)
    for signature in model.get("signature_defs", []):
        index = signature.get("subgraph_index", 0)
        _within([index], len(subgraphs), "a signature's graph")
        known = len(subgraphs[index].get("tensors", []))
        for entry in signature.get("inputs", []) + signature.get("outputs", []):
            _within([entry.get("tensor_index", 0)], known, "a signature's tensor")
    _within([m.get("buffer", 0) for m in model.get("metadata", [])], len(buffers), "a buffer")


def _verify_tensor(tensor: Table, buffers: int) -> None:
    _within([tensor.get("buffer", 0)], buffers, "a tensor's buffer")
    shape = tensor.get("shape", ())
    if any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise DamagedError(f"a tensor has the shape {shape}")
    quantization = tensor.get("quantization", {})
    scales, zeros = quantization.get("scale", ()), quantization.get("zero_point", ())
    if len(scales) > 1:
        _within([quantization.get("quantized_dimension", 0)], len(shape), "a quantised dimension")
        channels = shape[quantization.get("quantized_dimension", 0)]
        if len(scales) != channels or len(zeros) not in (0, 1, channels):
            raise DamagedError(f"a tensor of {channels} channels has {len(scales)} scales")
    if any(not math.isfinite(s) for s in scales):
        raise DamagedError("a scale isn't a number")


def _within(numbers: Any, end: int, what: str, least: int = 0) -> None:
    for number in numbers:
        if not least <= number < end:
            raise DamagedError(f"{what} is number {number} of {end}")
