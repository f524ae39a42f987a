import json
import resource
import shutil
import subprocess
import sys
import textwrap
from importlib import import_module

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from maskedge.modelfile import models_dir


def convert(*arguments):
    command = [sys.executable, "-m", "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_step_and_loads_no_framework():
    script = textwrap.dedent("""
        import sys, click
        from click.testing import CliRunner
        from convert.__main__ import main
        result = CliRunner().invoke(main, ["--help"])
        assert result.exit_code == 0, result.output
        for step in ("dataset", "train", "evaluate", "quantize", "compile", "report"):
            assert step in result.output
        assert not {"tensorflow", "keras", "cv2", "matplotlib"} & set(sys.modules)
    """)
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("step", ["train", "evaluate", "quantize"])
def test_each_step_explains_itself(step):
    done = convert(step, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: python -m convert" in done.stdout


def test_an_unknown_step_or_task_is_a_usage_error():
    assert convert("trian").returncode == 64
    done = convert("train", "--task", "segmenter")
    assert done.returncode == 64
    assert "classifier" in done.stderr
    assert convert("train").returncode == 64


@pytest.mark.parametrize(
    "module",
    ["convert.dataset", "convert.classifier.train", "convert.detector.train", "convert.retrain"],
)
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_is_a_usage_error(module, seed):
    done = CliRunner().invoke(import_module(module).command, ["--seed", str(seed)])
    assert done.exit_code == 2
    assert f"Invalid value for '--seed': {seed}" in done.output


def test_a_missing_file_is_one_line(tmp_path):
    done = convert("evaluate", "--coco", tmp_path / "no.json", "--images", tmp_path)
    assert done.returncode == 64
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_coco_is_one_line(tmp_path):
    (tmp_path / "no.json").write_text("{}")
    done = convert("evaluate", "--coco", tmp_path / "no.json", "--images", tmp_path)
    assert done.returncode == 66
    assert "no.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["below a file", "in proc"])
def test_a_place_that_can_not_be_written_is_one_line(tmp_path, how):
    picture = tmp_path / "set" / "with_mask" / "a.png"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out" if how == "below a file" else "/proc/nowhere"
    done = convert("dataset", tmp_path / "set", "--out", out)
    assert done.returncode == 69
    assert f"{out}: can't write there" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_system_refuses_is_one_line(tmp_path):
    for suffix in (".tflite", ".json"):
        shutil.copy((models_dir() / "mask_classifier.tflite").with_suffix(suffix), tmp_path)
    (tmp_path / "figures.json").write_text('{"models": {}}')
    named = f"no/such={tmp_path / 'figures.json'}"
    done = convert("report", "--models", tmp_path, "--figures", named)
    assert done.returncode == 69
    assert "no: No such file or directory: give a place" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("step", ["report", "golden"])
def test_a_disk_that_is_full_leaves_the_description_that_was_there(tmp_path, step):
    for suffix in (".tflite", ".json"):
        shutil.copy((models_dir() / "mask_classifier.tflite").with_suffix(suffix), tmp_path)
    described = (tmp_path / "mask_classifier.json").read_bytes()
    known = json.loads(described)
    measured = {"models": {"classifier": {"file": "mask_classifier.tflite"}}, "classifier": {}}
    measured["models"]["classifier"]["sha256"] = known["sha256"]
    (tmp_path / "figures.json").write_text(json.dumps(measured))
    command = [step, tmp_path / "mask_classifier.tflite"]
    if step == "report":
        command = [step, "--models", tmp_path, "--figures", f"new={tmp_path / 'figures.json'}"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # what follows inherits it
    try:
        done = convert(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 69, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "mask_classifier.json").read_bytes() == described
    assert not list(tmp_path.glob("partial.*"))


def test_stopped_by_hand_it_ends_though_a_thread_of_a_framework_does_not():
    script = textwrap.dedent("""
        import threading
        import convert.__main__ as command
        def training(**_):
            print("epoch 1")
            threading.Thread(target=threading.Event().wait).start()
            raise KeyboardInterrupt
        command.main = training
        command.run()
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "epoch 1\n", "stopped\n")
