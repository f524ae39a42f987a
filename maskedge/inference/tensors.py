"""What a network takes and gives: tensor descriptions, and bytes into a quantised input."""

from __future__ import annotations

import math
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import ModelError
from maskedge.inference.network import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT_DTYPES = ("uint8", "int8", "float32")
CHANNELS = 3
MAX_SIDE = 4096
"""Longest side of an input picture that is believed; a larger one is a damaged file."""
NEEDED_REACH = 128
"""Real value that an int8 input must reach: below, the network wants pictures in 0..1 or -1..1."""


def spec_of(details: dict[str, Any]) -> TensorSpec:
    """From one entry of ``Interpreter.get_input_details()`` or ``get_output_details()``."""
    scale, zero_point = details["quantization"]
    return TensorSpec(
        name=str(details["name"]),
        shape=tuple(int(n) for n in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def check_input(specs: list[TensorSpec], where: str) -> TensorSpec:
    """The one input, if it is a picture.

    Args:
        specs: all inputs of the network.
        where: the file, for the message.

    Raises:
        ModelError: not one input of (1, height, width, 3) in uint8, int8 or float32, or its
            quantisation can't hold byte values.
    """
    if len(specs) != 1:
        raise ModelError(f"{where}: has {len(specs)} inputs, needs one picture")
    spec = specs[0]
    picture = (
        len(spec.shape) == 4  # noqa: PLR2004 - batch, height, width, channels
        and spec.shape[0] == 1
        and spec.shape[3] == CHANNELS
        and all(1 <= side <= MAX_SIDE for side in spec.shape[1:3])
    )
    if not picture or spec.dtype not in INPUT_DTYPES:
        raise ModelError(
            f"{where}: input is {spec.dtype} {spec.shape}, needs one RGB picture "
            f"(1, height, width, 3) in {', '.join(INPUT_DTYPES)}"
        )
    if spec.dtype == "int8" and (127 - spec.zero_point) * spec.scale < NEEDED_REACH:
        low, high = ((q - spec.zero_point) * spec.scale for q in (-128, 127))
        raise ModelError(
            f"{where}: its int8 input holds values {low:.3g} to {high:.3g}, needs 0 to 255; "
            "convert it with the scaling of pixels inside the network"
        )
    return spec


class InputWriter:
    """Puts a picture's bytes into the network's input tensor.

    A uint8 input takes the bytes as they are; float32 takes their values; int8 takes
    ``round(byte / scale) + zero_point``, looked up in a table of 256.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self._shape = spec.shape[1:]
        self._table: NDArray[np.int8] | None = None
        self._flip_sign = False
        if spec.dtype == "int8":
            levels = np.round(np.arange(256) / spec.scale) + spec.zero_point
            table = np.clip(levels, -128, 127).astype(np.int8)
            # The usual case, scale 1 and zero point -128, is one XOR: 30 times as fast.
            self._flip_sign = bool(np.array_equal(table, np.arange(-128, 128)))
            self._table = table

    def write(self, picture: NDArray[np.uint8], target: NDArray[Any]) -> None:
        """Fill ``target`` (1, height, width, 3) from ``picture`` uint8 (height, width, 3).

        Raises:
            ValueError: the picture isn't uint8 of the input's size: a mistake of the caller.
        """
        if picture.shape != self._shape or picture.dtype != np.uint8:
            raise ValueError(
                f"picture is {picture.dtype} {picture.shape}, the network takes uint8 {self._shape}"
            )
        if self._table is None:
            np.copyto(target[0], picture)
        elif self._flip_sign:
            np.bitwise_xor(picture, 0x80, out=target[0].view(np.uint8))
        else:
            np.take(self._table, picture, out=target[0], mode="clip")


class SharedTensors:
    """A network's picture and outputs in memory that two processes map.

    Attributes:
        picture: uint8 (height, width, 3).
        outputs: one array per output, as stored.
    """

    ALIGNMENT = 64

    def __init__(
        self, descriptor: int, input_spec: TensorSpec, output_specs: tuple[TensorSpec, ...]
    ) -> None:
        """Map the memory behind a file descriptor, growing it to the size that is needed."""
        wanted = [(input_spec.shape[1:], "uint8"), *((s.shape, s.dtype) for s in output_specs)]
        offsets, size = [], 0
        for shape, dtype in wanted:
            offsets.append(size)
            size += math.prod(shape) * np.dtype(dtype).itemsize
            size += -size % self.ALIGNMENT
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        memory = mmap.mmap(descriptor, size)
        arrays = [
            np.ndarray(shape, dtype, memory, offset)
            for (shape, dtype), offset in zip(wanted, offsets, strict=True)
        ]
        self.picture: NDArray[np.uint8] = arrays[0]
        self.outputs: tuple[NDArray[np.generic], ...] = tuple(arrays[1:])
