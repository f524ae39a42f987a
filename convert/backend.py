"""Keras's backends: which one is asked for, and what differs between them, in one place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import click

from maskedge.errors import MaskedgeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKENDS = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax"}
"""What KERAS_BACKEND may say, and the package that it needs."""

SEED = click.IntRange(0, 2**32 - 1)
"""What NumPy and Keras take for one."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, BadZipFile)
"""What Keras and NumPy raise for a saved network that isn't one, or is damaged."""


def check_backend() -> None:
    """See that what KERAS_BACKEND asks for is there, before Keras fails on it.

    Raises:
        UsageError: there is no such backend, or it isn't installed.
    """
    asked = os.environ.get("KERAS_BACKEND", "tensorflow")
    if asked not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND={asked}: there are {', '.join(BACKENDS)}")
    if asked != "tensorflow" and find_spec(BACKENDS[asked]) is None:
        raise UsageError(
            f"KERAS_BACKEND={asked}: {BACKENDS[asked]} isn't installed: pip install "
            f"{BACKENDS[asked]}, or leave KERAS_BACKEND out"
        )


def need_tensorflow(step: str) -> None:
    """TFLite files are made by TensorFlow's converter alone.

    Raises:
        UsageError: Keras is to run on another backend.
    """
    asked = os.environ.get("KERAS_BACKEND", "tensorflow")
    if asked != "tensorflow":
        raise UsageError(
            f"{step} needs TensorFlow's converter: run it without KERAS_BACKEND={asked} (what was "
            "trained there is read all the same)"
        )


@contextmanager
def downloading(what: str) -> Iterator[None]:
    """Where Keras may fetch ImageNet's weights.

    Args:
        what: asked for them, for the message.

    Raises:
        MaskedgeError: they can't be downloaded.
    """
    try:
        yield
    except Exception as error:
        if "fetch failure" not in str(error):
            raise
        raise MaskedgeError(
            f"{what}: {error}; download that file where there is a network and give --weights FILE"
        ) from error


def limit_threads(threads: int) -> None:
    """Keep the framework to so many threads; must come before it computes anything."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import keras  # noqa: PLC0415 - takes seconds

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    elif keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415

        torch.set_num_threads(threads)


def compiled_steps() -> bool:
    """What ``compile(jit_compile=...)`` should be.

    JAX compiles each operation by itself unless it may compile the whole step (27 s a step instead
    of 0.07). TensorFlow's XLA and torch.compile take minutes to start, and a CPU gains nothing.
    """
    import keras  # noqa: PLC0415

    return bool(keras.backend.backend() == "jax")
