"""Training on each Keras backend that is installed, a few steps of both tasks."""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from drawn_people import write_set

pytest.importorskip("keras", reason="training needs the extra 'convert'")

# Keras on TensorFlow is not yet clean of numpy 2's deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")


def others():
    for backend in ("torch", "jax"):
        missing = pytest.mark.skipif(
            find_spec(backend) is None,
            reason=f"{backend} isn't installed, and no test dependency: pip install {backend}",
        )
        yield pytest.param(backend, marks=missing)


def convert(backend, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "convert", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=500, check=False, env=environment
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_set(folder, "train", 12, seed=1)
    write_set(folder, "val", 2, seed=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("backend", list(others()))
class TestTraining:
    def test_the_detector_trains_and_goes_on(self, backend, data, start, tmp_path):
        arguments = (
            "train", "--task", "detector", "--data", data, "--out", tmp_path / "run",
            "--size", "64x64", "--steps", 2, "--batch", 4, "--hold-out", 4, "--workers", 1,
            "--threads", 1, "--validate-every", 2,
        )  # fmt: skip
        done = convert(backend, *arguments, "--epochs", 1, "--start", start)
        assert done.returncode == 0, done.stderr
        done = convert(backend, *arguments, "--epochs", 2, "--resume")
        assert done.returncode == 0, done.stderr
        epochs = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]
        assert [e["epoch"] for e in epochs] == [1, 2]
        assert all(math.isfinite(e["loss"]) for e in epochs)
        assert epochs[1]["validation"]["held_out"]["pictures"] == 3

    def test_the_classifier_trains_and_goes_on(self, backend, data, tmp_path):
        arguments = (
            "train", "--task", "classifier", "--data", data, "--out", tmp_path / "run",
            "--backbone", "cnn", "--size", 32, "--batch", 8, "--steps", 2, "--head-steps", 1,
            "--threads", 1,
        )  # fmt: skip
        for more in (("--epochs", 1), ("--epochs", 2, "--resume")):
            done = convert(backend, *arguments, *more)
            assert done.returncode == 0, done.stderr
        history = json.loads((tmp_path / "run" / "history.json").read_text())
        assert [e["epoch"] for e in history] == [1, 2]
        assert all(math.isfinite(e["loss"]) for e in history)


def test_a_backend_that_is_none_or_not_there_is_one_line(data, tmp_path):
    arguments = ("train", "--task", "classifier", "--data", data, "--out", tmp_path / "run")
    done = convert("theano", *arguments)
    assert done.returncode == 64
    assert "tensorflow, torch, jax" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_spec("jax") is not None, reason="JAX is installed here")
def test_a_backend_that_is_not_installed_says_how_to_get_it(data, tmp_path):
    done = convert("jax", "train", "--task", "detector", "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 64
    assert "pip install jax" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch isn't installed: pip install torch")
def test_tflite_files_are_made_with_tensorflow_alone(tmp_path):
    done = convert("torch", "quantize", "--run", tmp_path, "--out", tmp_path / "x.tflite")
    assert done.returncode == 64
    assert "without KERAS_BACKEND=torch" in done.stderr
