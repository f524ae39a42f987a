from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.vision.letterbox import PADDING, Letterbox, place

sides = st.integers(1, 4096)
inputs = st.sampled_from([(320, 320), (256, 320), (192, 320), (512, 640)])


def frame(height, width, order=ChannelOrder.RGB, colour=(255, 128, 0)):
    return Frame(np.full((height, width, 3), colour, np.uint8), order, 0.0)


def written(box, shot):
    """Where the frame lies, and an input that held something else before."""
    picture = np.full((box.height, box.width, 3), 3, np.uint8)
    return box.write(shot, picture), picture


@given(height=sides, width=sides, size=inputs)
def test_the_frame_fits_and_touches_two_opposite_sides(height, width, size):
    placement = place((height, width), size)

    assert 1 <= placement.height <= size[0]
    assert 1 <= placement.width <= size[1]
    assert placement.height == size[0] or placement.width == size[1]


@given(height=st.integers(16, 4096), width=st.integers(16, 4096), size=inputs)
def test_boxes_come_back_to_where_they_were(height, width, size):
    placement = place((height, width), size)
    box = np.array([[0, 0, placement.width, placement.height]], np.float32)

    np.testing.assert_allclose(placement.to_frame(box), [[0, 0, width, height]], rtol=1e-5)


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (1920, 1080), (2, 3), (37, 641)])
def test_a_frame_fills_its_part_and_the_rest_is_grey(shape):
    placement, picture = written(Letterbox(256, 320), frame(*shape))

    assert (placement.of(picture) == (255, 128, 0)).all()
    assert (picture[placement.height :] == PADDING).all()
    assert (picture[:, placement.width :] == PADDING).all()


def test_nothing_of_an_earlier_frame_of_another_shape_remains():
    box = Letterbox(256, 320)
    _, picture = written(box, frame(480, 640))
    placement = box.write(frame(640, 480), picture)

    assert (picture[:, placement.width :] == PADDING).all()


@pytest.mark.parametrize("wanted", list(ChannelOrder))
@pytest.mark.parametrize("given_order", list(ChannelOrder))
def test_colours_come_in_the_order_that_the_network_wants(given_order, wanted):
    box = Letterbox(64, 64, wanted)
    red_first = (255, 128, 0)
    stored = red_first if given_order is ChannelOrder.RGB else red_first[::-1]
    _, picture = written(box, frame(64, 64, given_order, stored))

    expected = red_first if wanted is ChannelOrder.RGB else red_first[::-1]
    assert tuple(picture[10, 10]) == expected


def test_the_frame_itself_is_never_changed():
    shot = Frame(
        np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8), ChannelOrder.BGR, 0.0
    )
    before = shot.pixels.copy()
    written(Letterbox(64, 64), shot)

    assert (shot.pixels == before).all()


def test_of_a_much_larger_frame_every_second_row_is_never_read():
    pixels = np.random.default_rng(2).integers(0, 256, (4 * 192, 4 * 320, 3), np.uint8)
    other = pixels.copy()
    other[1::2] = 255 - other[1::2]
    box = Letterbox(192, 320)
    one, same = (written(box, Frame(p, ChannelOrder.RGB, 0.0))[1] for p in (pixels, other))

    assert (one == same).all()


@settings(max_examples=20)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_a_frame_may_be_a_view_with_gaps_between_its_rows(height, width):
    whole = np.random.default_rng(1).integers(0, 256, (320, 320, 3), np.uint8)
    view = whole[:height, :width]
    box = Letterbox(96, 128)
    _, one = written(box, Frame(view, ChannelOrder.BGR, 0.0))
    _, other = written(box, Frame(view.copy(), ChannelOrder.BGR, 0.0))

    assert (one == other).all()


def test_a_4k_frame_costs_no_frame_sized_memory(peak):
    box, shot = Letterbox(192, 320), frame(2160, 3840)
    _, picture = written(box, shot)

    assert peak(lambda: box.write(shot, picture)) < 100_000
