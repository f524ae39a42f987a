"""What is sent of a frame."""

import asyncio
import json

import cv2
import numpy as np
import pytest
from webloop import configuration

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.geometry import Box
from maskedge.pipeline import FrameResult, PersonView
from maskedge.vision.base import Face
from maskedge.web import picture
from maskedge.web.hub import Hub, View
from maskedge.web.picture import Pictures, describe, encode

CONFIG = Config()


def view(pixels, order=ChannelOrder.RGB, **result):
    return View(3, Frame(pixels, order, 0.0), FrameResult(looked=True, **result))


def person(number, box, label="with_mask"):
    return PersonView(number, box, label, 0.91234, seen=True, violation=None)


@pytest.mark.parametrize("order", list(ChannelOrder))
def test_colours_arrive_as_they_are(order):
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[...] = (220, 60, 20) if order is ChannelOrder.RGB else (20, 60, 220)
    got = cv2.imdecode(np.frombuffer(encode(view(pixels, order), 640, CONFIG).jpeg, np.uint8), 1)
    assert np.abs(got[60, 80].astype(int) - (20, 60, 220)).max() < 8


def test_a_wide_picture_is_made_smaller_and_a_small_one_is_left():
    def size(pixels):
        jpeg = np.frombuffer(encode(view(pixels), 640, CONFIG).jpeg, np.uint8)
        return cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape

    assert size(np.zeros((1080, 1920, 3), np.uint8)) == (360, 640, 3)
    assert size(np.zeros((100, 200, 3), np.uint8)) == (100, 200, 3)


def test_the_frame_itself_is_never_changed(noise):
    before = noise.copy()
    encode(view(noise, persons=(person(1, Box(0, 0, 50, 50)),)), 320, CONFIG)
    assert (noise == before).all()


def test_boxes_are_relative_and_sizes_are_the_cameras_pixels():
    said = describe(
        view(np.zeros((480, 640, 3), np.uint8), persons=(person(4, Box(64, -10, 128, 96)),)),
        CONFIG,
    )
    assert said["persons"] == [
        {
            "box": [0.1, 0.0, 0.2, 0.2], "size": 106, "id": 4, "label": "with_mask",
            "confidence": 0.912, "seen": True, "told": False,
        }
    ]  # fmt: skip
    assert (said["width"], said["height"], said["min_face"]) == (640, 480, 48)


def test_faces_that_are_persons_are_not_told_twice():
    known, stranger = Box(10, 10, 60, 60), Box(200, 200, 230, 230)
    frame = np.zeros((480, 640, 3), np.uint8)
    faces = (Face(known, 0.9), Face(stranger, 0.6))
    assert len(describe(view(frame, faces=faces), CONFIG)["faces"]) == 2
    (left,) = describe(view(frame, faces=faces, persons=(person(1, known),)), CONFIG)["faces"]
    assert left["size"] == 30


def test_areas_that_are_ignored_are_told(noise):
    config = Config.model_validate({"tracker": {"ignore": [[0.5, 0, 1, 0.25]]}})
    assert json.loads(encode(view(noise), 640, config).description)["ignored"] == [
        [0.5, 0, 1, 0.25]
    ]


def test_the_last_picture_is_forgotten_when_nobody_asks_any_more(noise, monkeypatch):
    monkeypatch.setattr(picture, "WATCH", 0.1)
    hub = Hub(configuration())
    hub.watch()
    hub.frame(Frame(noise, ChannelOrder.RGB, 0.0), FrameResult())

    async def forgotten(pictures):
        while pictures._encoded is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)

    async def scenario():
        pictures = Pictures(hub, hub.config.web, asyncio.Event())
        first = await pictures.after(0)
        assert await pictures.after(0) is first  # encoded once
        await forgotten(pictures)
        assert (await pictures.after(0)).jpeg == first.jpeg
        await forgotten(pictures)

    asyncio.run(asyncio.wait_for(scenario(), 30))
