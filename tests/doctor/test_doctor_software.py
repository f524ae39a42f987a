"""Python, packages, interpreter, networks."""

from __future__ import annotations

import shutil
from importlib import metadata

import pytest
from findings import bad, fine, looked, told, write

from maskedge import modelfile
from maskedge.doctor import runner, software
from maskedge.errors import AcceleratorError
from maskedge.inference import runtime
from maskedge.models.change import changing
from maskedge.models.store import Store


def test_python(place, monkeypatch):
    assert "64 bits" in fine(looked(software.Python(), place()))
    monkeypatch.setattr(software.platform, "machine", lambda: "armv7l")
    one = bad(looked(software.Python(), place()))
    assert (one.status, one.cure) == ("fail", "install the 64-bit Raspberry Pi OS")
    monkeypatch.setattr(software.sys, "version_info", (3, 9, 2))
    assert "3.11 or newer" in bad(looked(software.Python(), place())).cure


def distribution(folder, name, version, code=None):
    write(folder / f"{name.replace('-', '_')}-{version}.dist-info/METADATA",
          f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")  # fmt: skip
    if code is not None:
        write(folder / f"{name}.py", code)


@pytest.fixture
def requires(monkeypatch):
    def build(*requirements):
        monkeypatch.setattr(metadata, "requires", lambda _: [*requirements, 'x; extra == "dev"'])

    return build


def test_the_packages_of_this_environment_are_in_order(place):
    findings = list(runner.examine([software.Packages()], place()))
    told(findings)
    assert "numpy" in findings[0].message
    assert findings[0].status == "ok"


def test_a_missing_package(place, requires):
    requires("maskedge-nosuch>=1.2")
    one = bad(looked(software.Packages(), place()))
    assert (one.status, one.cure) == ("fail", "pip install 'maskedge-nosuch>=1.2'")


def test_a_package_that_is_too_old(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "oldone", "1.9.1", "")
    monkeypatch.syspath_prepend(tmp_path)
    requires("oldone>=1.10")
    one = bad(looked(software.Packages(), place()))
    assert one.message == "oldone 1.9.1 is too old, 1.10 is needed"


def test_a_package_that_cannot_be_imported(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "brokenone", "1.0", "raise ImportError('libGL.so.1: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    requires("brokenone>=1")
    one = bad(looked(software.Packages(), place()))
    assert "libGL.so.1" in one.message
    assert one.status == "fail"


def test_two_opencvs(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "opencv-python", "4.11.0")
    distribution(tmp_path, "opencv-python-headless", "4.11.0")
    monkeypatch.syspath_prepend(tmp_path)
    requires("click>=8")
    one = bad(looked(software.Packages(), place()))
    assert (one.status, one.cure.split()[:2]) == ("warn", ["pip", "uninstall"])


def test_not_installed_at_all(place, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert bad(looked(software.Packages(), place())).message == "maskedge isn't installed"


@pytest.mark.parametrize(
    ("name", "numpy", "opencv", "status"),
    [
        ("litert", "2.3.0", "5.0", "ok"),
        ("tflite_runtime", "1.26.4", "4.11.0.86", "ok"),
        ("tflite_runtime", "2.1.0", "4.11.0.86", "fail"),
        ("tflite_runtime", "1.26.4", "4.12.0", "fail"),
    ],
)
def test_interpreter_and_numpy_must_fit(place, monkeypatch, name, numpy, opencv, status):
    versions = {"numpy": numpy, "opencv-python-headless": opencv}
    monkeypatch.setattr(software, "installed", versions.get)
    monkeypatch.setattr(runtime, "find_runtime", lambda: runtime.Runtime(name, None))
    (one,) = looked(software.Interpreter(), place())
    assert one.status == status
    assert status == "ok" or "numpy<2" in one.cure


def test_no_interpreter(place, monkeypatch):
    def none():
        raise AcceleratorError("no TFLite interpreter is installed; install one: pip …")

    monkeypatch.setattr(runtime, "find_runtime", none)
    assert bad(looked(software.Interpreter(), place())).cure == "install one: pip …"


def test_the_wrong_pycoral(place, tmp_path, monkeypatch):
    assert fine(looked(software.Pycoral(), place())) == "not installed, and not needed"
    write(tmp_path / "pycoral/__init__.py", "raise SystemExit('never to be run')")
    monkeypatch.syspath_prepend(tmp_path)
    one = bad(looked(software.Pycoral(), place()))
    assert (one.status, one.cure.partition(";")[0]) == ("warn", "pip uninstall pycoral")
    write(tmp_path / "pycoral/utils/edgetpu.py", "")
    assert fine(looked(software.Pycoral(), place())) == "Google's"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.14.0", (2, 14, 0)), ("5.0.0.93", (5, 0, 0, 93)), ("2rc1", (2,)), ("?", ())],
)
def test_versions(text, numbers):
    assert software.version(text) == numbers


def test_the_shipped_networks_run(place):
    said = fine(runner.examine([software.Networks()], place()))
    assert "have the SHA-256 that they should" in said
    assert "classifier: mask_classifier.tflite" in said


def test_a_damaged_network(place, models):
    path = models / "mask_classifier.tflite"
    path.write_bytes(path.read_bytes() + b"\0")
    one = bad(looked(software.Networks(), place()))
    assert (one.status, one.cure) == ("fail", "install both again")
    assert "SHA-256" in one.message


def test_a_missing_network(place):
    one = bad(looked(software.Networks(), place(classifier={"model": "/nowhere/net.tflite"})))
    assert one.status == "fail"
    assert "/nowhere/net.tflite" in one.message


def test_an_own_network_without_its_card(place, tmp_path):
    own = tmp_path / "own.tflite"
    shutil.copy(modelfile.models_dir() / "mask_classifier.tflite", own)
    findings = list(software.Networks().run(place(classifier={"model": str(own)})))
    one = next(finding for finding in findings if finding.status != "ok")
    assert str(own) in one.message


@pytest.fixture
def installed(place, tmp_path):
    """Where a classifier of one's own is in force, and its store."""
    store = Store(tmp_path / "store")
    shipped = modelfile.models_dir() / "mask_classifier.tflite"
    files = {path.name: path.read_bytes() for path in (shipped, shipped.with_suffix(".json"))}
    with changing(store) as change:
        origin = {"installed_at": "2026-11-20T08:00:00+00:00"}
        change.commit({"classifier": change.stage("classifier", files)}, origin)
    return place({"MASKEDGE_MODELS": str(store.folder)}), store


def test_installed_networks_are_told_of(installed):
    where, store = installed
    said = [f.message for f in software.Networks().run(where) if f.status == "ok"]
    (folder,) = store.sets.iterdir()
    assert f"classifier: installed 2026-11-20 ({folder})" in said


def test_installed_networks_that_are_gone_or_damaged(installed):
    where, store = installed
    shutil.rmtree(store.sets)
    one = bad(list(software.Networks().run(where)))
    assert "the networks in force aren't there" in one.message
    assert one.help.endswith("#models_refused")
    store.pointer.write_text("{")
    assert "rollback --shipped" in bad(list(software.Networks().run(where))).cure
