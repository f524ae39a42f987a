import csv

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from drawn_people import write_set

from convert.coco import read_coco
from convert.evaluate import command, evaluate
from convert.robustness import HARDSHIPS, robustness
from convert.slices import Look, slices
from convert.tags import by_tag, judge_crops, read_tags
from convert.worst import contact_sheet, described, errors
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.errors import InputError
from maskedge.geometry import Box
from maskedge.vision.base import LABELS


class Constant:
    """A classifier that calls every face so, and remembers what it was shown."""

    def __init__(self, scores):
        self.scores, self.shown = np.array(scores, np.float32), []

    def classify(self, frame, boxes):
        self.shown += [(frame, box) for box in boxes]
        return np.tile(self.scores, (len(boxes), 1))


class Light(Constant):
    """A classifier that calls what is light masked, what is dark bare."""

    def __init__(self):
        super().__init__([1, 0, 0])

    def classify(self, frame, boxes):
        return np.roll(super().classify(frame, boxes), int(frame.pixels.mean() < 128), axis=1)


@pytest.fixture
def pictures(tmp_path):
    coco = write_set(tmp_path, "val", 6)
    return read_coco(coco, coco.with_suffix(""))


def look(**columns):
    given = {"path": None, "box": Box(0, 0, 50, 50), "source": "a", "size": 50.0, "grey": 120.0}
    return Look(**{**given, "sharpness": 60.0, "cloth": (0.0, 0.0, 200.0), **columns})


def members(found, kind):
    return {name: np.flatnonzero(chosen).tolist() for name, chosen in found[kind].items()}


def test_every_face_is_in_one_slice_of_size_light_focus_and_source():
    looks = [
        look(size=19.9, grey=59, sharpness=9),
        look(size=20, grey=60, sharpness=10, source="b"),
        look(size=64, grey=191, sharpness=20),
    ]
    found = slices(looks, np.array([0, 1, 2]))
    assert members(found, "by_size") == {"below 20 px": [0], "20-32 px": [1], "64 px and more": [2]}
    assert members(found, "by_light") == {"dark": [0], "bright": [2], "between": [1]}
    assert members(found, "by_focus") == {"blurred": [0], "soft": [1], "sharp": [2]}
    assert members(found, "by_source") == {"a": [0, 2], "b": [1]}


def test_sizes_leave_no_gap():
    sizes = (0, 19.99, 20, 31.99, 32, 63.99, 64, 5000)
    found = slices([look(size=size) for size in sizes], np.zeros(8, int))
    assert list(members(found, "by_size").values()) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_masks_are_sliced_by_their_own_pixels_and_bare_faces_are_in_none():
    cloths = [(0, 10, 40), (100, 200, 120), (5, 200, 240), (100, 200, 120)]
    looks = [look(cloth=cloth) for cloth in cloths]
    found = slices(looks, np.array([0, 0, 2, 1]))
    assert members(found, "by_mask_colour") == {
        "mask: white, grey or black": [0],
        "mask: blue": [1],
        "mask: other colour": [2],
    }
    assert members(found, "by_mask_brightness") == {
        "mask: darkest third": [0],
        "mask: middle third": [1],
        "mask: brightest third": [2],
    }


@pytest.mark.parametrize("order", [ChannelOrder.RGB, ChannelOrder.BGR])
def test_a_masks_colour_is_measured_where_it_is_worn(order, tmp_path):
    pixels = np.full((100, 100, 3), (30, 60, 200), np.uint8)  # a face of another colour
    pixels[55:100] = (20, 90, 180) if order is ChannelOrder.RGB else (180, 90, 20)
    measured = Look.at(Frame(pixels, order, 0.0), tmp_path, "a", Box(0, 0, 100, 100))
    hue, saturation, value = measured.cloth
    assert hue == pytest.approx(107, abs=1)
    assert (saturation, value) == (227, 180)
    outside = Look.at(Frame(pixels, order, 0.0), tmp_path, "a", Box(200, 200, 240, 240))
    assert outside.cloth == (0, 0, 0)


def test_hardships_are_what_they_are_called():
    rng = np.random.default_rng(0)
    square = rng.integers(60, 200, (8, 8, 3), np.uint8)
    square = cv2.resize(square, (128, 128), interpolation=cv2.INTER_CUBIC)
    done = {name: change(square, rng) for name, change in HARDSHIPS.items()}
    linear = (square / 255.0) ** 2.2
    np.testing.assert_allclose((done["dark: -2 EV"] / 255.0) ** 2.2, linear / 4, atol=0.01)
    assert (done["glare: +2 EV"] == 255).mean() > 0.1
    assert done["28 pixels"].shape == (56, 56, 3)
    assert done["20 pixels"].shape == (40, 40, 3)
    assert np.ptp(done["grey: an infrared camera's"].astype(int), axis=2).max() == 0

    def detail(picture):
        return cv2.Laplacian(picture, cv2.CV_64F).var()

    assert detail(done["out of focus: sigma 8 %"]) < detail(
        done["out of focus: sigma 4 % of the face"]
    )
    assert detail(done["noise: sigma 20 of 255"]) > 10 * detail(square)
    warm, cold = (done[f"{n} light: blue x {b}, red x {r}"].mean((0, 1)) for n, b, r in
                  (("warm", 0.6, 1.2), ("cold", 1.2, 0.6)))  # fmt: skip
    assert warm[0] < cold[0]
    assert warm[2] > cold[2]
    np.testing.assert_array_equal(done["as it is"], square)


def test_each_face_is_judged_under_each_hardship_through_the_runtime(pictures):
    judge = Constant([0.2, 0.7, 0.1])
    found = robustness(pictures, judge)
    assert set(found) == set(HARDSHIPS)
    assert {figures["faces"] for figures in found.values()} == {18}
    assert all(figures["by_label"]["without_mask"]["recall"] == 1 for figures in found.values())
    assert len(judge.shown) == 18 * len(HARDSHIPS)
    for frame, box in judge.shown:
        assert frame.width == frame.height
        assert box == Box(frame.width / 4, frame.width / 4, frame.width * 0.75, frame.width * 0.75)


def test_the_surest_errors_come_first_and_are_shown(pictures, tmp_path):
    class Wavering(Constant):
        def classify(self, frame, boxes):
            rows = super().classify(frame, boxes)
            rows[:, 1] += np.arange(len(boxes)) * 0.01 + len(self.shown) * 0.001
            return rows

    _, seen = evaluate(pictures, None, Wavering([0.2, 0.6, 0.1]), threshold=0.5)
    chosen = errors(seen, 5)
    assert len(chosen) == 5
    assert all(seen.truth[i] != 1 for i in chosen)
    lost = [float(seen.scores[i][1] - seen.scores[i][seen.truth[i]]) for i in chosen]
    assert lost == sorted(lost, reverse=True)
    row = described(seen, chosen[0])
    assert row["called"] == "without_mask"
    assert row["label"] in {"with_mask", "incorrect_mask"}
    rows = contact_sheet(seen, tmp_path / "worst.png")
    assert len(rows) == 10
    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet.shape[0] > 2 * 200
    assert sheet.shape[1] == 5 * 200


def test_without_errors_there_is_no_sheet(tmp_path, pictures):
    _, seen = evaluate(pictures, None, Constant([0.1, 0.8, 0.1]), threshold=0.5)
    seen.truth = [1] * len(seen.truth)
    assert contact_sheet(seen, tmp_path / "worst.png") == []
    assert not (tmp_path / "worst.png").exists()


def test_tags_are_slices_of_ones_own(pictures, tmp_path):
    file = tmp_path / "tags.csv"
    rows = [("file", "tag"), ("val_000.jpg", "beard"), ("val_001.jpg", "beard"), ("x.jpg", "hat")]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    tags = read_tags(file)
    assert tags == {"beard": {"val_000.jpg", "val_001.jpg"}, "hat": {"x.jpg"}}
    _, seen = evaluate(pictures, None, Constant([0.1, 0.8, 0.1]), threshold=0.5)
    found = by_tag(seen, tags)
    assert found["beard"]["faces"] == 6
    assert "hat" not in found


def test_a_table_that_excel_wrote_loses_no_line(tmp_path):
    file = tmp_path / "tags.csv"
    for head in ("", "file,tag\r\n"):
        file.write_text(head + "0.jpg,beard\r\n1.jpg,beard\r\n", encoding="utf-8-sig")
        assert read_tags(file) == {"beard": {"0.jpg", "1.jpg"}}


@pytest.mark.parametrize("text", ["one\n", "a,b,c\n", "a,\n"])
def test_a_line_that_is_no_tag_is_named(tmp_path, text):
    file = tmp_path / "tags.csv"
    file.write_text("a.jpg,beard\n" + text)
    with pytest.raises(InputError, match=r"tags\.csv:2"):
        read_tags(file)


def test_crops_are_counted_by_folder_and_tag(tmp_path):
    for kind, count in {"covered": 3, "not_covered": 2}.items():
        (tmp_path / kind).mkdir()
        for number in range(count):
            cv2.imwrite(
                str(tmp_path / kind / f"{kind}{number}.jpg"), np.full((60, 40, 3), 90, np.uint8)
            )
    judge = Constant([0.8, 0.1, 0.1])
    found = judge_crops(tmp_path, judge, {"scarf": {"covered1.jpg"}, "none": {"nothing.jpg"}})
    assert found["covered"] == {
        "faces": 3,
        "called": dict(zip(LABELS, (1.0, 0.0, 0.0), strict=True)),
    }
    assert found["not_covered"]["faces"] == 2
    assert found["by_tag"] == {"scarf": {**found["covered"], "faces": 1}}
    assert judge.shown[0][1] == Box(-4, 6, 44, 54)
    with pytest.raises(InputError, match="holds no crops"):
        judge_crops(tmp_path / "covered", judge, {})


def test_crops_are_those_that_training_takes_and_names_may_come_twice(tmp_path):
    for name in ("covered/0.jpg", "covered/1.JPG", "not_covered/0.jpg", "not_covered/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        grey = 200 if path.parent.name == "covered" else 20
        cv2.imwrite(str(path), np.full((60, 40, 3), grey, np.uint8))
    (tmp_path / "covered" / "labels.txt").write_text("no crop")
    found = judge_crops(tmp_path, Light(), {"scarf": {"0.jpg"}, "beard": {"1.png"}})
    assert {kind: found[kind]["faces"] for kind in ("covered", "not_covered")} == {
        "covered": 2,
        "not_covered": 2,
    }
    called = [found[kind]["called"]["with_mask"] for kind in ("covered", "not_covered")]
    assert called == [1, 0]
    assert found["by_tag"]["scarf"]["faces"] == 2
    assert found["by_tag"]["scarf"]["called"] == dict(zip(LABELS, (0.5, 0.5, 0.0), strict=True))
    assert found["by_tag"]["beard"]["faces"] == 1


def test_the_command_writes_all_of_it(tmp_path):
    coco = write_set(tmp_path, "val", 3)
    (tmp_path / "crops" / "covered").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "crops" / "covered" / "a.jpg"), np.full((60, 60, 3), 90, np.uint8))
    (tmp_path / "tags.csv").write_text("val_000.jpg,first\na.jpg,first\n")
    arguments = (
        "--coco", coco, "--images", tmp_path / "val", "--robustness", "--crops", tmp_path / "crops",
        "--tags", tmp_path / "tags.csv", "--out", tmp_path / "report", "--json",
        tmp_path / "figures.json", "--threads", 1,
    )  # fmt: skip
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    page = (tmp_path / "report" / "report.html").read_text()
    for said in (
        "by focus",
        "by mask brightness",
        "by tag",
        "hardship",
        "Tight crops",
        "by 0.3",
        "of no annotated",
    ):
        assert said in page
    for said in ("by label", "roc_auc", "average_precision", 'alt="roc.png"', 'alt="detector.png"'):
        assert said in page
    for name in ("confusion", "precision_recall", "roc", "reliability", "detector"):
        assert cv2.imread(str(tmp_path / "report" / f"{name}.png")) is not None
    assert ("Worst errors" in page) == (tmp_path / "report" / "worst.png").exists()
