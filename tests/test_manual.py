"""The manual page: whole, and nothing that groff complains about."""

import shutil
import subprocess
import sys

import pytest

from maskedge.cli import COMMANDS
from maskedge.commands.man import _escaped


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("man") / "maskedge.1"
    with path.open("w") as file:
        subprocess.run([sys.executable, "-m", "maskedge", "man"], stdout=file, check=True)
    return path


def shown(page):
    if shutil.which("man") is None:
        pytest.skip("man is not installed: see tests/apt-packages.txt")
    done = subprocess.run(
        ["man", "--warnings=w", "-E", "UTF-8", "-l", page],
        capture_output=True, text=True, check=True, timeout=60,
        env={"MANWIDTH": "110", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_man_shows_every_command_its_options_and_examples(page):
    text = shown(page)
    for name in COMMANDS:
        assert f"\n   maskedge {name} " in text
    assert "\n   maskedge models install [OPTIONS]" in text
    assert "maskedge - face-mask monitor" in text
    assert "-q, --quiet" in text
    assert "    maskedge detect --csv 'archive/**/*.jpg' > faces.csv\n" in text
    assert "  find . -name '*.jpg' -newer last -print0 | maskedge detect --files-from -\n" in text


def test_what_groff_would_set_otherwise_stays_as_it_is():
    assert _escaped("a-b 'c' `d` ~/x \\n ^") == ("a\\-b \\(aqc\\(aq \\(gad\\(ga \\(ti/x \\en \\(ha")
    assert _escaped(".TH injected") == "\\&.TH injected"
