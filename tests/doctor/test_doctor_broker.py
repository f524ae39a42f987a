"""The broker, with a real one."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from findings import bad, fine, looked, write
from mosquitto import Mosquitto, free_port

from maskedge.doctor import broker

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def mosquitto(tmp_path):
    made = []

    def build(*lines, start=True, **options):
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder, *lines, **options))
        return made[-1].start() if start else made[-1]

    yield build
    for one in made:
        one.kill()


def reached(place, server, environ=None, **settings):
    mqtt = {"host": "127.0.0.1", "port": server.port, **settings}
    return looked(broker.Broker(), place(environ or {}, mqtt=mqtt))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_in_order(place, mosquitto, version):
    said = fine(reached(place, mosquitto(), version=version))
    assert "maskedge/door/doctor came back" in said
    assert "anonymous" in said


def test_nothing_is_left_on_the_broker(place, mosquitto):
    server = mosquitto()
    reached(place, server)
    assert server.retained() == {}


def test_no_broker(place):
    one = bad(reached(place, SimpleNamespace(port=free_port())))
    assert (one.status, one.help) == ("fail", "docs/faults.md#broker_lost")
    assert one.cure == "is the broker running, is mqtt.port right?"


def test_an_unknown_broker(place):
    one = bad(looked(broker.Broker(), place({}, mqtt={"host": "no-such-host.invalid"})))
    assert "no-such-host.invalid: name not known" in one.message


@pytest.fixture
def guarded(mosquitto):
    server = mosquitto(start=False, anonymous=False)
    server.configure(f"password_file {server.passwords(door='secret')}")
    return server.start()


def test_a_password_right_wrong_and_missing(place, guarded):
    right = {"MASKEDGE_MQTT_PASSWORD": "secret"}
    assert "as 'door'" in fine(reached(place, guarded, right, username="door"))
    wrong = {"MASKEDGE_MQTT_PASSWORD": "hunter2"}
    one = bad(reached(place, guarded, wrong, username="door"))
    assert "bad user name or password" in one.message
    assert one.cure == "check mqtt.username and the password"
    assert "hunter2" not in f"{one}"
    findings = reached(place, guarded, username="door")
    assert "there is no password for it" in findings[0].message
    assert findings[1].status == "fail"


def test_the_units_password_is_used(place, guarded):
    where = place({}, mqtt={"host": "127.0.0.1", "port": guarded.port, "username": "door"})
    write(where.root / "etc/maskedge/mqtt-password", "secret\n")
    fine(looked(broker.Broker(), where))


def test_a_password_file_that_cannot_be_read(place, tmp_path):
    missing = str(tmp_path / "none")
    one = bad(looked(broker.Broker(), place(mqtt={"username": "me", "password_file": missing})))
    assert missing in one.message
    assert "sudo" in one.cure


def test_a_broker_that_lets_us_write_but_not_read(place, mosquitto):
    server = mosquitto(start=False)
    acl = server.file("acl", "topic write maskedge/door/#\n")
    server.configure(f"acl_file {acl}")
    server.start()
    one = bad(reached(place, server))
    assert (one.status, one.cure) == ("warn", "let the broker's ACL allow maskedge/door/#")


@pytest.mark.parametrize("guide", ["mqtt.md", "fleet.md"])
def test_the_documents_acl_will_do(place, mosquitto, guide):
    (acl,) = re.findall(r"```\n(# acl: .*?)```", (DOCS / guide).read_text(), re.DOTALL)
    server = mosquitto(start=False, anonymous=False)
    users = server.passwords(door="d")
    server.configure(f"acl_file {server.file('acl', acl)}", f"password_file {users}")
    server.start()
    said = fine(reached(place, server, {"MASKEDGE_MQTT_PASSWORD": "d"}, username="door"))
    assert "maskedge/door/doctor came back" in said


def test_a_broker_that_does_not_let_us_write(place, mosquitto):
    server = mosquitto(start=False)
    acl = server.file("acl", "topic read #\n")
    server.configure(f"acl_file {acl}")
    server.start()
    one = bad(reached(place, server))
    assert (one.status, one.message) == ("fail", "may not write maskedge/door/doctor")


def test_tls(place, mosquitto, tmp_path):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    certificate = tmp_path / "cert.pem"
    server = mosquitto(f"certfile {certificate}", f"keyfile {tmp_path / 'key.pem'}")
    tls = {"enabled": True, "ca_file": str(certificate)}
    assert ", TLS, " in fine(reached(place, server, tls=tls))
    one = bad(reached(place, server, tls={"enabled": True}))
    assert (one.status, "certificate verify failed" in one.message) == ("fail", True)
    one = bad(reached(place, server, tls={"enabled": True, "verify": False}))
    assert one.status == "warn"
    assert "ca_file" in one.cure


def test_a_port_where_nobody_speaks(place, monkeypatch):
    monkeypatch.setattr(broker, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = bad(reached(place, SimpleNamespace(port=mute.getsockname()[1])))
    assert "did not answer" in one.message
