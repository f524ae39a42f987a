"""A first load of an unknown file in a process of its own.

Interpreters check a flatbuffer's structure, but not what it says: of 18,000 one- to four-bit flips
in small networks, 50 killed LiteRT 2.3 (SIGSEGV, SIGABRT or a run without end). A file whose
SHA-256 its JSON vouches for needs no trial; any other gets one, once per content and process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskedge.errors import MaskedgeError, ModelError
from maskedge.inference.process import WorkerDied, WorkerProcess

if TYPE_CHECKING:
    from maskedge.modelfile import ModelFile

RUNNER = "maskedge.inference.interpreter:load_cpu"
TIMEOUT = 30.0
"""Seconds for the process to start, load and run once: ample on a Pi with a busy card."""
MEMORY = 4 << 30
"""Bytes of address space: a damaged shape asks for more, a network for a Pi for far less."""

_passed: set[str] = set()


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
