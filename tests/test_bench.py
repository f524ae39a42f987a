"""The benchmark runs, counts what it says it counts, and its crowds hold the faces they claim."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from maskedge.bench import machine
from maskedge.bench.clock import LEAST_RUNS, WARM_UP, measure
from maskedge.bench.pictures import FACES, SIZES, crowd
from maskedge.bench.whole import Bench, slope
from maskedge.commands.bench import STAGES
from maskedge.inference.fake_tpu import FakeTpu, Fault
from maskedge.modelfile import models_dir
from maskedge.scene import hall

CPU = {"accelerator": "cpu", "device": None, "threads": 1}


def bench_command(*options):
    return subprocess.run(
        [sys.executable, "-m", "maskedge", "bench", "--quick", *options],
        capture_output=True, text=True, timeout=170, check=True,
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return json.loads(bench_command("--json"))


def test_quick_report(report):
    shipped = {path.stem for path in models_dir().glob("*.tflite")}
    assert {row["network"] for row in report["networks"]} == shipped
    several = {(row["network"], row["pictures"]) for row in report["networks"]}
    assert several == {(name, 1) for name in shipped} | {("mask_classifier", 4)}
    assert [row["faces"] for row in report["pipeline"]] == [0, 1, 4]
    for row in report["pipeline"]:
        assert row["found"] == row["classified"] == row["faces"]
        assert row["input"] == "320x256"
        assert row["frame_ms"] > 0
        assert {"detect", "classify", "track"} <= set(row["stages_ms"])


def test_every_stage_is_measured(report):
    (row,) = report["stages"]
    assert row["faces"] == 4
    assert all(row[stage] > 0 for stage in STAGES)


def test_a_start_costs_more_than_an_empty_python_and_fits_a_small_memory(report):
    start = report["start_up"]
    assert start["help_ratio"] > 1
    assert start["open_cpu_ms"] > 0
    assert 30 < start["rss_mib"] <= 150


def test_the_table_says_what_was_asked_for(tmp_path):
    tpu = FakeTpu(tmp_path / "tpu.json")
    tpu.fail(Fault.NO_DEVICE)
    coral = ("--accelerator", "edgetpu", "--device", tpu.device)
    table = bench_command("--threads", "2", "--input", "480", *coral)
    assert "note: on the CPU, not the Edge TPU: " in table
    for text in (*STAGES.values(), "480x384", "ratio", "classifier, 4 at once", "MiB resident"):
        assert text in table


def test_a_coral_is_measured_beside_the_cpu(tmp_path):
    for stem in ("face_detector_320x320", "mask_classifier"):
        for name in (f"{stem}.tflite", f"{stem}.json"):
            shutil.copy(models_dir() / name, tmp_path)
        shutil.copy(models_dir() / f"{stem}.tflite", tmp_path / f"{stem}_edgetpu.tflite")
    device = FakeTpu(tmp_path / "tpu.json").device
    coral = {"accelerator": "edgetpu", "device": device, "threads": 1}
    bench = Bench(coral, folder=tmp_path)
    row = bench.crowd((640, 480), 1, 0.0)
    raw = {(row["network"], row["backend"]) for row in bench.networks(0.0, [1])}
    bench.close()
    assert (row["backend"], row["classified"]) == ("edgetpu", 1)
    assert {("mask_classifier", "edgetpu"), ("mask_classifier", "litert")} <= raw


def test_the_budget_bounds_what_a_crowd_costs():
    bench = Bench(CPU)
    row = bench.crowd((640, 480), 16, 0.0, budget=4)
    bench.close()
    assert (row["found"], row["classified"]) == (16, 4)


@pytest.mark.parametrize(
    ("size", "side"), list(zip(SIZES, ("320x256", "480x288", "640x384"), strict=True))
)
def test_each_size_of_frame_has_the_input_that_the_daemon_would_take(size, side):
    bench = Bench(CPU)
    row = bench.crowd(size, 1, 0.0)
    bench.close()
    assert (row["input"], row["found"]) == (side, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("faces", FACES)
def test_crowds_fit_into_the_picture(size, faces):
    width, height = size
    picture = crowd(width, height, faces)
    assert picture.shape == (height, width, 3)
    assert (picture != hall(width, height)).any() == (faces > 0)


def test_works_are_repeated_in_turn():
    calls = []
    one, two = measure(0.0, lambda: calls.append(1), lambda: calls.append(2))
    assert calls == [1, 2] * (WARM_UP + LEAST_RUNS)
    assert len(one.wall) == len(two.cpu) == LEAST_RUNS
    assert one.p50 <= one.p95


def test_waiting_is_wall_time_and_working_is_cpu_time():
    def work():
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    waited, worked = measure(0.0, lambda: time.sleep(0.02), work)
    assert waited.p50 >= 20
    assert waited.cpu_p50 < 10
    assert worked.cpu_p50 >= 20


def test_the_slope_is_the_ratio_of_both_lines():
    rows = [
        {"classified": n, "frame_cpu_ms": 5 + 2.2 * n, "networks_cpu_ms": 4 + 2.0 * n}
        for n in (0, 4, 16)
    ]
    assert slope(rows) == pytest.approx(1.1)
    assert slope(rows[:2]) is None


def test_a_busy_or_throttled_machine_is_said_to_be_so():
    calm = {"load": 0.0, "throttled": None}
    assert machine.warnings(calm, calm) == []
    busy, hot = {**calm, "load": 99.0}, {**calm, "throttled": "the Pi reports throttled"}
    (said,) = machine.warnings(busy, calm)
    assert "ratios" in said
    assert machine.warnings(calm, hot) == ["after: the Pi reports throttled"]
