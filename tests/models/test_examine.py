"""Real networks with everything that an update can have wrong: each is one clear finding."""

import json
import random

import numpy as np
import pytest
from conftest import CLASSIFIER, DETECTORS, GENERAL, REMARK, SMALL, shipped
from flatbuffer_editor import Editor

from maskedge.config import Config
from maskedge.modelfile import models_dir
from maskedge.models.examine import examine, examine_family
from maskedge.models.parcel import Item, of_role
from maskedge.models.store import Folders
from maskedge.vision.base import LABELS

SHIPPED = Folders(models_dir(), models_dir())
DETECTOR = SMALL
"""The smallest, so the quickest."""


def findings(path, accelerator="auto"):
    return {found.check: found for found in examine(Item.at(path), accelerator)}


def failing(path, accelerator="auto"):
    """The one finding that fails."""
    (bad,) = [f for f in examine(Item.at(path), accelerator) if f.status == "fail"]
    assert "\n" not in bad.message
    return bad.check, bad.message


def test_what_is_shipped_is_fit():
    items = [item for role in ("detector", "classifier") for item in of_role(SHIPPED, role)]
    assert [item.path.stem for item in items] == [*DETECTORS, CLASSIFIER]
    for item in items:
        found = {f.check: f for f in examine(item, "edgetpu")}
        assert {f.status for f in found.values()} <= {"ok", "warn"}, found
        assert "with the answers recorded when it was made" in found["pictures"].message
        assert found["edgetpu"].status == "warn"  # it isn't compiled
    family = list(examine_family(items[:-1], Config()))
    assert [(f.check, f.status) for f in family] == [("family", "ok")]


@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
def test_a_truncated_file(copy, part):
    content = shipped()[: int(part * len(shipped()))]
    check, message = failing(copy(content=content))
    assert check == "file"
    assert "damaged" in message or "not a TFLite file" in message


def test_a_flipped_bit(copy):
    content = bytearray(shipped())
    content[len(content) // 2] ^= 1
    path = copy(content=bytes(content), sha256=json_of(CLASSIFIER)["sha256"])
    check, message = failing(path)
    assert check == "file"
    assert "SHA-256 is" in message
    assert str(path) in message


def json_of(name):
    return json.loads((models_dir() / f"{name}.json").read_text())


def test_a_network_without_its_description(copy):
    path = copy()
    path.with_suffix(".json").unlink()
    check, message = failing(path)
    assert check == "description"
    assert f"{path.with_suffix('.json')} isn't there" in message


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        (CLASSIFIER, {"task": "oracle"}, "task: must be classifier or detector"),
        (CLASSIFIER, {"task": None}, "task: must be classifier or detector"),
        (CLASSIFIER, {"network": None}, "network: field required"),
        (CLASSIFIER, {"labels": ["with_mask", "without_mask"]}, "labels: must be with_mask"),
        (CLASSIFIER, {"labels": ["mask", "none", "wrong"]}, "labels: must be with_mask"),
        (CLASSIFIER, {"input": {"size": 112, "order": "bgr"}}, "input.order: must be 'rgb'"),
        (CLASSIFIER, {"input": {"size": 112, "order": "rgb", "padding": 7}}, "input.padding"),
        (CLASSIFIER, {"calibration": {"temperature": 0}}, "calibration.temperature"),
        (CLASSIFIER, {"golden": {"answers": 3}}, "golden.pictures: field required"),
        (DETECTOR, {"calibration": {"scale": -1, "offset": 0}}, "calibration.scale"),
        (DETECTOR, {"calibration": None}, "calibration: field required"),
        (DETECTOR, {"output": {"offset_zero": 2.0, "size_zero": 2.5}}, "the daemon decodes with 3"),
    ],
)
def test_a_description_that_says_something_else(copy, name, changes, says):
    check, message = failing(copy(name, **changes))
    assert check == "description"
    assert says in message
    assert message.startswith(f"{name}.json: ")


def test_a_description_that_is_none(copy):
    path = copy()
    for text in ("{", "[]", '{"schema": "other/1"}'):
        path.with_suffix(".json").write_text(text)
        assert failing(path)[0] == "file"


def test_a_description_of_another_size(copy):
    check, message = failing(copy(input={"size": 96, "order": "rgb"}))
    assert check == "tensors"
    assert "takes 112x112 pixels, its description says 96x96" in message


def test_a_network_of_another_role(copy):
    as_classifier = {k: json_of(CLASSIFIER)[k] for k in ("task", "labels", "input", "output")}
    check, message = failing(copy(DETECTOR, golden=None, strides=None, **as_classifier))
    assert (check, "takes one square RGB picture" in message) == ("tensors", True)
    as_detector = {
        k: json_of(DETECTOR)[k] for k in ("task", "input", "output", "calibration", "strides")
    }
    check, message = failing(copy(golden=None, labels=None, **as_detector))
    assert (check, "not a face detector of maskedge" in message) == ("tensors", True)


@pytest.fixture
def edit(copy):
    """``edit(change, name, ...)``: a network whose flatbuffer was changed through its objects."""

    def make(change, name=CLASSIFIER, **card):
        editor = Editor(models_dir() / f"{name}.tflite")
        change(editor)
        return copy(name, editor.content(), **card)

    return make


def test_outputs_that_the_daemon_cannot_read(edit):
    def unscaled(editor):
        editor.tensor(editor.graph.outputs[0]).quantization = None

    path = edit(unscaled)
    check, message = failing(path)
    assert check == "tensors"
    assert "scale 0" in message or "refuses it" in message


def test_swapped_labels_are_seen_with_and_without_recorded_answers(copy):
    swapped = [LABELS[1], LABELS[0], LABELS[2]]
    for changes in ({}, {"golden": None}):
        check, message = failing(copy(labels=swapped, **changes))
        assert check == "pictures"
        assert "with_mask called without_mask, without_mask called with_mask" in message


def scramble(editor):
    """Other weights of the right sizes, as if training had never been."""
    noise = np.random.default_rng(1)
    for operation in editor.graph.operators:
        for index in operation.inputs[1:2]:
            data = editor.model.buffers[editor.tensor(index).buffer].data
            if data is not None and len(data) > 256:
                editor.model.buffers[editor.tensor(index).buffer].data = noise.integers(
                    0, 256, len(data), dtype=np.uint8
                )


@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR])
def test_weights_that_are_noise(edit, name):
    check, message = failing(edit(scramble, name, golden=None))
    assert check == "pictures"
    assert "of 9 drawn faces are judged right" in message or "of 6 drawn faces" in message


@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR])
def test_answers_other_than_the_recorded_ones(copy, name):
    told = json_of(name)["golden"]
    if name == CLASSIFIER:
        told["answers"][4][0] += 1.0
        says = "a score differs by"
    else:
        told["answers"][2][0][4] -= 0.3
        says = "a face in picture 3 has the score"
    check, message = failing(copy(name, golden=told))
    assert check == "pictures"
    assert "it answers otherwise than where it was made" in message
    assert says in message


@pytest.mark.parametrize(
    "answers", [[], [[1.0, 2.0]], [["a", "b", "c"]] * 9, [[None] * 3] * 9, [[1, 2], [3]]]
)
@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR])
def test_recorded_answers_that_are_none(copy, name, answers):
    golden = {"pictures": "maskedge.drawn/1", "answers": answers}
    assert failing(copy(name, golden=golden))[0] == "pictures"


def test_answers_to_other_pictures_are_not_compared(copy):
    golden = {"pictures": "maskedge.drawn/99", "answers": []}
    found = findings(copy(DETECTOR, golden=golden))["pictures"]
    assert (found.status, "no answers are recorded" in found.message) == ("ok", True)


LETHAL = [(3196, 4), (2489, 3)]
"""Bits (byte, bit) of tiny_uint8.tflite whose flip kills LiteRT 2.3: SIGABRT and SIGSEGV."""


@pytest.mark.parametrize(("byte", "bit"), LETHAL)
def test_a_network_that_kills_its_interpreter_fails_and_nothing_else(copy, byte, bit):
    tiny = bytearray((models_dir().parent / "tests/data/tiny_uint8.tflite").read_bytes())
    tiny[byte] ^= 1 << bit
    check, message = failing(copy(content=bytes(tiny), golden=None))
    assert check in {"file", "tensors"}
    assert "crashes the interpreter" in message or "damaged" in message


@pytest.mark.slow
def test_flipped_bits_that_their_description_vouches_for(copy):
    """Whatever they do, they are told in findings; most change weights and may well be fit."""
    rng = random.Random(3)
    name = DETECTOR
    for _ in range(12):
        content = bytearray(shipped(name))
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        found = list(examine(Item.at(copy(name, bytes(content))), "auto"))
        assert found[-1].check in {"file", "tensors", "pictures", "edgetpu"}


# the Edge TPU


def new_version(editor):
    """An operation that LiteRT runs and the Edge TPU's compiler can't read."""
    editor.model.operatorCodes[editor.find("CONV_2D").opcodeIndex].version = 6


def test_what_the_edge_tpu_cannot_run_fails_only_where_it_is_demanded(edit):
    path = edit(new_version, DETECTOR)
    found = findings(path)["edgetpu"]
    assert found.status == "warn"
    assert "version 6, the compiler reads up to 5" in found.message
    check, message = failing(path, "edgetpu")
    assert check == "edgetpu"
    assert "the Edge TPU can't run all of it" in message


def compile_for_tpu(editor):
    """As edgetpu_compiler leaves it: one custom operation from the inputs to the outputs."""
    operation = editor.retype(editor.graph.operators[0], "CUSTOM", custom=b"edgetpu-custom-op")
    operation.inputs = list(editor.graph.inputs)
    operation.outputs = list(editor.graph.outputs)
    operation.builtinOptions, operation.builtinOptionsType = None, 0
    editor.graph.operators = [operation]


def compiled(name, path, *changes):
    editor = Editor(models_dir() / f"{name}.tflite")
    for change in (compile_for_tpu, *changes):
        change(editor)
    return editor.save(path.with_name(f"{path.stem}_edgetpu.tflite"))


def other_output(editor):
    output = editor.tensor(editor.graph.outputs[0])
    output.quantization.scale = [2 * float(output.quantization.scale[0])]


def test_a_compiled_form_of_this_network(copy):
    path = copy(DETECTOR)
    compiled(DETECTOR, path)
    found = findings(path, "edgetpu")["edgetpu"]
    assert (found.status, found.message) == (
        "ok", f"{path.stem}_edgetpu.tflite has the same tensors"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: compiled(GENERAL, path), "is another network's"),
        (lambda path: compiled(DETECTOR, path, other_output), "is another network's"),
        (
            lambda path: path.with_name(f"{path.stem}_edgetpu.tflite").write_bytes(
                path.read_bytes()
            ),
            "isn't compiled",
        ),
        (
            lambda path: path.with_name(f"{path.stem}_edgetpu.tflite").write_bytes(b"TFL3"),
            "not a TFLite file",
        ),
    ],
)
def test_a_compiled_form_that_is_none_of_this_network(copy, spoil, says):
    path = copy(DETECTOR)
    spoil(path)
    check, message = failing(path)
    assert check == "edgetpu"
    assert says in message


# detectors together


def family(folder, **detector):
    items = [Item.at(path) for path in sorted(folder.glob("*.tflite"))]
    return [(f.status, f.message) for f in examine_family(items, Config(detector=detector))]


def test_detectors_of_two_trainings(copy, edit):
    copy(GENERAL)
    folder = edit(scramble, DETECTOR).parent
    ((status, message),) = family(folder)
    assert (status, "they differ in weights" in message) == ("fail", True)


def test_detectors_of_two_calibrations(copy):
    copy(GENERAL)
    folder = copy(DETECTOR, calibration={"scale": 3.0, "offset": 2.0}).parent
    ((status, message),) = family(folder)
    assert (status, "they differ in calibration" in message) == ("fail", True)


def test_sizes_that_are_missing(copy):
    folder = copy(GENERAL).parent
    ((status, message),) = family(folder)
    assert (status, "without face_detector_320x256" in message) == ("warn", True)
    ((status, message),) = family(folder, input=640)
    assert (status, "needs face_detector_640x512" in message) == ("fail", True)
    assert family(folder, input=640, kind="yunet") == []


def test_other_bytes_of_the_same_network_are_fit(copy):
    found = findings(copy(DETECTOR, shipped(DETECTOR) + REMARK))
    assert {f.status for f in found.values()} == {"ok"}


def test_an_input_that_the_daemon_has_no_use_for(copy):
    size = {"width": 416, "height": 416, "order": "rgb", "letterbox": "top left"}
    check, message = failing(copy(DETECTOR, input=size))
    assert check == "tensors"
    assert "a detector for 416x416 pixels has no use" in message
