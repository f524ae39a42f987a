"""A network run by a TFLite interpreter in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import ModelError
from maskedge.inference.runtime import find_runtime
from maskedge.inference.tensors import InputWriter, check_input, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.inference.network import TensorSpec


class InterpreterNetwork:
    """An interpreter with its tensors allocated, behind the port.

    The picture is written straight into the input tensor and outputs are copied to buffers that
    are made once: a view of the interpreter's own memory that a caller still holds would make
    the next call fail. A uint8 input is open to the caller, see :attr:`picture`.
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
        self._own: NDArray[np.uint8] | None = None
        if self.input_spec.dtype != "uint8":  # it must be converted on its way
            self._own = np.zeros(self.input_spec.shape[1:], np.uint8)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """Where the next picture may be written; see the port."""
        picture: NDArray[np.uint8] = self._input()[0] if self._own is None else self._own
        return picture

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """Run once; see :class:`maskedge.inference.network.Network`."""
        if picture is None:
            picture = self._own  # None again: it is in the input already
        if picture is not None:
            self._writer.write(picture, self._input())
        self._interpreter.invoke()
        for result, output in zip(self._results, self._outputs, strict=True):
            np.copyto(result, output())
        return self._results

    def close(self) -> None:
        """Free the interpreter's memory."""
        self._outputs = ()
        self._input = self._interpreter = None


def load_cpu(path: Path, device: str | None = None, threads: int = 1) -> InterpreterNetwork:
    """Load a file on the CPU: the runner of :mod:`maskedge.inference.worker` for a trial load.

    Args:
        path: a ``.tflite`` file.
        device: no meaning here; every runner takes it.
        threads: CPU threads.

    Raises:
        ModelError: the file can't be read, the runtime refuses it, or it takes no picture.
        AcceleratorError: no interpreter works here.
    """
    del device
    return from_bytes(read(path), str(path), threads)


def read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ModelError: it can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: can't read the network: {error.strerror}") from error


def from_bytes(content: bytes, where: str, threads: int = 1) -> InterpreterNetwork:
    """Load a network on the CPU.

    Not by path: the runtime would map the file, and a card that fails to read a page, or an update
    that truncates the file, would kill the process with SIGBUS.

    Args:
        content: the flatbuffer.
        where: its file, for messages.
        threads: CPU threads.

    Raises:
        ModelError: the runtime refuses it, or it takes no picture.
        AcceleratorError: no interpreter works here.
    """
    runtime = find_runtime()
    try:
        interpreter = runtime.load(content, threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{where}: the interpreter refuses it ({one_line(error)}); install it again"
        ) from error
    return InterpreterNetwork(interpreter, runtime.name, where)


def one_line(error: BaseException) -> str:
    """What an interpreter's exception says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
