"""What shall be judged: files, folders, patterns, lists of paths, and what is piped in."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.camera.files import PICTURE_SUFFIXES, VIDEO_SUFFIXES, nearest
from maskedge.errors import InputError
from maskedge.paths import from_home, present

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

STDIN = "-"
MOST_PIPED = 256 * 2**20
"""Bytes taken from standard input: they are kept in memory, and a Pi has little."""


@dataclass(frozen=True, slots=True)
class Input:
    """One picture or video.

    Attributes:
        path: what to open.
        name: what people and programs call it.
        place: where its annotated copy belongs, relative to the folder of the copies.
        piped: it came on standard input.
    """

    path: Path
    name: str
    place: Path
    piped: bool = False


def gather(
    words: Iterable[str], piped: BinaryIO, leave_out: Path | None = None
) -> tuple[list[Input], list[InputError]]:
    """Files as given; below folders all pictures and videos, sorted; patterns the shell left.

    Args:
        words: paths, patterns, or ``-``.
        piped: what ``-`` reads.
        leave_out: a folder whose files aren't judged though they lie below one that is: copies
            of an earlier run.

    Returns:
        What can be opened, and why for each word that names nothing and each folder below one
        that can't be looked into.
    """
    found: list[Input] = []
    errors: list[InputError] = []
    for word in words:
        try:
            found.extend(_expand(word, piped, leave_out, errors))
        except InputError as error:
            errors.append(error)
    return found, errors


def read_list(stream: BinaryIO) -> list[str]:
    r"""Paths, one a line or, as ``find -print0`` writes them, each with ``\0`` behind it."""
    content = stream.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


def _expand(
    word: str, piped: BinaryIO, leave_out: Path | None, errors: list[InputError]
) -> Iterator[Input]:
    path = from_home(Path(word))
    if word == STDIN:
        yield _piped(piped)
    elif present(path):
        if path.is_dir():
            yield from _below(path, leave_out, errors)
        else:
            yield Input(path, str(path), Path(path.name))
    elif matching := [match for match in _matching(path) if present(match)]:
        for match in matching:
            yield from _expand(str(match), piped, leave_out, errors)
    elif glob.has_magic(word):
        raise InputError(f"{word}: nothing matches this pattern")
    else:
        raise InputError(f"{path}: no such file or folder{nearest(path)}")


def _matching(pattern: Path) -> list[Path]:
    return sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207 - also absolute


def _below(folder: Path, leave_out: Path | None, errors: list[InputError]) -> Iterator[Input]:
    """Pictures and videos in a folder and its folders, but for hidden ones."""
    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    away = None if leave_out is None else leave_out.resolve()
    if away is not None and folder.resolve().is_relative_to(away):
        away = None  # the copies lie beside or above what was asked for

    def left_out(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return hidden or (away is not None and path.resolve().is_relative_to(away))

    closed: list[OSError] = []
    found = False
    for path in sorted(
        Path(where, name)
        for where, _, names in os.walk(folder, onerror=closed.append)
        for name in names
    ):
        if path.suffix.lower() in wanted and path.is_file() and not left_out(path):
            found = True
            yield Input(path, str(path), path.relative_to(folder))
    told = [
        InputError(f"{error.filename}: can't be read: {error.strerror}")
        for error in closed
        if not left_out(Path(error.filename))
    ]
    errors.extend(told)
    if not found and not told:
        raise InputError(f"{folder}: no picture or video in this folder")


def _piped(stream: BinaryIO) -> Input:
    """Standard input as a file that exists in memory only, so that OpenCV can open it."""
    if stream.isatty():
        raise InputError("standard input: nothing is piped in; name a file, or: … | detect -")
    content = stream.read(MOST_PIPED + 1)
    if len(content) > MOST_PIPED:
        raise InputError(
            f"standard input: more than {MOST_PIPED // 2**20} MiB; store it and name the file"
        )
    if not content:
        raise InputError("standard input: empty (0 bytes)")
    handle = os.memfd_create("maskedge-stdin")  # open until this process ends
    with open(handle, "wb", closefd=False) as file:
        file.write(content)
    return Input(Path(f"/proc/self/fd/{handle}"), STDIN, Path("stdin"), piped=True)
