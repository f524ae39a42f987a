"""``maskedge models`` with real networks: the fit comes into force, the rest changes nothing."""

import json
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from conftest import CLASSIFIER, DETECTORS, GENERAL, REMARK, SMALL, WIDE, shipped
from test_examine import compiled

from maskedge import cli, paths
from maskedge.config import Config
from maskedge.modelfile import ModelFile, models_dir
from maskedge.models.change import changing
from maskedge.models.store import Choice, State, Store
from maskedge.vision.system import Vision


@pytest.fixture
def models(store, capsys):
    """``models("install", path)``: its exit code, what it printed, and its errors."""

    def run(*words):
        code = cli.run(["models", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    run.store = store
    return run


def fingerprints():
    """What a daemon that starts now would name in its events."""
    with closing(Vision.open(Config.model_validate({"inference": {"accelerator": "cpu"}}))) as now:
        return now.models


def of(path):
    return ModelFile.load(path).fingerprint


SHIPPED = (
    of(models_dir() / "face_detector_320x320.tflite"),
    of(models_dir() / "mask_classifier.tflite"),
)


def test_a_classifier_comes_into_force_and_goes_again(models, copy):
    assert fingerprints() == SHIPPED
    path = copy(content=shipped() + REMARK)
    code, out, err = models("install", path)
    assert (code, err) == (0, "")
    assert "installed\n  detector    shipped\n  classifier  classifier-" in out
    assert fingerprints() == (SHIPPED[0], of(path))
    assert models("rollback")[0] == 0
    assert fingerprints() == SHIPPED
    assert models("rollback")[0] == 0
    assert fingerprints() == (SHIPPED[0], of(path))
    assert models("rollback", "--shipped")[0] == 0
    assert fingerprints() == SHIPPED
    code, out, _ = models("rollback", "--shipped")
    assert (code, "in force already" in out) == (0, True)


def test_a_folder_of_detectors_is_one_unit(models, detectors, copy):
    folder = detectors()
    models("install", copy(content=shipped() + REMARK))
    code, out, _ = models("install", folder)
    assert code == 0
    assert out.count("ok    pictures") == len(DETECTORS)
    assert "ok    family" in out
    assert fingerprints() == tuple(
        of(path)
        for path in (folder / f"{GENERAL}.tflite", folder.parent / f"new/{CLASSIFIER}.tflite")
    )
    models("rollback")
    assert fingerprints()[0] == SHIPPED[0]
    assert fingerprints()[1] != SHIPPED[1]


def test_the_same_again_changes_nothing(models, copy):
    path = copy(content=shipped() + REMARK)
    models("install", path)
    before = models.store.pointer.read_bytes()
    code, out, _ = models("install", path)
    assert (code, "in force already, nothing done" in out) == (0, True)
    assert models.store.pointer.read_bytes() == before
    assert not list(models.store.folder.glob(".staging*"))


def test_only_two_generations_are_kept(models, copy):
    for number in range(1, 5):
        assert models("install", copy(content=shipped() + number * REMARK))[0] == 0
    assert len(list(models.store.sets.iterdir())) == 2


def test_whoever_runs_the_daemon_may_read_what_root_installed(models, copy):
    before = os.umask(0o077)
    try:
        models("install", copy(content=shipped() + REMARK))
    finally:
        os.umask(before)
    for path in [models.store.folder, models.store.pointer, *models.store.sets.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o644), path


# refused


def wrong_labels(copy):
    return copy(labels=["without_mask", "with_mask", "incorrect_mask"])


def wrong_size(copy):
    return copy(input={"size": 96, "order": "rgb"})


def truncated(copy):
    return copy(content=shipped()[:-5000])


def other_bytes(copy):
    return copy(content=shipped() + REMARK, sha256="0" * 64)


@pytest.mark.parametrize("spoil", [wrong_labels, wrong_size, truncated, other_bytes])
def test_what_fails_is_refused_and_nothing_changes(models, copy, spoil):
    good = copy(content=shipped() + REMARK, folder="good")
    models("install", good)
    before = sorted(models.store.folder.rglob("*"))
    code, out, err = models("install", spoil(copy))
    assert (code, err) == (66, "maskedge: refused; the networks in force stay\n")
    assert len(re.findall(r"^  fail  \w+", out, re.MULTILINE)) == 1
    assert sorted(models.store.folder.rglob("*")) == before
    assert fingerprints() == (SHIPPED[0], of(good))
    assert models("verify", spoil(copy))[0] == 66


def test_one_bad_file_refuses_all_that_were_given_with_it(models, detectors, copy):
    folder = detectors()
    bad = wrong_labels(copy)
    code, out, _ = models("install", folder, bad)
    assert (code, "ok    family" in out) == (66, False)
    assert models.store.state() == State()


def test_a_detector_without_the_size_that_is_configured(models, copy):
    path = copy(WIDE, shipped(WIDE) + REMARK)
    code, out, _ = models("install", path)
    assert (code, "detector.input: auto needs face_detector_320x320" in out) == (66, True)
    assert models("install", path, "--set", "detector.input=640")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["install"], 64, "Missing argument"),
        (["install", "nowhere.tflite"], 66, "nowhere.tflite: isn't there"),
        (["install", "{new}/mask_classifier.json"], 64, "give the network itself, mask_classifier"),
        (["install", "{empty}"], 66, "holds no .tflite file"),
        (["install", "{new}", "{more}"], 64, "are both a mask_classifier"),
        (["install", "{lone}/other_edgetpu.tflite"], 64, "neither given with it nor in force"),
        (["verify", "nowhere"], 66, "nowhere: isn't there"),
        (["verify", "n" * 300], 66, "n: can't be read: File name too long"),
        (["list", "--set", "nonsense=1"], 78, "unknown key"),
        (["rollback"], 69, "nothing was ever installed"),
        (["rolback"], 64, "No such command 'rolback'"),
    ],
)
def test_mistakes_are_one_clear_error(models, copy, tmp_path, words, code, says):
    copy()
    copy(folder="more")
    (tmp_path / "empty").mkdir()
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone/other_edgetpu.tflite").write_bytes(shipped())
    places = {name: tmp_path / name for name in ("new", "more", "empty", "lone")}
    found, _, err = models(*(word.format(**places) for word in words))
    assert found == code
    assert says in err
    assert "Traceback" not in err
    assert models.store.state() == State()


def test_a_configuration_that_names_its_own_network_is_told_of(models, copy, tmp_path):
    own = copy(folder="own")
    (tmp_path / "config.yaml").write_text(f"classifier: {{model: {own}}}\n")
    _, out, _ = models("install", copy(content=shipped() + REMARK))
    assert f"classifier  {own}: the configuration names it (classifier.model)" in out


# the disk, and others at it


def test_two_at_once_take_turns(models, copy):
    path = copy(content=shipped() + REMARK)
    with changing(models.store):
        code, _, err = models("install", path)
        assert (code, "another command is changing it" in err) == (69, True)
    assert models("install", path)[0] == 0


def test_a_disk_that_is_full(models, copy):
    good = copy(content=shipped() + REMARK, folder="good")
    models("install", good)
    path = copy(content=shipped() + 2 * REMARK)

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = subprocess.run(
        [sys.executable, "-m", "maskedge", "models", "install", path],
        capture_output=True, text=True, check=False, timeout=60, preexec_fn=no_room,
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert re.fullmatch(r"maskedge: .*: can't be changed \(File too large\); .*\n", done.stderr)
    assert fingerprints() == (SHIPPED[0], of(good))
    assert models("install", path)[0] == 0


def test_a_folder_that_cannot_be_written(models, copy, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASKEDGE_MODELS", str(tmp_path / "file/models"))
    code, _, err = models("install", copy())
    assert (code, "can't be changed (Not a directory)" in err) == (69, True)
    assert models("list")[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights")
def test_somebody_without_rights_is_told_to_use_sudo(models, copy, monkeypatch):
    monkeypatch.delenv("MASKEDGE_CONFIG")  # it lies where only root may look
    path = copy(content=shipped() + REMARK)
    models("verify", path)  # everything is imported that others might not read
    models.store.folder.mkdir()
    os.seteuid(65534)
    try:
        code, _, err = models("install", path)
    finally:
        os.seteuid(0)
    assert (code, "(Permission denied); use sudo: sudo maskedge models" in err) == (69, True)


# damaged stores


def pointer(detector):
    current = {"detector": detector, "classifier": None}
    nothing = {"detector": None, "classifier": None}
    return json.dumps({"schema": "maskedge.models/1", "current": current, "previous": nothing})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": "maskedge.models/2"}',
        '{"schema": "maskedge.models/1", "current": {"detector": null}}',
        pointer("../../etc"),
        pointer("classifier-0123456789ab"),
    ],
)
def test_a_damaged_pointer_is_told_and_mended(models, copy, text):
    models("install", copy(content=shipped() + REMARK))
    models.store.pointer.write_text(text)
    for words in (["list"], ["verify"], ["rollback"]):
        code, _, err = models(*words)
        assert code == 66
        assert "in-force.json: damaged" in err
        assert "maskedge models rollback --shipped" in err
    assert models("rollback", "--shipped")[0] == 0
    assert fingerprints() == SHIPPED


def test_a_damaged_pointer_is_mended_by_an_installation(models, copy):
    models.store.folder.mkdir()
    models.store.pointer.write_text("{")
    path = copy(content=shipped() + REMARK)
    assert models("install", path)[0] == 0
    assert fingerprints() == (SHIPPED[0], of(path))


def test_a_damaged_pointer_costs_no_network_of_the_other_role(models, copy, detectors):
    models("install", detectors())
    (kept,) = models.store.sets.iterdir()
    models.store.pointer.write_text("{")
    path = copy(content=shipped() + REMARK)
    code, _, err = models("install", path)
    assert (code, kept.is_dir()) == (66, True)
    assert "in-force.json: damaged" in err
    assert f"or install with it what was in force, of {kept}" in err
    assert models("install", kept, path)[0] == 0
    assert models.store.state().current.detector == kept.name
    assert fingerprints()[1] == of(path)


def test_a_damaged_pointer_and_a_compiled_form_alone(models, copy, detectors, tmp_path):
    models("install", detectors())
    (kept,) = models.store.sets.iterdir()
    models.store.pointer.write_text("{")
    built = compiled(GENERAL, copy(GENERAL, folder="build"))
    code, _, err = models("install", shutil.move(built, tmp_path))
    assert (code, "what was in force" in err, kept.is_dir()) == (66, True, True)


def test_a_damaged_set_is_not_gone_back_to_but_installed_anew(models, copy):
    first, second = (copy(content=shipped() + n * REMARK, folder=f"new-{n}") for n in (1, 2))
    models("install", first)
    damaged = models.store.folders().classifier / "mask_classifier.tflite"
    models("install", second)
    damaged.write_bytes(b"")
    code, _, err = models("rollback")
    assert (code, "not a TFLite file (0 bytes)" in err) == (66, True)
    assert fingerprints()[1] == of(second)
    assert models("install", first)[0] == 0
    assert fingerprints()[1] == of(first)


def test_a_set_that_is_gone(models, copy):
    models("install", copy(content=shipped() + REMARK))
    shutil.rmtree(models.store.sets)
    code, _, err = models("verify")
    assert (code, "aren't there; install them again" in err) == (66, True)
    assert models("rollback")[0] == 0
    assert fingerprints() == SHIPPED


# the Edge TPU's


def test_a_compiled_form_comes_along(models, copy):
    path = copy(content=shipped() + REMARK)
    compiled(CLASSIFIER, path)
    code, out, _ = models("install", path)
    assert (code, "mask_classifier_edgetpu.tflite has the same tensors" in out) == (0, True)
    folder = models.store.folders().classifier
    assert (folder / "mask_classifier_edgetpu.tflite").exists()


def test_a_compiled_form_alone_is_added_to_its_network(models, copy, tmp_path):
    built = compiled(GENERAL, copy(GENERAL, folder="build"))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.move(built, alone)
    assert models("install", alone)[0] == 0
    folder = models.store.folders().detector
    assert {path.name for path in folder.glob("*.tflite")} == {
        *(f"{name}.tflite" for name in DETECTORS),
        f"{GENERAL}_edgetpu.tflite",
    }
    assert fingerprints() == SHIPPED


def test_a_compiled_form_of_another_network_is_refused(models, copy, tmp_path):
    built = compiled(SMALL, copy(GENERAL, folder="build"))
    code, out, _ = models("install", shutil.move(built, tmp_path))
    assert (code, "is another network's" in out) == (66, True)


# what is shown


def test_the_list_for_people(models, copy):
    models("install", copy(content=shipped() + REMARK))
    code, out, _ = models("list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:-2]] == [["in", "force"]] * len(DETECTORS)
    in_force, before = lines[-2:]
    assert re.match(
        r"in force  mask_classifier.tflite +[0-9a-f]{12}  112x112 uint8  [\d-]+  installed \d{4}-",
        in_force,
    )
    assert re.match(rf"before +mask_classifier.tflite +{SHIPPED[1]}", before)
    assert re.search(r"recall 0\.\d{3}/0\.\d{3}/0\.\d{3} of \d+ faces", in_force)


def test_the_list_for_scripts(models, copy):
    path = copy(content=shipped() + REMARK)
    models("install", path)
    said = json.loads(models("list", "--json")[1])
    assert said["folder"] == str(models.store.folder)
    (row,) = [row for row in said["networks"] if row["set"]]
    assert row["sha256"] == ModelFile.load(path).sha256
    assert row["inputs"] == [{"shape": [1, 112, 112, 3], "dtype": "uint8"}]
    assert row["outputs"] == [{"shape": [1, 3], "dtype": "uint8"}]
    assert (row["state"], row["origin"], row["installed_from"]) == (
        "in force", "installed", [str(path)]
    )  # fmt: skip


def test_results_for_scripts(models, copy):
    path = copy(content=shipped() + REMARK)
    code, out, _ = models("install", "--json", path)
    said = json.loads(out)
    assert (code, said["fit"], said["installed"]) == (0, True, True)
    assert said["current"]["classifier"].startswith("classifier-")
    assert {finding["status"] for finding in said["findings"]} == {"ok"}
    code, out, _ = models("install", "--json", truncated(copy))
    said = json.loads(out)
    assert (code, said["fit"], said["installed"]) == (66, False, False)
    code, out, _ = models("verify", "--json")
    assert (code, json.loads(out)["fit"]) == (0, True)
    said = json.loads(models("rollback", "--json")[1])
    assert said["changed"]
    assert said["current"] == {"detector": None, "classifier": None}


def test_a_network_that_cannot_be_read_is_told_in_the_list(models, copy):
    models("install", copy(content=shipped() + REMARK))
    (models.store.folders().classifier / "mask_classifier.json").write_text("{")
    code, out, _ = models("list")
    assert (code, "can't read the network's description" in out) == (66, True)


def test_where_networks_lie(tmp_path):
    state = {"STATE_DIRECTORY": str(tmp_path / "state")}
    assert paths.models_store(state, tmp_path) == tmp_path / "state/models"
    (tmp_path / "etc/maskedge").mkdir(parents=True)
    assert paths.models_store(state, tmp_path) == tmp_path / "etc/maskedge/models"
    given = {**state, "MASKEDGE_MODELS": "/srv/networks"}
    assert str(paths.models_store(given, tmp_path)) == "/srv/networks"


def test_a_choice_names_a_set_of_its_role():
    good = {"detector": "detector-0123456789ab-2", "classifier": None}
    assert Choice.parse(good) == Choice("detector-0123456789ab-2", None)
    for name in ("classifier-0123456789ab", "detector-../../../x", "detector-0123456789AB", 3):
        with pytest.raises(ValueError, match="no set for a detector"):
            Choice.parse({"detector": name, "classifier": None})


def test_a_store_that_is_not_there_is_the_shipped_one(tmp_path):
    store = Store(tmp_path / "nowhere")
    assert store.state() == State()
    assert list(store.fallbacks()) == [store.folders()]
    assert not store.folder.exists()


def test_a_machine_too_slow_for_the_examination_is_given_time(models, copy):
    path = copy()
    code, out, _ = models("verify", "--timeout", "0.001", path)
    assert code == 66
    assert "doesn't finish one run within 0.001 s" in out
    assert "--timeout SECONDS" in out
    code, out, _ = models("install", "--timeout", "0.001", path)
    assert code == 66
    assert fingerprints() == SHIPPED
    code, out, _ = models("verify", "--timeout", "300", path)
    assert (code, "fail" in out) == (0, False)
