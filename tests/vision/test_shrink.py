from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskedge.vision.shrink import Scratch, shrink

FULL_HD = (1080, 1920, 3)


def shrunk(pixels, height, width, **how):
    target = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    shrink(pixels, target, Scratch(), **how)
    return target


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    wanted=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    skip_rows=st.booleans(),
)
def test_a_plain_colour_stays_what_it_is_at_any_size(size, wanted, skip_rows):
    pixels = np.full((*size, 3), (250, 128, 3), np.uint8)

    assert (shrunk(pixels, *wanted, skip_rows=skip_rows) == (250, 128, 3)).all()


@pytest.mark.parametrize(("wanted", "near"), [((180, 320), 1), ((360, 640), 1), ((61, 107), 4)])
@pytest.mark.parametrize("skip_rows", [False, True])
def test_it_is_near_the_mean_of_the_area(wanted, near, skip_rows):
    rough = np.random.default_rng(0).integers(0, 256, (17, 30, 3), np.uint8)
    pixels = cv2.resize(rough, FULL_HD[1::-1], interpolation=cv2.INTER_CUBIC)
    exact = cv2.resize(pixels, wanted[::-1], interpolation=cv2.INTER_AREA)

    off = np.abs(shrunk(pixels, *wanted, skip_rows=skip_rows).astype(int) - exact)
    assert off.mean() < near


@pytest.mark.parametrize("factor", [2, 4, 6, 8])
def test_fine_patterns_become_grey_instead_of_stripes(factor):
    stripes = np.zeros((96 * factor, 96 * factor, 3), np.uint8)
    stripes[:, ::2] = 255

    assert np.abs(shrunk(stripes, 96, 96).astype(int) - 128).max() <= 1
    assert np.abs(shrunk(stripes, 96, 96, skip_rows=True).astype(int) - 128).max() <= 1


def test_noise_is_averaged():
    noise = np.random.default_rng(1).normal(128, 20, (480, 640)).astype(np.uint8)

    assert shrunk(noise, 60, 80).std() == pytest.approx(20 / 8, rel=0.1)


def test_one_channel_and_gaps_between_rows():
    whole = np.random.default_rng(2).integers(0, 256, (400, 500), np.uint8)
    view = whole[::2, 3:403]

    assert (shrunk(view, 50, 60) == shrunk(view.copy(), 50, 60)).all()


def test_the_picture_itself_is_never_changed():
    pixels = np.random.default_rng(3).integers(0, 256, (300, 200, 3), np.uint8)
    before = pixels.copy()
    shrunk(pixels, 20, 30, skip_rows=True)

    assert (pixels == before).all()


def test_the_steady_state_allocates_nothing_of_the_pictures_size(peak):
    pixels, target = np.zeros(FULL_HD, np.uint8), np.zeros((180, 320, 3), np.uint8)
    scratch = Scratch()
    shrink(pixels, target, scratch)

    assert peak(lambda: shrink(pixels, target, scratch)) < 10_000
