"""Drawing: readable by everybody, in place, and never outside the picture."""

import itertools

import cv2
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
    annotate.draw(picture, [annotate.Mark(Box(100, 100, 180, 200), label, "x")])
    assert tuple(picture[150, 100][::-1]) == annotate.COLOURS_RGB[label]
    assert tuple(picture[150, 140]) == (128, 128, 128)  # the face itself stays visible


@pytest.mark.parametrize(
    "box", [Box(0, 0, 319, 239), Box(-50, -50, 20, 20), Box(300, 220, 400, 300), Box(5, 5, 5, 5)]
)
def test_boxes_at_and_over_the_edges_do_no_harm(box):
    picture = grey()
    annotate.draw(picture, [annotate.Mark(box, "with_mask", "#1 with_mask 100%")])
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


def test_captions():
    assert annotate.caption("with_mask", 0.974) == "with_mask 97%"
    assert annotate.caption("without_mask", 1.0, 3) == "#3 without_mask 100%"


# Linear RGB as seen with no green, red or blue cones at all: Machado, Oliveira and Fernandes,
# "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
SEEN = {
    "everybody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.mark.parametrize("eyes", SEEN)
def test_colour_blind_people_can_tell_the_colours_apart(eyes):
    labels = list(annotate.COLOURS_RGB)
    linear = (np.array(list(annotate.COLOURS_RGB.values())) / 255) ** 2.2
    seen = np.clip(linear @ np.array(SEEN[eyes]).T, 0, 1).astype(np.float32)
    lab = dict(zip(labels, cv2.cvtColor(seen[None], cv2.COLOR_LRGB2Lab)[0], strict=True))
    for one, other in itertools.combinations(labels, 2):
        # 2.3 is a just noticeable difference (CIE 1976).
        assert np.linalg.norm(lab[one] - lab[other]) > 25, (one, other)


@pytest.mark.parametrize("colour", annotate.COLOURS_RGB.values())
def test_text_stands_out_from_its_colour(colour):
    def luminance(rgb):
        return (np.array(rgb) / 255) ** 2.2 @ (0.2126, 0.7152, 0.0722) + 0.05

    dark, light = sorted((luminance(colour), luminance(annotate._ink(colour))))
    assert light / dark >= 4.5  # WCAG 2.2, level AA
