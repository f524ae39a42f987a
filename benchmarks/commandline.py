"""What the benchmarks' command lines have in common: a mistake is one line, with sysexits' code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from maskedge.errors import EX_USAGE, InputError, MaskedgeError

if TYPE_CHECKING:
    from collections.abc import Callable


class Parser(argparse.ArgumentParser):
    """argparse's, but that a wrong command line ends with 64."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        self.exit(EX_USAGE, f"{self.prog}: {message}; see --help\n")


def count(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def amount(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return number


def overlap(text: str) -> float:
    """An intersection over union: above 0, 1 at most."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no overlap; one is above 0 and 1 at most")
    return number


def existing(text: str) -> Path:
    """A file or folder that is there.

    Raises:
        InputError: it isn't.
    """
    path = Path(text)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return path


def run(main: Callable[[], None]) -> None:
    """A benchmark's program."""
    try:
        main()
    except MaskedgeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
