"""What `pip install .` brings: program, schemas, networks; and models_dir finds them there."""

import subprocess
import sys
import zipfile
from pathlib import Path

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
