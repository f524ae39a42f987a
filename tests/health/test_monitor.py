"""What the monitor sees once a second, and tells."""

import pytest

from maskedge.camera.status import CameraState, CameraStatus
from maskedge.config import Config
from maskedge.delivery.mqtt import PublisherStatus
from maskedge.delivery.outbox import OutboxStatus
from maskedge.health.monitor import Monitor, Parts
from maskedge.signals.local import SignalsStatus


class Told:
    """Keeps the newest ``health``."""

    def publish_state(self, payload):
        pass

    def publish_health(self, payload):
        self.health = payload

    def falling_behind(self):
        return "falling_behind" in {fault["code"] for fault in self.health["faults"]}


def parts(now, dropped):
    return Parts(
        camera=CameraStatus("cam", CameraState.STREAMING, now, dropped=dropped),
        broker=PublisherStatus(
            connected=True, since=0.0, code=None, last_error=None, in_flight=0, sent=0,
            acknowledged=0, resent=0, connects=1,
        ),
        outbox=OutboxStatus(0, 0, None, 0, None, None),
        backend={},
        models={},
        accelerator_fault=None,
        scene=frozenset(),
        config_error=None,
        signals=SignalsStatus(),
    )  # fmt: skip


@pytest.mark.parametrize("gap", [1, 60], ids=["at the start", "after a minute without a frame"])
def test_a_burst_of_buffered_frames_is_not_falling_behind_but_what_lasts_is(gap):
    told = Told()
    monitor = Monitor(Config(), told, 0.0)
    monitor.look(parts(0.0, 0), 0.0, force=True)
    dropped, behind = 0, []
    for now in range(gap, gap + 40):
        dropped += 40 if now == gap + 1 else 0  # all at once
        dropped += 15 if now >= gap + 20 else 0  # from now on
        monitor.metrics.count("frames", 10)
        monitor.look(parts(float(now), dropped), float(now), force=True)
        behind.append(told.falling_behind())
    assert not any(behind[:20])
    assert all(behind[30:])
