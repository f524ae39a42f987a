"""`maskedge detect` as typed: what goes where, who was told, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading

import cv2
import pytest
from recording import record

from maskedge import cli
from maskedge.errors import EX_OK
from maskedge.scene import VISITS, Wearing, hall, wear


def start(*args, **options):
    """In pipes of one page: what isn't read keeps it from running ahead."""
    command = [sys.executable, "-m", "maskedge", "detect", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": 4096}
    return subprocess.Popen(command, **{**pipes, "text": True, **options})


def detect(*args, given=None, code=0, **options):
    process = start(*args, stdin=subprocess.PIPE if given else None, text=False, **options)
    out, err = (stream.decode() for stream in process.communicate(given, timeout=120))
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare") / "bare.png"
    cv2.imwrite(str(path), wear(Wearing.BARE)[..., ::-1])
    return path


def test_whether_a_file_can_be_read_is_told_by_reading_it(bare, monkeypatch, capsys):
    """Not by a refused command line, with which nothing at all is judged."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert cli.run(["detect", "--quiet", str(bare)]) == EX_OK
    assert "without_mask" in capsys.readouterr().out


def test_a_video_for_people(walk):
    out, err = detect(walk)
    head, told, *sums = out.splitlines()
    assert head == f"{walk}: 61 frames, 0:06.0, 1 person; told:"
    assert re.fullmatch(
        r"  person 1  without_mask (9\d|100)%  from 0:0[23]\.\d to 0:04\.\d "
        r"\(the video ended\)",
        told,
    )
    assert sums[0] == "1 video"
    assert re.fullmatch(r"  without_mask: +\d+ faces, 1 person, 1 told", sums[2])
    assert err == ""


def test_a_video_in_json(walk):
    out, err = detect("--json", walk)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(61))
    for number, line in enumerate(lines):
        assert set(line) == {"path", "frame", "width", "height", "faces", "time", "decisions"}
        assert line["time"] == pytest.approx(number / 10)
        for face in line["faces"]:
            assert set(face) == {"box", "score", "label", "scores", "person"}
            assert face["person"] in {None, 1}
    started, ended = (one for line in lines for one in line["decisions"])
    assert (started["type"], ended["type"]) == ("started", "ended")
    assert started["person"] == ended["person"] == 1
    assert started["label"] == "without_mask"
    assert ended["first_seen"] < ended["decided_at"] < ended["ended_at"]
    assert "1 person; told:" in err  # the summary is for people


def test_a_table(walk, bare):
    out, _ = detect("--csv", "--quiet", bare, walk)
    picture, *frames = csv.DictReader(io.StringIO(out))
    assert picture["path"] == str(bare)
    assert (picture["time"], picture["person"], picture["label"]) == ("", "", "without_mask")
    assert float(picture["without_mask"]) > 0.9
    assert float(picture["x1"]) < float(picture["x2"])
    assert {row["person"] for row in frames} == {"", "1"}
    assert "\r" not in out


def test_a_picture_and_a_video_on_standard_input(walk, bare, tmp_path):
    line = json.loads(detect("--json", "--out", tmp_path, "-", given=bare.read_bytes())[0])
    assert (line["path"], len(line["faces"])) == ("-", 1)
    assert detect("-", given=walk.read_bytes())[0].startswith("-: 61 frames")
    assert [path.name for path in tmp_path.iterdir()] == ["stdin.png"]
    _, err = detect("-", given=b"hello", code=66)
    assert err.startswith("maskedge: standard input: is no video")


def test_paths_on_standard_input(bare, tmp_path):
    listed = b"\n".join([str(bare).encode(), b"/nowhere.jpg", os.fsencode(tmp_path / "\udce9.png")])
    (tmp_path / "\udce9.png").write_bytes(bare.read_bytes())
    out, err = detect("--json", "--files-from", "-", given=listed, code=66)
    assert [json.loads(line)["path"] for line in out.splitlines()] == [
        str(bare), str(tmp_path / "\udce9.png")
    ]  # fmt: skip
    assert err.startswith("maskedge: /nowhere.jpg: no such file")


@pytest.mark.parametrize("style", [[], ["--csv"], ["--json"]])
def test_a_name_that_is_no_text_harms_no_output(bare, tmp_path, style):
    name = tmp_path / "\udce9\n\x1b[2J.png"
    name.write_bytes(bare.read_bytes())
    process = start(*style, "--quiet", name, text=False)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert (b"\x1b" in out) == (style == ["--csv"])  # quoted there, as it is


def test_json_and_csv_together_or_nothing_to_judge_are_usage_errors(bare):
    assert "not both" in detect("--json", "--csv", bare, code=64)[1]
    assert "maskedge detect --help" in detect(code=64)[1]
    assert "nothing.txt" in detect("--files-from", "nothing.txt", code=64)[1]


def test_a_reader_that_goes_away_is_no_error(walk, tmp_path):
    process = start("--json", "--out", tmp_path, walk)
    process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_before_is_no_error(bare, closed):
    detect = [sys.executable, "-m", "maskedge", "detect", str(bare)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *detect],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (" >&-" not in f" {closed}")


def test_ctrl_c_keeps_what_is_finished_and_tells_what_it_saw(bare, tmp_path):
    long = record(tmp_path / "long.avi", VISITS[:1] * 6, pause=1)
    out = tmp_path / "out"
    process = start("--out", out, "--verbose", bare, long)
    while "without_mask" not in (line := process.stdout.readline()) or "long" not in line:
        assert line
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert f"{long}: " in said
    assert "1 picture, 1 video" in said
    assert [path.name for path in out.iterdir()] == ["bare.png"]
    assert cv2.imread(str(out / "bare.png")).shape == (512, 512, 3)


def terminal(*args, stdout_too=False, columns=100):
    """Run on a terminal; returns (standard output, what the terminal got)."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns) if columns else (0, 0))
    got = []

    def listen():
        while True:
            try:
                data = os.read(master, 65_536)
            except OSError:  # the other end is closed
                return
            got.append(data)

    process = start(*args, stdout=slave if stdout_too else subprocess.PIPE, stderr=slave)
    os.close(slave)
    listening = threading.Thread(target=listen)
    listening.start()
    out = None if stdout_too else process.communicate(timeout=120)[0]
    assert process.wait(120) == 0
    listening.join(10)
    os.close(master)
    return out, b"".join(got).decode()


@pytest.mark.parametrize("columns", [100, 0])
def test_progress_is_shown_on_a_terminal_and_never_in_the_data(walk, bare, columns):
    out, shown = terminal("--json", walk, bare, columns=columns)
    assert [json.loads(line)["frame"] for line in out.splitlines()] == [*range(61), 0]
    assert re.search(r"judging: +\d+%\|.*\| \d+/62 \[\d\d:\d\d<\d\d:\d\d, .* frames/s\]", shown)
    assert "1 person; told:" in shown


def test_no_progress_when_quiet(walk):
    out, shown = terminal("--json", "--quiet", walk)
    assert len(out.splitlines()) == 61
    assert shown == ""


def test_lines_on_the_same_terminal_do_not_run_into_the_bar(bare, tmp_path):
    cv2.imwrite(str(tmp_path / "hall.png"), hall(320, 240))
    _, shown = terminal(bare, tmp_path / "hall.png", stdout_too=True)
    lines = [part.strip() for part in re.split(r"[\r\n]+", shown)]
    assert any(re.fullmatch(rf"{bare}: without_mask (100|9\d)%", line) for line in lines)
    assert f"{tmp_path}/hall.png: no face" in lines
    assert "2 pictures" in lines


def test_without_a_terminal_there_is_no_bar(bare):
    assert detect(bare)[1] == ""
