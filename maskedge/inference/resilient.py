"""A network that prefers the Edge TPU and always answers.

One :class:`TpuHost` owns the device for all networks of this process, since a second process (or a
second owner) can't open it: one worker process holds them all. When it fails, every network goes
on on the CPU with the very frame that failed; a new worker is started after a pause that doubles,
and looked at between frames, so that no frame waits for it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

from maskedge.errors import AcceleratorError, MaskedgeError
from maskedge.inference.edgetpu import BACKEND
from maskedge.inference.process import Slot, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.inference.edgetpu import Diagnosis
    from maskedge.inference.network import Network, TensorSpec

START_TIMEOUT = 20.0
"""Seconds for a process to start, load the device's firmware and run each network once."""
RETRY_FIRST = 5.0
RETRY_LONGEST = 300.0
LOOK = 0.02
"""Seconds between two looks whether a network is loaded, for who waits for it."""
PROVEN = 10
"""A device that served this many times its last pause is trusted again: pauses start anew."""


class TpuHost:
    """The device, the process that owns it, and when to try it again.

    Args:
        runner: dotted path of the worker's runner.
        device: device string.
        diagnose: says whether a device is there.
        required: whether an absent device is a fault (``accelerator: edgetpu``).
        retry: first and longest pause before the device is tried again, seconds.
        start_timeout: seconds that a start may take.
        clock: steady seconds.
    """

    def __init__(  # noqa: PLR0913 - all but two have defaults that only tests change
        self,
        runner: str,
        device: str | None,
        *,
        diagnose: Callable[[], Diagnosis],
        required: bool,
        retry: tuple[float, float] = (RETRY_FIRST, RETRY_LONGEST),
        start_timeout: float = START_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fault: str | None = None
        self.failures = 0
        self._runner = runner
        self._device = device
        self._diagnose = diagnose
        self._required = required
        self._retry_first, self._retry_longest = retry
        self._start_timeout = start_timeout
        self._clock = clock
        self._paths: dict[int, Path] = {}
        self._slots: dict[int, int] = {}
        self._process: WorkerProcess | None = None
        self._ready = False
        self._since = 0.0
        self._pause = self._retry_first
        self._next_try = float("-inf")
        self._lock = threading.Lock()

    def add(self, path: Path) -> int:
        """Load one more compiled network, waiting for it; returns its number.

        The others are answered by the CPU meanwhile.
        """
        begun = time.monotonic()
        with self._lock:
            number = max(self._paths, default=-1) + 1
            self._paths[number] = path
            if self._process is not None:
                self._suspend()
                self._since = self._clock()
                self._slots[number] = self._process.ask(path)
            elif self._clock() >= self._next_try:
                self._start()
            process = self._process
        while self._awaited(process, late=time.monotonic() - begun > self._start_timeout):
            time.sleep(LOOK)
        return number

    def remove(self, number: int) -> None:
        """Forget a network; the process ends with the last."""
        with self._lock:
            self._paths.pop(number, None)
            self._slots.pop(number, None)
            if not self._paths:
                self._stop()

    def slot(self, number: int) -> Slot | MaskedgeError | None:
        """A network on the device, the error it gave, or None while the device isn't in use.

        Also starts the device again when its pause is over, and takes it into use once it is
        ready; never waits.
        """
        with self._lock:
            if self._process is None and self._clock() >= self._next_try:
                self._start()
            self._look()
            if self._process is None or not self._ready:
                return None
            return self._process.slots[self._slots[number]]

    def invoke(
        self, slot: Slot, picture: NDArray[np.uint8], timeout: float
    ) -> tuple[NDArray[np.generic], ...]:
        """Run on the device.

        Raises:
            AcceleratorError: it failed; the fault is raised and the device given up for a while.
        """
        with self._lock:
            if self._process is None or not self._ready:
                raise AcceleratorError(self.fault or "the Edge TPU isn't in use")
            try:
                return self._process.invoke(slot, picture, timeout)
            except AcceleratorError as error:
                self._give_up(f"the Edge TPU failed: {error}")
                raise

    def hurry(self) -> None:
        """Wait no longer for a run that hangs; from any thread or a signal's handler."""
        process = self._process  # without the lock, which the run holds
        if process is not None:
            process.hurried = True

    def _start(self) -> None:
        diagnosis = self._diagnose()
        self._since = self._clock()
        if diagnosis.present is False:
            # Absence is cheap to see: no process, and no doubling, so that a plug is noticed soon.
            self._next_try = self._since + self._retry_first
            if self._required or self.fault:
                self.fault = str(diagnosis)
            return
        try:
            self._process = WorkerProcess(self._runner, self._device)
        except AcceleratorError as error:
            self._give_up(f"the Edge TPU can't be used: {error}")
            return
        self._slots = {number: self._process.ask(path) for number, path in self._paths.items()}

    def _awaited(self, process: WorkerProcess | None, *, late: bool) -> bool:
        """Whether this process has still to answer; given up if it is ``late``."""
        with self._lock:
            if self._process is process:
                self._look(late=late)
            return self._process is process is not None and not self._ready

    def _look(self, *, late: bool = False) -> None:
        """Take the process into use once it has answered for every network."""
        process = self._process
        if process is None or self._ready:
            return
        try:
            if process.poll():
                self._judge(process)
            elif late or self._clock() - self._since > self._start_timeout:
                self._give_up(f"the Edge TPU didn't start within {self._start_timeout:g} s")
        except AcceleratorError as error:
            self._give_up(f"the Edge TPU can't be used: {error}")

    def _judge(self, process: WorkerProcess) -> None:
        unusable = [slot for slot in process.slots if isinstance(slot, AcceleratorError)]
        if unusable:
            self._give_up(f"the Edge TPU can't be used: {unusable[0]}")
            return
        self._ready = True
        self._since = self._clock()
        self.fault = None

    def _give_up(self, fault: str) -> None:
        self._suspend()
        self.failures += 1
        # The same words at every try: who logs faults when they change must not log each try.
        self.fault = f"{fault}; running on the CPU and trying again"
        self._next_try = self._clock() + self._pause
        self._pause = min(2 * self._pause, self._retry_longest)
        self._stop()

    def _suspend(self) -> None:
        """Use the process no more, or not before it has answered for another network, too."""
        if self._ready and self._clock() - self._since > PROVEN * self._pause:
            self._pause = self._retry_first
        self._ready = False

    def _stop(self) -> None:
        self._ready = False
        if self._process is not None:
            process, self._process = self._process, None
            if self.fault:
                process.kill()
            else:
                process.close()


_hosts: WeakValueDictionary[tuple[object, ...], TpuHost] = WeakValueDictionary()


def shared_host(
    runner: str, device: str | None, *, diagnose: Callable[[], Diagnosis], required: bool
) -> TpuHost:
    """The host of this device in this process, made when none is in use."""
    key = (runner, device, required)
    host = _hosts.get(key)
    if host is None:
        host = _hosts[key] = TpuHost(runner, device, diagnose=diagnose, required=required)
    return host


def hurry() -> None:
    """The program is to end: wait for no Edge TPU that hangs. From a signal's handler, too."""
    for host in list(_hosts.values()):
        host.hurry()


class ResilientNetwork:
    """The same network on the Edge TPU and on the CPU: the CPU answers when the Edge TPU can't.

    Attributes:
        fault: why the Edge TPU isn't used though it should be; None when all is well.
    """

    def __init__(self, cpu: Network, host: TpuHost, compiled: Path, timeout: float) -> None:
        """Load the compiled network on the host's device.

        Args:
            cpu: the same network on the CPU; closed with this one.
            host: the device.
            compiled: the compiled file.
            timeout: seconds that a run on the device may take.
        """
        self.input_spec: TensorSpec = cpu.input_spec
        self.output_specs: tuple[TensorSpec, ...] = cpu.output_specs
        # Its own, not the CPU's input: whoever answers takes it from here.
        self.picture: NDArray[np.uint8] = np.zeros(cpu.input_spec.shape[1:], np.uint8)
        self._cpu = cpu
        self._host = host
        self._compiled = compiled
        self._timeout = timeout
        self._own_fault: str | None = None
        self._number = host.add(compiled)
        self._closed = False
        self._usable()  # a network that doesn't fit is a fault from the beginning

    @property
    def backend(self) -> str:
        """What would answer now; who only asks this brings the device back, too."""
        return BACKEND if not self._closed and self._usable() else self._cpu.backend

    @property
    def fault(self) -> str | None:
        """One sentence with the cure, or None."""
        return self._host.fault or self._own_fault

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """Run once, on the Edge TPU if it can; never raises AcceleratorError."""
        picture = self.picture if picture is None else picture
        slot = self._usable()
        if slot is not None:
            try:
                outputs = self._host.invoke(slot, picture, self._timeout)
            except AcceleratorError:
                pass  # the host keeps what happened as its fault
            else:
                return outputs
        return self._cpu.invoke(picture)

    def close(self) -> None:
        """Free both; the process ends with its last network."""
        if not self._closed:
            self._closed = True
            self._host.remove(self._number)
            self._cpu.close()

    def _usable(self) -> Slot | None:
        """The device's slot if it holds this very network."""
        slot = self._host.slot(self._number)
        if slot is None:
            return None
        if isinstance(slot, MaskedgeError):
            self._own_fault = f"{slot}; running on the CPU"
            return None
        if _signature(slot.input_spec, slot.output_specs) != _signature(
            self.input_spec, self.output_specs
        ):
            self._own_fault = (
                f"{self._compiled} isn't the same network as the CPU's: compile it again with "
                "python -m convert compile; running on the CPU"
            )
            return None
        self._own_fault = None
        return slot


def _signature(picture: TensorSpec, outputs: tuple[TensorSpec, ...]) -> object:
    """What two files of one network share; names may differ."""
    return [(s.shape, s.dtype, round(s.scale, 9), s.zero_point) for s in (picture, *outputs)]
