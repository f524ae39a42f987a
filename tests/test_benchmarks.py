"""The benchmarks' command lines: help is told at once, a mistake in one line. None is measured."""

import runpy
import sys
from pathlib import Path

import pytest

from maskedge.errors import EX_NOINPUT, EX_USAGE

pytest.importorskip("tensorflow", reason="some of them evaluate networks")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(p.stem for p in BENCHMARKS.glob("*.py") if "__main__" in p.read_text())
TINY = "tests/data/tiny_int8.tflite"


@pytest.fixture
def started(monkeypatch, capsys):
    """``started("fleet", "--devices", 0)``: exit code, standard output, standard error."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(name, started):
    code, out, _ = started(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: {name}.py")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("classifier_sizes none.tflite", EX_NOINPUT, "none.tflite: no such file"),
        (f"classifier_sizes {TINY}", EX_NOINPUT, "a mask classifier takes one square RGB picture"),
        ("concealment . --coco none.json", EX_NOINPUT, "none.json: no such file"),
        ("daemon --sizes 3", EX_USAGE, "unrecognized arguments: --sizes 3"),
        ("decision_curves --visits 0", EX_USAGE, "--visits: 0 is less than 1"),
        ("decision_curves --fps 0", EX_USAGE, "--fps: 0 is no number above 0"),
        ("detector_input . --coco pyproject.toml", EX_NOINPUT, "pyproject.toml: not JSON"),
        ("detector_on_video a.mp4 --yunet none.onnx", EX_NOINPUT, "none.onnx: no such file"),
        (f"detector_on_video a.mp4 --yunet {TINY}", EX_NOINPUT, "can't read it as YuNet"),
        (f"detector_vs_yunet docs --yunet {TINY}", EX_NOINPUT, "can't read it as YuNet"),
        (f"detector_vs_yunet docs --yunet {TINY} --iou 0", EX_USAGE, "--iou: 0 is no overlap"),
        ("drift none --cache none", EX_NOINPUT, "none: no such file"),
        ("fleet --devices 3 --processes 4", EX_USAGE, "--devices 3 is less than --processes"),
        ("fleet --devices 1000000000000", EX_USAGE, "open files a process, "),
        ("fleet --rate nan", EX_USAGE, "--rate: nan is no number above 0"),
        ("free_stages --seconds 0", EX_USAGE, "--seconds: 0 is no number above 0"),
        ("outbox --batch 0", EX_USAGE, "--batch: 0 is less than 1"),
        ("outbox --folder none", EX_NOINPUT, "none: no such file"),
        ("peers --ssd none.pb --yunet none.onnx", EX_NOINPUT, "none.pb: no such file"),
        ("review_set --coco pyproject.toml", EX_USAGE, "--coco needs --pictures"),
        ("smallest_face --input 100", EX_USAGE, "invalid choice: 100"),
        ("soak --every 0", EX_USAGE, "--every: 0 is less than 1"),
        ("status_page --rounds 0", EX_USAGE, "--rounds: 0 is less than 1"),
        ("video_codecs now", EX_USAGE, "unrecognized arguments: now"),
        ("vision_stages --seconds -1", EX_USAGE, "--seconds: -1 is no number above 0"),
    ],
)
def test_a_mistake_is_one_line(line, code, message, started, monkeypatch):
    monkeypatch.chdir(BENCHMARKS.parent)
    ended, _, said = started(*line.split())
    assert ended == code
    assert message in said
    assert said.count("\n") == 1
