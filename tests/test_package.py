"""What `pip install .` brings: program, schemas, networks; and models_dir finds them there."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from maskedge.modelfile import ModelFile, models_dir

ROOT = Path(__file__).parent.parent
STATIC = ("index.html", "style.css", "page.js", "review.html", "review.css", "review.js")


def test_the_wheel_holds_networks_schemas_and_type_marker(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT],
        check=True, timeout=170, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"maskedge/_models/{path.name}" for path in (ROOT / "models").glob("*.tflite")}
    schemas = {f"maskedge/schema/{path.name}" for path in (ROOT / "maskedge/schema").iterdir()}
    assert shipped
    assert shipped | schemas | {"maskedge/py.typed", "convert/__main__.py"} <= names
    assert {"convert/card.md", "convert/own_card.md", "convert/seen.csv"} <= names
    assert {name.replace(".tflite", ".json") for name in shipped} <= names
    page = {"maskedge/_docs/faults.md", *(f"maskedge/web/static/{n}" for n in STATIC)}
    assert page <= names


def test_every_shipped_network_is_the_one_that_its_description_names():
    networks = sorted(models_dir().glob("*.tflite"))
    assert networks
    for path in networks:
        model = ModelFile.load(path)
        assert model.card["sha256"] == model.sha256
        assert model.card["task"] in {"classifier", "detector"}


def test_an_installed_package_has_its_networks_inside(tmp_path, monkeypatch):
    package = tmp_path / "maskedge"
    (package / "_models").mkdir(parents=True)
    monkeypatch.setattr("maskedge.modelfile.__file__", str(package / "modelfile.py"))
    assert models_dir() == package / "_models"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_begins_again_once_the_missing_part_of_python_is_there(tmp_path):
    """Without python3-venv Debian's `python3 -m venv` makes half a folder, and fails."""
    half = tmp_path / "half"
    half.write_text(
        "#!/bin/sh\n"
        f'case $2 in venv) {sys.executable} -m venv --without-pip "$3"; exit 1;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    half.chmod(0o755)

    def make(python):
        venv = tmp_path / "venv"
        return subprocess.run(
            ["make", f"VENV={venv}", f"PYTHON={python}", f"{venv}/bin/python"],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    failed = make(half)
    assert failed.returncode
    assert "no virtual environment; try: sudo apt-get install python3-venv" in failed.stderr
    assert make(sys.executable).returncode == 0
    subprocess.run([tmp_path / "venv/bin/python", "-m", "pip", "--version"], check=True, timeout=60)
