"""COCO files with mistakes in: said where, and mended by ``dataset``."""

import json

import pytest
from click.testing import CliRunner
from drawn_people import write_set

from convert.coco import read_coco
from convert.dataset import command
from convert.evaluate import command as evaluate
from maskedge.errors import InputError

NAN, INFINITE = float("nan"), float("inf")


def changed(folder, change):
    file = write_set(folder / "set", "people", 4)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return file


def image(**values):
    return lambda content: content["images"][1].update(values)


def bbox(*values):
    return lambda content: content["annotations"][4].update(bbox=values)


UNSIZED = r"people\.json: the image people_001\.jpg has no width and height; python -m convert data"
ELSEWHERE = r"people\.json: the bbox .* of annotation 5 isn't in its picture, people_001\.jpg; pyth"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (image(width=0, height=0), UNSIZED),
        (image(width=240, height=-1), UNSIZED),
        (lambda content: content["images"][1].pop("width"), UNSIZED),
        (bbox(NAN, 1, 20, 20), ELSEWHERE),
        (bbox(1, 1, 20, NAN), ELSEWHERE),
        (bbox(1, 1, 20, INFINITE), ELSEWHERE),
        (bbox(0, 0, 1e7, 1e7), ELSEWHERE),
        (bbox(500, 5, 20, 20), ELSEWHERE),
        (bbox(5, -200, 20, 20), ELSEWHERE),
    ],
)
def test_what_nobody_can_score_is_named_and_mended_by_dataset(tmp_path, change, said):
    file = changed(tmp_path, change)
    done = CliRunner().invoke(evaluate, ["--coco", file, "--images", file.with_suffix("")])
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=said):
        raise done.exception
    arguments = [str(file.parent), "--out", str(tmp_path / "out"), "--val", "0", "--test", "0"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    made = tmp_path / "out" / "train.json"
    assert len(read_coco(made, made.with_suffix(""))) == 4


def test_boxes_over_the_edge_are_as_public_sets_have_them(tmp_path):
    file = changed(tmp_path, bbox(-30, -30, 400, 180))
    assert sum(len(picture.faces) for picture in read_coco(file, file.with_suffix(""))) == 12
