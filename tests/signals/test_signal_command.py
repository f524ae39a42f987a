"""``maskedge signal`` tries what is configured, and says what doesn't work."""

import os
import signal as signals
import subprocess
import sys

import pytest
from mosquitto import wait_for


def signal(*args, **environ):
    return subprocess.run(
        [sys.executable, "-m", "maskedge", "signal", *args],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def test_outputs_are_switched_and_the_program_runs_for_start_and_end(tmp_path):
    done = signal(
        "--seconds", "0.2", "--label", "incorrect_mask",
        "--set", "signals.gpio=[{pin: 17}, {pin: 5, seconds: 0.5}]",
        "--set", "signals.command.events=[started, ended]",
        "--set", "signals.command.run=[sh, -c, 'echo $MASKEDGE_EVENT $MASKEDGE_LABEL >> told']",
        GPIOZERO_PIN_FACTORY="mock", STATE_DIRECTORY=str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "incorrect_mask started: pin 17, pin 5, sh",
        "incorrect_mask ended",
        "the command ended well 2 times",
    ]
    assert (tmp_path / "told").read_text() == "started incorrect_mask\nended incorrect_mask\n"


def test_what_doesnt_work_is_named_and_the_exit_code_is_69(tmp_path):
    done = signal(
        "--seconds", "0.2", "--set", "signals.gpio=[{pin: 99}]",
        "--set", "signals.command.run=[sh, -c, 'echo no paper; exit 3']",
        GPIOZERO_PIN_FACTORY="mock", STATE_DIRECTORY=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 69
    gpio, command = done.stderr.splitlines()
    assert gpio.startswith("maskedge: pin 99: ")
    assert command == "maskedge: sh: exit code 3, its last words: no paper"


def test_nothing_to_try_is_a_wrong_configuration(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("device: door\n")
    done = signal("--config", str(config))
    assert done.returncode == 78
    assert done.stderr.startswith("maskedge: nothing to try: signals.gpio and")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signals.SIGINT, 130), (signals.SIGTERM, 143), (signals.SIGHUP, 129)],
    ids=["ctrl-c", "kill", "a-terminal-that-goes"],
)
def test_however_it_is_ended_no_program_is_left_running(tmp_path, number, code):
    pid_file = tmp_path / "pid"
    process = subprocess.Popen(
        [
            "env", "--default-signal=HUP",  # whatever this runs under
            sys.executable, "-m", "maskedge", "signal", "--seconds", "60",
            "--set", f"signals.command.run=[sh, -c, 'echo $$ > {pid_file}; exec sleep 600']",
            "--set", "signals.command.timeout=600",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "STATE_DIRECTORY": str(tmp_path)},
    )  # fmt: skip
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), "the program")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_under_nohup_a_terminal_that_goes_ends_nothing(tmp_path):
    done = subprocess.run(
        [
            "env", "--ignore-signal=HUP",
            sys.executable, "-m", "maskedge", "signal", "--seconds", "0.2",
            "--set", "signals.command.run=[sh, -c, 'kill -HUP $PPID']",
        ],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "STATE_DIRECTORY": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "the command ended well 1 time" in done.stdout
