"""The port to whatever runs a network: one quantised input picture in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a network.

    Attributes:
        name: as in the file.
        shape: with the batch dimension, e.g. (1, 320, 320, 3).
        dtype: numpy's name: uint8, int8 or float32.
        scale: real = (stored - zero_point) * scale; 0 for float tensors.
        zero_point: see ``scale``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class Network(Protocol):
    """A loaded network with one picture as its input. Used by one thread at a time."""

    input_spec: TensorSpec
    output_specs: tuple[TensorSpec, ...]

    @property
    def backend(self) -> str:
        """``litert``, ``tflite_runtime`` or ``edgetpu``."""

    @property
    def picture(self) -> NDArray[np.uint8]:
        """Where the next picture may be written: uint8 (height, width, 3), RGB, 0..255.

        With a uint8 network on the CPU it is the interpreter's own input, so that a picture is
        made where it is needed. Ask anew for every picture, and let go of it before
        :meth:`invoke`, which fails as long as anybody holds a view of the interpreter's memory.
        """

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """Run once.

        Args:
            picture: uint8 (height, width, 3) of the input's size, RGB, 0..255; None: what was
                written into :attr:`picture`. A uint8 network takes it as it is; for int8 and
                float32 inputs the port converts it by the model's own quantisation parameters
                (real value = byte value, 0..255).

        Returns:
            One array per output, as stored (not dequantised), valid until the next call; see
            :func:`dequantise`.

        Raises:
            AcceleratorError: the Edge TPU failed or overran its deadline.
        """

    def close(self) -> None:
        """Free it; never raises."""


def dequantise(stored: NDArray[np.generic], spec: TensorSpec) -> NDArray[np.float32]:
    """The real values of a stored tensor, float32 of the same shape.

    The subtraction is done in int64, so that no 8-bit value wraps (pycoral's rule).
    """
    import numpy as np  # noqa: PLC0415 - the protocol alone must not load numpy

    if spec.scale == 0:
        return stored.astype(np.float32, copy=False)
    shifted = stored.astype(np.int64) - spec.zero_point
    return (shifted * spec.scale).astype(np.float32)
