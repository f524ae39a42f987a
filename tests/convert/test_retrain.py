"""Retraining for real: a small champion, a challenger that wins, one that is refused."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from convert_command import convert
from drawn_people import write_set

pytest.importorskip("tensorflow", reason="training and conversion need the extra 'convert'")

from convert.classifier.batches import Batches, Mixed, split
from convert.classifier.data import CropStore
from convert.classifier.own import faces_to_test, mixer, open_store
from convert.classifier.recipe import Recipe
from convert.quantize import GateError, write_card
from convert.retrain import command
from maskedge.config import ClassifierConfig, InferenceConfig
from maskedge.errors import InputError, UsageError
from maskedge.modelfile import ModelFile
from maskedge.vision.masks import open_classifier

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    # Keras on TensorFlow is not yet clean of numpy 2's deprecations.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
]


PLAIN = Recipe(held_out=0.0)


def swap_labels(file):
    """An annotator who calls noses out masked, and masked bare."""
    content = json.loads(file.read_text())
    for face in content["annotations"]:
        face["category_id"] = {1: 2, 2: 2, 3: 1}[face["category_id"]]
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, pictures) in enumerate({"train": 50, "val": 40, "test": 40}.items()):
        write_set(folder, name, pictures, seed=seed)
    return folder


@pytest.fixture(scope="module")
def champion(data, tmp_path_factory):
    """A small network, trained until it is sure of nearly all drawn faces."""
    folder = tmp_path_factory.mktemp("champion")
    convert(
        "train", "--task", "classifier", "--data", data, "--out", folder / "run", "--backbone",
        "cnn", "--size", 32, "--batch", 24, "--steps", 60, "--head-steps", 2, "--rate", 4e-3,
        "--epochs", 4, "--held-out", 0, "--threads", 1,
    )  # fmt: skip
    convert("quantize", "--run", folder / "run", "--out", folder / "mask_classifier.tflite")
    return folder / "mask_classifier.tflite"


def retrain(champion, data, out, *more, check=True):
    return convert(
        "retrain", "--model", champion, "--data", data, "--out", out, "--batch", 24,
        "--steps", 30, "--epochs", 2, "--rate", 1e-3, "--threads", 1, *more, check=check,
    )  # fmt: skip


@pytest.fixture(scope="module")
def accepted(champion, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("accepted") / "run"
    return retrain(champion, data, out), out


def test_a_network_that_is_as_good_is_written_with_its_descent(accepted, champion):
    done, out = accepted
    report = json.loads((out / "report.json").read_text())
    assert report["accepted"]
    assert report["faces"] == 120
    assert report["challenger"]["accuracy"] >= report["champion"]["accuracy"] - 0.0125
    assert report["float_copy"]["logits_apart"] < 0.25
    assert "worse in none" in done.stdout
    new = ModelFile.load(out / "mask_classifier.tflite")
    assert new.sha256 == report["challenger"]["sha256"] != report["champion"]["sha256"]
    old = ModelFile.load(champion)
    assert new.card["training"]["started_from"]["sha256"] == old.sha256
    assert new.card["training"]["started_from"]["training"] == old.card["training"]
    text = (out / "report.md").read_text()
    assert text.startswith("# Accepted")
    assert "| recall of incorrect_mask | 40 |" in text
    assert not list(out.glob("*challenger*"))


def test_what_the_gate_refuses_names_options_that_there_are(
    accepted, champion, data, tmp_path, monkeypatch
):
    out = shutil.copytree(accepted[1], tmp_path / "run")
    monkeypatch.setattr("convert.quantize.LEAST_AGREEMENT", 1.1)
    arguments = ("--model", champion, "--data", data, "--out", out, "--resume")
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert isinstance(done.exception, GateError)
    named = re.findall(r"--[a-z]+", str(done.exception))
    assert named
    assert set(named) <= {option for parameter in command.params for option in parameter.opts}
    assert not list(out.glob("*challenger*"))


def test_the_daemon_runs_what_was_written(accepted):
    path = accepted[1] / "mask_classifier.tflite"
    inference = InferenceConfig(accelerator="cpu", threads=1)
    classifier = open_classifier(ClassifierConfig(model=path), inference, path.parent)
    assert classifier.size == 32
    assert classifier.temperature == classifier.model.card["calibration"]["temperature"]
    classifier.close()


def test_a_network_that_learnt_wrong_labels_is_refused(champion, tmp_path):
    own = tmp_path / "own"
    write_set(own, "train", 50, seed=7)
    swap_labels(own / "train.json")
    write_set(own, "val", 40, seed=8)
    swap_labels(own / "val.json")
    write_set(own, "test", 40, seed=9)
    before = champion.read_bytes()
    more = ("--steps", 60, "--epochs", 3)  # enough to be as sure of it in int8
    done = retrain(champion, own, tmp_path / "run", *more, check=False)
    assert done.returncode == 69
    assert "mask_classifier.tflite stays" in done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert not report["accepted"]
    assert any("recall of incorrect_mask" in reason for reason in report["reasons"])
    assert (tmp_path / "run" / "report.md").read_text().startswith("# Refused")
    assert not list((tmp_path / "run").glob("*.tflite"))
    assert champion.read_bytes() == before


def test_without_a_test_of_every_label_it_does_not_start(tmp_path):
    own = tmp_path / "own"
    write_set(own, "train", 2, seed=1)
    with pytest.raises(InputError, match=r"neither test\.json nor val\.json"):
        open_store([own], [], tmp_path / "run", None, PLAIN)
    file = write_set(own, "test", 20, seed=3)
    content = json.loads(file.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] != 3]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"0 incorrect_mask.*--with"):
        open_store([own], [], tmp_path / "run", None, PLAIN)
    assert not (tmp_path / "run").exists()


def test_test_pictures_that_can_not_be_read_do_not_count(tmp_path, capsys):
    write_set(tmp_path / "own", "train", 2, seed=1)
    write_set(tmp_path / "own", "test", 20, seed=3)
    for path in sorted((tmp_path / "own" / "test").iterdir())[8:]:
        path.write_bytes(b"cut short")
    for _ in range(2):  # the crops of a refused start are not taken for a run
        with pytest.raises(InputError, match="hold 8 with_mask, 8 without_mask, 8 incorrect_mask"):
            open_store([tmp_path / "own"], [], tmp_path / "run", None, PLAIN)
        assert "12 pictures that can't be read" in capsys.readouterr().err
        assert not (tmp_path / "run" / "crops" / "records.npy").exists()


def test_pictures_added_before_the_first_epoch_ended_are_heard_and_later_refused(tmp_path):
    for name, number in (("train", 6), ("val", 4), ("test", 20)):
        write_set(tmp_path / "own", name, number, seed=number)
    places = [tmp_path / "own"], [], tmp_path / "run", None, PLAIN
    assert len(open_store(*places).records) == 90
    shutil.rmtree(tmp_path / "own" / "train")
    write_set(tmp_path / "own", "train", 8, seed=9)
    assert len(open_store(*places).records) == 96
    (tmp_path / "run" / "last").mkdir()
    (tmp_path / "run" / "last" / "state.json").touch()
    assert len(open_store(*places).records) == 96
    shutil.rmtree(tmp_path / "own" / "train")
    write_set(tmp_path / "own", "train", 10, seed=9)
    with pytest.raises(UsageError, match=r"other faces.*give the same --data, --with and --land"):
        open_store(*places)
    assert CropStore.load(tmp_path / "run" / "crops").records.shape == (96,)


def test_parts_do_not_share_what_looks_alike(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    write_set(own, "train", 8, seed=1)
    write_set(own, "test", 12, seed=2)
    write_set(other, "train", 8, seed=2)  # its pictures are the first eight of the test
    write_set(other, "val", 20, seed=5)
    store = open_store([own], [other], tmp_path / "run", None, PLAIN)
    training, validation = split(store, 0.0)
    test = faces_to_test(store)
    names = store.records["name"]
    assert len(training) == 24
    assert {str(n)[:5] for n in names[training]} == {"train"}
    assert store.records["own"][training].all()
    assert set(store.records["group"][test]).isdisjoint(store.records["group"][training])
    of_val = np.char.startswith(names, "val")
    assert 0 < (store.records["test"] & of_val).sum() < of_val.sum()
    assert set(validation) == set(np.flatnonzero(of_val & ~store.records["test"]))


def test_batches_hold_as_much_of_ones_own_as_asked(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    write_set(own, "train", 3, seed=1)
    write_set(own, "test", 12, seed=2)
    write_set(other, "train", 6, seed=4)
    write_set(other, "val", 3, seed=5)
    store = open_store([own], [other], tmp_path / "run", None, PLAIN)
    training = np.flatnonzero(~store.records["test"] & ~store.records["validation"])
    recipe = Recipe(size=32, batch=8)
    batches = mixer(0.25)(store, training, recipe, 4, 0)
    assert isinstance(batches, Mixed)
    assert len(batches) == 4
    crops, allowed = batches[0]
    assert crops.shape == (8, 32, 32, 3)
    assert allowed.shape == (8, 3)
    mine = training[store.records["own"][training]]
    only = Batches(store, mine, replace(recipe, batch=2), 4, 0)[0]
    np.testing.assert_array_equal(crops[:2], only[0])
    before = batches[1][0]
    batches.on_epoch_end()
    assert not np.array_equal(batches[1][0], before)


def grouped(file, name):
    """All pictures of a set are of one group."""
    content = json.loads(file.read_text())
    content["images"] = [{**image, "group": name} for image in content["images"]]
    file.write_text(json.dumps(content))


def test_where_nothing_of_ones_own_is_left_to_train_on_it_does_not_start(tmp_path):
    """One person in training and test: the set was divided by hand."""
    own, other = tmp_path / "own", tmp_path / "other"
    grouped(write_set(own, "train", 4, seed=1), "ann")
    grouped(write_set(own, "test", 12, seed=2), "ann")
    write_set(other, "train", 6, seed=4)
    write_set(other, "val", 3, seed=5)
    with pytest.raises(InputError, match="none of your own faces is left to train on: of 12 in"):
        open_store([own], [other], tmp_path / "run", None, PLAIN)
    assert not (tmp_path / "run" / "crops" / "records.npy").exists()


def test_groups_of_one_name_are_others_in_another_set_and_drawn_alike(tmp_path):
    sets = [tmp_path / "own", tmp_path / "other"]
    for seed, folder in enumerate(sets):
        grouped(write_set(folder, "train", 2, seed=seed), "ann")
        write_set(folder, "test", 12, seed=2 + seed)
        write_set(folder, "val", 2, seed=4 + seed)
    records = open_store([sets[0]], [sets[1]], tmp_path / "run", None, PLAIN).records
    named = records[records["name"] == "ann"]
    assert len(named) == 12
    assert len(np.unique(named["group"])) == 2


def test_faces_that_say_nothing_are_left_out_of_the_mixture(tmp_path):
    """Others are bare faces alone, and without --landmarks nothing says that they are faces."""
    own, other = tmp_path / "own", tmp_path / "other"
    write_set(own, "train", 3, seed=1)
    write_set(own, "test", 12, seed=2)
    file = write_set(other, "train", 6, seed=4)
    content = json.loads(file.read_text())
    content["categories"] = [{"id": i, "name": "face"} for i in (1, 2, 3)]
    file.write_text(json.dumps(content))
    write_set(other, "val", 3, seed=5)
    store = open_store([own], [other], tmp_path / "run", None, PLAIN)
    training, _ = split(store, 0.0)
    crops, _ = mixer(0.25)(store, training, Recipe(size=32, batch=8), 4, 0)[0]
    assert crops.shape == (8, 32, 32, 3)


def test_a_finished_folder_is_not_overwritten(accepted, champion, data):
    done = retrain(champion, data, accepted[1], check=False)
    assert done.returncode == 64
    assert "--resume" in done.stderr
    done = retrain(champion, data, accepted[1].parent / "none", "--resume", check=False)
    assert done.returncode == 64
    assert "no run to resume" in done.stderr


def test_a_killed_run_goes_on(data, accepted, tmp_path):
    """As if killed in its second epoch: the first is not trained again."""
    out = tmp_path / "run"
    shutil.copytree(accepted[1], out)
    for gone in ("mask_classifier.tflite", "mask_classifier.json", "report.json"):
        (out / gone).unlink()
    state = json.loads((out / "last" / "state.json").read_text())
    state["history"].pop()
    (out / "last" / "state.json").write_text(json.dumps(state))
    begun = (out / "recipe.json").read_bytes()
    done = convert("retrain", "--data", data, "--out", out, "--threads", 1, "--resume")
    assert (out / "recipe.json").read_bytes() == begun
    assert "Epoch 2/2" in done.stdout
    assert "Epoch 1/2" not in done.stdout
    history = json.loads((out / "history.json").read_text())
    assert [e["epoch"] for e in history] == [1, 2]
    assert history[0] == state["history"][0]
    assert (out / "mask_classifier.tflite").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--share", 0.25), "share 0.5, not 0.25"),
        (("--batch", 8), "batch 24, not 8"),
        (("--steps", 31), "steps 30, not 31"),
        (("--rate", 0.1), "rate 0.001, not 0.1"),
        (("--seed", 9), "seed 1, not 9"),
        (("--freeze", "pool"), "freeze none, not pool"),
    ],
)
def test_a_run_does_not_go_on_with_other_options(accepted, data, words, said):
    out = accepted[1]
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    arguments = ("--data", data, "--out", out, "--epochs", 3, "--resume", *words)
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert isinstance(done.exception, UsageError), done.output
    assert f"{out}: was begun with {said}; go on with that, or train anew" in str(done.exception)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_run_does_not_go_on_from_another_network(accepted, champion, data, tmp_path):
    out = accepted[1]
    other = tmp_path / "mask_classifier.tflite"
    other.write_bytes(champion.read_bytes() + bytes(16))
    card = json.loads(champion.with_suffix(".json").read_text())
    write_card(other, {k: v for k, v in card.items() if k not in {"schema", "sha256"}})
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    arguments = ("--data", data, "--out", out, "--resume", "--model", other)
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert isinstance(done.exception, UsageError), done.output
    fingerprints = [ModelFile.load(path).fingerprint for path in (champion, other)]
    assert re.search(
        r"begun with network in use \S+ \({}\), not \S+ \({}\); go on with".format(*fingerprints),
        str(done.exception),
    )
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_float_copy_is_scored_like_the_network_itself(champion, data, tmp_path):
    copy = tmp_path / "copy.keras"
    convert("dequantise", "--model", champion, "--out", copy)
    figures = []
    for file in (champion, copy):
        convert(
            "evaluate", "--coco", data / "test.json", "--images", data / "test", "--only",
            "classifier", "--classifier", file, "--json", tmp_path / "figures.json",
        )  # fmt: skip
        figures.append(json.loads((tmp_path / "figures.json").read_text())["classifier"])
    assert abs(figures[0]["accuracy"] - figures[1]["accuracy"]) <= 0.02
    assert abs(figures[0]["loss"] - figures[1]["loss"]) <= 0.05
    assert convert("dequantise", "--out", tmp_path / "x.h5", check=False).returncode == 64
