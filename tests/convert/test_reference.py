"""The reference for drift: from a set's pictures into a network's JSON, and read by the daemon."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from convert.reference import look_at, references
from convert.report import command
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.geometry import Box
from maskedge.health.drift import shipped_references
from maskedge.health.features import BY_NAME
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.base import Face

SURE = np.array([0.96, 0.03, 0.01], np.float32)
"""What the classifier says of every face."""


@pytest.fixture
def looks():
    """A picture of noise with faces that the daemon would judge, and some it wouldn't."""
    pixels = np.random.default_rng(1).integers(0, 255, (400, 600, 3), np.uint8)
    pixels[:, 400:] = 90  # without any detail
    boxes = [(20, 20, 120), (20, 220, 100), (200, 20, 40), (450, 50, 100), (-70, 100, 100)]
    faces = [Face(Box(x, y, x + side, y + side), 0.93) for x, y, side in boxes]
    return look_at(Frame(pixels, ChannelOrder.RGB, 0.0), faces, [SURE] * len(faces))


def test_only_faces_that_the_daemon_would_judge_count(looks):
    assert len(looks) == 2
    assert [look["confidence"] for look in looks] == pytest.approx([0.96, 0.96])


def test_each_network_gets_what_it_puts_out_itself(looks):
    found = references(looks)
    assert {n: set(part["features"]) for n, part in found.items()} == {
        "classifier": {"confidence", "margin"},
        "detector": {"score"},
    }
    for part in found.values():
        assert part["faces"] == 2
        for name, stored in part["features"].items():
            assert stored["edges"] == list(BY_NAME[name].edges)
            assert sum(stored["counts"]) == 2
            assert stored["counts"][BY_NAME[name].bin(looks[0][name])] == 2


def test_report_writes_it_and_the_daemon_reads_it(tmp_path, looks):
    models = tmp_path / "models"
    models.mkdir()
    for suffix in (".tflite", ".json"):
        shutil.copy((models_dir() / "mask_classifier.tflite").with_suffix(suffix), models)
    path = models / "mask_classifier.tflite"
    card = json.loads(path.with_suffix(".json").read_text())
    before = card.pop("evaluations")["validation"]
    card.pop("reference", None)
    path.with_suffix(".json").write_text(json.dumps(card))
    assert shipped_references(ModelFile.load(path).card) == {}
    model = ModelFile.load(path)
    figures = {
        "models": {"classifier": {"file": path.name, "sha256": model.sha256}},
        "classifier": before,
        "reference": json.loads(json.dumps(references(looks))),
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    asked = ["--models", str(models), "--figures", f"validation={tmp_path / 'figures.json'}"]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, (done.output, done.exception)
    found = shipped_references(ModelFile.load(path).card)
    assert {name: counts.sum() for name, counts in found.items()} == {"confidence": 2, "margin": 2}


@pytest.mark.parametrize("name", ["mask_classifier", "face_detector_320x320"])
def test_the_shipped_networks_have_one(name):
    found = shipped_references(ModelFile.load(models_dir() / f"{name}.tflite").card)
    assert set(found) == ({"score"} if "face" in name else {"confidence", "margin"})
    assert all(counts.sum() > 500 for counts in found.values())
