"""Google's Edge TPU: load a compiled network on it, and say why when there is none.

libedgetpu reports a missing device, a wrong device string and a missing permission with the same
words, so the cause is read from sysfs.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.errors import AcceleratorError, ModelError
from maskedge.inference.interpreter import InterpreterNetwork, one_line
from maskedge.inference.runtime import find_runtime, quiet_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKEND = "edgetpu"
RUNNER = "maskedge.inference.edgetpu:load"
LIBRARY = "libedgetpu.so.1"
COMPILED_SUFFIX = "_edgetpu"
USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""USB vendor and product: before the library has sent it its firmware, and after."""
PCI_IDS = {("0x1ac1", "0x089a")}
USB3_MBIT = 5000
INSTALL = "see https://coral.ai/docs/accelerator/get-started (libedgetpu1-std)"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the system shows of an Edge TPU.

    Attributes:
        present: a device is there; None where sysfs can't tell.
        usable: it is there and this user may open it.
        finding: one sentence.
        cure: what to do; empty when nothing is wrong.
    """

    present: bool | None
    usable: bool
    finding: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.finding}; {self.cure}" if self.cure else self.finding


def diagnose(
    sysfs: Path = Path("/sys"),
    dev: Path = Path("/dev"),
    may_open: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK),
) -> Diagnosis:
    """Look for an Edge TPU; takes a millisecond, opens no device, never raises.

    Args:
        sysfs: where sysfs is mounted.
        dev: where device nodes lie.
        may_open: whether this user may read and write a device node.
    """
    try:
        return _diagnose(sysfs, dev, may_open)
    except OSError as error:
        return Diagnosis(None, usable=False, finding=f"can't look for an Edge TPU: {error}")


def _diagnose(sysfs: Path, dev: Path, may_open: Callable[[Path], bool]) -> Diagnosis:
    found = [*_on_pcie(sysfs, dev, may_open), *_on_usb(sysfs, dev, may_open)]
    if found:
        return next((d for d in found if d.usable), found[0])
    if not (sysfs / "bus").is_dir():
        return Diagnosis(None, usable=False, finding="can't look for an Edge TPU: no sysfs here")
    return Diagnosis(
        present=False,
        usable=False,
        finding="no Edge TPU on USB or PCIe",
        cure="plug it in; if it is, try another port, cable or a powered hub",
    )


def _on_pcie(sysfs: Path, dev: Path, may_open: Callable[[Path], bool]) -> Iterator[Diagnosis]:
    nodes = sorted(dev.glob("apex_*"))
    for node in nodes:
        if may_open(node):
            yield Diagnosis(present=True, usable=True, finding=f"Edge TPU on PCIe ({node})")
        else:
            yield _blocked(node, "apex")
    if not nodes and any(_matching(sysfs / "bus/pci/devices", "vendor", "device", PCI_IDS)):
        yield Diagnosis(
            present=True,
            usable=False,
            finding="an Edge TPU is on PCIe, but its driver made no /dev/apex_0",
            cure="install gasket-dkms and restart the computer",
        )


def _on_usb(sysfs: Path, dev: Path, may_open: Callable[[Path], bool]) -> Iterator[Diagnosis]:
    for device in _matching(sysfs / "bus/usb/devices", "idVendor", "idProduct", USB_IDS):
        bus, number, speed = (_read(device, a) for a in ("busnum", "devnum", "speed"))
        node = dev / "bus/usb" / bus.zfill(3) / number.zfill(3)
        if not may_open(node):
            yield _blocked(node, "plugdev")
            continue
        slow = speed.isdigit() and int(speed) < USB3_MBIT
        yield Diagnosis(
            present=True,
            usable=True,
            finding=f"Edge TPU on USB ({device.name}, {speed} Mbit/s)",
            cure="a USB 3 port and cable would make every call faster" if slow else "",
        )


def _blocked(node: Path, group: str) -> Diagnosis:
    if not node.exists():
        finding, cure = f"an Edge TPU is there, but {node} isn't", "let the service see the device"
    else:
        finding = f"an Edge TPU is there, but this user may not open {node}"
        cure = (
            f"install libedgetpu's udev rule, add the user to the group {group}, then replug "
            "or log in again"
        )
    return Diagnosis(present=True, usable=False, finding=finding, cure=cure)


def _matching(folder: Path, first: str, second: str, ids: set[tuple[str, str]]) -> Iterator[Path]:
    if folder.is_dir():
        for device in sorted(folder.iterdir()):
            if (_read(device, first), _read(device, second)) in ids:
                yield device


def _read(device: Path, attribute: str) -> str:
    try:
        return (device / attribute).read_text(encoding="ascii", errors="replace").strip().lower()
    except OSError:  # unplugged meanwhile, or an entry without it (a hub's interface)
        return ""


def compiled_path(path: Path) -> Path:
    """``NAME_edgetpu.tflite`` beside ``NAME.tflite``: what edgetpu_compiler writes."""
    return path.with_name(f"{path.stem}{COMPILED_SUFFIX}{path.suffix}")


def load(path: Path, device: str | None, threads: int) -> InterpreterNetwork:
    """Load a compiled network on the Edge TPU: the runner of its worker process.

    Args:
        path: ``NAME_edgetpu.tflite``.
        device: libedgetpu's device string (``usb``, ``usb:0``, ``pci``, ``pci:0``, ``:0``).
        threads: CPU threads for operations that the compiler left to the CPU.

    Raises:
        ModelError: the file can't be read or isn't compiled for this runtime.
        AcceleratorError: the library or the device can't be used; says why and what to do.
    """
    return open_on_tpu(path, device, _google_pycoral() or _delegate(threads))


def open_on_tpu(
    path: Path, device: str | None, make: Callable[[Path, str | None], Any]
) -> InterpreterNetwork:
    """Make the interpreter, and turn what libedgetpu raises into one sentence with its cure.

    Args:
        path: the compiled network.
        device: device string.
        make: gives an interpreter that runs ``path`` on ``device``.
    """
    try:
        with quiet_stderr():
            interpreter = make(path, device)
            interpreter.allocate_tensors()
    except FileNotFoundError as error:
        raise ModelError(f"{path} isn't there: make it with python -m convert compile") from error
    except OSError as error:
        raise AcceleratorError(f"{LIBRARY} can't be loaded ({error}); {INSTALL}") from error
    except ValueError as error:
        named = f" as {device!r}" if device else ""
        raise AcceleratorError(
            f"the Edge TPU can't be opened{named} ({one_line(error)}): {diagnose()}"
        ) from error
    except RuntimeError as error:
        raise ModelError(
            f"{path}: the Edge TPU refuses it ({one_line(error)}); compile it again with "
            "python -m convert compile, or update libedgetpu"
        ) from error
    return InterpreterNetwork(interpreter, BACKEND, str(path))


def _google_pycoral() -> Callable[[Path, str | None], Any] | None:
    """Google's pycoral, if that is what imports: PyPI's package of that name is about reefs."""
    try:
        module = importlib.import_module("pycoral.utils.edgetpu")
    except ImportError:
        return None
    make = getattr(module, "make_interpreter", None)
    if make is None:
        return None
    return lambda path, device: make(str(path), device=device)


def _delegate(threads: int) -> Callable[[Path, str | None], Any]:
    runtime = find_runtime()

    def make(path: Path, device: str | None) -> Any:
        content = path.read_bytes()
        ctypes.CDLL(LIBRARY)  # load_delegate leaves a broken object behind if this fails
        # What pycoral's make_interpreter does.
        options = {"device": device} if device else {}
        delegate = runtime.module.load_delegate(LIBRARY, options)
        return runtime.module.Interpreter(
            model_content=content, num_threads=threads, experimental_delegates=[delegate]
        )

    return make
