"""Other networks for a running daemon, real broker and all: no event and no person is lost."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from live_camera import jpeg, visits
from mosquitto import PATIENCE, wait_for

from maskedge.inference.fake_tpu import FakeTpu
from maskedge.modelfile import models_dir
from maskedge.models.store import Store
from maskedge.scene import hall


def codes(health):
    return {fault["code"] for fault in health.get("faults", [])}


@pytest.fixture
def update(tmp_path):
    """``update(1)``: the shipped classifier with other bytes, as a retrained one would have."""

    def make(number):
        folder = tmp_path / f"update-{number}"
        folder.mkdir()
        path = folder / "mask_classifier.tflite"
        path.write_bytes((models_dir() / path.name).read_bytes() + b"\0" * 16 * number)
        card = json.loads((models_dir() / "mask_classifier.json").read_text())
        card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(card))
        return path

    return make


def fingerprint(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


OLD = fingerprint(models_dir() / "mask_classifier.tflite")


class Unit:
    """A daemon with a store of its own, and the command that a person would give."""

    def __init__(self, process):
        self.process = process
        self.store = Store(process.folder / "models")
        self.environ = {
            **os.environ,
            "MASKEDGE_MODELS": str(self.store.folder),
            "MASKEDGE_CONFIG": str(process.config),
        }

    def start(self):
        self.process.start(MASKEDGE_MODELS=str(self.store.folder)).ready()
        return self

    def begin(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "maskedge", "models", *map(str, words)],
            env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def models(self, *words):
        command = self.begin(*words)
        said, _ = command.communicate(timeout=3 * PATIENCE)
        return command.returncode, said

    def swapped(self, classifier):
        """Wait until these are the last that the log calls in force."""
        wait_for(lambda: self._last() == classifier, f"a swap to {classifier}")

    def _last(self):
        return self.process.log.rpartition("networks in force: ")[2].partition("classifier ")[2][
            :12
        ]


SCENE = visits(seconds=16.0, pause=8.0)
NOBODY = SCENE[:70]
SOMEBODY = SCENE[140:160] + SCENE[160:140:-1]
"""Bare-faced, swaying a little for as long as it is shown."""


@pytest.fixture
def unit(daemon, broker, camera):
    """Watching a door at 20 frames a second; nobody is there yet."""
    broker.start()
    camera.frames = NOBODY
    camera.fps = 20.0
    return Unit(daemon(camera.url, verdict={"cooldown": 0.0}))


def told(collector, count):
    wait_for(lambda: len(collector.events) == count, f"{count} events")


def test_networks_are_swapped_while_somebody_is_in_view(unit, camera, collect, health, update):
    collector = collect()
    unit.start()
    camera.frames = SOMEBODY
    told(collector, 1)
    path = update(1)
    code, said = unit.models("install", path)
    assert code == 0, said
    unit.swapped(fingerprint(path))
    camera.frames = NOBODY
    told(collector, 2)
    camera.frames = SOMEBODY
    told(collector, 3)
    assert unit.models("rollback")[0] == 0
    unit.swapped(OLD)
    camera.frames = NOBODY
    told(collector, 4)
    wait_for(lambda: health()["inference"]["models"]["classifier"] == OLD, "health to name it")
    assert "models_refused" not in codes(health())
    unit.process.send(signal.SIGTERM)
    assert unit.process.wait() == 0
    events = collector.firsts()
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert [event["type"] for event in events] == ["started", "ended"] * 2
    for started, ended in (events[:2], events[2:]):
        assert ended["violation_id"] == started["event_id"]
        assert ended["track_id"] == started["track_id"]
    new = fingerprint(path)
    assert [event["model"]["classifier"] for event in events] == [OLD, new, new, OLD]
    assert len({event["model"]["detector"] for event in events}) == 1
    assert "a frame was lost" not in unit.process.log
    assert "refused" not in unit.process.log


def test_the_frame_after_a_swap_waits_for_no_network(daemon, broker, camera, health, update):
    """The camera gives larger frames than it was asked for, so they need another input."""
    broker.start()
    camera.frames = [jpeg(hall(1280, 720))]
    unit = Unit(daemon(camera.url, motion={"enabled": False})).start()

    def looked():
        return health().get("counters", {}).get("frames_looked", 0)

    wait_for(looked, "the first frame")
    path = update(1)
    code, said = unit.models("install", path)
    assert code == 0, said
    unit.swapped(fingerprint(path))
    before = looked()
    wait_for(lambda: looked() > before + 1, "frames after the swap")
    until, _, since = unit.process.log.partition("networks in force: ")
    assert until.count("face detector: input 480x288") == 2
    assert "face detector: input" not in since


def test_detectors_are_swapped_as_one(unit, camera, collect, update, tmp_path):
    collector = collect()
    unit.start()
    camera.frames = SOMEBODY
    told(collector, 1)
    folder = tmp_path / "detectors"
    folder.mkdir()
    for card in models_dir().glob("face_detector_*.json"):
        content = card.with_suffix(".tflite").read_bytes() + b"\0" * 16
        digest = hashlib.sha256(content).hexdigest()
        (folder / card.with_suffix(".tflite").name).write_bytes(content)
        said = {**json.loads(card.read_text()), "sha256": digest}
        (folder / card.name).write_text(json.dumps(said))
    code, said = unit.models("install", folder, update(1))
    assert code == 0, said
    detector = fingerprint(folder / "face_detector_320x320.tflite")
    wait_for(lambda: f"detector {detector}" in unit.process.log, "the swap")
    camera.frames = NOBODY
    told(collector, 2)
    started, ended = collector.events
    assert ended["track_id"] == started["track_id"]
    assert ended["model"]["detector"] == detector != started["model"]["detector"]


def test_networks_are_swapped_on_an_edge_tpu(
    daemon, broker, camera, collect, health, update, tmp_path
):
    """The device (a fake) has one owner: old and new networks share its process for a moment."""
    broker.start()
    camera.frames = NOBODY
    tpu = FakeTpu(tmp_path / "tpu.json")
    inference = {"accelerator": "edgetpu", "device": tpu.device}
    unit = Unit(daemon(camera.url, inference=inference)).start()
    collector = collect()
    wait_for(lambda: health().get("inference", {}).get("backend") == "edgetpu", "the Edge TPU")
    path = update(1)
    code, said = unit.models("install", path)
    assert (code, "it isn't compiled, so the CPU runs it" in said) == (0, True)
    unit.swapped(fingerprint(path))
    camera.frames = SOMEBODY
    told(collector, 1)
    assert collector.events[0]["model"]["classifier"] == fingerprint(path)
    assert health()["inference"]["backend"] == "edgetpu"
    assert "accelerator_lost" not in unit.process.log
    assert "a frame was lost" not in unit.process.log


def test_what_is_refused_leaves_the_daemon_alone(unit, camera, collect, health, update):
    collector = collect()
    unit.start()
    camera.frames = SOMEBODY
    told(collector, 1)
    path = update(1)
    card = json.loads(path.with_suffix(".json").read_text())
    card["labels"] = card["labels"][1::-1] + card["labels"][2:]
    path.with_suffix(".json").write_text(json.dumps(card))
    code, said = unit.models("install", path)
    assert (code, "wrong labels?" in said) == (66, True)
    time.sleep(2)  # as long as a change would take to be noticed
    camera.frames = NOBODY
    told(collector, 2)
    assert [event["model"]["classifier"] for event in collector.events] == [OLD, OLD]
    assert "models_refused" not in codes(health())
    assert "networks in force" not in unit.process.log


def test_networks_that_were_damaged_are_refused_and_told(unit, camera, collect, health, update):
    """Whoever changes the store by hand: a running daemon goes on, one that starts falls back."""
    collector = collect()
    unit.start()
    good, better = update(1), update(2)
    assert unit.models("install", good)[0] == 0
    unit.swapped(fingerprint(good))
    unit.process.send(signal.SIGSTOP)  # it mustn't see the networks before they are damaged
    assert unit.models("install", better)[0] == 0
    (unit.store.folders().classifier / "mask_classifier.tflite").write_bytes(b"no network")
    unit.process.send(signal.SIGCONT)
    wait_for(lambda: "models_refused" in codes(health()), "the fault")
    (fault,) = [f for f in health()["faults"] if f["code"] == "models_refused"]
    assert "not a TFLite file" in fault["message"]
    assert "maskedge models rollback" in fault["message"]
    camera.frames = SOMEBODY
    told(collector, 1)
    assert collector.events[0]["model"]["classifier"] == fingerprint(good)
    unit.process.kill()
    unit.start()
    wait_for(lambda: health()["inference"]["models"]["classifier"] == fingerprint(good), "before")
    wait_for(lambda: "models_refused" in codes(health()), "the fault again")
    assert unit.models("rollback")[0] == 0
    wait_for(lambda: "models_refused" not in codes(health()), "its end")
    assert unit.process.process.poll() is None


@pytest.mark.slow
def test_an_installation_that_is_killed_leaves_old_or_new(unit, camera, collect, update, report):
    """At some moments of a real installation, while the daemon watches and tells."""
    collector = collect()
    unit.start()
    paths = [update(number) for number in (1, 2)]
    begin = time.monotonic()
    assert unit.models("install", paths[1])[0] == 0
    whole = time.monotonic() - begin
    report("an installation", whole)
    known = {OLD, *map(fingerprint, paths)}
    killed = 0
    for number in range(8):
        camera.frames = (SOMEBODY, NOBODY)[number % 2]
        command = unit.begin("install", paths[number % 2])
        moment = whole * (0.3 + 0.08 * number)
        time.sleep(moment)
        if command.poll() is None:
            killed += 1
        else:
            whole = moment  # the machine has become faster
        command.kill()
        command.communicate()
        in_force = unit.store.folders().classifier / "mask_classifier.tflite"
        assert fingerprint(in_force) in known
    assert killed >= 2
    report("killed installations", killed)
    before = len(collector.events)
    camera.frames = NOBODY
    wait_for(lambda: len(collector.events) % 2 == 0, "nobody is left open")
    assert unit.models("install", paths[0])[0] == 0
    unit.swapped(fingerprint(paths[0]))
    camera.frames = SOMEBODY
    expected = fingerprint(paths[0])
    wait_for(  # somebody may still have been decided on by the old one
        lambda: any(e["model"]["classifier"] == expected for e in collector.events[before:]),
        "an event of the new network",
    )
    assert not list(unit.store.folder.glob(".staging*"))
    seqs = [event["seq"] for event in collector.firsts()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert "models_refused" not in unit.process.log
    shutil.rmtree(unit.store.folder)
    time.sleep(2)
    assert unit.process.process.poll() is None
