"""Lamps, buzzers and relays on the GPIO header, switched through gpiozero in a thread of its own.

gpiozero is looked for only when an output is configured. What can't be switched is tried again
every few seconds, and says why until it works: a lamp must never cost a violation.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maskedge.config import GpioConfig
    from maskedge.events import Violation

log = logging.getLogger(__name__)

RETRY = 10.0
"""Seconds until an output that couldn't be had is tried again."""

INSTALL = "sudo apt install python3-gpiozero python3-lgpio"


class Switch(Protocol):
    """What is needed of ``gpiozero.OutputDevice``."""

    def on(self) -> None:
        """Switch it on."""

    def off(self) -> None:
        """Switch it off."""

    def close(self) -> None:
        """Let go of the pin."""


class Output:
    """One output: which violations want it on, and until when. Knows no hardware.

    Args:
        config: the pin and its rules.
    """

    def __init__(self, config: GpioConfig) -> None:
        self.config = config
        self._standing: set[str] = set()
        self._until = float("-inf")

    def note(self, event: Violation, now: float) -> None:
        """A violation has started or ended at ``now``, seconds."""
        if event.label not in self.config.labels:
            return
        if event.type == "ended":
            self._standing.discard(event.violation_id)
            return
        self._standing.add(event.violation_id)
        if self.config.seconds is not None:
            self._until = max(self._until, now + self.config.seconds)

    def stand(self, violation_id: str) -> None:
        """A violation began before this output was configured: it counts as standing only."""
        self._standing.add(violation_id)

    def wanted(self, now: float) -> bool:
        """Whether it should be on."""
        return bool(self._standing) if self.config.seconds is None else now < self._until

    def until(self, now: float) -> float | None:
        """When it changes by itself; None: it doesn't."""
        return self._until if self.config.seconds is not None and now < self._until else None


class Outputs:
    """All outputs. :meth:`told` from any thread; it never waits.

    Args:
        configs: at least one.
        standing: the ``started`` of violations that haven't ended.
        connect: opens a pin; None: gpiozero.
    """

    def __init__(
        self,
        configs: Iterable[GpioConfig],
        standing: Iterable[Violation] = (),
        connect: Callable[[GpioConfig], Switch] | None = None,
    ) -> None:
        self._connect = connect or open_pin
        self._outputs = [Output(config) for config in configs]
        self._switches: dict[int, Switch] = {}  # by place in _outputs; absent: to be opened
        self._errors: dict[int, str] = {}
        self._shown: dict[int, bool] = {}
        for event in standing:
            for output in self._outputs:
                if event.label in output.config.labels:
                    output.stand(event.violation_id)
        self._news = threading.Condition()
        self._events: list[Violation] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="gpio", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str | None:
        """What can't be switched, why, and the cure; None: all is well."""
        return "; ".join(dict.fromkeys(self._errors.copy().values())) or None

    def told(self, events: Iterable[Violation]) -> None:
        """Violations have started or ended."""
        with self._news:
            self._events += events
            self._news.notify()

    def close(self, timeout: float = 1.0) -> None:
        """Switch everything off and let go of the pins."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        retry_at = time.monotonic()
        while not self._closing:
            now = time.monotonic()
            if now >= retry_at:
                self._open_missing()
                retry_at = now + RETRY
            for place, output in enumerate(self._outputs):
                self._show(place, on=output.wanted(now))
            with self._news:
                self._news.wait_for(
                    lambda: self._events or self._closing, self._rest(now, retry_at)
                )
                events, self._events = self._events, []
            now = time.monotonic()
            for event in events:
                for output in self._outputs:
                    output.note(event, now)
        for place in list(self._switches):
            self._show(place, on=False)
            self._let_go(place)

    def _rest(self, now: float, retry_at: float) -> float | None:
        """Seconds until something is to be done without news."""
        moments = [output.until(now) for output in self._outputs]
        if len(self._switches) < len(self._outputs):
            moments.append(retry_at)
        return min((max(0.0, at - now) for at in moments if at is not None), default=None)

    def _open_missing(self) -> None:
        for place, output in enumerate(self._outputs):
            if place not in self._switches:
                try:
                    self._switches[place] = self._connect(output.config)
                except Exception as error:  # noqa: BLE001 - of gpiozero, its backends, the kernel
                    self._errors[place] = explain(output.config.pin, error)
                else:
                    self._errors.pop(place, None)
                    self._shown[place] = False

    def _show(self, place: int, *, on: bool) -> None:
        switch = self._switches.get(place)
        if switch is None or self._shown[place] == on:
            return
        try:
            (switch.on if on else switch.off)()
        except Exception as error:  # noqa: BLE001 - as above
            self._errors[place] = explain(self._outputs[place].config.pin, error)
            self._let_go(place)
        else:
            self._shown[place] = on

    def _let_go(self, place: int) -> None:
        try:
            self._switches.pop(place).close()
        except Exception as error:  # noqa: BLE001 - as above
            log.debug("pin %s: %s", self._outputs[place].config.pin, error)


def open_pin(config: GpioConfig) -> Switch:
    """An output of gpiozero's, off.

    Raises:
        Exception: gpiozero, its backend or the pin isn't there; :func:`explain` says which.
    """
    # lgpio makes a pipe in the working directory as it is imported, and fails where it can't:
    # under systemd that is the root folder (github.com/joan2937/lg/issues/12).
    os.environ.setdefault("LG_WD", os.environ.get("RUNTIME_DIRECTORY") or tempfile.gettempdir())
    from gpiozero import Device, OutputDevice  # noqa: PLC0415 - of the extra `pi`

    if Device.pin_factory is None and "GPIOZERO_PIN_FACTORY" not in os.environ:
        # Its own choice would go on to backends that don't work on today's kernels, and warn.
        from gpiozero.pins.lgpio import LGPIOFactory  # noqa: PLC0415 - of the extra `pi`

        Device.pin_factory = LGPIOFactory()
    switch: Switch = OutputDevice(config.pin, active_high=config.active_high, initial_value=False)
    return switch


def explain(pin: int | str, error: Exception) -> str:
    """What stands between us and a pin, and the cure, in one sentence."""
    if isinstance(error, ImportError):
        return f"pin {pin}: {error.name or error} is missing: {INSTALL}"
    words: Any = str(error) or type(error).__name__
    cures = {
        "revision": "this is no Raspberry Pi; remove signals.gpio",
        "gpiochip": "let the service's user into the group gpio",
        "busy": "another program has the pin; end it or choose another",
    }
    cure = next((cure for sign, cure in cures.items() if sign in str(words).lower()), None)
    return f"pin {pin}: {words.strip()}; {cure or 'choose another pin in signals.gpio'}"
