import cv2
import numpy as np
import pytest
from drawn_people import draw_person, landmarks, write_set

from convert.classifier.augment import augment, plain
from convert.classifier.data import (
    INCORRECT,
    WITH,
    WITHOUT,
    CropStore,
    Sample,
    build_store,
    coco_samples,
    folder_samples,
    near_groups,
)
from convert.classifier.drawn import FaceFrame, draw_mask
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.geometry import Box
from maskedge.vision.likeness import picture_hash
from maskedge.vision.masks import square_crop


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(seed, side=200):
    return cv2.resize(noise(8, 8, seed), (side, side), interpolation=cv2.INTER_CUBIC)


def bare_square(side=160, seed=0):
    """A stored square: the face is its middle half."""
    square = np.full((side, side, 3), 90, np.uint8)
    draw_person(square, side // 4, side // 4, side // 2, "without", np.random.default_rng(seed))
    return square


@pytest.fixture
def store(tmp_path):
    coco = write_set(tmp_path, "train", 6)
    samples = list(coco_samples(coco, tmp_path / "train", validation=False))
    return build_store(samples, tmp_path / "crops", None)


def test_a_shrunk_and_reencoded_picture_is_near_and_another_is_not():
    picture = smooth(1)
    small = cv2.resize(picture, (90, 90), interpolation=cv2.INTER_AREA)
    again = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    hashes = np.array([picture_hash(p) for p in (picture, smooth(2), again)], np.uint64)
    groups = near_groups(hashes)
    assert groups[0] == groups[2] != groups[1]


def test_groups_are_transitive():
    base = 0x0123456789ABCDEF
    chain = np.array([base, base ^ 0b11111, base ^ 0b1111111111], np.uint64)
    assert len(set(near_groups(chain))) == 1
    assert len(set(near_groups(chain[[0, 2]]))) == 2


def test_many_pictures_of_a_fixed_camera_are_one_group_soon():
    rng = np.random.default_rng(1)
    flips = np.uint64(1) << rng.integers(0, 64, (10_000, 3), np.uint64)
    hashes = np.bitwise_xor.reduce(flips, axis=1)  # pair by pair it takes many minutes
    others = ~hashes[:100]
    groups = near_groups(np.concatenate([others[:50], hashes, others[50:]]))
    assert set(groups[50:-50]) == {50}
    assert set(groups[:50]) == set(groups[-50:]) == {0}


def test_store_gives_back_each_face(store):
    assert len(store.records) == 18
    assert set(store.records["allowed"]) == {WITH, WITHOUT, INCORRECT}
    record = store.records[0]
    square = store.square(0)
    assert square.shape == (record["side"],) * 2 + (3,)
    assert abs(int(record["side"]) - 2 * record["face"]) <= 1


def test_store_keeps_faces_of_a_kind_that_allows_two_classes(tmp_path):
    folder = tmp_path / "crops" / "not_covered"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.jpg"), noise(100, 100))
    (folder / "b.jpg").write_bytes(b"no picture")
    samples = list(folder_samples(folder, WITHOUT | INCORRECT, "not_covered", margin=0.1))
    store = build_store(samples, tmp_path / "store", None)
    assert store.records["allowed"].tolist() == [WITHOUT | INCORRECT]
    assert store.records["face"][0] == pytest.approx(80)


def test_validation_sees_what_the_runtime_sees(tmp_path):
    """One crop convention: the stored square, cropped plainly, is the runtime's own crop."""
    picture = smooth(3, 400)
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    box = Box(150, 160, 200, 220)
    sample = Sample(tmp_path / "p.png", box, WITH, "with", "s", validation=True)
    store = build_store([sample], tmp_path / "store", None)
    stored = plain(store.square(0), 112, 0.2)
    frame = Frame(picture, ChannelOrder.BGR, 0.0)
    direct = square_crop(frame.pixels, box, 112, 0.2)[..., ::-1]
    assert np.abs(stored.astype(int) - direct).mean() < 1.5


def test_augmented_crops_differ_and_repeat_with_the_seed():
    square = bare_square()
    one, two, again = (augment(np.random.default_rng(s), square, 64) for s in (1, 2, 1))
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)


def test_augmentation_survives_the_smallest_face():
    for seed in range(60):
        assert augment(np.random.default_rng(seed), noise(24, 24, seed), 112).shape[0] == 112


def test_augmentation_keeps_the_channel_order():
    square = np.zeros((100, 100, 3), np.uint8)
    square[..., 0] = 220  # blue, as OpenCV reads
    means = np.mean(
        [augment(np.random.default_rng(s), square, 32).mean((0, 1)) for s in range(40)], 0
    )
    assert means[2] > means[0]


def covered(before, after, point):
    """How much a mask changed the picture around a landmark."""
    x, y = (point * before.shape[0]).astype(int)
    window = np.s_[y - 3 : y + 4, x - 3 : x + 4]
    return np.abs(before[window].astype(int) - after[window]).mean()


@pytest.mark.parametrize("worn_right", [True, False])
def test_a_drawn_mask_covers_what_its_label_says(worn_right):
    square, points = bare_square(), landmarks()
    nose = []
    for seed in range(30):
        masked = draw_mask(np.random.default_rng(seed), square, points, worn_right=worn_right)
        assert masked.shape == square.shape
        assert covered(square, masked, points[0]) < 12  # never an eye
        nose.append(covered(square, masked, points[2]))
    hidden = np.mean(np.array(nose) > 12)
    assert hidden > 0.85 if worn_right else hidden < 0.15


def test_a_profile_carries_no_drawn_mask():
    points = landmarks()
    points[1] = points[0] + (0.01, 0)
    assert FaceFrame.of(points * 160) is None
    assert draw_mask(np.random.default_rng(0), bare_square(), points, worn_right=True) is None
    assert FaceFrame.of(np.full((5, 2), np.nan, np.float32)) is None


def test_a_store_is_read_again_as_it_was_written(store, tmp_path):
    again = CropStore.load(tmp_path / "crops")
    np.testing.assert_array_equal(again.records["name"], store.records["name"])
    np.testing.assert_array_equal(again.square(3), store.square(3))
