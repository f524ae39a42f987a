import json
import shutil

import pytest
from click.testing import CliRunner

from convert.report import command
from maskedge.errors import InputError, UsageError
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.base import LABELS


def slice_figures(faces):
    return {
        "faces": faces,
        "accuracy": 0.9,
        "balanced_accuracy": 0.9,
        "ece": 0.0123,
        "incorrect_called_with_mask": 0.05,
        "confusion": [[9, 1, 0], [0, 10, 0], [1, 0, 9]],
        "by_label": {label: {"faces": 10, "recall": 0.87654} for label in LABELS},
    }


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for suffix in (".tflite", ".json"):
        shutil.copy((models_dir() / "mask_classifier.tflite").with_suffix(suffix), folder)
    return folder


@pytest.fixture
def figures(tmp_path, models):
    judged = {**slice_figures(30), "by_size": {"20-32 px": slice_figures(7)}}
    judged |= {"by_light": {}, "by_source": {"street": slice_figures(23)}}
    model = ModelFile.load(models / "mask_classifier.tflite")
    named = {"file": model.path.name, "sha256": model.sha256, "backend": "litert"}
    content = {"threshold": 0.5, "models": {"classifier": named}, "classifier": judged}
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(content))
    return path


def run(models, *figures):
    pairs = [a for f in figures for a in ("--figures", f"street={f}")]
    return CliRunner().invoke(command, ["--models", str(models), *pairs])


def test_figures_reach_the_card_and_the_json(models, figures):
    done = run(models, figures)
    assert done.exit_code == 0, (done.output, done.exception)
    text = (models / "MODEL_CARD.md").read_text()
    model = ModelFile.load(models / "mask_classifier.tflite")
    assert model.fingerprint in text
    assert "0.877" in text
    assert "20-32 px" in text
    assert model.card["evaluations"]["street"]["ece"] == 0.0123
    assert "$" not in text


def test_a_second_report_changes_nothing(models, figures):
    run(models, figures)
    first = {p.name: p.read_text() for p in models.glob("*.[jm]*")}
    run(models, figures)
    assert first == {p.name: p.read_text() for p in models.glob("*.[jm]*")}


def test_figures_of_another_network_are_refused(models, figures):
    content = json.loads(figures.read_text())
    content["models"]["classifier"]["sha256"] = "0" * 64
    figures.write_text(json.dumps(content))
    assert isinstance(run(models, figures).exception, UsageError)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}'])
def test_what_is_no_evaluation_is_refused(models, figures, text):
    figures.write_text(text)
    assert isinstance(run(models, figures).exception, InputError)


def test_a_folder_without_networks_is_said_to_be_so(tmp_path):
    assert isinstance(run(tmp_path).exception, InputError)
