"""The benchmark runs, counts what it says it counts, and its crowds hold the faces they claim."""

import json
import subprocess
import sys

import pytest

from maskedge import bench
from maskedge.modelfile import models_dir


def test_quick_report():
    done = subprocess.run(
        [sys.executable, "-m", "maskedge", "bench", "--quick", "--json"],
        capture_output=True, text=True, timeout=170, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    shipped = {path.stem for path in models_dir().glob("*.tflite")}
    assert {row["network"] for row in report["networks"]} == shipped
    assert [row["faces"] for row in report["pipeline"]] == [0, 1, 4]
    for row in report["pipeline"]:
        assert row["found"] == row["classified"] == row["faces"]
        assert row["frame_ms"] > 0
        assert {"detect", "classify", "track"} <= set(row["stages_ms"])
    assert report["rss_mib"] > 10
    assert report["start_up"]["ratio"] > 1


@pytest.mark.parametrize("size", bench.SIZES)
@pytest.mark.parametrize("faces", bench.FACES)
def test_crowds_fit_into_the_picture(size, faces):
    width, height = size
    picture = bench.crowd(width, height, faces)
    assert picture.shape == (height, width, 3)
    assert (picture != bench.hall(width, height)).any() == (faces > 0)


def test_measure_repeats_and_orders_its_percentiles():
    calls = []
    timing = bench.measure(lambda: calls.append(None), 0.0)
    assert len(calls) == timing.runs + bench.WARM_UP
    assert timing.p50 <= timing.p95
