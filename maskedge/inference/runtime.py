"""Which TFLite interpreter is installed: LiteRT, else its predecessor tflite-runtime."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from maskedge.errors import AcceleratorError

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATES = (
    ("litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
)
CURE = "install one: pip install 'ai-edge-litert>=2'"
# The last tflite-runtime admits numpy 2 in its metadata and then fails in Interpreter().
NUMPY_CURE = (
    "pip install 'ai-edge-litert>=2', or for this one "
    "pip install 'numpy<2' 'opencv-python-headless<4.12'"
)
CHATTER = (b"INFO:", b"VERBOSE:")
"""What TFLite's own logger begins its harmless lines with; it can't be told to be silent."""

_stderr_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Runtime:
    """An importable interpreter package.

    Attributes:
        name: ``litert`` or ``tflite_runtime``.
        module: its ``interpreter`` module.
    """

    name: str
    module: Any

    def load(self, content: bytes, threads: int, *, batch: int = 1, **extra: Any) -> Any:
        """An interpreter of this flatbuffer with its tensors allocated.

        Args:
            content: the file's bytes; the interpreter keeps a reference.
            threads: CPU threads.
            batch: pictures a run, other than the one that the file says.
            extra: further arguments of ``Interpreter``.

        Raises:
            ValueError: the interpreter refuses the flatbuffer.
            RuntimeError: it refuses an operation in it, or another batch.
            AcceleratorError: it can't work with the installed numpy.
        """
        with quiet_stderr():
            try:
                interpreter = self.module.Interpreter(
                    model_content=content, num_threads=threads, **extra
                )
            except SystemError as error:
                raise AcceleratorError(
                    f"{self.module.__name__} can't work with numpy {_numpy_version()}: {NUMPY_CURE}"
                ) from error
            if batch > 1:
                details = interpreter.get_input_details()[0]
                shape = (batch, *map(int, details["shape"][1:]))
                interpreter.resize_tensor_input(details["index"], shape)
            interpreter.allocate_tensors()
        return interpreter


@cache
def find_runtime() -> Runtime:
    """The first interpreter package that imports.

    Raises:
        AcceleratorError: none is installed, or the installed one can't work with this numpy.
    """
    reasons = []
    for name, module in CANDIDATES:
        try:
            with quiet_stderr():
                return Runtime(name, importlib.import_module(module))
        except ModuleNotFoundError as error:
            if error.name != module.partition(".")[0]:
                reasons.append(f"{module}: {error}")
        except (ImportError, AttributeError) as error:  # a library of the system is missing
            reasons.append(f"{module}: {str(error).splitlines()[0]}")
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise AcceleratorError(f"no TFLite interpreter is installed{why}; {CURE}")


def _numpy_version() -> str:
    return str(importlib.import_module("numpy").__version__)


@contextmanager
def quiet_stderr(chatter: tuple[bytes, ...] = CHATTER) -> Iterator[None]:
    """Keep lines that begin so out of stderr, and let everything else through.

    The native code writes to file descriptor 2 itself, so the descriptor is turned to memory
    meanwhile; lines that other threads wrote there, and real messages, follow afterwards.
    """
    with _stderr_lock, open(os.memfd_create("stderr"), "w+b") as held:  # noqa: PTH123 - in memory
        try:
            real = os.dup(2)
        except OSError:  # stderr is closed: nothing can be disturbed
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(real, 2)
            held.seek(0)
            rest = [line for line in held if not line.startswith(chatter)]
            if rest:
                os.write(real, b"".join(rest))
            os.close(real)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
