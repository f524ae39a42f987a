"""An unknown network in a process of its own, behind the port.

A flatbuffer whose structure is sound may still say what no interpreter survives: of 18,000 one- to
four-bit flips in small networks, 50 killed LiteRT 2.3 (SIGSEGV, SIGABRT or a run without end). A
file whose SHA-256 its JSON vouches for needs no trial before it is loaded; any other gets one, once
per content and process. Whoever examines a file (:mod:`maskedge.models.verify`) keeps to this port.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from maskedge.errors import AcceleratorError, MaskedgeError, ModelError
from maskedge.inference.interpreter import InterpreterNetwork, from_bytes, one_line, read
from maskedge.inference.process import WorkerDied, WorkerProcess
from maskedge.inference.runtime import find_runtime
from maskedge.inference.structure import DamagedError, verify

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.inference.network import TensorSpec
    from maskedge.inference.process import Slot
    from maskedge.modelfile import ModelFile

RUNNER = "maskedge.inference.trial:load"
TIMEOUT = 30.0
"""Seconds for the process to start, load and run once: ample on a Pi with a busy card."""
MEMORY = 4 << 30
"""Bytes of address space: a damaged shape asks for more, a network for a Pi for far less."""

GREY = 128
NOBODY = 65534
"""Debian's user and group without any right."""

_passed: set[str] = set()


def load(path: Path, device: str | None, threads: int) -> InterpreterNetwork:  # noqa: ARG001
    """Load and run once on grey: the runner of the trial.

    Raises:
        ModelError: whatever a damaged network makes the interpreter raise.
    """
    try:
        find_runtime()
        content = read(path)
        _become_nobody()
        network = from_bytes(content, str(path), threads)
        network.invoke(np.full(network.input_spec.shape[1:], GREY, np.uint8))
    except MaskedgeError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: doesn't run ({one_line(error)}); install it again") from error
    return network


def _become_nobody() -> None:
    """Root, who installs networks, must not lend its rights to what a stranger's network does."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:  # a container that has no other users: its root is none either
        return


class TrialNetwork:
    """A network whose crash or hang ends a process of its own, and is told as an error.

    Args:
        path: the file.
        runner: what loads it there.
        timeout: seconds that the start and each run may take.

    Raises:
        ModelError: it is damaged, doesn't run, or doesn't end.
        AcceleratorError: no interpreter works here.
    """

    def __init__(self, path: Path, runner: str = RUNNER, timeout: float = TIMEOUT) -> None:
        try:
            verify(read(path))
        except DamagedError as error:
            raise ModelError(f"{path}: damaged: {error}; install it again") from error
        self._path = path
        self._timeout = timeout
        self._process = WorkerProcess(runner, memory=MEMORY)
        try:
            self._slot = slot = self._load()
        except BaseException:
            self.close()
            raise
        self.picture: NDArray[np.uint8] = slot.tensors.picture
        self.input_spec: TensorSpec = slot.input_spec
        self.output_specs: tuple[TensorSpec, ...] = slot.output_specs
        self.backend = slot.backend

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """Run once; see :class:`maskedge.inference.network.Network`.

        Raises:
            ModelError: it crashed or didn't end.
        """
        picture = self.picture if picture is None else picture
        try:
            return self._process.invoke(self._slot, picture, self._timeout)
        except WorkerDied as error:
            raise self._crash(error) from error
        except AcceleratorError as error:
            raise ModelError(f"{self._path}: doesn't run ({error})") from error

    def close(self) -> None:
        """End the process; never raises."""
        self._process.close()

    def _load(self) -> Slot:
        self._process.ask(self._path)
        try:
            answered = self._process.poll(self._timeout)
        except WorkerDied as error:
            raise self._crash(error) from error
        if not answered:
            self._process.kill()
            raise ModelError(
                f"{self._path}: doesn't finish one run within {self._timeout:g} s: the file is "
                "damaged or far too large; install it again. If this machine is merely slow: "
                "maskedge models verify --timeout SECONDS"
            )
        slot = self._process.slots[0]
        if isinstance(slot, MaskedgeError):
            raise slot
        return slot

    def _crash(self, error: WorkerDied) -> ModelError:
        return ModelError(
            f"{self._path}: crashes the interpreter: {error}; the file is damaged, install it again"
        )


def require_loadable(model: ModelFile, runner: str = RUNNER, timeout: float = TIMEOUT) -> None:
    """Return if the file loads and runs without harm.

    Args:
        model: the file.
        runner: what loads it there.
        timeout: seconds that all of it may take.

    Raises:
        ModelError: it doesn't.
        AcceleratorError: no interpreter works here.
    """
    if model.sha256 in _passed or model.card.get("sha256") == model.sha256:
        return
    TrialNetwork(model.path, runner, timeout).close()
    _passed.add(model.sha256)
