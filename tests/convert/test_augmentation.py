"""Each thing that a camera and a detector do to a face happens in training, within bounds."""

import cv2
import numpy as np
import pytest

from convert.classifier.augment import _colour, _geometry, _sensor, augment

SEEDS = 300
SIDE = 160


def flat(value=128):
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def disc(radius=16):
    """A white disc in the middle of black."""
    square = flat(0)
    cv2.circle(square, (SIDE // 2, SIDE // 2), radius, (255, 255, 255), -1)
    return square


def many(square, size=64):
    return [augment(np.random.default_rng(seed), square, size) for seed in range(SEEDS)]


def grey(crop):
    return crop.astype(float).mean(2)


def test_half_of_the_faces_are_mirrored():
    square = flat(40)
    square[:, : SIDE // 2] = 200
    left = [g[:, :32].mean() > g[:, 32:].mean() for g in map(grey, many(square))]
    assert 0.4 < np.mean(left) < 0.6


def test_heads_turn_to_both_sides():
    square = flat(40)
    square[: SIDE // 2] = 200
    angles = []
    for picture in map(grey, many(square)):
        blurred = cv2.GaussianBlur(picture, (0, 0), 4)
        down, right = (slope[16:48, 16:48].sum() for slope in np.gradient(blurred))
        angles.append(np.degrees(np.arctan2(right, -down)))
    assert 6 < np.std(angles) < 30
    assert min(angles) < -15
    assert max(angles) > 15
    assert abs(np.median(angles)) < 5  # never on its head


def test_boxes_wander_and_zoom_as_a_detectors_do():
    centres, radii = [], []
    for picture in map(grey, many(disc())):
        rows, columns = np.nonzero(picture > (picture.max() + picture.min()) / 2)
        centres.append((rows.mean() / 64 - 0.5, columns.mean() / 64 - 0.5))
        radii.append(np.sqrt(len(rows)))
    assert (np.std(centres, axis=0) > 0.03).all()
    assert (np.abs(np.median(centres, axis=0)) < 0.02).all()
    assert 0.06 < np.std(np.log(radii)) < 0.25


def test_faces_have_as_few_pixels_as_at_a_door():
    shapes = [
        _geometry(np.random.default_rng(seed), flat(), 112, 0.2, 18.0).shape[0]
        for seed in range(SEEDS)
    ]
    assert min(shapes) == pytest.approx(18 * 1.4, abs=2)
    assert max(shapes) == 112
    assert 0.3 < np.mean(np.array(shapes) < 60) < 0.7


def test_light_and_its_colour_change():
    crops = np.array(many(flat()), float)
    means = crops.mean((1, 2))
    assert np.std(means.mean(1)) > 32
    assert np.std(np.log(means[:, 0] / means[:, 2])) > 0.04
    assert np.mean(means.mean(1) < 50) > 0.015  # a dark hall
    aside = np.abs(crops[:, :, 8:24].mean((1, 2, 3)) - crops[:, :, 40:56].mean((1, 2, 3)))
    assert 0.03 < np.mean(aside > 15) < 0.2  # a side in shadow


def test_contrast_and_gamma_change():
    scene = np.repeat(np.array([90, 110, 130], np.uint8), 20)[:, None, None].repeat(60, 1)
    levels = []
    for seed in range(SEEDS):
        changed = grey(_colour(np.random.default_rng(seed), scene.repeat(3, 2))).reshape(3, -1)
        if changed.std(1).max() < 0.5:  # no side in shadow
            levels.append(changed.mean(1))
    dark, middle, bright = np.transpose(levels)
    assert np.std((bright - dark) / (bright + dark)) > 0.065
    assert np.std((middle - dark) / (bright - dark)) > 0.009


def test_some_pictures_are_grey():
    square = flat()
    square[...] = (40, 90, 200)
    apart = [np.ptp(crop.astype(float).mean((0, 1))) for crop in many(square)]
    assert 0.05 < np.mean(np.array(apart) < 6) < 0.2


def sensed(picture):
    return [_sensor(np.random.default_rng(seed), picture.copy()) for seed in range(SEEDS)]


def test_some_pictures_are_out_of_focus_or_moved():
    board = np.kron(np.indices((20, 20)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8) * 80 + 80
    board = np.repeat(board[..., None], 3, 2)
    detail = cv2.Laplacian(board, cv2.CV_64F).var()
    soft = [cv2.Laplacian(p, cv2.CV_64F).var() / detail for p in sensed(board)]
    assert 0.25 < np.mean(np.array(soft) < 0.9) < 0.5
    assert np.mean(np.array(soft) < 0.1) > 0.05  # far out of focus, in all directions


def test_some_pictures_are_noisy():
    noisy = [picture.std() > 0.9 for picture in sensed(flat()[:80, :80])]
    assert 0.2 < np.mean(noisy) < 0.4


def test_some_pictures_were_jpegs():
    """JPEG halves the resolution of colour and leaves that of light."""
    rng = np.random.default_rng(0)
    picture = np.full((80, 80, 3), 128, np.uint8)
    picture[..., 0], picture[..., 2] = rng.integers(60, 200, (2, 80, 80))

    def colour(pixels):
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(float).std()

    def light(pixels):
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)[..., 0].astype(float).std()

    coded = [
        colour(p) < 0.6 * colour(picture) and light(p) > 0.8 * light(picture)
        for p in sensed(picture)
    ]
    assert 0.15 < np.mean(coded) < 0.45


def test_something_is_before_a_small_part_of_some_faces():
    edges = []
    for crop in many(flat()):
        smooth = cv2.medianBlur(crop, 5).astype(np.float64)  # no noise is as steep as an edge
        steep = np.abs(np.gradient(smooth, axis=(0, 1))).max((0, 3)) > 15
        edges.append(steep.mean())
    assert 0.03 < np.mean(np.array(edges) > 0) < 0.15
    assert max(edges) < 0.3
