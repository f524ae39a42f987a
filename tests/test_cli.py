"""The command line: cheap to start, clear when wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskedge.cli import COMMANDS, run

HEAVY = (
    "cv2",
    "numpy",
    "pydantic",
    "tensorflow",
    "keras",
    "ai_edge_litert",
    "paho",
    "yaml",
    "tqdm",
)


def maskedge(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "maskedge", *args],
        capture_output=True, text=True, timeout=120, check=False, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "import maskedge",
        "from maskedge.cli import run; run(['--help'])",
        "from maskedge.cli import run; run(['--version'])",
        "from maskedge.cli import run; run(['run', '--help'])",
        "from maskedge.cli import run; run(['demo', '--help'])",
        "from maskedge.cli import run; run(['check', '--help'])",
        "from maskedge.cli import run; run(['doctor', '--help'])",
        "from maskedge.cli import run; run(['detect', '--help'])",
        "from maskedge.cli import run; run(['listen', '--help'])",
        "from maskedge.cli import run; run(['bench', '--help'])",
        "from maskedge.cli import run; run(['completion', 'fish'])",
        "from maskedge.cli import run; run(['man'])",
        "from maskedge.cli import run; run(['review', '--help'])",
        "from maskedge.cli import run; run(['purge', '--help'])",
    ],
)
def test_starting_up_and_every_help_load_nothing_heavy(statement):
    code = f"{statement}\nimport sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & set(HEAVY)


def test_help_names_every_command_and_teaches_by_example():
    text = maskedge("--help").stdout
    for command in COMMANDS:
        assert command in text
        own = maskedge(command, "--help").stdout
        assert "Examples:" in own
        assert own.startswith(f"Usage: maskedge {command} ")


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name():
    done = maskedge("detct", "x")
    assert done.returncode == 64
    assert "Did you mean 'detect'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_a_usage_error():
    done = maskedge("run", "--sorce", "x")
    assert done.returncode == 64
    assert "--source" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["models", "verify", "--timeout"], ["models", "install", "x.tflite", "--timeout"],
     ["listen", "--timeout"], ["signal", "--seconds"]],
)  # fmt: skip
def test_no_number_of_seconds_is_a_usage_error(words, capsys):
    assert run([*words, "nan"]) == 64
    assert "'nan' is no number of seconds" in capsys.readouterr().err
    if words[0] == "models":
        assert run([*words, "inf"]) == 64
        assert "0<x<=86400" in capsys.readouterr().err


def test_a_wrong_configuration_exits_78_with_one_line_per_mistake(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("camera:\n  fsp: 10\n  width: wide\n")
    for command in ("run", "check"):
        done = maskedge(command, "--config", str(path))
        assert done.returncode == 78
        lines = done.stderr.splitlines()
        assert len(lines) == 2
        assert lines[0] == f"maskedge: {path}:2: camera.fsp: unknown key; did you mean `fps`?"
        assert lines[1].startswith(f"maskedge: {path}:3: camera.width: expected an integer")


def test_a_configuration_that_is_not_there_exits_78():
    done = maskedge("check", "--config", "/nonexistent.yaml")
    assert done.returncode == 78
    assert "can't read the configuration" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights")
def test_a_configuration_that_may_not_be_read_exits_78(tmp_path):
    path = tmp_path / "config.yaml"
    path.touch(mode=0o600)
    code = (
        "import os, sys; from maskedge.cli import run; "
        "run(['check', '--config', '/nowhere']); "  # imports what others might not read
        "os.setresuid(65534, 65534, 65534); "
        "sys.exit(run(['check', '--config', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 78
    assert "Permission denied; let this user read it: chmod a+r" in done.stderr


def test_a_full_disk_behind_the_output_is_one_clear_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maskedge", "check", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 69
    assert done.stderr == "maskedge: output: No space left on device\n"


@pytest.mark.parametrize(
    ("args", "code"),
    [(["--help"], 141), (["--version"], 141), (["man"], 141), (["models", "list", "--help"], 141),
     (["check", "--config", "/nonexistent.yaml"], 78), (["check", "--sorce"], 64)],
)  # fmt: skip
def test_a_reader_that_has_gone_is_told_by_the_exit_code_alone(args, code):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "maskedge", *args],
        stdout=writer, stderr=writer, timeout=120, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == code


def test_a_locale_without_our_characters_is_no_reason_to_fail():
    done = maskedge(
        "doctor",
        "camera",
        "--source",
        "/nowhere.mp4",
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 1
    assert "\\u2192" in done.stdout
    assert "Traceback" not in done.stderr


def test_check_says_nothing_when_quiet_and_all_is_well(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: door\n")
    done = maskedge("check", "--quiet", "--config", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("areas", "said"),
    [
        ("[]", "nothing of the picture"),
        ("[[0.25, 0, 0.75, 0.5]]", "1 area, 25% of the picture (tracker.ignore)"),
        ("[[0, 0, 1, 0.5], [0, 0.4, 1, 1]]", "2 areas, 100% of the picture (tracker.ignore)"),
    ],
)
def test_check_tells_how_much_of_the_picture_nobody_looks_at(areas, said):
    done = maskedge("check", "--json", "--set", f"tracker.ignore={areas}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ignored"] == said
