from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from maskedge.errors import AcceleratorError, ModelError
from maskedge.inference import open_interpreter, trial
from maskedge.modelfile import ModelFile

LETHAL = [(3196, 4), (2489, 3)]
"""Bits (byte, bit) of tiny_uint8.tflite whose flip kills LiteRT 2.3: SIGABRT and SIGSEGV."""


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(trial, "_passed", set())


def opens_or_says_why(path):
    """What a damaged file may do: open, or raise one clear line. Anything else kills the test."""
    try:
        open_interpreter(path).close()
    except ModelError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return str(error)
    return ""


def test_a_truncated_network_is_one_clear_error(tiny):
    path = tiny()
    whole = path.read_bytes()
    for part in (0.02, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(part * len(whole))])
        assert opens_or_says_why(path)


@pytest.mark.slow
def test_flipped_bits_never_end_this_process(tiny):
    path = tiny()
    whole = path.read_bytes()
    rng = random.Random(7)
    flips = [(rng.randrange(len(whole)), rng.randrange(8)) for _ in range(20)]
    for byte, bit in LETHAL + flips:
        broken = bytearray(whole)
        broken[byte] ^= 1 << bit
        path.write_bytes(broken)
        opens_or_says_why(path)


@pytest.mark.parametrize(
    ("runner", "says"),
    [
        ("abort", r"crashes the interpreter: its process died of SIGABRT \(fatal: check failed"),
        ("segfault", "crashes the interpreter: its process died of SIGSEGV"),
        ("leave", "its process ended with status 3"),
    ],
)
def test_a_network_that_kills_its_interpreter_is_refused(tiny, runner, says):
    with pytest.raises(ModelError, match=says):
        trial.require_loadable(ModelFile.load(tiny()), f"runners:{runner}", timeout=60)


def test_a_network_that_never_finishes_is_refused_in_time(tiny):
    begin = time.monotonic()
    with pytest.raises(ModelError, match=r"doesn't finish one run within 1 s"):
        trial.require_loadable(ModelFile.load(tiny()), "runners:hang", timeout=1)
    assert time.monotonic() - begin < 30


def test_a_network_that_wants_all_memory_is_refused(tiny):
    with pytest.raises(AcceleratorError, match="MemoryError"):
        trial.require_loadable(ModelFile.load(tiny()), "runners:hungry", timeout=60)


def test_what_is_tried_has_no_rights_of_root(tiny):
    path = tiny()
    path.chmod(0o600)
    network = trial.TrialNetwork(path)
    status = Path(f"/proc/{network._process.pid}/status").read_text()
    network.close()
    owners = {line.split()[0]: line.split()[1:] for line in status.splitlines() if "id:" in line}
    expected = str(trial.NOBODY if os.geteuid() == 0 else os.geteuid())
    assert owners["Uid:"] == [expected] * 4
    if os.geteuid() == 0:
        assert owners["Gid:"] == [expected] * 4
        assert "Groups:\t \n" in status


def test_a_network_on_trial_answers_like_any_other(tiny, picture):
    with closing(open_interpreter(tiny())) as here, closing(trial.TrialNetwork(tiny())) as there:
        assert (there.input_spec, there.output_specs) == (here.input_spec, here.output_specs)
        for a, b in zip(here.invoke(picture), there.invoke(picture), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_crash_while_it_runs_is_an_error_of_the_file(tiny, picture):
    network = trial.TrialNetwork(tiny())
    os.kill(network._process.pid, signal.SIGSEGV)
    with pytest.raises(ModelError, match="crashes the interpreter: its process died of SIGSEGV"):
        network.invoke(picture)
    network.close()


def test_a_network_is_tried_once(tiny, monkeypatch):
    open_interpreter(tiny())
    monkeypatch.setattr(trial, "WorkerProcess", None)
    open_interpreter(tiny())


def test_a_network_that_its_description_vouches_for_needs_no_trial(tiny, monkeypatch):
    path = tiny()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {"schema": "maskedge.model/1", "sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(card))
    monkeypatch.setattr(trial, "WorkerProcess", None)
    open_interpreter(path)
