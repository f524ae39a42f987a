"""A network on the CPU, run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import ModelError
from maskedge.inference.runtime import Runtime, find_runtime
from maskedge.inference.tensors import InputWriter, check_input, spec_of
from maskedge.modelfile import ModelFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.inference.network import TensorSpec


class CpuNetwork:
    """LiteRT's or tflite-runtime's interpreter behind the port.

    The picture is written straight into the input tensor and outputs are copied to buffers that
    are made once: a view of the interpreter's own memory that a caller still holds would make
    the next call fail.
    """

    def __init__(self, interpreter: Any, backend: str, where: str) -> None:
        inputs = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
        self.backend = backend
        self.input_spec: TensorSpec = check_input([spec_of(d) for d in inputs], where)
        self.output_specs: tuple[TensorSpec, ...] = tuple(spec_of(d) for d in outputs)
        self._interpreter = interpreter
        self._input = interpreter.tensor(inputs[0]["index"])
        self._outputs = tuple(interpreter.tensor(d["index"]) for d in outputs)
        self._results = tuple(np.zeros(s.shape, s.dtype) for s in self.output_specs)
        self._writer = InputWriter(self.input_spec)
        self._where = where

    @classmethod
    def open(cls, path: Path, *, threads: int = 1, **extra: Any) -> CpuNetwork:
        """Load a file.

        Args:
            path: a ``.tflite`` file; if a JSON lies beside it, its SHA-256 is checked.
            threads: CPU threads.
            extra: further arguments of ``Interpreter``, e.g. ``experimental_op_resolver_type``.

        Raises:
            ModelError: see :func:`maskedge.inference.open_interpreter`.
            AcceleratorError: no interpreter works here.
        """
        ModelFile.load(path)
        return cls(
            load_checked(find_runtime(), path, threads, **extra), find_runtime().name, str(path)
        )

    def invoke(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        """Run once; see :class:`maskedge.inference.network.Network`."""
        self._writer.write(picture, self._input())
        self._interpreter.invoke()
        for result, output in zip(self._results, self._outputs, strict=True):
            np.copyto(result, output())
        return self._results

    def close(self) -> None:
        """Free the interpreter's memory."""
        self._outputs = ()
        self._input = self._interpreter = None


def load_checked(runtime: Runtime, path: Path, threads: int, **extra: Any) -> Any:
    """An interpreter of the file, with the runtime's refusals turned into one sentence.

    Raises:
        ModelError: the file can't be read or the runtime refuses it.
    """
    try:
        # As bytes, not by path: the runtime would map the file, and a card that fails to read
        # a page, or an update that truncates the file, would kill the process with SIGBUS.
        return runtime.load(path.read_bytes(), threads, **extra)
    except OSError as error:
        raise ModelError(f"{path}: can't read the network: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or "unknown reason"
        raise ModelError(
            f"{path}: the interpreter refuses it: {reason}; install it again"
        ) from error
