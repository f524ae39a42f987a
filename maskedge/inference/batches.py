"""The same network for several pictures a run, on the CPU: its weights are read once for all.

LiteRT computes each picture of a batch exactly as it would alone. A network whose file fixes the
batch (``convert.batch`` frees it), tflite-runtime, which gains nothing, and the Edge TPU, whose
shapes are static, go on one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.inference.interpreter import read
from maskedge.inference.runtime import Runtime, find_runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.inference.network import Network
    from maskedge.modelfile import ModelFile

SIZES = (4, 2)
"""Pictures a run, the most first. Eight gain hardly more than twice four; each size takes 7 MB."""
GAINS = frozenset({"litert"})
"""Interpreters with which a batch takes less time than its pictures one by one."""


class Batch:
    """A network of one uint8 input and one output, resized to some pictures a run.

    Args:
        runtime: what runs it.
        content: the flatbuffer.
        size: pictures a run.
        threads: CPU threads.

    Raises:
        ValueError: it can't be resized.
        RuntimeError: the same.
    """

    def __init__(self, runtime: Runtime, content: bytes, size: int, threads: int) -> None:
        self.backend = runtime.name
        self.size = size
        self._interpreter: Any = runtime.load(content, threads, batch=size)
        (given,) = self._interpreter.get_input_details()
        (gives,) = self._interpreter.get_output_details()
        self._input = self._interpreter.tensor(given["index"])
        self._output = self._interpreter.tensor(gives["index"])
        self._result = np.zeros(gives["shape"], gives["dtype"])

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """Where the next pictures are written: uint8 (size, height, width, 3), RGB.

        The interpreter's own memory, see :attr:`maskedge.inference.network.Network.picture`.
        """
        pictures: NDArray[np.uint8] = self._input()
        return pictures

    def invoke(self) -> NDArray[np.generic]:
        """Run once: the output as stored, (size, ...), valid until the next call."""
        self._interpreter.invoke()
        np.copyto(self._result, self._output())
        return self._result

    def close(self) -> None:
        """Free the interpreter's memory."""
        self._output = self._input = self._interpreter = None


def open_batches(model: ModelFile, network: Network, threads: int) -> tuple[Batch, ...]:
    """The batches that a network can run in, the largest first; none is no fault.

    Each is tried out: it must give what the network gives one by one.

    Args:
        model: the network's file. Unless a description vouches for it, it is left alone: nobody
            has tried whether its shapes survive this, and a damaged one may crash the process.
        network: the same network, open.
        threads: CPU threads.
    """
    runtime = find_runtime()
    if (
        runtime.name not in GAINS
        or network.backend != runtime.name
        or network.input_spec.dtype != "uint8"
        or len(network.output_specs) != 1
        or model.card.get("sha256") != model.sha256
    ):
        return ()
    content = read(model.path)
    try:
        batches = tuple(Batch(runtime, content, size, threads) for size in SIZES)
        same = _same(network, batches)
    except (ValueError, RuntimeError):  # its shapes are fixed
        return ()
    return batches if same else ()


def _same(network: Network, batches: Sequence[Batch]) -> bool:
    """Whether the batches answer as the network does, on pictures that are told apart."""
    height, width, _ = network.input_spec.shape[1:]
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (max(SIZES), -(-height // 16), -(-width // 16), 3), np.uint8)
    pictures = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    alone = [network.invoke(picture)[0].ravel().copy() for picture in pictures]
    for batch in batches:
        batch.pictures[...] = pictures[: batch.size]
        answers = batch.invoke()
        if len(answers) != batch.size or not np.array_equal(
            answers.reshape(batch.size, -1), alone[: batch.size]
        ):
            return False
    return True
