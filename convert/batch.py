"""An int8 classifier that takes any number of faces a run, by its input's shape alone.

The converter is given a batch of 1, as the Edge TPU needs it, and writes that 1 into the shape to
which the logits are brought in the end. A -1 there ("whatever is left") says the same of one face,
and lets LiteRT resize the input (:mod:`maskedge.inference.batches`). Nothing else holds the batch.
"""

from __future__ import annotations

import struct

from maskedge.inference.structure import Table, read

RESHAPE = 22
"""Of TensorFlow Lite's BuiltinOperator."""
VALUES_AND_SHAPE = 2
ANY = struct.pack("<i", -1)


def free_batch(content: bytes) -> bytes:
    """The same network with each constant shape (1, n) for a reshape written as (-1, n).

    Args:
        content: a flatbuffer with one graph.

    Returns:
        A flatbuffer of the same length; the given one where there is nothing to change.

    Raises:
        DamagedError: it doesn't hold together.
    """
    model = read(content)
    (graph,) = model["subgraphs"]
    changed = bytearray(content)
    for operator in graph["operators"]:
        inputs = operator.get("inputs", ())
        if _kind(model, operator) != RESHAPE or len(inputs) != VALUES_AND_SHAPE:
            continue
        place = model["buffers"][graph["tensors"][inputs[1]].get("buffer", 0)].get("data", range(0))
        sizes = struct.unpack_from(f"<{len(place) // 4}i", content, place.start)
        if sizes[:1] == (1,) and -1 not in sizes:
            changed[place.start : place.start + len(ANY)] = ANY
    return bytes(changed)


def _kind(model: Table, operator: Table) -> int:
    code = model["operator_codes"][operator.get("opcode_index", 0)]
    return int(max(code.get("builtin_code", 0), code.get("deprecated_builtin_code", 0)))
