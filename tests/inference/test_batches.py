"""Several pictures a run: only where it is proven to give what one by one gives."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from flatbuffer_editor import Editor

from convert.batch import free_batch
from maskedge.inference import batches, open_interpreter
from maskedge.inference.batches import open_batches
from maskedge.modelfile import SCHEMA, ModelFile, models_dir

SHIPPED = models_dir() / "mask_classifier.tflite"


@pytest.fixture
def network():
    opened = open_interpreter(SHIPPED)
    yield opened
    opened.close()


@pytest.fixture
def written(tmp_path):
    """Writes a network's bytes with a description that vouches for them."""

    def write(content):
        path = tmp_path / "own.tflite"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        path.with_suffix(".json").write_text(json.dumps({"schema": SCHEMA, "sha256": digest}))
        return ModelFile.load(path)

    return write


def fixed(*shape):
    """The shipped network, its logits brought to a shape that the file says."""
    editor = Editor(SHIPPED)
    reshape = editor.find("RESHAPE")
    reshape.inputs[1] = editor.constant(*shape)
    return editor


def opened(model):
    one = open_interpreter(model.path)
    try:
        return open_batches(model, one, 1)
    finally:
        one.close()


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), np.uint8)


def test_each_picture_is_answered_as_it_is_alone(network):
    pictures = noise(4)
    alone = [network.invoke(picture)[0][0].copy() for picture in pictures]
    assert len(np.unique(alone, axis=0)) > 1

    four, two = open_batches(ModelFile.load(SHIPPED), network, 1)
    for batch in (four, two):
        batch.pictures[...] = pictures[: batch.size]
        np.testing.assert_array_equal(batch.invoke(), alone[: batch.size])
        batch.close()
    assert (four.size, two.size) == (4, 2)


def test_a_network_of_a_fixed_batch_has_none_and_says_nothing_of_it(written, capfd):
    assert opened(written(fixed(1, 3).content())) == ()
    assert capfd.readouterr() == ("", "")


def test_what_convert_makes_of_it_has_them(written):
    content = fixed(1, 3).content()
    freed = free_batch(content)
    assert len(opened(written(freed))) == 2
    assert sum(a != b for a, b in zip(content, freed, strict=True)) == 4
    assert free_batch(freed) == freed


@pytest.mark.parametrize("shape", [(1, -1), (3, 1)])
def test_another_shape_is_left_as_it_is(shape):
    content = fixed(*shape).content()
    assert free_batch(content) == content


def test_what_mixes_the_pictures_of_a_batch_is_not_used(written):
    editor = fixed(-1, 3)
    editor.find("MEAN").inputs[1] = editor.constant(0, 1, 2)  # alone the same as 1, 2
    assert opened(written(editor.content())) == ()


def test_answers_that_differ_are_not_used(network, monkeypatch):
    invoke = batches.Batch.invoke
    monkeypatch.setattr(batches.Batch, "invoke", lambda batch: invoke(batch)[::-1])
    assert open_batches(ModelFile.load(SHIPPED), network, 1) == ()


def test_a_file_that_nothing_vouches_for_is_not_resized(tmp_path):
    path = tmp_path / "own.tflite"
    shutil.copy(SHIPPED, path)
    assert opened(ModelFile.load(path)) == ()


def test_an_interpreter_that_gains_nothing_by_it_runs_one_by_one(network, monkeypatch):
    monkeypatch.setattr(batches, "GAINS", frozenset({"another"}))
    assert open_batches(ModelFile.load(SHIPPED), network, 1) == ()
