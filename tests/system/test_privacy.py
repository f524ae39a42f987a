"""By default no pixel leaves RAM: no file, topic, socket or core dump; with options, what they say.

The whole daemon runs with its real networks on a recording with a known picture. Every byte that
its processes write, to files, pipes and sockets, is looked at; the other tests show that the same
looks find pictures where they are asked for.
"""

import json
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import strace
from mosquitto import Eavesdropper, free_port, wait_for
from recording import record, record_doubtful

from maskedge.geometry import Box
from maskedge.inference.fake_tpu import FakeTpu
from maskedge.scene import Visit, Wearing
from maskedge.snapshots.conceal import cut_out

MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n",
    b"GIF8",
    b"WEBP",
    b"ftypavif",
    b"P6\n",
    b"P5\n",
    b"/9j/4",  # JPEG and PNG in base64
    b"iVBORw0KGgo",
)
TOPICS = {
    "maskedge/door/availability",
    "maskedge/door/state",
    "maskedge/door/health",
    "maskedge/door/violation",
    "homeassistant/device/maskedge_door/config",
}
LARGEST_WRITE = 20_000
"""Bytes: an announcement to Home Assistant, or a page of the outbox's log; no thumbnail."""
ALL_WRITES = 500_000
"""Bytes in one run: two frames shrunk to the network's input would be more."""


@pytest.fixture(scope="module")
def short_video(tmp_path_factory):
    """One bare-faced person walks through; 6 s."""
    return record(tmp_path_factory.mktemp("scene") / "short.avi", [Visit(Wearing.BARE)], pause=1.0)


@pytest.fixture(scope="module")
def probes(short_video):
    """Pieces of the pictures' rows, 8 pixels each, as a dump of raw pixels would hold them."""
    camera, found = cv2.VideoCapture(str(short_video)), set()
    random = np.random.default_rng(11)
    while True:
        read, picture = camera.read()
        if not read:
            return found
        for order in (picture, picture[..., ::-1], picture.mean(axis=2).astype(np.uint8)):
            for _ in range(20):
                row, column = random.integers(0, 480), random.integers(0, 632)
                piece = np.ascontiguousarray(order[row, column : column + 8]).tobytes()
                if len(set(piece)) > 4:  # no plain surface
                    found.add(piece)


class Observed:
    """One whole run of the daemon, traced, with an eavesdropper at the broker."""

    def __init__(self, unit, broker, collector, folder):
        self.unit, self.folder = unit, folder
        self.home = {name: folder / name for name in ("home", "tmp", "cwd")}
        for path in self.home.values():
            path.mkdir()
        self._trace = folder / "trace"
        unit.under = strace.command(self._trace)
        unit.cwd = self.home["cwd"]
        ears = Eavesdropper(broker, folder)
        environ = {
            "HOME": str(self.home["home"]),
            "TMPDIR": str(self.home["tmp"]),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        unit.start(**environ).ready()
        # The program itself, not what traces it.
        (self.pid,) = children(unit.process.pid)
        self.listening = listening(self.pid)
        assert unit.wait() == 0, unit.log
        wait_for(lambda: collector.availability[-1:] == ["stopped"], "the last word")
        self.messages = ears.stop()
        self.trace = strace.Trace.read(self._trace)
        self.events = collector.events
        assert [event["type"] for event in self.events] == ["started", "ended"]

    @property
    def started(self):
        return self.events[0]

    def made(self):
        """Files opened for writing, without what every program may use."""
        return {
            re.sub(r"(/baseline\.json|/homeassistant\.json)\.new", r"\1", path).removeprefix(
                f"{self.unit.folder}/"
            )
            for path in self.trace.opened
            if not path.startswith(("/dev/null", "/proc/self/"))
        }


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def listening(pid):
    """``(address in hex, port)`` of each TCP or UDP socket of a process that takes callers."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            callers = fields[3] == "0A" if table.startswith("tcp") else fields[2].endswith(":0000")
            if f"socket:[{fields[9]}]" in sockets and callers:
                found.append((address, int(port, 16)))
    return found


def pictures_in(data):
    return [magic for magic in MAGIC if magic in data]


@pytest.fixture
def observe(broker, daemon, collect, short_video, tmp_path):
    def run(video=short_video, **sections):
        broker.start()
        unit = daemon(video, **sections)
        return Observed(unit, broker, collect(), tmp_path)

    return run


STATE = {
    "state",
    "state/outbox.db",
    "state/outbox.db.new",
    "state/outbox.db.new-journal",
    "state/outbox.db-journal",
    "state/outbox.db-wal",
    "state/homeassistant.json",
    "state/baseline.json",
}
"""All that a run may write: events, what Home Assistant was told, what is normal here."""


def test_by_default_no_pixel_leaves_memory(observe, probes):
    seen = observe()
    # no file but those known, wherever
    assert seen.made() <= STATE
    for path in seen.home.values():
        assert list(path.rglob("*")) == []
    # no picture in any byte written, to a file or to anybody
    assert len(probes) > 1000
    everything = b"\0".join(data for _, data in seen.trace.written)
    assert b"without_mask" in everything  # the looks do see what is written
    assert pictures_in(everything) == []
    assert [piece for piece in probes if piece in everything] == []
    assert max(len(data) for _, data in seen.trace.written) < LARGEST_WRITE
    assert len(everything) < ALL_WRITES
    for path in filter(Path.is_file, seen.unit.folder.rglob("*")):
        assert pictures_in(path.read_bytes()) == []
    # no file that another user of the machine may read
    state = seen.unit.folder / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}
    # no topic but those of the contract, no payload but words and JSON
    assert set(seen.messages) == TOPICS
    for topic, payloads in seen.messages.items():
        for payload in payloads:
            assert payload in {b"online", b"stopped"} or isinstance(json.loads(payload), dict), (
                topic
            )
            assert pictures_in(payload) == []
    assert seen.started["snapshot"] is None
    # nobody can call, nobody else is called, nothing else is started
    assert seen.listening == []
    assert seen.trace.listening == []
    assert seen.trace.connected == {str(seen.unit.settings["mqtt"]["port"])}
    assert {Path(program).name for program in seen.trace.programs} <= {Path(sys.executable).name}


def test_a_folder_gets_the_violators_picture_and_nobody_else_does(observe, tmp_path):
    folder = tmp_path / "pictures"
    seen = observe(snapshot={"folder": str(folder), "mode": "blurred"})
    (path,) = folder.iterdir()
    assert path.name.endswith(f"_without_mask_{seen.started['event_id']}.jpg")
    assert cv2.imread(str(path)).shape == (480, 640, 3)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert seen.made() - STATE == {str(folder), str(path), f"{path}.new"}
    elsewhere = b"\0".join(d for target, d in seen.trace.written if str(folder) not in target)
    assert pictures_in(elsewhere) == []
    assert pictures_in(seen.trace.bytes_to(str(folder)))  # so such looks do find a picture
    assert set(seen.messages) == TOPICS
    assert seen.started["snapshot"] is None
    assert seen.listening == []


def test_the_review_set_gets_uncertain_faces_and_nobody_else_does(observe, tmp_path):
    folder = tmp_path / "review"
    video = record_doubtful(tmp_path / "doubtful.avi", pause=1.0)
    seen = observe(video, review={"enabled": True, "folder": str(folder)})
    assert {path.suffix for path in folder.iterdir()} == {".jpg", ".json"}
    mine = {path for path in seen.made() if path.startswith(str(folder))}
    assert seen.made() - STATE == mine
    elsewhere = b"\0".join(d for target, d in seen.trace.written if str(folder) not in target)
    assert pictures_in(elsewhere) == []
    assert pictures_in(seen.trace.bytes_to(str(folder)))  # so such looks do find a picture
    assert set(seen.messages) == TOPICS
    assert seen.trace.connected == {str(seen.unit.settings["mqtt"]["port"])}
    assert seen.listening == []


def test_over_mqtt_the_picture_goes_to_the_broker_and_touches_no_disk(observe, short_video):
    seen = observe(snapshot={"mqtt": True})
    topic = f"maskedge/door/snapshot/{seen.started['event_id']}"
    assert [event["snapshot"] for event in seen.events] == [topic, None]
    assert set(seen.messages) == {*TOPICS, topic}
    (jpeg,) = seen.messages[topic]
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert 40 < picture.shape[0] < 300  # the face, not the hall
    # and it is the place that the event names, in one frame only: the one that was decided on
    box = Box(*seen.started["box"]).scaled(640, 480)
    differences = []
    camera = cv2.VideoCapture(str(short_video))
    while (frame := camera.read()[1]) is not None:
        there = cut_out(frame, box)
        height, width = (min(a, b) for a, b in zip(there.shape[:2], picture.shape[:2], strict=True))
        both = there[:height, :width].astype(float), picture[:height, :width]
        differences.append(float(np.abs(np.subtract(*both)).mean()))
    differences.sort()
    assert differences[0] < 4
    assert differences[1] > 2 * differences[0]
    assert seen.made() <= STATE
    for target, data in seen.trace.written:
        if not target.startswith("TCP:"):
            assert pictures_in(data) == [], target
    assert seen.listening == []


def test_the_status_page_listens_where_it_says_and_writes_nothing(observe):
    port = free_port()
    seen = observe(web={"enabled": True, "port": port})
    assert seen.listening == [("0100007F", port)]  # 127.0.0.1
    assert seen.made() <= STATE
    assert pictures_in(b"\0".join(data for _, data in seen.trace.written)) == []


def limits(pid):
    text = Path(f"/proc/{pid}/limits").read_text()
    return re.search(r"^Max core file size +(\S+) +(\S+)", text, re.MULTILINE).groups()


def unlimited():
    """A shell that allows core dumps, then becomes the program."""
    return ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh"]


def test_a_crash_leaves_no_core_dump(broker, daemon, short_video, tmp_path):
    broker.start()
    tpu = FakeTpu(tmp_path / "tpu.json")
    unit = daemon(
        short_video,
        camera={"loop": True},
        inference={"accelerator": "edgetpu", "device": tpu.device},
    )
    unit.under, unit.cwd = unlimited(), tmp_path / "cwd"
    unit.cwd.mkdir()
    unit.start(PYTHONPATH=str(Path(__file__).parents[2])).ready()
    (worker,) = children(unit.process.pid)
    assert limits(unit.process.pid) == limits(worker) == ("0", "0")
    unit.send(signal.SIGABRT)  # as systemd's watchdog does
    assert unit.wait() == -signal.SIGABRT
    assert list(unit.cwd.iterdir()) == []


def test_where_that_test_runs_a_crash_would_leave_a_core_dump(tmp_path):
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"core dumps go elsewhere here: {pattern}")
    crash = [*unlimited(), sys.executable, "-X", "faulthandler=0", "-c", "import os; os.abort()"]
    done = subprocess.run(crash, cwd=tmp_path, check=False, capture_output=True)
    if done.returncode != -signal.SIGABRT or b"ulimit" in done.stderr:
        pytest.skip("core dumps can't be allowed here")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("core")]
