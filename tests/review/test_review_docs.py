"""docs/review.md: every command in it, run on faces of twelve persons, says what it shows."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from console import programs, run, steps
from kept import fill, pattern, record

TEXT = (Path(__file__).parents[2] / "docs/review.md").read_text(encoding="utf-8")
LABELS = ("with_mask", "without_mask", "incorrect_mask")


@pytest.fixture
def folder(tmp_path):
    """Eight faces are nine days old, the others of today; all are labelled."""
    now = datetime.now(UTC)
    faces = [
        record(
            track=n // 2, number=n % 2 + 1,
            time=now - timedelta(days=9 if n < 8 else 0, minutes=n // 2),
        )
        for n in range(24)
    ]  # fmt: skip
    folder = fill(tmp_path / "state/review", faces, pattern)
    for number, item in enumerate(folder.items()):
        folder.mark(item.name, LABELS[number % 3])
    return tmp_path


def sizes_aside(text):
    return re.sub(r'[\d.]+ MB|"bytes":\d+', "SIZE", text)


def test_every_command_says_what_the_page_shows(folder):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed: see tests/apt-packages.txt")
    environ = {**programs(folder), "STATE_DIRECTORY": "state"}
    commands = list(steps(TEXT))
    assert len(commands) == 4
    for command, shown in commands:
        assert sizes_aside(run(command, folder, environ)) == sizes_aside(shown), command
