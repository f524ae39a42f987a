"""The parent's side of a :mod:`maskedge.inference.worker`: start it, ask it, kill it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import AcceleratorError, MaskedgeError, ModelError
from maskedge.inference.network import TensorSpec
from maskedge.inference.tensors import SharedTensors
from maskedge.inference.worker import DONE, INVOKE, LOAD, MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BOOT = (
    "import json, sys; setup = json.loads(sys.argv[1]); sys.path[:] = setup['path']; "
    "from maskedge.inference.worker import main; main(setup)"
)
KILL_WAIT = 0.5
"""Seconds to wait for a killed process: one stuck in the kernel goes when the kernel lets it."""
LOOK = 0.2
"""Seconds after which a waiting run looks whether it was hurried."""
HURRIED = 0.5
"""Seconds that a run may still take once it was."""
LAST_WORDS = 200
"""Characters of the process's stderr that go into an error's sentence."""

_lingering: list[subprocess.Popen[bytes]] = []


class WorkerDied(AcceleratorError):
    """The process crashed or overran its deadline, and is gone."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A network that the process has loaded."""

    number: int
    backend: str
    input_spec: TensorSpec
    output_specs: tuple[TensorSpec, ...]
    tensors: SharedTensors


class WorkerProcess:
    """One process with the networks that it was asked to load. Used by one thread at a time.

    Args:
        runner: dotted path, ``package.module:function``, of ``load(path, device, threads)``.
        device: handed to the runner.
        threads: handed to the runner.
        memory: most bytes of address space the process may take; None: no limit.

    Attributes:
        hurried: set it, from any thread or a signal's handler, when nothing is left to wait for.
    """

    hurried = False

    def __init__(
        self,
        runner: str,
        device: str | None = None,
        *,
        threads: int = 1,
        memory: int | None = None,
    ) -> None:
        self.slots: list[Slot | MaskedgeError] = []
        self._asked: list[Path] = []
        self._words = b""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, self._lifeline = os.pipe()
        self._stderr, stderr = os.pipe()
        # A full pipe drops what follows instead of stopping a process that has much to say.
        os.set_blocking(stderr, False)
        os.set_blocking(self._stderr, False)
        setup = {
            "socket": theirs.fileno(),
            "lifeline": lifeline,
            "runner": runner,
            "device": device,
            "threads": threads,
            "memory": memory,
            "path": sys.path,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(setup)],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(theirs.fileno(), lifeline),
                # Numpy's threads are of no use there, and each reserves address space.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            os.close(self._lifeline)
            os.close(self._stderr)
            ours.close()
            raise AcceleratorError(f"can't start a process: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(stderr)
        self._channel = ours

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, path: Path) -> int:
        """Ask it to load a file; returns the slot's number at once, see :meth:`poll`."""
        self._asked.append(path)
        with contextlib.suppress(OSError):  # it has died already: poll() says how
            self._channel.send(LOAD + json.dumps(str(path.resolve())).encode())
        return len(self._asked) - 1

    def poll(self, wait: float = 0.0) -> bool:
        """Take what it has answered to :meth:`ask`.

        Args:
            wait: seconds to wait for the answers that are missing.

        Returns:
            Whether all files asked for are in :attr:`slots`, as a slot or as the error it gave.

        Raises:
            WorkerDied: it is gone.
        """
        deadline = time.monotonic() + wait
        while len(self.slots) < len(self._asked):
            self._channel.settimeout(max(deadline - time.monotonic(), 0.0))
            try:
                reply, memory, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE, 1)
            except (TimeoutError, BlockingIOError):
                return False
            except OSError:
                reply, memory = b"", []
            self.slots.append(self._slot(reply, memory))
        return True

    def invoke(
        self, slot: Slot, picture: NDArray[np.uint8], timeout: float
    ) -> tuple[NDArray[np.generic], ...]:
        """Run one of its networks.

        Args:
            slot: one of :attr:`slots`.
            picture: uint8 (height, width, 3) of the network's size.
            timeout: seconds it may take; a process that takes longer is killed.

        Returns:
            The outputs as stored: views of the shared memory, valid until the next call.

        Raises:
            WorkerDied: it crashed or took too long, and is gone.
            AcceleratorError: the network's run failed.
        """
        if picture.shape != slot.tensors.picture.shape or picture.dtype != np.uint8:
            raise ValueError(
                f"picture is {picture.dtype} {picture.shape}, "
                f"the network takes uint8 {slot.tensors.picture.shape}"
            )
        np.copyto(slot.tensors.picture, picture)
        try:
            self._channel.settimeout(timeout)
            self._channel.send(INVOKE + bytes((slot.number,)))
            reply = self._answer(timeout)
        except TimeoutError as error:
            self.kill()
            raise WorkerDied(f"no answer within {timeout:g} s{self._last_words()}") from error
        except OSError:
            reply = b""
        self._listen()
        if not reply:
            raise self._death()
        if reply != DONE:
            raise _reported(reply)
        return slot.tensors.outputs

    def _answer(self, timeout: float) -> bytes:
        begin = time.monotonic()
        while True:
            waited = time.monotonic() - begin
            left = (min(timeout, HURRIED) if self.hurried else timeout) - waited
            self._channel.settimeout(max(min(left, LOOK), 1e-3))
            try:
                return self._channel.recv(MAX_MESSAGE)
            except TimeoutError:
                if left <= LOOK:
                    raise

    def kill(self) -> int | None:
        """End it at once; returns its exit status, negative for a signal, None if it lingers."""
        self._process.kill()
        return self._reap()

    def close(self) -> None:
        """Let it end by itself, else kill it; never raises."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_WAIT)
        self.kill()

    def _slot(self, reply: bytes, memory: Sequence[int]) -> Slot | MaskedgeError:
        if not reply:
            raise self._death()
        if not memory:
            return _reported(reply)
        answer: dict[str, Any] = json.loads(reply[1:])
        specs = tuple(TensorSpec(**{**s, "shape": tuple(s["shape"])}) for s in answer["specs"])
        try:
            tensors = SharedTensors(memory[0], specs[0], specs[1:])
        finally:
            os.close(memory[0])
        return Slot(len(self.slots), answer["backend"], specs[0], specs[1:], tensors)

    def _death(self) -> WorkerDied:
        """Why its end of the channel closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_WAIT)
        status = self.kill()
        if status is None:
            how = "its process hangs"
        elif status < 0:
            how = f"its process died of {signal.Signals(-status).name}"
        else:
            how = f"its process ended with status {status}"
        return WorkerDied(how + self._last_words())

    def _reap(self) -> int | None:
        for old in list(_lingering):
            if old.poll() is not None:
                _lingering.remove(old)
        status: int | None = None
        try:
            status = self._process.wait(KILL_WAIT)
        except subprocess.TimeoutExpired:
            _lingering.append(self._process)
        if self._lifeline >= 0:
            self._listen()
            self._channel.close()
            os.close(self._lifeline)
            os.close(self._stderr)
            self._lifeline = self._stderr = -1
        return status

    def _listen(self) -> None:
        """Empty its stderr, keeping the end."""
        if self._stderr < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while heard := os.read(self._stderr, MAX_MESSAGE):
                self._words = (self._words + heard)[-4 * LAST_WORDS :]

    def _last_words(self) -> str:
        lines = self._words.decode("utf-8", "replace").split("\n")
        last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
        return f" ({last[:LAST_WORDS]})" if last else ""


def _reported(reply: bytes) -> MaskedgeError:
    answer = json.loads(reply[1:])
    kind = ModelError if answer["kind"] == "model" else AcceleratorError
    return kind(answer["message"])
