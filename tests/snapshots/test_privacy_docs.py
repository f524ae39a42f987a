"""What docs/privacy.md shows works, and says what is so."""

import re
import subprocess
from pathlib import Path

import yaml
from mosquitto import PATIENCE, Mosquitto, wait_for

from maskedge.config import SnapshotConfig
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.snapshots import conceal, folder, maker, sender
from maskedge.snapshots.sender import SnapshotSender

TEXT = (Path(__file__).parents[2] / "docs/privacy.md").read_text(encoding="utf-8")


def test_its_settings_are_the_defaults():
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    shown = yaml.safe_load(block)["snapshot"]
    assert shown == SnapshotConfig().model_dump()


def test_its_figures_are_those_of_the_code():
    assert f"A JPEG of {maker.MAX_BYTES // 1000} kB at most" in TEXT
    assert f"the newest {sender.MOST} wait in memory" in TEXT
    assert f"{folder.KEEP_FREE // 10**6} MB of the disk are left free" in TEXT
    assert f"({conceal.BACKGROUND_CELLS} cells along the longer side)" in TEXT
    assert conceal.FACE_CELLS == 4
    assert "replaced by four averages across" in TEXT
    assert maker.SWEEP == 600
    assert "deleted within ten minutes" in TEXT


def test_its_command_fetches_a_picture(tmp_path):
    broker = Mosquitto(tmp_path)
    (line,) = [line for line in TEXT.splitlines() if line.endswith("> violation.jpg")]
    line = line.replace("-h broker.local", f"-h 127.0.0.1 -p {broker.port}")
    pictures = SnapshotSender(lambda _: None)
    outbox = Outbox(tmp_path / "outbox.db")
    broker.start()
    publisher = Publisher(broker.client(), "maskedge/door", outbox, guests=[pictures])
    pictures.listener = publisher.wake
    try:
        fetch = subprocess.Popen(["sh", "-c", line], cwd=tmp_path)
        wait_for(lambda: "SUBACK" in broker.log(), "the subscriber")
        publisher.start()
        pictures.put("maskedge/door/snapshot/one", b"\xff\xd8 picture \n\0 \xff\xd9")
        assert fetch.wait(PATIENCE) == 0
    finally:
        publisher.close(1.0)
        outbox.close()
        broker.kill()
    assert (tmp_path / "violation.jpg").read_bytes() == b"\xff\xd8 picture \n\0 \xff\xd9"
