"""The same int8 network for another input size: the flatbuffer's shapes rewritten.

All operations are convolutions, sums and doublings, so weights and quantisation don't depend on
the input's size. Rewriting keeps both bit for bit, where another conversion would calibrate anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

from convert.detector.network import STRIDES
from maskedge.errors import ModelError
from maskedge.inference.flatbuffer import kind

IDENTIFIER = b"TFL3"
OPERATORS = frozenset(
    {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "QUANTIZE", "RESIZE_NEAREST_NEIGHBOR"}
)
"""What the detector consists of; nothing else in it holds a size."""
DIMENSIONS = 4


def reshape(content: bytes, height: int, width: int) -> bytes:
    """The network for an input of another size.

    Args:
        content: a flatbuffer that :func:`convert.detector.export.to_int8` made.
        height: rows, a multiple of 32.
        width: columns, a multiple of 32.

    Raises:
        ModelError: the network holds operations whose sizes aren't known here.
    """
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise ModelError(f"a face detector's input can't be {width}x{height}: multiples of 32 only")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    unknown = {kind(model, operator) for operator in graph.operators} - OPERATORS
    if unknown:
        raise ModelError(f"can't change the input size of a network with {', '.join(unknown)}")
    old = graph.tensors[graph.inputs[0]].shape[1:3]
    for tensor in graph.tensors:
        if model.buffers[tensor.buffer].data is None and len(tensor.shape) == DIMENSIONS:
            stride = old[0] // tensor.shape[1]
            tensor.shape = np.array(
                [1, height // stride, width // stride, tensor.shape[3]], np.int32
            )
    for operator in graph.operators:
        if kind(model, operator) == "RESIZE_NEAREST_NEIGHBOR":
            size = graph.tensors[operator.inputs[1]]
            rows_columns = np.asarray(graph.tensors[operator.outputs[0]].shape[1:3], np.int32)
            model.buffers[size.buffer].data = np.frombuffer(rows_columns.tobytes(), np.uint8)
    return _pack(model)


def _pack(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]  # noqa: PLC0415 - TensorFlow brings it

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
