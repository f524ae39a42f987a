from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mosquitto import PATIENCE, wait_for

from maskedge.config import ClassifierConfig, InferenceConfig
from maskedge.errors import AcceleratorError
from maskedge.inference import fake_tpu, open_interpreter
from maskedge.inference.edgetpu import Diagnosis
from maskedge.inference.fake_tpu import FakeTpu, Fault
from maskedge.inference.process import WorkerProcess
from maskedge.inference.resilient import ResilientNetwork, TpuHost
from maskedge.modelfile import models_dir
from maskedge.vision.masks import open_classifier

DEADLINE = 1.0
"""Seconds for a run, where one hangs."""


class Clock:
    """Steady seconds that the test moves."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def tpu(tmp_path):
    return FakeTpu(tmp_path / "tpu.json")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def host(tpu, clock):
    return TpuHost(
        fake_tpu.RUNNER,
        tpu.device,
        diagnose=tpu.diagnose,
        required=True,
        retry=(5, 40),
        start_timeout=PATIENCE,
        clock=clock,
    )


@pytest.fixture
def network(host, tiny):
    """A network on the fake, closed after the test."""
    opened = []

    def make(dtype="uint8", timeout=PATIENCE):
        path = tiny(dtype)
        compiled = path.with_name(f"{path.stem}_edgetpu.tflite")
        opened.append(ResilientNetwork(open_interpreter(path), host, compiled, timeout))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def until(network, picture, condition, seconds=60):
    """Feed frames, as a camera does, until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, network.fault
        network.invoke(picture)
        time.sleep(0.01)


def same(outputs, expected):
    return all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.HANG, "no answer within 1 s"),
        (Fault.ABORT, "died of SIGABRT"),
        (Fault.SEGFAULT, "died of SIGSEGV"),
        (Fault.SLOW, "no answer within 1 s"),
        (Fault.ERROR, "the device is gone"),
        (Fault.NO_DEVICE, "the device is gone"),
    ],
)
def test_every_failure_is_answered_by_the_cpu_and_healed_later(
    network, tpu, clock, host, tiny, picture, fault, says
):
    expected = [o.copy() for o in open_interpreter(tiny()).invoke(picture)]
    net = network(timeout=DEADLINE if "no answer" in says else PATIENCE)
    assert (net.backend, net.fault) == ("edgetpu", None)
    assert same(net.invoke(picture), expected)

    tpu.fail(fault, after=1, seconds=60)
    assert same(net.invoke(picture), expected)
    assert net.backend == "edgetpu"
    assert same(net.invoke(picture), expected)  # the frame in which it fails
    assert net.backend != "edgetpu"
    assert says in net.fault
    assert host.failures == 1

    tpu.heal()
    assert same(net.invoke(picture), expected)
    assert net.fault is not None  # not before its pause is over

    clock.now += 5
    until(net, picture, lambda: net.fault is None)
    assert same(net.invoke(picture), expected)
    assert net.backend == "edgetpu"


def test_a_picture_written_in_place_reaches_whoever_answers(network, tpu, tiny, picture):
    expected = [o.copy() for o in open_interpreter(tiny()).invoke(picture)]
    net = network()
    net.picture[...] = picture
    assert same(net.invoke(), expected)
    assert net.backend == "edgetpu"
    tpu.fail(Fault.ABORT)
    net.picture[...] = picture
    assert same(net.invoke(), expected)  # the frame in which it fails
    net.picture[...] = picture
    assert same(net.invoke(), expected)
    assert net.backend != "edgetpu"


def test_who_only_asks_what_runs_it_brings_the_device_back(network, tpu, clock, picture):
    # The detector leaves this network aside while the device is lost: it has smaller ones then.
    net = network()
    tpu.fail(Fault.ABORT)
    net.invoke(picture)
    assert net.backend != "edgetpu"
    tpu.heal()
    clock.now += 5
    end = time.monotonic() + 60
    while net.backend != "edgetpu":
        assert time.monotonic() < end, net.fault
        time.sleep(0.01)
    net.close()
    assert net.backend != "edgetpu"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.NO_LIBRARY, r"libedgetpu.so.1 can't be loaded"),
        (Fault.HANG_AT_OPEN, "didn't start within 3 s"),
        (Fault.NO_DEVICE, "no fake Edge TPU; plug it in"),
    ],
)
def test_a_device_that_cannot_be_opened_leaves_the_cpu_and_comes_later(
    network, tpu, clock, host, picture, fault, says
):
    if fault is Fault.HANG_AT_OPEN:
        host._start_timeout = 3
    tpu.fail(fault)
    net = network()
    assert net.backend != "edgetpu"
    assert says in net.fault
    assert net.invoke(picture)

    tpu.heal()
    host._start_timeout = PATIENCE
    clock.now += 5
    until(net, picture, lambda: net.fault is None)
    assert net.invoke(picture)
    assert net.backend == "edgetpu"


def test_no_frame_waits_for_a_device_that_hangs_while_it_is_tried_again(
    network, tpu, clock, host, picture
):
    net = network()
    tpu.fail(Fault.ABORT)
    net.invoke(picture)
    tpu.fail(Fault.HANG_AT_OPEN)
    clock.now += 5
    begin = time.monotonic()
    for _ in range(50):
        net.invoke(picture)
    # A wait for the start or for a run would be as long as these may take.
    assert time.monotonic() - begin < PATIENCE / 2
    assert net.backend != "edgetpu"
    assert host._process is not None
    clock.now += PATIENCE + 1
    net.invoke(picture)
    assert host._process is None
    assert "didn't start" in net.fault


def test_no_frame_waits_while_another_network_is_opened(network, tpu, host, picture):
    net = network()
    slot = net._usable()
    tpu.fail(Fault.HANG_AT_OPEN)
    reload = threading.Thread(target=network, args=("int8",))
    reload.start()
    wait_for(lambda: len(host._paths) == 2, "the second network")
    for _ in range(50):
        assert net.invoke(picture)
    assert net.backend != "edgetpu"
    with pytest.raises(AcceleratorError, match="isn't in use"):
        host.invoke(slot, picture, PATIENCE)  # asked for before the other began
    net.close()
    assert host.failures == 0
    host._start_timeout = 0.0
    reload.join(PATIENCE)
    assert "didn't start" in host.fault


def test_pauses_double_up_to_the_longest_and_start_anew_when_it_proved_itself(
    network, tpu, clock, host, picture
):
    net = network()
    pauses = []
    for _ in range(5):
        tpu.fail(Fault.ABORT)
        net.invoke(picture)
        pauses.append(host._next_try - clock.now)
        tpu.heal()
        clock.now = host._next_try
        until(net, picture, lambda: net.fault is None)
    assert pauses == [5, 10, 20, 40, 40]

    clock.now += 1000
    tpu.fail(Fault.ABORT)
    net.invoke(picture)
    assert host._next_try - clock.now == 5


def test_the_fault_keeps_its_words_from_try_to_try(network, tpu, clock, picture):
    tpu.fail(Fault.NO_LIBRARY)
    net = network()
    first = net.fault
    begun = net._host.failures
    clock.now += 5
    until(net, picture, lambda: net._host.failures > begun)
    assert net.fault == first


def test_two_networks_share_the_one_process_that_may_own_the_device(
    network, tpu, clock, tiny, picture
):
    one, two = network("uint8"), network("int8")
    assert one.backend == two.backend == "edgetpu"
    other = WorkerProcess(fake_tpu.RUNNER, tpu.device)
    other.ask(tiny())
    assert other.poll(60)
    assert "Failed to load delegate" in str(other.slots[0])
    other.kill()

    tpu.fail(Fault.ABORT)
    one.invoke(picture)
    tpu.heal()
    assert two.fault == one.fault != None  # noqa: E711 - both, and raised
    clock.now += 5
    until(one, picture, lambda: one.fault is None)
    for net, dtype in ((one, "uint8"), (two, "int8")):
        assert same(net.invoke(picture), open_interpreter(tiny(dtype)).invoke(picture))
        assert net.backend == "edgetpu"


def test_closing_one_leaves_the_other_and_closing_both_ends_the_process(network, host, picture):
    one, two = network("uint8"), network("int8")
    one.close()
    two.invoke(picture)
    assert two.backend == "edgetpu"
    two.close()
    two.close()
    assert host._process is None


def test_a_network_opened_after_another_was_closed_gets_its_own_slot(
    network, tpu, clock, tiny, picture
):
    one, two = network("uint8"), network("int8")
    one.close()
    three = network("uint8")
    tpu.fail(Fault.ABORT)
    two.invoke(picture)
    tpu.heal()
    clock.now += 5
    until(two, picture, lambda: two.fault is None)
    for net, dtype in ((two, "int8"), (three, "uint8")):
        assert same(net.invoke(picture), open_interpreter(tiny(dtype)).invoke(picture))
        assert net.backend == "edgetpu"


def test_another_network_under_the_compiled_name_is_not_believed(host, tiny, picture):
    path = tiny("uint8")
    other = tiny("int8").rename(path.with_name("tiny_other.tflite"))
    with_other = other.with_name("tiny_other_edgetpu.tflite")
    net = ResilientNetwork(open_interpreter(path), host, with_other, PATIENCE)
    assert net.backend != "edgetpu"
    assert "isn't the same network" in net.fault
    assert same(net.invoke(picture), open_interpreter(path).invoke(picture))
    net.close()


def test_a_missing_compiled_file_says_how_to_make_it(host, tiny, picture):
    path = tiny()
    net = ResilientNetwork(open_interpreter(path), host, path.with_name("no_edgetpu.tflite"), 1)
    assert "python -m convert compile" in net.fault
    net.invoke(picture)
    assert net.backend != "edgetpu"
    net.close()


@pytest.mark.parametrize(("accelerator", "silent"), [("auto", True), ("edgetpu", False)])
def test_without_any_device_auto_is_silent_and_edgetpu_is_not(
    tiny, tpu, picture, accelerator, silent
):
    tpu.fail(Fault.NO_DEVICE)
    net = open_interpreter(tiny(), accelerator, device=tpu.device)
    net.invoke(picture)
    assert net.backend != "edgetpu"
    assert (net.fault is None) == silent
    net.close()


def test_auto_uses_a_device_that_is_there(tiny, tpu, picture):
    net = open_interpreter(tiny(), "auto", device=tpu.device, timeout=60)
    net.invoke(picture)
    assert (net.backend, net.fault) == ("edgetpu", None)
    net.close()


def test_the_real_device_is_looked_for_where_none_is_named(tiny, monkeypatch, picture):
    absent = Diagnosis(
        present=False, usable=False, finding="no Edge TPU on USB or PCIe", cure="plug it in"
    )
    monkeypatch.setattr("maskedge.inference.edgetpu.diagnose", lambda: absent)
    net = open_interpreter(tiny(), "edgetpu")
    assert net.fault == "no Edge TPU on USB or PCIe; plug it in"
    assert net.invoke(picture)
    net.close()


def test_present_but_without_its_library_is_a_fault_even_for_auto(tiny, monkeypatch, picture):
    there = Diagnosis(present=True, usable=True, finding="Edge TPU on USB")
    monkeypatch.setattr("maskedge.inference.edgetpu.diagnose", lambda: there)
    path = tiny()
    Path(path.with_name("tiny_uint8_edgetpu.tflite")).write_bytes(path.read_bytes())
    net = open_interpreter(path, "auto")
    assert "libedgetpu.so.1 can't be loaded" in net.fault
    assert net.invoke(picture)
    net.close()


def test_the_classifier_passes_the_fault_on(tpu):
    tpu.fail(Fault.NO_LIBRARY)
    config = InferenceConfig(accelerator="edgetpu", device=tpu.device)
    classifier = open_classifier(ClassifierConfig(), config, models_dir())
    assert "libedgetpu" in classifier.fault
    assert classifier.backend != "edgetpu"
    classifier.close()
