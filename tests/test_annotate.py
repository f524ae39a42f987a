"""Drawing: readable, in place, and never outside the picture."""

import numpy as np
import pytest

from maskedge import annotate
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.geometry import Box


def grey(height=240, width=320):
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("label", ["with_mask", "without_mask", "incorrect_mask", "unsure"])
def test_a_box_is_drawn_in_the_colour_of_its_label(label):
    picture = grey()
    annotate.draw(picture, [(Box(100, 100, 180, 200), label, 0.9)])
    assert tuple(picture[150, 100][::-1]) == annotate.COLOURS_RGB[label]
    assert tuple(picture[150, 140]) == (128, 128, 128)  # the face itself stays visible


@pytest.mark.parametrize(
    "box", [Box(0, 0, 319, 239), Box(-50, -50, 20, 20), Box(300, 220, 400, 300), Box(5, 5, 5, 5)]
)
def test_boxes_at_and_over_the_edges_do_no_harm(box):
    picture = grey()
    annotate.draw(picture, [(box, "with_mask", 1.0)])
    assert picture.shape == (240, 320, 3)


def test_the_frame_itself_is_not_painted():
    pixels = grey()
    for order in ChannelOrder:
        copy = annotate.to_bgr(Frame(pixels, order, 0.0))
        copy[:] = 0
    assert (pixels == 128).all()


def test_channel_order():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 0] = 255
    assert tuple(annotate.to_bgr(Frame(pixels, ChannelOrder.RGB, 0.0))[0, 0]) == (0, 0, 255)
    assert tuple(annotate.to_bgr(Frame(pixels, ChannelOrder.BGR, 0.0))[0, 0]) == (255, 0, 0)
