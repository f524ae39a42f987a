"""Clock, heat and service: the machine that the daemon runs on."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maskedge import clock
from maskedge.doctor.finding import Check, Finding, Place
from maskedge.errors import EX_CONFIG
from maskedge.health import soc
from maskedge.health.faults import ClockUnsynced, Throttled

if TYPE_CHECKING:
    from collections.abc import Iterable

HOT = 80.0
"""Degrees Celsius from which a Pi 4 or 5 begins to slow down."""
SERVICE = "maskedge.service"
CONTROLLERS = "sys/fs/cgroup/cgroup.controllers"
"""What of control groups the kernel has switched on (cgroups(7)), from the root of the system."""


class Clock(Check):
    """Whether times in events are true."""

    name = "clock"
    fault = ClockUnsynced

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: ARG002, D102
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        yield self.judge(
            ClockUnsynced, f"set by NTP: it is {now}", clock_synced=clock.clock_synced()
        )


class Temperature(Check):
    """Heat and power supply, now and since the last boot."""

    name = "temperature"
    fault = Throttled

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        sysfs = place.root / "sys"
        degrees = soc.temperature(sysfs)
        if degrees is None:
            yield self.ok("this machine doesn't tell its temperature")
        elif degrees >= HOT:
            yield self.warn(f"{degrees:.0f} °C: it slows down about here", "add a cooler, give air")
        else:
            yield self.ok(f"{degrees:.0f} °C")
        now, past = soc.throttling(sysfs), soc.throttled_since_boot(sysfs)
        if now is not None:
            yield self.judge(Throttled, throttled=now)
        elif past is not None:
            yield self.warn(f"since it was switched on, there was {past}", soc.CURES)


class Unit(Check):
    """The service, where there is one."""

    name = "unit"
    crash = "systemctl status maskedge"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        unit = unit_state(place)
        if unit is None:
            yield self.ok("systemd doesn't run here")
            return
        if unit.get("LoadState") == "not-found":
            yield self.ok("not installed as a service")
            return
        state, restarts = unit.get("ActiveState", ""), unit.get("NRestarts", "0")
        journal = "see journalctl -u maskedge -n 50"
        if state == "failed":
            code = unit.get("ExecMainStatus", "")
            wrong = code == str(EX_CONFIG)
            why = f"{unit.get('Result', 'failed')}, exit code {code}"
            yield self.fail(f"has failed ({why})", "maskedge check" if wrong else journal)
        elif state == "activating":
            yield self.warn(f"is starting again and again ({restarts} restarts)", journal)
        elif state != "active":
            yield self.warn(f"is {state or 'unknown'}", "sudo systemctl enable --now maskedge")
        elif unit.get("UnitFileState") == "disabled":
            yield self.warn("runs, but won't after a reboot", "sudo systemctl enable maskedge")
        elif restarts not in {"", "0"}:
            yield self.warn(f"runs, after {restarts} restarts", journal)
        else:
            yield self.ok("runs, and starts with the system")
        controllers = place.root / CONTROLLERS  # only where control groups are of version 2
        if controllers.exists() and "memory" not in controllers.read_text().split():
            yield self.warn(
                "its limits on memory and swap have no effect: the kernel's memory controller is "
                "off, as Raspberry Pi OS has it",
                "add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and reboot",
            )


def serving(place: Place) -> bool:
    """Whether the service runs now, and so has camera, pins and port."""
    try:
        return (unit_state(place) or {}).get("ActiveState") == "active"
    except Exception:  # noqa: BLE001 - the unit's own check tells
        return False


def unit_state(place: Place) -> dict[str, str] | None:
    """What systemd says of the service; None: it doesn't run here."""
    if not (place.root / "run/systemd/system").is_dir():
        return None
    properties = "LoadState,ActiveState,UnitFileState,NRestarts,Result,ExecMainStatus"
    said = subprocess.run(
        ["systemctl", "show", SERVICE, f"--property={properties}"],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
        env=dict(place.environ),
    ).stdout
    return dict(line.partition("=")[::2] for line in said.splitlines())
