"""Status page, outputs, command: only where the configuration asks for them."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from findings import bad, fine, looked, write
from mosquitto import free_port

from maskedge.configfile import LoadedConfig
from maskedge.doctor import extras, runner
from maskedge.web.page import StatusPage

TOKEN = "0123456789abcdef"  # noqa: S105 - of a test
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is asked about


def page(place, environ=None, **web):
    port = web.pop("port", None) or free_port()
    return place(environ, web={"enabled": True, "port": port, **web})


def test_what_is_off_is_in_order(place):
    for check in (extras.StatusPage, extras.Gpio, extras.Command):
        assert fine(looked(check(), place()))


def test_a_page_that_can_listen(place):
    assert "is free, without a token" in fine(looked(extras.StatusPage(), page(place)))


def test_a_page_without_the_extra(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    one = bad(looked(extras.StatusPage(), page(place)))
    assert (one.status, one.cure) == ("fail", "pip install 'maskedge[web]'")


def test_a_page_for_others_needs_a_token_as_the_unit_gets_it(place):
    where = page(place, {}, host=EVERYWHERE)
    one = bad(looked(extras.StatusPage(), where))
    assert one.status == "fail"
    assert one.cure == "make one with: openssl rand -hex 16"
    token = write(where.root / "etc/maskedge/web-token", f"{TOKEN}\n")
    assert "with a token" in fine(looked(extras.StatusPage(), where))
    token.write_text("short")
    assert "shorter than 16" in bad(looked(extras.StatusPage(), where)).message
    assert "short\n" not in bad(looked(extras.StatusPage(), where)).message


def test_a_token_that_only_root_may_read(place, monkeypatch):
    where = page(place, {}, host=EVERYWHERE)
    token = write(where.root / "etc/maskedge/web-token", TOKEN)
    real = type(token).read_text

    def read_text(path, *args, **kwargs):
        if path == token:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(type(token), "read_text", read_text)
    assert "sudo maskedge doctor" in bad(looked(extras.StatusPage(), where)).cure


@pytest.mark.parametrize("talk", [True, False])
def test_a_port_that_another_program_has(place, monkeypatch, talk):
    monkeypatch.setattr(extras, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as other:
        if not talk:
            other.listen(0)
        one = bad(looked(extras.StatusPage(), page(place, port=other.getsockname()[1])))
    assert (one.status, "change web.port" in one.cure) == ("fail", True)


def test_an_address_that_is_not_this_machines(place):
    one = bad(
        looked(extras.StatusPage(), page(place, {"MASKEDGE_WEB_TOKEN": TOKEN}, host="192.0.2.1"))
    )
    assert (one.status, one.cure) == ("fail", "change web.host")


@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_page_that_answers(place, token, monkeypatch):
    monkeypatch.setenv("MASKEDGE_WEB_TOKEN", token)
    where = page(place)
    served = StatusPage(LoadedConfig(where.config, None))
    try:
        said = fine(looked(extras.StatusPage(), where))
    finally:
        served.close()
    assert f"{where.config.web.port}/ answers, {'with a' if token else 'without a'} token" in said


def test_a_service_that_runs_and_does_not_listen(place, fake_systemctl):
    where = page(place, fake_systemctl("ActiveState=active"))
    one = bad(looked(extras.StatusPage(), where))
    assert one.status == "warn"
    assert "journalctl" in one.cure


def test_outputs_that_can_be_switched(place):
    where = place({**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}, signals={"gpio": [{"pin": 17}]})
    assert fine(runner.examine([extras.Gpio()], where)) == "pin 17"


def test_outputs_that_exclude_each_other_or_do_not_exist(place):
    outputs = [{"pin": 17}, {"pin": "BOARD99"}]
    where = place({**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}, signals={"gpio": outputs})
    one = bad(runner.examine([extras.Gpio()], where))
    assert "BOARD99" in one.message
    assert one.help == "docs/faults.md#gpio_failed"


def test_outputs_without_gpiozero(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    one = bad(looked(extras.Gpio(), place(signals={"gpio": [{"pin": 17}]})))
    assert "python3-gpiozero" in one.cure


def test_outputs_that_the_service_has_are_left_alone(place, fake_systemctl, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    where = place(fake_systemctl("ActiveState=active"), signals={"gpio": [{"pin": 17}]})
    assert "running service" in fine(looked(extras.Gpio(), where))


def test_a_command(place, tmp_path):
    program = write(tmp_path / "hook", "#!/bin/sh\n")
    where = place(signals={"command": {"run": [str(program), "x"]}})
    one = bad(looked(extras.Command(), where))
    assert (one.help, one.cure) == ("docs/faults.md#command_failed", "chmod a+rx it")
    program.chmod(0o755)
    assert fine(looked(extras.Command(), where)) == f"{program} can be started"


def test_what_only_the_service_may_not_use(place, fake_systemctl, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    environ = fake_systemctl("LoadState=loaded", "ProtectHome=yes")
    root = place().root
    program = write(root / "home/pi/hook", "#!/bin/sh\n")
    program.chmod(0o755)
    where = place(environ, signals={"command": {"run": [str(program)]}})
    one = bad(looked(extras.Command(), where))
    assert one.message == f"{program}: the service doesn't see it"
    write(root / "proc/sys/net/ipv4/ip_unprivileged_port_start", "65536\n")
    one = bad(looked(extras.StatusPage(), page(place, environ)))
    assert (one.status, one.cure) == ("fail", "choose a web.port above 1023")
