"""What the whole daemon writes to its disk: an SD card's life is counted in writes."""

from pathlib import Path

import pytest
from live_camera import visits
from mosquitto import PATIENCE, wait_for


def written(pid):
    """Bytes that a process has had written to storage, whole pages, files of its log included."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


@pytest.mark.slow
def test_nothing_is_written_while_nothing_happens_and_an_alert_costs_little(
    broker, daemon, collect, health, camera, report
):
    broker.start()
    collector = collect()
    camera.frames = visits()[:35]  # the empty hall, with a sensor's noise
    unit = daemon(camera.url).start().ready()
    pid, state = unit.process.pid, unit.folder / "state"

    def frames():
        return health().get("counters", {}).get("frames", 0)

    wait_for(lambda: (state / "homeassistant.json").exists() and frames() >= 20, "work")
    before, begun = written(pid), frames()
    files = {path: path.stat().st_mtime_ns for path in state.iterdir()}
    wait_for(lambda: frames() >= begun + 60, "60 frames of nobody", 2 * PATIENCE)
    assert written(pid) == before
    assert {path: path.stat().st_mtime_ns for path in state.iterdir()} == files

    camera.frames = visits(seconds=2.5, pause=2.5)
    wait_for(lambda: len(collector.events) >= 8, "8 events", 2 * PATIENCE)
    wait_for(lambda: health()["outbox"]["pending"] == 0, "all acknowledged")
    cost = (written(pid) - before) / len(collector.events)
    report("an event, stored, delivered and deleted, log included", cost / 1024, "KiB")
    if not cost:
        pytest.skip("the folder of this test is no disk: only the files were looked at")
    assert cost < 48 * 1024
