"""Clock, heat and service: the machine that the daemon runs on."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import clock, paths
from maskedge.doctor.finding import Check, Finding, Place
from maskedge.errors import EX_CONFIG
from maskedge.health import soc
from maskedge.health.faults import ClockUnsynced, Throttled
from maskedge.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

HOT = 80.0
"""Degrees Celsius from which a Pi 4 or 5 begins to slow down."""
SERVICE = "maskedge.service"
PROPERTIES = (
    "LoadState,ActiveState,UnitFileState,NRestarts,Result,ExecMainCode,ExecMainStatus,InvocationID,"
    "ProtectSystem,ProtectHome,ReadWritePaths,BindPaths"
)
JOURNAL = "see journalctl -u maskedge -n 50"
KILLED = {"2", "3"}
"""``ExecMainCode`` of who ended by a signal: CLD_KILLED, CLD_DUMPED."""
RUNTIME = "run/maskedge"
"""The unit's ``RuntimeDirectory=``: in memory."""
HOMES = ("home", "root", "run/user")
"""What ``ProtectHome=yes`` hides."""
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
        yield self._state(place, unit)
        controllers = place.root / CONTROLLERS  # only where control groups are of version 2
        if controllers.exists() and "memory" not in controllers.read_text().split():
            yield self.warn(
                "its limits on memory and swap have no effect: the kernel's memory controller is "
                "off, as Raspberry Pi OS has it",
                "add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and reboot",
            )

    def _state(self, place: Place, unit: dict[str, str]) -> Finding:
        if (load := unit.get("LoadState", "loaded")) != "loaded":
            return self.fail(
                f"systemd can't use its unit ({load})",
                "systemd-analyze verify maskedge.service says why; sudo systemctl edit maskedge",
            )
        if unit.get("ActiveState") != "active":
            return self._down(place, unit)
        if unit.get("UnitFileState") == "disabled":
            return self.warn("runs, but won't after a reboot", "sudo systemctl enable maskedge")
        if (restarts := unit.get("NRestarts", "0")) not in {"", "0"}:
            return self.warn(f"runs, after {restarts} restarts", JOURNAL)
        return self.ok("runs, and starts with the system")

    def _down(self, place: Place, unit: dict[str, str]) -> Finding:
        state, restarts = unit.get("ActiveState", ""), unit.get("NRestarts", "0")
        if state == "failed":
            wrong = unit.get("ExecMainStatus") == str(EX_CONFIG)
            why = f"{unit.get('Result', 'failed')}, {_ended(unit)}"
            words = _last_words(place, f"_SYSTEMD_INVOCATION_ID={unit.get('InvocationID')}")
            cure = "maskedge check; once it is right: sudo systemctl restart maskedge"
            return self.fail(f"has failed ({why}){words}", cure if wrong else JOURNAL)
        if state != "activating":
            return self.warn(f"is {state or 'unknown'}", "sudo systemctl enable --now maskedge")
        if restarts == "0":
            return self.warn("is starting", f"look again in a minute; if it still does, {JOURNAL}")
        words = _last_words(place, f"_SYSTEMD_UNIT={SERVICE}", "--since=-5min")
        return self.warn(f"is starting again and again ({restarts} restarts){words}", JOURNAL)


def _ended(unit: dict[str, str]) -> str:
    """How its process did."""
    status = unit.get("ExecMainStatus", "")
    if unit.get("ExecMainCode") in KILLED:
        with suppress(ValueError):  # most real-time signals have no name
            return signal.Signals(int(status)).name
        return f"signal {status}"
    return f"exit code {status}"


def _last_words(place: Place, *which: str) -> str:
    """``: what the service said last``, as an error; nothing where we may not read it."""
    # Without -n: with --since that gives the first, not the last.
    command = ["journalctl", "-q", "-p", "err", "-o", "cat", "--no-pager", *which]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env=dict(place.environ)
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    words = printable(said.strip().rpartition("\n")[2]).removeprefix("maskedge: ")
    return f": {words}" if words else ""


def installed(place: Place) -> bool:
    """Whether there is a service."""
    return bool(_loaded(place))


def _loaded(place: Place) -> dict[str, str]:
    """What systemd says of the service; empty where there is none that it can use."""
    unit = None
    with suppress(Exception):  # the unit's own check tells
        unit = unit_state(place)
    return unit if unit is not None and unit.get("LoadState") == "loaded" else {}


def _sandbox(place: Place) -> dict[str, str]:
    """What the service may not do that root may; empty where there is no service, or no root."""
    return _loaded(place) if os.geteuid() == 0 else {}


def sealed(place: Place, folder: Path) -> bool:
    """Whether the service can't write there, though root at the terminal can."""
    unit = _sandbox(place)
    if unit.get("ProtectSystem") != "strict":
        return False
    bound = (pair.split(":")[1] for pair in unit.get("BindPaths", "").split() if ":" in pair)
    named = (path.lstrip("-+") for path in unit.get("ReadWritePaths", "").split())
    own = (place.root / paths.SERVICE_STATE, place.root / RUNTIME)
    writable = (*own, *map(Path, (*bound, *named)))
    return not any(folder.resolve().is_relative_to(path.resolve()) for path in writable)


def hidden(place: Place, file: Path) -> bool:
    """Whether the service doesn't see a file, though root at the terminal does."""
    homes = (place.root / home for home in HOMES)
    return _sandbox(place).get("ProtectHome") == "yes" and any(
        file.resolve().is_relative_to(home) for home in homes
    )


def refused(place: Place, port: int) -> bool:
    """Whether the service may not listen at a port, though root at the terminal may."""
    first = place.root / "proc/sys/net/ipv4/ip_unprivileged_port_start"
    return bool(_sandbox(place)) and port < int(first.read_text())


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
    said = subprocess.run(
        ["systemctl", "show", SERVICE, f"--property={PROPERTIES}"],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
        env=dict(place.environ),
    ).stdout
    return dict(line.partition("=")[::2] for line in said.splitlines())
