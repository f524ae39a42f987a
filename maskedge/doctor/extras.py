"""What is off unless the configuration asks for it: status page, outputs, command."""

from __future__ import annotations

import http.client
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.doctor.finding import Check, Finding, Place, split
from maskedge.doctor.system import hidden, refused, serving
from maskedge.errors import ConfigError, WebError
from maskedge.health.faults import CommandFailed, GpioFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskedge.config import WebConfig

ANSWER = 5.0
"""Seconds that the page may take to answer."""


class StatusPage(Check):
    """Extra, token, address and port; and whether a page that should run answers."""

    name = "web"
    deadline = 30.0
    settings = True

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.web.access import CREDENTIAL
        from maskedge.web.page import check

        config = place.config.web
        if not config.enabled:
            yield self.ok("off: nothing listens")
            return
        try:
            token = check(config, place.environ_with(CREDENTIAL))
        except ConfigError as error:
            message, cure = split(str(error))
            hidden = place.root / paths.CONFIGURATION / CREDENTIAL
            if "token is needed" in message and hidden.exists():
                cure = "only root may read it: sudo maskedge doctor"
            yield self.fail(message, cure)
            return
        if refused(place, config.port):
            yield self.fail(
                f"{config.url}: the service may not listen at such a port",
                "choose a web.port above 1023",
            )
            return
        yield self._listen(place, config, "without a token" if token is None else "with a token")

    def _listen(self, place: Place, config: WebConfig, asked: str) -> Finding:
        from maskedge.web.server import listen

        try:
            listen(config.host, config.port).close()
        except WebError as error:
            if _answers(config):
                return self.ok(f"{config.url} answers, {asked}")
            return self.fail(*split(str(error)))
        if serving(place):
            return self.warn(
                f"{config.url}: nothing listens, though the service runs",
                "journalctl -u maskedge -n 50 says why; or: sudo systemctl restart maskedge",
            )
        return self.ok(f"{config.url} is free, {asked}")


class Gpio(Check):
    """Whether the configured outputs can be had; they are switched off by it."""

    name = "gpio"
    deadline = 30.0
    child = True
    settings = True
    fault = GpioFailed
    crash = "sudo apt install --reinstall python3-gpiozero python3-lgpio"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.signals.gpio import explain, open_pin

        outputs = place.config.signals.gpio
        if not outputs:
            yield self.ok("no output is configured")
            return
        if serving(place):
            yield self.ok("the running service has the pins: `health` tells of its outputs")
            return
        good = []
        for output in outputs:
            try:
                open_pin(output).close()
            except Exception as error:  # noqa: BLE001 - of gpiozero, its backends, the kernel
                yield self.judge(GpioFailed, gpio_error=explain(output.pin, error))
            else:
                good.append(str(output.pin))
        if good:
            yield self.ok(f"pin {', '.join(good)}")


class Command(Check):
    """Whether the program for events can be started."""

    name = "command"
    settings = True
    fault = CommandFailed

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.signals.command import ELSEWHERE, missing

        config = place.config.signals.command
        if not config.run:
            yield self.ok("no command is configured")
            return
        program = shutil.which(config.run[0])
        error = missing(config)
        if program is not None and hidden(place, Path(program)):
            error = f"{program}: the service doesn't see it; {ELSEWHERE}"
        if error:
            yield self.judge(CommandFailed, command_error=error)
        else:
            yield self.ok(f"{program} can be started")


def _answers(config: WebConfig) -> bool:
    """Whether what listens there is a status page."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, config.port, timeout=ANSWER)
    try:
        connection.request("GET", "/")
        return b"maskedge" in connection.getresponse().read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
