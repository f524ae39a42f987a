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
        device: libedgetpu's device string (``usb``, ``pci:0`` ...), or ``fake:SCRIPT`` for
            :class:`maskedge.inference.fake_tpu.FakeTpu`; None takes the first.
        timeout: seconds that one call of the Edge TPU may take.

    Returns:
        A network; unless on the CPU by wish, a
        :class:`maskedge.inference.resilient.ResilientNetwork`, whose ``fault`` says why the
        Edge TPU isn't used.

    Raises:
        ModelError: the file is missing, damaged, or takes something else than one picture.
        AcceleratorError: no interpreter is installed, or it can't work with this numpy.
    """
    from maskedge.inference.interpreter import load_cpu  # noqa: PLC0415 - loads numpy, a runtime
    from maskedge.inference.runtime import find_runtime  # noqa: PLC0415
    from maskedge.inference.trial import require_loadable  # noqa: PLC0415
    from maskedge.modelfile import ModelFile  # noqa: PLC0415

    model = ModelFile.load(path)
    find_runtime()
    require_loadable(model)
    cpu = load_cpu(path, threads=threads)
    if accelerator == "cpu":
        return cpu
    return _resilient(cpu, path, accelerator, device, timeout)


def _resilient(
    cpu: Network, path: Path, accelerator: Accelerator, device: str | None, timeout: float
) -> Network:
    from maskedge.inference import edgetpu, fake_tpu  # noqa: PLC0415 - not needed on the CPU
    from maskedge.inference.resilient import ResilientNetwork, shared_host  # noqa: PLC0415

    required = accelerator == "edgetpu"
    if device is not None and device.startswith(fake_tpu.PREFIX):
        fake = fake_tpu.FakeTpu.of(device)
        host = shared_host(fake_tpu.RUNNER, device, diagnose=fake.diagnose, required=required)
    else:
        host = shared_host(edgetpu.RUNNER, device, diagnose=edgetpu.diagnose, required=required)
    return ResilientNetwork(cpu, host, edgetpu.compiled_path(path), timeout)
