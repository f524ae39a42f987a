"""The review set of a real daemon: for its owner only, and told when it can't be kept."""

from __future__ import annotations

import stat

import cv2
import pytest
from mosquitto import wait_for
from recording import record_doubtful

from maskedge.review.folder import ReviewFolder


@pytest.fixture(scope="session")
def doubtful_video(tmp_path_factory):
    return record_doubtful(tmp_path_factory.mktemp("scene") / "doubtful.avi")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def codes(health):
    return {fault["code"] for fault in health.get("faults", [])}


def test_uncertain_faces_are_kept_for_their_owner_only(broker, daemon, doubtful_video):
    broker.start()
    unit = daemon(doubtful_video, review={"enabled": True})
    assert unit.start().wait() == 0
    folder = unit.folder / "state" / "review"
    assert f"uncertain faces are kept in {folder}: at most 100 MB, 30 days" in unit.log
    items = ReviewFolder(folder).items()
    assert 1 <= len(items) <= 2
    assert mode(folder) == 0o700
    files = list(folder.iterdir())
    assert {mode(path) for path in files} == {0o600}
    assert len(files) == 2 * len(items)
    for item in items:
        pixels = cv2.imread(str(folder / f"{item.name}.jpg"))
        assert pixels.shape == (item.record.height, item.record.width, 3)
        box = item.record.box
        assert box.size > 0.4 * item.record.width
        face = pixels[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)].astype(float)
        assert face[..., 2].mean() > face[..., 0].mean() + 10  # skin is red, not blue


def test_a_folder_that_cannot_be_written_is_a_fault_and_the_daemon_runs_on(
    broker, daemon, health, doubtful_video, tmp_path
):
    broker.start()
    (tmp_path / "file").write_bytes(b"")
    unit = daemon(
        doubtful_video,
        camera={"loop": True},
        review={"enabled": True, "folder": str(tmp_path / "file" / "review")},
    )
    unit.start().ready()
    wait_for(lambda: "review_unwritable" in codes(health()), "the fault")
    (fault,) = (f for f in health()["faults"] if f["code"] == "review_unwritable")
    assert "can't be written: Not a directory" in fault["message"]
    assert health()["status"] == "degraded"
    frames = health()["counters"]["frames"]
    wait_for(lambda: health()["counters"]["frames"] > frames + 5, "work being done")
    unit.configure({**unit.settings, "review": {"enabled": False}})
    wait_for(lambda: "review_unwritable" not in codes(health()), "the fault cleared")
    assert "cleared review_unwritable" in unit.log
    assert unit.process.poll() is None
