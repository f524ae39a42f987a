"""What one frame costs in copies: the real networks, from the camera's pixels to the scores."""

from __future__ import annotations

import pytest

from maskedge.bench.pictures import crowd as crowd_of
from maskedge.camera.frame import ChannelOrder
from maskedge.vision import letterbox, motion

EVERY_FRAME = {"min_face": 8, "min_sharpness": 0, "reclassify": 0.001}
SIZE = (1920, 1080)


@pytest.fixture(scope="module")
def crowd():
    return crowd_of(*SIZE, 4)[..., ::-1].copy()


def test_the_steady_state_allocates_nothing_of_a_frames_size(crowd, open_line, peak):
    line = open_line(verdict=EVERY_FRAME)
    results = [line.step(crowd, ChannelOrder.BGR) for _ in range(5)]
    assert results[-1].classified == 4

    def step():
        assert line.step(crowd, ChannelOrder.BGR).classified == 4

    small = 320 * 180 * 3  # the least that a copy of the picture would take
    assert peak(step) < small


@pytest.mark.parametrize("faces", [0, 4])
def test_each_frame_is_shrunk_once_for_gate_and_detector(faces, open_line, monkeypatch):
    picture = crowd_of(*SIZE, faces)
    line = open_line(verdict=EVERY_FRAME, detector={"input": 320}, motion={"refresh": 1e-6})
    sizes, watched = [], []

    def counted(pixels, target, *rest, **how):
        sizes.append(pixels.shape)
        return shrink(pixels, target, *rest, **how)

    shrink = letterbox.shrink
    monkeypatch.setattr(letterbox, "shrink", counted)
    moved = motion.MotionGate.moved
    monkeypatch.setattr(
        motion.MotionGate,
        "moved",
        lambda gate, frame, now: (
            watched.append((frame.width, frame.height)) or moved(gate, frame, now)
        ),
    )
    assert [line.step(picture).looked for _ in range(3)] == [True] * 3

    assert sizes == [picture.shape] * 3
    assert watched == [(320, 180)] * (1 if faces else 3)  # who is watched needs no gate
