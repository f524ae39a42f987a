"""A progress bar on standard error for whoever sits at the terminal; data goes elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress:
    """A bar with the time left; silent where standard error is no terminal.

    Args:
        count: gives the number of steps, None: not known; only called where somebody sees them.
        label: what is done.
        unit: of a step.
        quiet: show nothing.
    """

    def __init__(
        self, count: Callable[[], int | None], label: str, unit: str, *, quiet: bool = False
    ) -> None:
        from tqdm import tqdm

        seen = sys.stderr.isatty() and not quiet
        sized = seen and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        self._bar: Any = tqdm(
            total=count() if seen else None,
            desc=label,
            unit=unit,
            disable=not seen,
            leave=False,
            dynamic_ncols=sized,
            ncols=None if sized else 80,  # a serial console doesn't tell its size
            nrows=None if sized else 24,
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self) -> None:
        """One more is done."""
        self._bar.update()

    def write(self, text: str, *, err: bool = False) -> None:
        """Print text that ends with its own newline; on a terminal, above the bar."""
        stream = sys.stderr if err else sys.stdout
        with self._bar.external_write_mode(stream):
            stream.write(text)
            stream.flush()
