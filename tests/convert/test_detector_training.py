"""Training, export and scoring for real, on a few drawn people; needs TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from drawn_people import write_set
from keras_noise import IGNORED

pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")

import keras
import tensorflow as tf

from convert.coco import read_coco
from convert.detector.data import load_samples
from convert.detector.export import GateError, _gate, export
from convert.detector.network import build_detector
from convert.detector.progress import Keeper
from convert.detector.reshape import reshape
from convert.detector.train import Checkpoint, main
from convert.detector.validate import validate_file
from convert.rounded import channel_axes, exact, rounded
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.errors import InputError, ModelError, UsageError
from maskedge.geometry import Box
from maskedge.inference import dequantise, open_interpreter
from maskedge.modelfile import ModelFile
from maskedge.vision.faces import open_detector
from maskedge.vision.inputs import SHIPPED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    *IGNORED,
]

SMALL = ["--size", "64x64", "--steps", "8", "--batch", "4", "--hold-out", "4", "--workers", "1"]
EPOCHS = ["--epochs", "4", "--validate-every", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_set(folder, "train", 8)
    write_set(folder, "val", 2, seed=1)
    return folder


def run(*arguments):
    main([str(a) for a in arguments])


def history(out):
    return json.loads((out / "history.json").read_text())["epochs"]


@pytest.fixture(scope="module")
def trained(data, start, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "detector"
    run("--data", data, "--out", out, "--start", start, *SMALL, *EPOCHS)
    return out


def test_a_run_keeps_weights_and_history(trained):
    epochs = history(trained)

    assert [e["epoch"] for e in epochs] == [1, 2, 3, 4]
    assert all(np.isfinite(e["loss"]) for e in epochs)
    assert "validation" not in epochs[0]
    assert epochs[3]["validation"]["held_out"]["pictures"] == 2
    assert epochs[3]["validation"]["val"]["pictures"] == 2
    assert not list(trained.glob("partial.*"))
    assert (trained / "history.png").stat().st_size > 1000


def test_the_weights_kept_are_a_running_mean(trained, start):
    network = build_detector(64, 64)
    network.load_weights(start)
    before = network.get_weights()
    network.load_weights(trained / "mean.weights.h5")
    mean = network.get_weights()
    settings = json.loads((trained / "history.json").read_text())["settings"]
    keeper = Keeper(Checkpoint(trained), settings, {}, 0)
    last = exact(keeper.resumed()).get_weights()

    def distance(a, b):
        return sum(float(np.abs(x - y).sum()) for x, y in zip(a, b, strict=True))

    assert 0 < distance(before, mean) < distance(before, last)
    keras.backend.clear_session()


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(trained, data, start, tmp_path):
    out = tmp_path / "run"
    options = [str(o) for o in ("--data", data, "--out", out, *SMALL, *EPOCHS)]
    code = "import sys; from convert.detector.train import main; main(sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *options, "--start", str(start)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while not (out / "history.json").exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    before = history(out)
    assert 1 <= len(before) < 4

    run(*options, "--resume")
    after = history(out)
    assert after[: len(before)] == before
    assert [e["epoch"] for e in after] == [1, 2, 3, 4]
    wanted = [e["loss"] for e in history(trained)]
    assert [e["loss"] for e in after] == pytest.approx(wanted, rel=1e-2)
    assert after[-1]["updates"] == history(trained)[-1]["updates"]


def test_stopped_while_it_validates_a_run_ends_like_one_that_was_not(
    trained, data, start, tmp_path, monkeypatch
):
    def stopped(_):
        raise ValueError("stopped")

    options = ["--data", data, "--out", tmp_path / "run", *SMALL, "--epochs", "4"]
    monkeypatch.setattr(Keeper, "_validate", stopped)
    with pytest.raises(ValueError, match="stopped"):
        run(*options, "--start", start, "--validate-every", "2")
    assert len(history(tmp_path / "run")) == 1
    run(*options, "--resume", "--validate-every", "0")
    for now, wanted in zip(history(tmp_path / "run"), history(trained), strict=True):
        assert now["loss"] == pytest.approx(wanted["loss"], rel=1e-2)


def test_a_second_run_does_not_overwrite_the_first(trained, data):
    with pytest.raises(UsageError, match="--resume"):
        run("--data", data, "--out", trained, *SMALL)


def test_there_must_be_a_run_to_resume(tmp_path, data):
    with pytest.raises(UsageError, match="no run to resume"):
        run("--data", data, "--out", tmp_path / "none", "--resume", *SMALL)


@pytest.mark.parametrize(
    ("name", "value"), [("height", 96), ("hold_out", 5), ("labels", "others.json")]
)
def test_a_run_does_not_go_on_with_another_size_division_or_labels(tmp_path, name, value):
    settings = {"momentum": 0.998, "height": 64, "width": 64, "hold_out": 4, "labels": ""}
    stored = {"settings": settings, "epochs": [{"epoch": 1, "updates": 2}]}
    (tmp_path / "history.json").write_text(json.dumps(stored))
    keeper = Keeper(Checkpoint(tmp_path), {**settings, name: value}, {}, 0)
    with pytest.raises(UsageError, match=f"was begun with .*, not {value}"):
        keeper.resumed()


@pytest.mark.parametrize("file", ["history.json", "last.keras", "mean.weights.h5"])
def test_a_damaged_checkpoint_is_named(trained, tmp_path, file):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    settings = json.loads((out / "history.json").read_text())["settings"]
    (out / file).write_bytes((out / file).read_bytes()[:100])
    with pytest.raises(InputError, match="damaged, can't go on from it"):
        Keeper(Checkpoint(out), settings, {}, 0).resumed()
    keras.backend.clear_session()


def test_other_labels_are_learnt_and_those_held_out_stay(data, start, tmp_path, monkeypatch):
    others = json.loads((data / "train.json").read_text())
    for entry in others["annotations"]:
        entry["bbox"] = [1, 2, 33, 44]
    (tmp_path / "others.json").write_text(json.dumps(others))
    seen = {}
    monkeypatch.setattr(
        "convert.detector.progress.Keeper._validate",
        lambda keeper: seen.update(keeper._validation) or {},
    )
    monkeypatch.setattr(
        "convert.detector.data.load_samples",
        lambda pictures: seen.update(trained=pictures) or load_samples(pictures),
    )
    run(
        *("--data", data, "--out", tmp_path / "run", "--labels", tmp_path / "others.json"),
        *("--start", start, *SMALL, "--epochs", 1, "--validate-every", 1, "--hold-out", 2),
    )

    assert {f.box for p in seen["trained"] for f in p.faces} == {Box(1, 2, 34, 46)}
    assert Box(1, 2, 34, 46) not in {f.box for p in seen["held_out"] for f in p.faces}
    assert not {p.path for p in seen["trained"]} & {p.path for p in seen["held_out"]}
    assert json.loads((tmp_path / "run" / "history.json").read_text())["settings"]["labels"] == (
        "others.json"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "0"],
        ["--batch", "0"],
        ["--rate", "0"],
        ["--mosaic", "3"],
        ["--hold-out", "-1"],
        ["--hold-out", "1"],
    ],
)
def test_numbers_that_cannot_be_are_refused(data, tmp_path, words):
    with pytest.raises((UsageError, click.BadParameter)) as refused:
        run("--data", data, "--out", tmp_path / "run", *words)
    option = getattr(refused.value, "param", None)
    assert words[0] in (option.opts if option else str(refused.value))
    assert not (tmp_path / "run").exists()


def test_a_set_without_faces_teaches_nothing(data, start, tmp_path):
    content = json.loads((data / "train.json").read_text())
    (tmp_path / "none.json").write_text(json.dumps({**content, "annotations": []}))
    labels = ("--labels", tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none.json: no face to learn from"):
        run("--data", data, "--out", tmp_path / "run", "--start", start, *SMALL, *labels)


@pytest.mark.parametrize("size", ["100x100", "320", "x", "32x32"])
def test_a_size_that_the_network_cannot_have_is_refused(data, tmp_path, size):
    with pytest.raises(UsageError, match="--size"):
        run("--data", data, "--out", tmp_path / "run", "--size", size)


@pytest.mark.parametrize("kind", ["no weights", "others"])
def test_weights_of_something_else_to_start_from_are_named(data, tmp_path, kind):
    file = tmp_path / "other.weights.h5"
    if kind == "others":
        keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save_weights(file)
    else:
        file.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"other.weights.h5: not the weights of a face detector"):
        run("--data", data, "--out", tmp_path / "run", "--start", file, *SMALL)
    assert not list((tmp_path / "run").iterdir())


def test_weights_of_another_trunk_are_named(data, tmp_path):
    file = tmp_path / "other.weights.h5"
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"--weights .*other.weights.h5: no weights of MobileNet"):
        run("--data", data, "--out", tmp_path / "run", "--weights", file, *SMALL)


@pytest.fixture(scope="module")
def exported(trained, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("models")
    return export(trained, data, out, count=4)


def test_the_mean_with_other_runs_is_exported_and_kept(trained, start, data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    (first, *_) = export(out, data, tmp_path, count=4, mean_with=[start])

    def kernels(path):
        network = build_detector(64, 64)
        network.load_weights(path)
        return network.get_weights()

    files = (out / "mean.weights.h5", start, out / "exported.weights.h5")
    for one, other, mean in zip(*map(kernels, files), strict=True):
        np.testing.assert_allclose((one + other) / 2, mean, rtol=1e-5, atol=1e-7)
    card = ModelFile.load(first).card
    assert card["training"]["mean_of"] == 2
    assert card["float"] == {
        name: validate_file(files[2], read_coco(data / f"{file}.json", data / file)[slice_])["ap"]
        for name, file, slice_ in (
            ("val", "val", slice(None)),
            ("held_out", "train", slice(2, 8, 4)),
        )
    }


def test_other_weights_that_are_none_are_named(trained, data, tmp_path):
    other = tmp_path / "other.weights.h5"
    other.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"--mean-with .*other.weights.h5: not the weights of"):
        export(trained, data, tmp_path / "out", count=4, mean_with=[other])
    assert not (trained / "exported.weights.h5").exists()


@pytest.mark.parametrize("others", [0, 1])
def test_a_run_with_damaged_weights_is_named(trained, start, data, tmp_path, others):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    (out / "mean.weights.h5").write_bytes(b"half")
    with pytest.raises(InputError, match=r"--run .*mean.weights.h5: not the weights of"):
        export(out, data, tmp_path / "out", count=2, mean_with=[start] * others)


def test_what_the_gate_refuses_replaces_nothing(trained, data, tmp_path, monkeypatch):
    shipped = tmp_path / "face_detector_320x320.tflite"
    shipped.write_bytes(b"in use")

    def refuse(*_):
        raise GateError("too much")

    monkeypatch.setattr("convert.detector.export._gate", refuse)
    with pytest.raises(GateError):
        export(trained, data, tmp_path, count=2)
    assert [p.name for p in tmp_path.iterdir()] == [shipped.name]
    assert shipped.read_bytes() == b"in use"


def test_every_size_ships_with_its_card_and_can_be_run(exported):
    assert [p.stem for p in exported] == [size.stem for size in SHIPPED]
    for path in exported:
        card = ModelFile.load(path).card
        assert card["task"] == "detector"
        assert card["metrics"]["val"]["pictures"] == 2
        assert path.stem.endswith(f"{card['input']['width']}x{card['input']['height']}")
    low = DetectorConfig(threshold=0.0)
    detector = open_detector(low, InferenceConfig(accelerator="cpu"), exported[0].parent)
    assert detector.detect(Frame(np.zeros((48, 64, 3), np.uint8), ChannelOrder.RGB, 0.0))


def test_all_sizes_have_the_same_weights_and_give_the_same_answer(exported):
    square, low = (open_interpreter(p, "cpu", threads=1) for p in exported[:2])
    picture = np.random.default_rng(0).integers(0, 256, (256, 320, 3), np.uint8)
    padded = np.full((320, 320, 3), 127, np.uint8)
    padded[:256] = picture
    answers = [o.copy() for o in square.invoke(padded)], list(low.invoke(picture))

    assert {s.scale for s in square.output_specs} == {s.scale for s in low.output_specs}
    for one, other in zip(*answers, strict=True):
        rows = other.shape[1] // 2  # where the padding below can't be felt
        near = np.abs(one[:, :rows].astype(int) - other[:, :rows]) <= 1
        assert near.mean() > 0.98


def test_a_float_network_and_its_int8_form_agree(trained, exported):
    network = build_detector(320, 320)
    network.load_weights(trained / "mean.weights.h5")
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    exact = network.predict_on_batch(picture[None] / np.float32(127.5) - 1)
    int8 = open_interpreter(exported[0], "cpu", threads=1)
    stored = int8.invoke(picture)

    by_shape = {o.shape: np.asarray(o) for o in exact}
    for spec, output in zip(int8.output_specs, stored, strict=True):
        wanted = by_shape[spec.shape]
        error = np.abs(dequantise(output, spec) - wanted).mean()
        assert error < 0.1 * max(wanted.std(), 0.1)


def test_int8_holds_the_very_kernels_that_were_trained_with(trained, exported):
    network = build_detector(64, 64)
    network.load_weights(trained / "mean.weights.h5")
    interpreter = tf.lite.Interpreter(str(exported[0]))
    stored = {}
    for tensor in interpreter.get_tensor_details():
        scales = tensor["quantization_parameters"]["scales"]
        if tensor["dtype"] is np.int8 and len(tensor["shape"]) == 4 and len(scales) > 1:
            shape = [1] * 4
            axis = tensor["quantization_parameters"]["quantized_dimension"]
            shape[axis] = len(scales)
            stored.setdefault(tuple(tensor["shape"]), []).append(
                interpreter.get_tensor(tensor["index"]) * scales.reshape(shape)
            )
    for layer in network.layers:
        if layer.weights and layer.output.shape[-1] > 1:
            exact = np.asarray(layer.kernel)
            wanted = np.asarray(rounded(layer.kernel, channel_axes(layer)))
            exact, wanted = (kernel.transpose((3, 0, 1, 2)) for kernel in (exact, wanted))
            close = 1e-5 * np.abs(wanted).max()
            # The two may round a half differently: it lies as near to one step as to the other.
            same = (
                (np.abs(held - wanted) < close)
                | (np.abs(np.abs(held - exact) - np.abs(wanted - exact)) < close)
                for held in stored[wanted.shape]
            )
            assert any(kernel.all() for kernel in same), layer.name


def test_only_the_detectors_own_networks_are_reshaped():
    tiny = (Path(__file__).parent.parent / "data" / "tiny_int8.tflite").read_bytes()
    with pytest.raises(ModelError, match="can't change the input size"):
        reshape(tiny, 64, 64)
    with pytest.raises(ModelError, match="multiples of 32"):
        reshape(tiny, 70, 64)


def test_nothing_ships_that_int8_made_worse():
    _gate({"val": {"ap": 0.9}}, {"val": {"ap": 0.896}})
    with pytest.raises(GateError, match=r"0.7 points of AP on val"):
        _gate({"val": {"ap": 0.9}}, {"val": {"ap": 0.893}})
