"""An Edge TPU for those who have none: it runs the CPU network, and fails on command.

It behaves as libedgetpu was seen to: the same exceptions, one owning process, hangs that no signal
breaks, real aborts and segmentation faults. Everything that handles a real Edge TPU handles it::

    tpu = FakeTpu(folder / "tpu.json")
    network = open_interpreter(model, "edgetpu", device=tpu.device, timeout=0.5)
    tpu.fail(Fault.HANG, after=3)      # the third run from now on never returns
    tpu.heal()                         # and a process that starts now finds it well

From a configuration: ``inference: {accelerator: edgetpu, device: "fake:/tmp/tpu.json"}``.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.inference.edgetpu import COMPILED_SUFFIX, LIBRARY, Diagnosis, open_on_tpu
from maskedge.inference.runtime import find_runtime

if TYPE_CHECKING:
    from maskedge.inference.interpreter import InterpreterNetwork

PREFIX = "fake:"
RUNNER = "maskedge.inference.fake_tpu:load"
FOR_EVER = 100_000_000


class Fault(StrEnum):
    """How it fails."""

    NO_LIBRARY = "no_library"
    NO_DEVICE = "no_device"
    HANG_AT_OPEN = "hang_at_open"
    HANG = "hang"
    ABORT = "abort"
    SEGFAULT = "segfault"
    SLOW = "slow"
    ERROR = "error"


class FakeTpu:
    """The hand that plugs, breaks and mends it, from any process.

    Args:
        script: the file through which the hand speaks to the device.
    """

    def __init__(self, script: Path) -> None:
        self._script = script.resolve()
        if not self._script.exists():
            self.heal()

    @classmethod
    def of(cls, device: str) -> FakeTpu:
        """The fake that a device string selects."""
        return cls(Path(device.removeprefix(PREFIX)))

    @property
    def device(self) -> str:
        """The device string that selects it."""
        return f"{PREFIX}{self._script}"

    def fail(self, fault: Fault, *, after: int = 0, seconds: float = 0.0) -> None:
        """Fail from now on.

        Args:
            fault: how.
            after: runs that still go well (faults of opening come at once).
            seconds: how long a ``SLOW`` run takes.
        """
        self._write({"fault": fault.value, "after": after, "seconds": seconds})

    def heal(self) -> None:
        """Be well from now on."""
        self._write({"fault": None})

    def diagnose(self) -> Diagnosis:
        """What sysfs would show: absent while the fault is ``NO_DEVICE``."""
        if self.script().get("fault") == Fault.NO_DEVICE:
            return Diagnosis(
                present=False, usable=False, finding="no fake Edge TPU", cure="plug it in"
            )
        return Diagnosis(present=True, usable=True, finding=f"fake Edge TPU ({self._script})")

    def claim(self) -> bool:
        """Own the device; like the real one, it serves several networks of one process only."""
        if self._script not in _claims:
            owner = self._script.with_suffix(".owner")
            descriptor = os.open(owner, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            _claims[self._script] = descriptor
        return True

    def script(self) -> dict[str, Any]:
        """What it was last told."""
        try:
            script: dict[str, Any] = json.loads(self._script.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"fault": Fault.NO_DEVICE.value}
        return script

    def _write(self, script: dict[str, Any]) -> None:
        # Renamed into place, so that the device never reads half of it; and stamped, so that
        # the same fault told twice counts its runs from the second time.
        fresh = self._script.with_suffix(".new")
        fresh.write_text(json.dumps({**script, "stamp": time.monotonic_ns()}), encoding="utf-8")
        fresh.replace(self._script)


_claims: dict[Path, int] = {}


class _Interpreter:
    """A CPU interpreter that carries out the script before each run."""

    def __init__(self, inner: Any, tpu: FakeTpu) -> None:
        self._inner = inner
        self._tpu = tpu
        self._stamp = 0
        self._runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def invoke(self) -> None:
        """Fail as told, else run."""
        script = self._tpu.script()
        if script.get("stamp", 0) != self._stamp:
            self._stamp, self._runs = script.get("stamp", 0), 0
        self._runs += 1
        if self._runs > script.get("after", 0):
            _suffer(script)
        self._inner.invoke()


def load(path: Path, device: str | None, threads: int) -> InterpreterNetwork:
    """Load a network on the fake: a runner like :func:`maskedge.inference.edgetpu.load`.

    Args:
        path: ``NAME_edgetpu.tflite``, which needn't exist: ``NAME.tflite`` is run.
        device: ``fake:SCRIPT``, see :attr:`FakeTpu.device`.
        threads: CPU threads.
    """
    tpu = FakeTpu.of(device or PREFIX)

    def make(path: Path, _device: str | None) -> _Interpreter:
        fault = tpu.script().get("fault")
        if fault == Fault.NO_LIBRARY:
            raise OSError(f"{LIBRARY}: cannot open shared object file")
        if fault == Fault.HANG_AT_OPEN:
            _hang()
        if fault == Fault.NO_DEVICE or not tpu.claim():
            raise ValueError(f"Failed to load delegate from {LIBRARY}\n")
        return _Interpreter(find_runtime().load(_cpu_file(path).read_bytes(), threads), tpu)

    return open_on_tpu(path, device, make)


def _cpu_file(path: Path) -> Path:
    return path.with_name(path.stem.removesuffix(COMPILED_SUFFIX) + path.suffix)


def _suffer(script: dict[str, Any]) -> None:
    fault = script.get("fault")
    if fault == Fault.HANG:
        _hang()
    elif fault == Fault.ABORT:
        os.abort()
    elif fault == Fault.SEGFAULT:
        ctypes.string_at(0)
    elif fault == Fault.SLOW:
        time.sleep(script.get("seconds", 0.0))
    elif fault in (Fault.ERROR, Fault.NO_DEVICE):  # also what a pulled plug does to a run
        raise RuntimeError("Failed to execute request: the device is gone")


def _hang() -> None:
    """Never return, with Python's lock held and every signal blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(FOR_EVER)
