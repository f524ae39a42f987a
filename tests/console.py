"""Runs what a document shows in its ``console`` blocks, and compares what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def steps(text: str) -> Iterator[tuple[str, str]]:
    """(command, what the page shows) in their order."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            yield command, shown


def shape(text: str) -> str:
    """Retrained networks change figures a little: only their places are compared."""
    return re.sub(r"\d+(\.\d+)?", "N", text)


def programs(folder: Path) -> dict[str, str]:
    """An environment in which ``maskedge`` and ``python`` are this checkout's."""
    place = folder / "bin"
    place.mkdir()
    for name, words in (("maskedge", "-m maskedge"), ("python", "")):
        program = place / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        program.chmod(0o755)
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}


def run(command: str, folder: Path, environ: dict[str, str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout
