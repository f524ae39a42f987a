"""Train, resume, quantise, evaluate: the real commands on a tiny drawn set."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from convert_command import ENVIRONMENT, convert
from drawn_people import write_set

from convert.classifier.data import INCORRECT
from convert.classifier.gather import collect, open_crops
from convert.classifier.recipe import Recipe
from convert.classifier.run import ClassifierRun
from convert.classifier.train import train
from convert.metrics import fit_temperature, summary
from convert.quantize import integer_logits
from maskedge.config import ClassifierConfig, InferenceConfig
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.masks import open_classifier, softmax

pytest.importorskip("tensorflow", reason="training and conversion need the extra 'convert'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_set(folder, "train", 40, seed=1)
    write_set(folder, "val", 12, seed=2)
    return folder


def train_arguments(data, out, *more):
    return (
        "train", "--task", "classifier", "--data", data, "--out", out, "--backbone", "cnn",
        "--size", 32, "--batch", 24, "--steps", 40, "--head-steps", 2, "--rate", 3e-3,
        "--held-out", 0.1, "--threads", 1, "--seed", 3, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A trained run, killed after its first epoch and resumed."""
    out = tmp_path_factory.mktemp("run") / "masks"
    command = [
        sys.executable,
        "-m",
        "convert",
        *map(str, train_arguments(data, out, "--epochs", 3)),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 400
    while not (out / "last" / "state.json").exists():
        assert process.poll() is None or (out / "last" / "state.json").exists()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads((out / "last" / "state.json").read_text())["history"])
    convert(*train_arguments(data, out, "--epochs", 3, "--resume"))
    history = json.loads((out / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert done >= 1
    return out


@pytest.fixture(scope="module")
def network(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "tiny.tflite"
    convert("quantize", "--run", run, "--out", out, "--representative", 64)
    return out


def test_training_learns_and_leaves_its_history(run):
    history = json.loads((run / "history.json").read_text())
    assert history[-1]["loss"] < history[0]["loss"]
    assert max(entry["balanced"] for entry in history) > 0.4
    assert (run / "history.png").stat().st_size > 1000


def test_a_finished_folder_is_not_overwritten(data, run):
    done = convert(*train_arguments(data, run, "--epochs", 1), check=False)
    assert done.returncode == 64
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_int8_network_runs_in_the_daemons_runtime(network):
    inference = InferenceConfig(accelerator="cpu", threads=1)
    classifier = open_classifier(ClassifierConfig(model=network), inference, network.parent)
    assert classifier.network.input_spec.dtype == "uint8"
    assert classifier.network.input_spec.shape == (1, 32, 32, 3)
    assert [batch.size for batch in classifier.batches] == [4, 2]
    assert classifier.model.card["metrics"]["agreement"] >= 0.99
    assert classifier.temperature == classifier.model.card["calibration"]["temperature"]
    classifier.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
def test_temperature_prior_and_figures_are_those_of_the_int8_network_itself(run, network):
    card = ModelFile.load(network).card
    whole = ClassifierRun.open(run)
    logits = integer_logits(network, whole.validation_crops())
    calibration, told = card["calibration"], card["metrics"]
    assert calibration["temperature"] == fit_temperature(whole.truth, logits)
    assert told["int8"] == summary(whole.truth, softmax(logits, calibration["temperature"]))
    small = softmax(integer_logits(network, whole.validation_crops(28)), calibration["temperature"])
    assert told["int8_faces_shrunk_to_28"] == summary(whole.truth, small)
    own = whole.store.records["validation"][whole.validation]
    assert told["int8_validation_set"]["faces"] == own.sum() > 0
    assert told["int8_held_out_of_training"]["faces"] == (~own).sum() > 0
    before, after = (whole.network(name).get_layer("head") for name in ("best", "calibrated"))
    moved = np.asarray(after.get_weights()[1]) - np.asarray(before.get_weights()[1])
    assert moved == pytest.approx(calibration["shift_in_head"], abs=1e-3)
    assert np.abs(moved).max() > 0


def test_the_model_card_tells_what_the_run_was_trained_on(network, tmp_path):
    for suffix in (".tflite", ".json"):
        shutil.copy(network.with_suffix(suffix), tmp_path)
    convert("report", "--models", tmp_path)
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| drawn | 40 | - | 12 | - | not stated: name it |" in text
    assert "iAmEthanMai" not in text


def test_a_run_goes_on_with_what_it_was_begun_with(data, run, tmp_path):
    """The command line needs to say no more than --resume; what can't change is refused."""
    out = tmp_path / "run"
    shutil.copytree(run, out)
    before = (out / "recipe.json").read_bytes()
    asked = ("train", "--task", "classifier", "--data", data, "--out", out, "--threads", 1)
    done = convert(*asked, "--resume", "--size", 48, check=False)
    assert done.returncode == 64
    assert "was begun with size 32, not 48" in done.stderr
    start = models_dir() / "mask_classifier.tflite"
    done = convert(*asked, "--resume", "--start", start, check=False)
    assert done.returncode == 64
    assert f"was begun with start none, not {start}" in done.stderr
    assert (out / "recipe.json").read_bytes() == before
    convert(*asked, "--resume", "--epochs", 4, "--steps", 2)
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe == {**json.loads(before), "epochs": 4, "steps": 2}
    assert len(json.loads((out / "history.json").read_text())) == 4


def test_what_somebody_saw_is_what_is_learnt(data, tmp_path):
    tags, out = tmp_path / "seen.csv", tmp_path / "run"
    tags.write_text(
        "file,tag\ntrain_000.jpg#2,incorrect_mask\ntrain_001.jpg,unclear\ntrain_2.jpg,unclear\n"
    )
    done = convert(*train_arguments(data, out, "--epochs", 1, "--steps", 2, "--tags", tags))
    assert f"note: {tags}: tags 1 of no face in the data, the first train_2.jpg" in done.stderr
    records = np.load(out / "crops" / "records.npy")
    seen = records[records["kind"] == "seen_wrong"]
    assert seen["name"].tolist() == ["train_000.jpg"]
    assert seen["allowed"].tolist() == [INCORRECT]
    assert "train_001.jpg" not in records["name"]
    again = train_arguments(data, out, "--epochs", 2, "--steps", 2, "--resume")
    done = convert(*again, check=False)  # other labels than those that it was begun with
    assert done.returncode == 64
    assert (
        "give the same --data, --crops, --folders, --tags, --negatives and --landmarks"
        in done.stderr
    )


def test_stopped_by_hand_nothing_is_lost(data, tmp_path):
    out = tmp_path / "run"
    arguments = train_arguments(data, out, "--epochs", 60, "--patience", 60)
    process = subprocess.Popen(
        [sys.executable, "-m", "convert", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while not (out / "last" / "state.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 130, said
    assert "--resume" in said
    assert "Traceback" not in said
    done = len(json.loads((out / "history.json").read_text()))
    convert(*train_arguments(data, out, "--epochs", done + 1, "--resume"))
    epochs = [entry["epoch"] for entry in json.loads((out / "history.json").read_text())]
    assert epochs == list(range(1, done + 2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_a_disk_that_is_full_at_a_checkpoint_costs_that_epoch_alone(data, tmp_path, monkeypatch):
    store = open_crops(tmp_path, collect(data, None, None), None, 32, resume=False)
    recipe = Recipe("cnn", size=32, batch=8, steps=10, head_steps=0, epochs=2, freeze=None)
    train(store, tmp_path / "whole", recipe)
    written = []

    def full(path, **arrays):
        written.append(path)
        if len(written) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return savez(path, **arrays)

    savez = np.savez
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        train(store, tmp_path / "full", recipe)
    assert not list((tmp_path / "full").rglob("partial.*"))
    train(store, tmp_path / "full", recipe, resume=True)
    with np.load(written[0].with_name("average.npz")) as ended:
        whole = np.load(tmp_path / "whole" / "last" / "average.npz")
        for name in ended.files:
            np.testing.assert_allclose(ended[name], whole[name], rtol=1e-4, atol=1e-6)


def test_weights_that_can_not_be_downloaded_are_one_line(data, tmp_path):
    arguments = train_arguments(data, tmp_path / "run", "--weights", "imagenet", "--alpha", 0.35)
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    command = [sys.executable, "-m", "convert", *map(str, arguments), "--backbone", "mobilenet_v2"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False,
        env={**ENVIRONMENT, **nowhere},
    )  # fmt: skip
    assert done.returncode == 69
    assert "--weights FILE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["tflite", "keras"])
def test_training_goes_on_from_a_network(data, run, network, tmp_path, kind):
    start = network if kind == "tflite" else run / "best.keras"
    out = tmp_path / "more"
    still = ("--epochs", 1, "--steps", 1, "--freeze", "none", "--rate", 1e-9)
    convert(*train_arguments(data, out, "--start", start, *still))
    convert("quantize", "--run", out, "--out", tmp_path / "more.tflite", "--representative", 64)
    training = json.loads((tmp_path / "more.json").read_text())["training"]
    assert training["started_from"] == {"file": start.name}
    assert str(tmp_path) not in json.dumps(training)


def test_what_training_can_not_go_on_from_is_named(data, network, tmp_path):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no network")
    detector = models_dir() / "face_detector_320x320.tflite"
    for file, more, words in (
        (broken, (), "broken.keras: neither a .tflite"),
        (detector, (), "can't go on from this network"),
        (network, ("--weights", "imagenet"), "--start and --weights: give one"),
    ):
        out = tmp_path / file.stem
        done = convert(*train_arguments(data, out, "--start", file, *more), check=False)
        assert done.returncode in (64, 65, 66, 78), done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_evaluation_scores_int8_and_float_alike(data, run, network, tmp_path):
    figures = {}
    for name, file in (("int8", network), ("float", run / "calibrated.keras")):
        convert(
            "evaluate", "--coco", data / "val.json", "--images", data / "val", "--only",
            "classifier", "--classifier", file, "--json", tmp_path / f"{name}.json",
            "--out", tmp_path / name,
        )  # fmt: skip
        figures[name] = json.loads((tmp_path / f"{name}.json").read_text())["classifier"]
    assert figures["int8"]["faces"] == 36
    assert abs(figures["int8"]["accuracy"] - figures["float"]["accuracy"]) <= 0.06
    assert set(figures["int8"]["by_source"]) == {"drawn"}
    assert np.sum(figures["int8"]["confusion"]) == 36
    page = (tmp_path / "int8" / "report.html").read_text()
    assert "data:image/png;base64" in page
    assert (tmp_path / "int8" / "confusion.png").exists()


@pytest.mark.parametrize(
    ("gone", "status", "said"),
    [
        ("best.keras", 66, "no finished epoch of that name; there are: final"),
        ("history.json", 66, "no finished epoch"),
        ("recipe.json", 66, "no classifier's training run"),
        ("crops/records.npy", 66, "no classifier's training run"),
    ],
)
def test_a_run_that_is_not_whole_is_one_line(run, tmp_path, gone, status, said):
    out = tmp_path / "run"
    shutil.copytree(run, out)
    (out / "calibrated.keras").touch()  # quantize's own, whether another test has run it or not
    (out / gone).unlink()
    done = convert("quantize", "--run", out, "--out", tmp_path / "x.tflite", check=False)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.tflite"))


def test_a_damaged_network_or_crops_are_named(run, tmp_path):
    for name, cut in (("best.keras", 100), ("crops/pixels.bin", 1000)):
        out = tmp_path / name.partition(".")[0]
        shutil.copytree(run, out)
        (out / name).write_bytes((out / name).read_bytes()[:cut])
        done = convert("quantize", "--run", out, "--out", tmp_path / "x.tflite", check=False)
        assert done.returncode == 66
        assert "damaged" in done.stderr or "cut short" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_place_that_can_not_be_written_is_told_before_the_work(run, data, tmp_path):
    (tmp_path / "file").write_text("")
    network = tmp_path / "file" / "x.tflite"
    evaluation = (
        "evaluate", "--coco", data / "val.json", "--images", data / "val", "--only", "classifier",
    )  # fmt: skip
    for arguments in (
        ("quantize", "--run", run, "--out", network),
        (*evaluation, "--json", tmp_path / "file" / "x.json"),
        (*evaluation, "--out", tmp_path / "file" / "x"),
        ("dequantise", "--out", tmp_path / "file" / "x.keras"),
        train_arguments(data, tmp_path / "file" / "x"),
    ):
        done = convert(*arguments, check=False)
        assert done.returncode == 69, done.stderr
        assert "can't write there" in done.stderr
        assert "picture/s" not in done.stderr
        assert "face/s" not in done.stderr
    done = convert("quantize", "--run", run, "--out", tmp_path / "x.bin", check=False)
    assert done.returncode == 64
    assert "must end in .tflite" in done.stderr


def test_a_network_too_far_from_float_fails_the_gate_and_writes_nothing(run, tmp_path):
    """Logits that differ by little around a large common value: 8 bits can't tell them apart."""
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    script = (
        "import keras, sys; m = keras.models.load_model(sys.argv[1], compile=False);"
        "h = m.get_layer('head'); w, b = h.get_weights();"
        "h.set_weights([w + 300, b]); m.save(sys.argv[1])"
    )
    file = str(broken / "best.keras")
    subprocess.run([sys.executable, "-c", script, file], check=True, timeout=300, env=ENVIRONMENT)
    out = tmp_path / "out" / "tiny.tflite"
    done = convert("quantize", "--run", broken, "--out", out, "--representative", 64, check=False)
    assert done.returncode not in (0, 1)
    assert "agrees on" in done.stderr or "loses" in done.stderr
    assert list(out.parent.iterdir()) == []
