"""docs/detect.md: every command in it, run on what it says, says what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest
from console import programs, run, shape, steps
from recording import record

from maskedge.scene import Visit, Wearing, hall, wear

TEXT = (Path(__file__).parents[2] / "docs/detect.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """What the page judges."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for wearing in Wearing:
        cv2.imwrite(str(pictures / f"{wearing}.png"), wear(wearing)[..., ::-1])
    cv2.imwrite(str(pictures / "hall.jpg"), hall(640, 480)[..., ::-1])
    record(tmp_path / "entrance.avi", [Visit(Wearing.BARE), Visit(Wearing.MASKED)], pause=2)
    return tmp_path


@pytest.mark.slow
def test_every_command_says_what_the_page_shows(folder):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed: see tests/apt-packages.txt")
    environ = programs(folder)
    for command, shown in steps(TEXT):
        assert shape(run(command, folder, environ)) == shape(shown), command


def test_the_page_shows_several_commands():
    assert len(list(steps(TEXT))) > 8
