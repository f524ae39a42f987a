from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge.config import Config
from maskedge.modelfile import models_dir
from maskedge.vision.inputs import LEAST_FACE, SHIPPED, SIDES, Size, View, best_size, side_for
from maskedge.vision.letterbox import place

lengths = st.integers(1, 8000)


@pytest.mark.parametrize(
    ("frame", "min_face", "side"),
    [
        ((480, 640), 48, 320),
        ((720, 1280), 48, 480),
        ((1080, 1920), 48, 640),
        ((1920, 1080), 48, 640),
        ((2160, 3840), 48, 640),  # too far for any: the largest
        ((1080, 1920), 120, 320),
        ((480, 640), 20, 640),
    ],
)
def test_the_least_side_that_shows_the_smallest_face(frame, min_face, side):
    assert side_for(frame, min_face, SIDES) == side


@given(height=lengths, width=lengths, min_face=st.integers(8, 2000))
def test_no_smaller_side_would_do_and_a_larger_one_is_not_needed(height, width, min_face):
    side = side_for((height, width), min_face, SIDES)
    kept = {s: s * min_face / max(height, width) for s in SIDES}

    assert kept[side] >= LEAST_FACE or side == max(SIDES)
    assert all(kept[s] < LEAST_FACE for s in SIDES if s < side)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((480, 640), (320, 256)),
        ((720, 1280), (320, 192)),
        ((1080, 1920), (320, 192)),
        ((640, 480), (320, 320)),
        ((400, 400), (320, 320)),
        ((427, 640), (320, 256)),
    ],
)
def test_each_frame_takes_the_smallest_input_that_shrinks_it_no_further(shape, size):
    assert best_size(shape, [s for s in SHIPPED if s.long == 320]) == size


@given(height=lengths, width=lengths, side=st.sampled_from(SIDES))
def test_no_input_of_the_side_shows_the_frame_larger(height, width, side):
    sizes = [s for s in SHIPPED if s.long == side]
    best = best_size((height, width), sizes)
    shown = {s: place((height, width), (s.height, s.width)).width for s in sizes}

    assert shown[best] == max(shown.values())


def test_every_size_has_its_file():
    files = {path.stem for path in models_dir().glob("face_detector_*.tflite")}

    assert {f"face_detector_{size}" for size in SHIPPED} <= files


@pytest.mark.parametrize(
    ("rotate", "expected"), [(0, (1280, 720)), (90, (720, 1280)), (180, (1280, 720))]
)
def test_what_a_camera_will_show(rotate, expected):
    camera = {"width": 1280, "height": 720, "rotate": rotate}
    config = Config.model_validate({"camera": camera, "verdict": {"min_face": 60}})

    assert View.of(config) == (*expected, 60)
    assert View.of(config, (1920, 1080)) == (1920, 1080, 60)


def test_a_size_reads_as_the_files_are_named():
    assert str(Size(320, 192)) == "320x192"
