"""The made scene: what the demo and other tests stand on."""

import numpy as np
import pytest

from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.errors import CameraError, EndOfStream
from maskedge.scene import FACE, SceneCamera, Visit, Wearing, draw, hall, portrait, wear


def frames(camera):
    camera.open()
    while True:
        try:
            yield camera.read()
        except EndOfStream:
            return


def test_it_is_a_camera():
    assert isinstance(SceneCamera(), Camera)


def test_unpaced_it_gives_every_frame_of_its_duration_and_ends():
    camera = SceneCamera((Visit(Wearing.BARE, seconds=1.0),), fps=5, pause=1.0, realtime=False)
    got = list(frames(camera))
    assert [frame.number for frame in got] == list(range(16))
    assert [frame.time for frame in got] == pytest.approx([n / 5 for n in range(16)])
    assert {frame.order for frame in got} == {ChannelOrder.RGB}
    assert {frame.pixels.shape for frame in got} == {(480, 640, 3)}


def test_paced_it_waits_for_each_frame_by_its_clock():
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    camera = SceneCamera((), fps=10, pause=0.3, clock=lambda: now[0], sleep=sleep)
    assert [f.time for f in frames(camera)] == pytest.approx([100.0, 100.1, 100.2, 100.3])
    assert sum(slept) == pytest.approx(0.3)


def test_the_hall_is_empty_before_and_after_a_visit():
    camera = SceneCamera((Visit(Wearing.BARE, seconds=1.0),), fps=10, pause=1.0, realtime=False)
    got = list(frames(camera))
    assert np.array_equal(got[0].pixels, hall(640, 480))
    assert np.array_equal(got[-1].pixels, hall(640, 480))
    assert not np.array_equal(got[15].pixels, hall(640, 480))


def test_masks_cover_what_they_should():
    bare, masked, nose_out = (wear(w).astype(int) for w in Wearing)
    nose, mouth, eyes = (slice(118, 130), slice(212, 228)), (slice(140, 148), slice(205, 235)), None
    eyes = (slice(92, 104), slice(190, 255))
    assert (bare == portrait()).all()
    assert np.abs(masked - bare)[nose].mean() > 20
    assert np.abs(masked - bare)[mouth].mean() > 20
    assert np.abs(nose_out - bare)[nose].mean() < 1
    assert np.abs(nose_out - bare)[mouth].mean() > 20
    assert np.abs(masked - bare)[eyes].mean() < 1


def test_the_face_has_the_asked_height():
    visit = Visit(Wearing.BARE, face=110)
    changed = np.abs(draw(hall(640, 480), visit, 0.5).astype(int) - hall(640, 480)).sum(2) > 60
    top = np.flatnonzero(changed.any(1))[0]
    scale = 110 / FACE.height
    assert 480 - top == pytest.approx((512 - 14) * scale, rel=0.05)


def test_reading_a_closed_scene_is_a_camera_error():
    with pytest.raises(CameraError):
        SceneCamera().read()
