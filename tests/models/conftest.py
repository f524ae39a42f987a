"""Copies of the shipped networks, changed in every way that an update can be wrong."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from maskedge.modelfile import models_dir
from maskedge.models.store import Store
from maskedge.vision import inputs

CLASSIFIER = "mask_classifier"
DETECTORS = tuple(size.stem for size in inputs.SHIPPED)
GENERAL, SMALL, WIDE = (f"face_detector_{size}" for size in ("320x320", "320x192", "640x512"))
REMARK = b"\0" * 16
"""After a flatbuffer's end: other bytes, the same network."""


def shipped(name=CLASSIFIER):
    return (models_dir() / f"{name}.tflite").read_bytes()


def described(content, card):
    """The card with the SHA-256 of this content."""
    return {**card, "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def copy(tmp_path):
    """``copy(name, content=..., folder=..., key=value)``: a network with another description.

    A key that is None is left out. The SHA-256 is that of the content, unless it is given.
    """

    def make(name=CLASSIFIER, content=None, folder="new", **changes):
        path = tmp_path / folder / f"{name}.tflite"
        path.parent.mkdir(exist_ok=True)
        content = shipped(name) if content is None else content
        path.write_bytes(content)
        card = json.loads((models_dir() / f"{name}.json").read_text())
        card = {**described(content, card), **changes}
        card = {key: value for key, value in card.items() if value is not None}
        path.with_suffix(".json").write_text(json.dumps(card))
        return path

    return make


@pytest.fixture
def detectors(copy):
    """A folder with a detector for every input size, not the shipped bytes."""

    def make(folder="detectors", names=DETECTORS):
        for name in names:
            path = copy(name, shipped(name) + REMARK, folder)
        return path.parent

    return make


@pytest.fixture
def store(tmp_path, monkeypatch):
    """This machine's store, for this test alone."""
    monkeypatch.setenv("MASKEDGE_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("MASKEDGE_CONFIG", str(tmp_path / "config.yaml"))
    (tmp_path / "config.yaml").write_text("device: door\n")
    return Store()
