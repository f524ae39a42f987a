"""Completion in the real shells."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time

import pytest

CASES = [
    ("maskedge det", ["detect"]),
    ("maskedge detect --o", ["--out"]),
    ("maskedge doctor br", ["broker"]),
    ("maskedge completion f", ["fish"]),
    ("maskedge run --set verdict.min_f", ["verdict.min_face="]),
]


@pytest.fixture
def environ(tmp_path):
    """A `maskedge` in the path."""
    program = tmp_path / "bin/maskedge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m maskedge "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb"}


def shell(name, script, environ, *arguments):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: see tests/apt-packages.txt")
    return subprocess.run(
        [name, "-c", script, *arguments],
        env=environ, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_bash(environ, typed, expected):
    script = """
        eval "$(maskedge completion bash)"
        compopt() { :; }
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _maskedge_completion maskedge
        printf '%s\\n' "${COMPREPLY[@]}"
        complete -p maskedge >&2
    """
    assert shell("bash", script, environ, "bash", *typed.split()).splitlines() == expected


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_fish(environ, typed, expected):
    script = f"maskedge completion fish | source; complete -C '{typed}'"
    lines = shell("fish", script, environ).splitlines()
    assert [line.partition("\t")[0] for line in lines] == expected


def test_zsh(environ, tmp_path):
    """It completes only at a terminal: one is typed at."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed: see tests/apt-packages.txt")
    (tmp_path / ".zshrc").write_text(
        'autoload -Uz compinit; compinit -u; eval "$(maskedge completion zsh)"; PS1="ready> "\n'
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**environ, "ZDOTDIR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(slave)
    seen = ""

    def until(text):
        nonlocal seen
        end = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(master, 4096).decode(errors="replace")

    until("ready> ")
    os.write(master, b"echo maskedge-typed; maskedge detec\t")
    until("maskedge detect ")
    process.kill()
    process.wait()
    os.close(master)


def test_the_shell_is_known_by_its_variable_or_asked_for(environ):
    def run(**more):
        return subprocess.run(
            [sys.executable, "-m", "maskedge", "completion"],
            env=environ | more, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert run(SHELL="/usr/bin/fish").stdout.startswith("function _maskedge_completion")
    done = run(SHELL="/bin/dash")
    assert (done.returncode, done.stderr) == (64, "maskedge: name your shell: bash, zsh, fish\n")
