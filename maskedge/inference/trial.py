"""A first load of an unknown file in a process of its own.

A flatbuffer whose structure is sound may still say what no interpreter survives: of 18,000 one- to
four-bit flips in small networks, 50 killed LiteRT 2.3 (SIGSEGV, SIGABRT or a run without end). A
file whose SHA-256 its JSON vouches for needs no trial; any other gets one, once per content and
process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskedge.errors import MaskedgeError, ModelError
from maskedge.inference.interpreter import InterpreterNetwork, load_cpu, one_line
from maskedge.inference.process import WorkerDied, WorkerProcess
from maskedge.inference.structure import DamagedError, verify

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.modelfile import ModelFile

RUNNER = "maskedge.inference.trial:load"
TIMEOUT = 30.0
"""Seconds for the process to start, load and run once: ample on a Pi with a busy card."""
MEMORY = 4 << 30
"""Bytes of address space: a damaged shape asks for more, a network for a Pi for far less."""

GREY = 128

_passed: set[str] = set()


def load(path: Path, device: str | None, threads: int) -> InterpreterNetwork:
    """Load and run once on grey: the runner of the trial.

    Raises:
        ModelError: whatever a damaged network makes the interpreter raise.
    """
    try:
        network = load_cpu(path, device, threads)
        network.invoke(np.full(network.input_spec.shape[1:], GREY, np.uint8))
    except MaskedgeError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: doesn't run ({one_line(error)}); install it again") from error
    return network


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
    try:
        verify(model.path.read_bytes())
    except DamagedError as error:
        raise ModelError(f"{model.path}: damaged: {error}; install it again") from error
    process = WorkerProcess(runner, memory=MEMORY)
    try:
        process.ask(model.path)
        if not process.poll(timeout):
            process.kill()
            raise ModelError(
                f"{model.path}: doesn't finish one run within {timeout:g} s: the file is damaged "
                "or far too large; install it again"
            )
        answer = process.slots[0]
    except WorkerDied as error:
        raise ModelError(
            f"{model.path}: crashes the interpreter: {error}; the file is damaged, install it again"
        ) from error
    finally:
        process.close()
    if isinstance(answer, MaskedgeError):
        raise answer
    _passed.add(model.sha256)
