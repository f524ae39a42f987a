"""The daemon's side of outputs and command: nothing at all where none is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.signals.command import CommandHook
from maskedge.signals.gpio import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from maskedge.config import SignalsConfig
    from maskedge.events import Violation


MOMENT = 0.5
"""Seconds that outputs and programs get to end when something else comes in their place."""


@dataclass(frozen=True, slots=True)
class SignalsStatus:
    """What health tells of them.

    Attributes:
        gpio_error: what can't be switched, and the cure.
        command_error: what is wrong with the program, and the cure.
    """

    gpio_error: str | None = None
    command_error: str | None = None


class Signals:
    """Hands on what is decided, when it is decided; used by the daemon's loop, never waits there.

    Args:
        config: what is configured.
        count: told what happened, by the name of a counter.
        standing: the ``started`` of violations that haven't ended.
    """

    def __init__(
        self,
        config: SignalsConfig,
        count: Callable[[str], None],
        standing: Iterable[Violation] = (),
    ) -> None:
        self._count = count
        self._config = config
        self._open_outputs(standing)
        self._open_command()

    def told(self, events: Sequence[Violation]) -> None:
        """Violations have started or ended."""
        if self._outputs is not None:
            self._outputs.told(events)
        if self._command is not None:
            self._command.told(events)

    def status(self) -> SignalsStatus:
        """How they are."""
        return SignalsStatus(
            gpio_error=None if self._outputs is None else self._outputs.error,
            command_error=None if self._command is None else self._command.error,
        )

    def reconfigure(self, config: SignalsConfig, standing: Iterable[Violation]) -> None:
        """Take another configuration; what isn't changed in it goes on.

        Programs that run are given a moment, then killed; events that wait for one go to the next.
        """
        old, self._config = self._config, config
        if config.gpio != old.gpio:
            self._close_outputs(MOMENT)
            self._open_outputs(standing)
        if config.command != old.command:
            left = () if self._command is None else self._command.close(MOMENT)
            self._open_command()
            if self._command is not None:
                self._command.told(left)

    def finish(self, timeout: float) -> SignalsStatus:
        """Let programs that run or wait end, switch everything off; how it all went.

        Args:
            timeout: most seconds for the programs.
        """
        if self._command is not None:
            self._command.close(timeout)
        status = self.status()
        if self._outputs is not None:
            self._outputs.close()
        return status

    def close(self, timeout: float = MOMENT) -> None:
        """Switch everything off; give programs that run this long, seconds, to end."""
        self._close_outputs(timeout)
        if self._command is not None:
            self._command.close(timeout)

    def _open_outputs(self, standing: Iterable[Violation]) -> None:
        gpio = self._config.gpio
        self._outputs = Outputs(gpio, standing) if gpio else None

    def _close_outputs(self, timeout: float) -> None:
        if self._outputs is not None:
            self._outputs.close(timeout)

    def _open_command(self) -> None:
        command = self._config.command
        self._command = CommandHook(command, self._count) if command.run else None
