"""Clock, heat, service."""

from __future__ import annotations

import pytest
from findings import bad, fine, looked, write

from maskedge import clock
from maskedge.doctor import system


def test_clock(place, monkeypatch):
    monkeypatch.setattr(clock, "clock_synced", lambda: True)
    assert "set by NTP" in fine(looked(system.Clock(), place()))
    monkeypatch.setattr(clock, "clock_synced", lambda: False)
    one = bad(looked(system.Clock(), place()))
    assert (one.status, one.help) == ("warn", "docs/faults.md#clock_unsynced")


def test_temperature_and_throttling(place):
    where = place()
    assert "doesn't tell" in fine(looked(system.Temperature(), where))
    zone = where.root / "sys/class/thermal/thermal_zone0/temp"
    flags = where.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    write(zone, "51200\n")
    write(flags, "0\n")
    assert fine(looked(system.Temperature(), where)) == "51 °C"
    write(zone, "84000\n")
    assert "cooler" in bad(looked(system.Temperature(), where)).cure
    write(zone, "51200\n")
    write(flags, "50005\n")
    one = bad(looked(system.Temperature(), where))
    assert one.help == "docs/faults.md#throttled"
    assert "under-voltage, throttled" in one.message
    write(flags, "50000\n")
    one = bad(looked(system.Temperature(), where))
    assert one.message == "since it was switched on, there was under-voltage, throttled"
    write(flags, "nonsense\n")
    fine(looked(system.Temperature(), where))


def test_no_systemd(place):
    assert fine(looked(system.Unit(), place())) == "systemd doesn't run here"


@pytest.mark.parametrize(
    ("lines", "status", "cure"),
    [
        (["LoadState=not-found", "ActiveState=inactive"], "ok", ""),
        (["ActiveState=active", "UnitFileState=enabled", "NRestarts=0"], "ok", ""),
        (["ActiveState=active", "UnitFileState=enabled", "NRestarts=7"], "warn", "journalctl"),
        (["ActiveState=active", "UnitFileState=disabled"], "warn", "systemctl enable"),
        (["ActiveState=activating", "NRestarts=3"], "warn", "journalctl"),
        (["ActiveState=inactive"], "warn", "enable --now"),
        (["ActiveState=failed", "ExecMainStatus=78"], "fail", "maskedge check"),
        (["ActiveState=failed", "ExecMainStatus=69"], "fail", "journalctl"),
    ],
)
def test_unit(place, fake_systemctl, lines, status, cure):
    (one,) = looked(system.Unit(), place(fake_systemctl(*lines)))
    assert one.status == status
    assert cure in one.cure


def test_limits_on_memory_that_have_no_effect(place, fake_systemctl):
    where = place(fake_systemctl("ActiveState=active", "UnitFileState=enabled", "NRestarts=0"))
    controllers = where.root / "sys/fs/cgroup/cgroup.controllers"
    write(controllers, "cpuset cpu io memory pids\n")
    fine(looked(system.Unit(), where))
    write(controllers, "cpuset cpu io pids\n")
    state, limits = looked(system.Unit(), where)
    assert (state.status, limits.status) == ("ok", "warn")
    assert "cgroup_enable=memory" in limits.cure
