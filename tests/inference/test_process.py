from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from maskedge.errors import AcceleratorError
from maskedge.inference import open_interpreter
from maskedge.inference.process import WorkerDied, WorkerProcess

CPU = "maskedge.inference.interpreter:load_cpu"
START = 60


@pytest.fixture
def worker():
    """Start worker processes that end with the test."""
    started = []

    def start(runner=CPU, *args, **kwargs):
        started.append(WorkerProcess(runner, *args, **kwargs))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def loaded(process, *paths):
    for path in paths:
        process.ask(path)
    assert process.poll(START)
    return process.slots


def gone(pid):
    """Whether the process has ended (or waits to be reaped by somebody else)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def test_several_networks_in_one_process_answer_as_in_this_one(worker, tiny, picture):
    process = worker()
    slots = loaded(process, tiny("uint8"), tiny("int8"))
    for slot, dtype in zip(slots, ("uint8", "int8"), strict=True):
        direct = open_interpreter(tiny(dtype))
        assert slot.input_spec == direct.input_spec
        assert slot.output_specs == direct.output_specs
        for ours, theirs in zip(
            process.invoke(slot, picture, 30), direct.invoke(picture), strict=True
        ):
            assert np.array_equal(ours, theirs)
    pid = process.pid
    process.close()
    assert gone(pid)
    process.close()


def test_asking_does_not_wait(worker, tiny):
    process = worker("runners:hang")
    process.ask(tiny())
    assert not process.poll()
    assert process.slots == []


def test_a_file_that_does_not_load_is_an_answer_and_the_process_lives(worker, tiny, picture):
    process = worker()
    path = tiny()
    missing, slot = loaded(process, path.with_name("no.tflite"), path)
    assert "can't read the network" in str(missing)
    assert process.invoke(slot, picture, 30)


def test_arguments_reach_the_runner(worker, tiny):
    (answer,) = loaded(worker("runners:inherited", "pci:1", threads=3), tiny())
    assert isinstance(answer, AcceleratorError)
    assert str(answer) == "device pci:1, threads 3"


def test_a_run_past_its_deadline_kills_the_process(worker, tiny, picture):
    process = worker()
    (slot,) = loaded(process, tiny())
    os.kill(process.pid, 19)  # SIGSTOP: it can't answer
    with pytest.raises(WorkerDied, match=r"no answer within 0\.2 s"):
        process.invoke(slot, picture, 0.2)
    assert gone(process.pid)


def test_a_death_says_the_signal_and_the_last_words(worker, tiny):
    process = worker("runners:abort")
    process.ask(tiny())
    with pytest.raises(
        WorkerDied, match=r"died of SIGABRT \(fatal: check failed: usb_driver\.cc\)"
    ):
        process.poll(START)


def test_a_process_that_talks_without_end_is_not_stopped_by_it(worker, tiny, picture):
    process = worker("runners:chatter")
    (slot,) = loaded(process, tiny())
    for _ in range(10):
        process.invoke(slot, picture, 30)


def test_a_wrong_picture_is_a_mistake_of_the_caller(worker, tiny, picture):
    process = worker()
    (slot,) = loaded(process, tiny())
    with pytest.raises(ValueError, match="takes uint8"):
        process.invoke(slot, picture[:-1], 30)
    assert process.invoke(slot, picture, 30)


@pytest.mark.parametrize("hung", [False, True])
def test_the_process_dies_with_its_parent_even_while_it_hangs(tiny, tmp_path, hung):
    code = f"""
import os, sys, time
from pathlib import Path
import numpy as np
from maskedge.inference.fake_tpu import RUNNER, FakeTpu, Fault
from maskedge.inference.process import WorkerProcess
tpu = FakeTpu(Path({str(tmp_path / "tpu.json")!r}))
process = WorkerProcess(RUNNER, tpu.device)
process.ask(Path({str(tiny())!r}))
assert process.poll({START})
if {hung}:
    tpu.fail(Fault.HANG)
    process._channel.send(b"I\\0")
    time.sleep(0.5)
print(process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=120, check=False
    )
    pid = int(done.stdout)
    wait_for(lambda: gone(pid))


def descriptors():
    """What this process has open: pipes and sockets have names of their own."""
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as this look's own
            names.add(entry.readlink())
    return names


def test_nothing_is_left_open(tiny, picture, worker):
    before = descriptors()
    for end in (WorkerProcess.close, WorkerProcess.kill):
        process = worker()
        (slot,) = loaded(process, tiny())
        process.invoke(slot, picture, 30)
        end(process)
        process.slots.clear()
        del slot
    assert descriptors() <= before
