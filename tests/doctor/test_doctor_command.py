"""`maskedge doctor` as typed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from findings import sabotage, write
from mosquitto import PATIENCE, free_port

from maskedge.doctor.checks import CHECKS
from maskedge.doctor.runner import CONFIGURATION


def doctor(*args, **environ):
    return subprocess.run(
        [sys.executable, "-m", "maskedge", "doctor", *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environ},
    )


def test_the_command_in_json(tmp_path):
    config = write(tmp_path / "config.yaml", "device: door\n")
    done = doctor("--json", "--config", str(config), "pycoral", "python")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["schema"] == "maskedge.doctor/1"
    assert [one["check"] for one in shown["findings"]] == ["configuration", "python", "pycoral"]
    assert set(shown["findings"][0]) == {"check", "status", "message", "cure", "help"}


def test_the_command_fails_when_something_does(tmp_path):
    config = write(tmp_path / "config.yaml", f"mqtt: {{host: 127.0.0.1, port: {free_port()}}}\n")
    done = doctor("--config", str(config), "broker")
    assert done.returncode == 1
    assert "→ is the broker running" in done.stdout
    assert "1 in order, 0 to look at, 1 broken" in done.stdout
    assert "\x1b[" not in done.stdout
    quiet = doctor("--quiet", "--config", str(config), "broker")
    assert quiet.stdout.splitlines() == done.stdout.splitlines()[1:3]


def test_a_wrong_configuration_is_a_finding_and_the_rest_is_still_looked_at(tmp_path):
    config = write(tmp_path / "config.yaml", "camera: {fsp: 3}\nmqtt: {prot: 1}\n")
    done = doctor("--json", "--config", str(config), "pycoral", "broker")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert [(one["check"], one["status"]) for one in findings] == [
        ("configuration", "fail"),
        ("configuration", "fail"),
        ("pycoral", "ok"),
    ]
    assert "did you mean `fps`?" in findings[0]["message"]


def test_without_pydantic_the_command_says_what_is_missing(tmp_path):
    environ = sabotage(tmp_path, "import sys; sys.modules['pydantic'] = None")
    done = doctor("pycoral", PYTHONPATH=environ["PYTHONPATH"])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pydantic" in done.stdout
    assert "pip install --force-reinstall . in its folder" in done.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_only_where_wanted(tmp_path, no_color):
    config = write(tmp_path / "config.yaml", "device: door\n")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "maskedge", "doctor", "--config", str(config), "pycoral"],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
    )
    os.close(slave)
    assert process.wait(PATIENCE) == 0
    said = os.read(master, 65_536).decode()
    os.close(master)
    assert ("\x1b[32m" in said) == (not no_color)


def test_every_check_can_be_asked_for_by_the_name_in_the_help():
    text = doctor("--help").stdout
    listed = text.partition("Checks: ")[2].partition(".")[0].replace("\n", " ")
    assert {name.strip() for name in listed.split(",")} == {CONFIGURATION, *CHECKS}


def test_the_configuration_alone_can_be_asked_for(tmp_path):
    config = write(tmp_path / "config.yaml", "device: door\n")
    done = doctor("--config", str(config), "configuration")
    assert done.returncode == 0
    assert done.stdout.split()[:2] == ["ok", "configuration"]
    assert "1 in order, 0 to look at, 0 broken" in done.stdout
