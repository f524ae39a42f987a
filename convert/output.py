"""Where results go: seen to before the work, not after hours of it; and never half a file."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class OutputError(MaskedgeError):
    """A result can't be written where the user wants it: give another place, or other rights."""


def writable(folder: Path) -> Path:
    """A folder, made if needed, in which a file could be made.

    Raises:
        OutputError: it can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder}: can't write there ({error.strerror}); give a folder that you may write to"
        ) from error
    return folder


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half of one.

    Args:
        path: the file.
        write: writes to the path that it is given, which has the same suffixes.
    """
    replace_all({path: write})


def replace_all(writes: Mapping[Path, Callable[[Path], Any]]) -> None:
    """Write files that belong together: all are written before the first takes its place.

    So neither a full disk nor, but for the instant of renaming, a kill leaves old beside new.

    Args:
        writes: how each file is written, see :func:`replace`.
    """
    partial = {path: path.with_name(f"partial.{path.name}") for path in writes}
    try:
        for path, write in writes.items():
            write(partial[path])
        for path in writes:
            os.replace(partial[path], path)  # noqa: PTH105 - atomic on both ends
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all; see :func:`replace`."""
    replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture, whatever its path is called; OpenCV's own way is silent about a full disk.

    Args:
        path: the file.
        pixels: (height, width, 3), BGR.
    """
    import cv2  # noqa: PLC0415 - most results are no pictures

    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
