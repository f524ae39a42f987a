"""Clock, heat, service."""

from __future__ import annotations

import os
from pathlib import Path

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
        (["ActiveState=activating", "NRestarts=0"], "warn", "in a minute"),
        (["LoadState=bad-setting", "ActiveState=active"], "fail", "systemd-analyze verify"),
        (["ActiveState=inactive"], "warn", "enable --now"),
        (["ActiveState=failed", "ExecMainStatus=78"], "fail", "maskedge check"),
        (["ActiveState=failed", "ExecMainStatus=69"], "fail", "journalctl"),
    ],
)
def test_unit(place, fake_systemctl, lines, status, cure):
    (one,) = looked(system.Unit(), place(fake_systemctl(*lines)))
    assert one.status == status
    assert cure in one.cure


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [("1", "69", "exit-code, exit code 69"), ("2", "9", "exit-code, SIGKILL"),
     ("2", "40", "exit-code, signal 40")],
)  # fmt: skip
def test_how_it_failed_and_its_last_words(place, fake_systemctl, code, status, said):
    environ = fake_systemctl(
        "LoadState=loaded", "ActiveState=failed", "Result=exit-code", f"ExecMainCode={code}",
        f"ExecMainStatus={status}", "InvocationID=c0ffee",
    )  # fmt: skip
    where = place(environ)
    journal = write(
        where.root.parent / "bin/journalctl",
        '#!/bin/sh\ncase "$*" in *_SYSTEMD_INVOCATION_ID=c0ffee*) '
        "printf 'maskedge: first\nmaskedge: no camera\n' ;; esac\n",
    )
    journal.chmod(0o755)
    one = bad(looked(system.Unit(), where))
    assert one.message == f"has failed ({said}): no camera"
    journal.write_text("#!/bin/sh\nexit 1\n")
    assert bad(looked(system.Unit(), where)).message == f"has failed ({said})"


def test_what_the_service_may_not_do_though_root_may(place, fake_systemctl, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    where = place(fake_systemctl(
        "LoadState=loaded", "ProtectSystem=strict", "ProtectHome=yes",
        "ReadWritePaths=/srv/allowed -/srv/maybe", "BindPaths=/srv/from:/srv/bound:rbind",
    ))  # fmt: skip
    state, memory = (where.root / name for name in ("var/lib/maskedge", "run/maskedge"))
    for folder in (
        state,
        state / "x",
        memory / "pictures",
        *map(Path, ("/srv/allowed/x", "/srv/maybe", "/srv/bound")),
    ):
        assert not system.sealed(where, folder)
    for folder in map(Path, ("/srv", "/srv/from", "/srv/allowed-not", "/home/pi")):
        assert system.sealed(where, folder)
    assert system.hidden(where, where.root / "home/pi/tool")
    assert not system.hidden(where, where.root / "usr/local/bin/tool")
    write(where.root / "proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n")
    assert (system.refused(where, 80), system.refused(where, 8620)) == (True, False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # whose own rights tell
    assert not system.sealed(where, Path("/srv"))
    assert not system.hidden(where, where.root / "home/pi/tool")
    assert not system.refused(where, 80)


def test_without_a_sandbox_nothing_is_closed(place, fake_systemctl, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for lines in (["LoadState=not-found"], ["LoadState=loaded", "ProtectSystem=no"]):
        where = place(fake_systemctl(*lines))
        assert not system.sealed(where, Path("/srv"))
        assert not system.hidden(where, where.root / "home/pi/tool")


def test_limits_on_memory_that_have_no_effect(place, fake_systemctl):
    where = place(fake_systemctl("ActiveState=active", "UnitFileState=enabled", "NRestarts=0"))
    controllers = where.root / "sys/fs/cgroup/cgroup.controllers"
    write(controllers, "cpuset cpu io memory pids\n")
    fine(looked(system.Unit(), where))
    write(controllers, "cpuset cpu io pids\n")
    state, limits = looked(system.Unit(), where)
    assert (state.status, limits.status) == ("ok", "warn")
    assert "cgroup_enable=memory" in limits.cure
