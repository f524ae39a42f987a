"""``maskedge signal``: switch outputs and start the command, as a violation would."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from maskedge.commands.options import Seconds, config_options, load_config
from maskedge.errors import EX_OK, EX_UNAVAILABLE, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from maskedge.config import Config
    from maskedge.events import EventBuilder, Violation
    from maskedge.signals.local import Signals, SignalsStatus

SETTLE = 0.5
"""Seconds in which a pin is opened, or says why it can't be."""
GLANCE = 0.5
"""Most seconds to sleep at once: a signal that comes just before a sleep doesn't cut it short."""
EPILOG = """\b
Examples:
  maskedge signal                       what config.yaml configures, for 3 seconds
  maskedge signal --seconds 10 --label incorrect_mask
  maskedge signal --set 'signals.gpio=[{pin: 17}]'
  sudo systemctl stop maskedge && maskedge signal

To try the wiring and the program of `signals`: nothing is published, no
camera is opened. A pin belongs to one program at a time: stop the service
before. Exit codes: 0 all worked, 69 something didn't, 78 nothing to try.
"""


@click.command(name="signal", epilog=EPILOG)
@click.option(
    "--label",
    type=click.Choice(["without_mask", "incorrect_mask"]),
    default="without_mask",
    show_default=True,
    help="Of the violation.",
)
@click.option(
    "--seconds",
    type=Seconds(0.1, 3600.0),
    default=3.0,
    show_default=True,
    help="How long it stands.",
)
@config_options
def command(
    label: str, seconds: float, config_path: Path | None, overrides: tuple[str, ...]
) -> int:
    """Switch outputs and start the command, as a violation would: to try the wiring."""
    from maskedge.signals.local import Signals

    config = load_config(config_path, None, overrides).config
    asked = config.signals
    if not asked.gpio and not asked.command.run:
        raise ConfigError("nothing to try: signals.gpio and signals.command.run are empty")
    counted: list[str] = []
    signals = Signals(asked, counted.append)
    with _ended_by_signals():
        try:
            status = _try(signals, config, label, seconds)
        except BaseException:  # ended, or nobody reads: leave no lamp on and no program running
            signals.close()
            raise
    wrong = [error for error in (status.gpio_error, status.command_error) if error]
    for error in wrong:
        click.echo(f"maskedge: {error}", err=True)
    runs = counted.count("commands_run")
    if runs:
        click.echo(f"the command ended well {runs} time{'s' * (runs > 1)}")
    return EX_UNAVAILABLE if wrong else EX_OK


def _try(signals: Signals, config: Config, label: str, seconds: float) -> SignalsStatus:
    """Start and end a violation; how it all went."""
    asked = config.signals
    _sleep(SETTLE)
    started, builder = _violation(config, label)
    click.echo(f"{label} started: {_shown(config)}")
    signals.told([started])
    _sleep(seconds)
    signals.told([builder.ended(started, time.monotonic())])
    click.echo(f"{label} ended")
    longest = max((output.seconds or 0.0 for output in asked.gpio), default=0.0)
    _sleep(max(SETTLE, longest - seconds))
    return signals.finish(2 * asked.command.timeout)


def _sleep(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, GLANCE))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a terminal that goes raise SystemExit with the shell's code, as Ctrl-C raises."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _violation(config: Config, label: str) -> tuple[Violation, EventBuilder]:
    """One that no network saw: its fingerprints are zeros."""
    from maskedge.events import EventBuilder, Models, Votes
    from maskedge.geometry import Box

    builder = EventBuilder(config.device, config.name, Models("0" * 12, "0" * 12))
    now = time.monotonic()
    started = builder.started(
        label=label,
        confidence=1.0,
        votes=Votes(1, 1),
        track_id=0,
        box=Box(0.4, 0.3, 0.6, 0.7),
        first_seen=now,
        decided_at=now,
    )
    return started, builder


def _shown(config: Config) -> str:
    parts = [f"pin {output.pin}" for output in config.signals.gpio]
    return ", ".join([*parts, *config.signals.command.run[:1]])
