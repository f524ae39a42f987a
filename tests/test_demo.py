"""The demo's scene on a machine too slow for it."""

import time

import cv2
import pytest

from maskedge import scene
from maskedge.camera.guard import CameraGuard
from maskedge.commands import demo


@pytest.fixture
def not_drawn():
    """Nothing of the scene is drawn yet, whatever ran before."""
    for drawn in (scene._person, scene._silhouette, scene.hall):
        drawn.cache_clear()


@pytest.mark.usefixtures("not_drawn")
def test_its_camera_opens_without_cutting_out_the_person(monkeypatch):
    camera = demo.scene()
    monkeypatch.delattr(cv2, "grabCut")
    camera.open()
    assert camera.read().number == 0


def test_a_machine_slower_than_real_time_misses_no_frame():
    numbers = []
    with CameraGuard(demo.scene) as guard:
        while len(numbers) < 4:
            if (frame := guard.wait(1)) is not None:
                numbers.append(frame.number)
                time.sleep(0.25)  # the networks', of a scene with ten frames a second
    assert numbers == [0, 1, 2, 3]
