import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from drawn_people import landmarks

keras = pytest.importorskip("keras", reason="training needs the extra 'convert'")

from click.testing import CliRunner  # noqa: E402 - after the skip

from convert.classifier.augment import plain  # noqa: E402
from convert.classifier.batches import (  # noqa: E402
    Batches,
    divided,
    pools,
    split,
    targets,
    told,
    untaught,
)
from convert.classifier.data import (  # noqa: E402
    INCORRECT,
    NOBODY,
    RECORD,
    WITH,
    WITHOUT,
    CropStore,
)
from convert.classifier.float_network import open_float_classifier  # noqa: E402
from convert.classifier.keeper import Keeper, Validation  # noqa: E402
from convert.classifier.model import build, freeze_until, resized  # noqa: E402
from convert.classifier.recipe import Recipe  # noqa: E402
from convert.classifier.run import ClassifierRun, representative  # noqa: E402
from convert.classifier.train import command, going_on, partial_loss, settle  # noqa: E402
from convert.coco import NEGATIVE  # noqa: E402
from convert.quantize import (  # noqa: E402
    Gate,
    GateError,
    compare,
    integer_logits,
    mean_into,
    move_head,
)
from convert.rounded import exact  # noqa: E402
from maskedge.errors import InputError, ModelError, UsageError  # noqa: E402
from maskedge.modelfile import models_dir  # noqa: E402

# Keras on TensorFlow is not yet clean of numpy 2's deprecations.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
    pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning"),
]


def store_of(count, **columns):
    records = np.zeros(count, RECORD)
    records["side"], records["face"] = 40, 20
    records["offset"] = np.arange(count) * 40 * 40 * 3
    records["group"] = np.arange(count)
    records["name"] = [f"{i}.jpg" for i in range(count)]
    for name, values in columns.items():
        records[name] = values
    pixels = np.random.default_rng(0).integers(0, 256, count * 40 * 40 * 3, np.uint8)
    return CropStore(records, pixels)


def test_loss_of_a_partial_label_asks_only_for_the_sum():
    logits = np.log(np.array([[0.2, 0.5, 0.3], [0.2, 0.1, 0.7], [0.2, 0.5, 0.3]], np.float32))
    allowed = targets(np.array([WITHOUT | INCORRECT, WITHOUT | INCORRECT, WITH], np.uint8))
    loss = np.asarray(partial_loss(0.0)(allowed, logits))
    np.testing.assert_allclose(loss, -np.log([0.8, 0.8, 0.2]), rtol=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_what_is_no_face_the_loss_asks_to_be_unsure(smoothing):
    logits = np.array([[0, 0, 0], [3.0, 0, 0], [0, 0, 3.0]], np.float32)
    even, one, other = partial_loss(smoothing)(targets(np.full(3, NOBODY, np.uint8)), logits)
    assert float(even) == pytest.approx(np.log(3), rel=1e-5)
    assert float(one) == pytest.approx(float(other))
    assert float(one) > 1.5


def test_what_nobody_labelled_but_a_face_finder_sees_is_not_taught_as_no_face():
    store = store_of(40, kind=NEGATIVE, allowed=NOBODY)
    store.records["landmark_score"][:10] = 0.6
    assert pools(store, np.arange(40))[NEGATIVE].tolist() == list(range(10, 40))


def test_smoothing_punishes_certainty():
    sure, careful = np.array([[20.0, 0, 0]], np.float32), np.array([[5.0, 0, 0]], np.float32)
    allowed = targets(np.array([WITH], np.uint8))
    loss = partial_loss(0.1)
    assert float(loss(allowed, sure)[0]) > float(loss(allowed, careful)[0])


def test_no_group_is_trained_on_and_validated():
    groups = np.repeat(np.arange(60), 3)
    store = store_of(180, kind="with", allowed=WITH, group=groups)
    store.records["validation"][:3] = True
    training, validation = split(store, 0.2)
    assert not set(groups[training]) & set(groups[validation])
    assert {0, 1, 2} <= set(validation)
    assert 3 < len(validation) < 150
    again = split(store, 0.2)
    np.testing.assert_array_equal(again[1], validation)


def test_what_looks_like_a_test_face_neither_trains_nor_validates():
    groups = np.repeat(np.arange(60), 3)
    store = store_of(180, kind="with", allowed=WITH, group=groups)
    store.records["test"][::9] = True
    store.records["validation"][4::9] = True
    training, validation = split(store, 0.1)
    tested = set(groups[store.records["test"]])
    assert len(training) > 10
    assert len(validation) > 10
    assert tested.isdisjoint(groups[training])
    assert tested.isdisjoint(groups[validation])


def test_a_face_of_which_nothing_is_known_trains_only_if_it_is_surely_one():
    store = store_of(4, kind="face", allowed=WITHOUT)
    store.records["landmark_score"] = [0.5, 0.61, 0, 0.9]
    assert pools(store, np.arange(4))["face"].tolist() == [1, 3]


def test_a_drawn_mask_changes_the_label():
    """Bare faces with landmarks make examples of the other two classes."""
    store = store_of(8, kind="without", allowed=WITHOUT, face=60, landmark_score=0.9)
    store.records["landmarks"] = landmarks()
    allowed = Batches(store, np.arange(8), Recipe(size=32, batch=200), 1)[0][1]
    shares = allowed.mean(0)
    assert shares[0] == pytest.approx(0.07 / 0.33, abs=0.1)
    assert shares[1] == pytest.approx(0.16 / 0.33, abs=0.1)
    assert shares[2] == pytest.approx(0.10 / 0.33, abs=0.1)


def test_classes_come_alike_often_however_few_pictures_one_has():
    kinds = np.array(["with"] * 80 + ["without"] * 15 + ["incorrect"] * 5)
    bits = np.array([WITH] * 80 + [WITHOUT] * 15 + [INCORRECT] * 5)
    store = store_of(100, kind=kinds, allowed=bits)
    allowed = Batches(store, np.arange(100), Recipe(size=32, batch=400), 1)[0][1]
    assert allowed.mean(0).min() > 0.2
    assert allowed.mean(0).max() < 0.5


def test_faces_of_two_allowed_classes_never_validate():
    store = store_of(50, kind="not_covered", allowed=WITHOUT | INCORRECT, validation=True)
    assert len(split(store, 0.5)[1]) == 0


def test_batches_mix_what_there_is_and_repeat_with_the_seed():
    kinds = np.array(["with", "without", "incorrect", "not_covered"] * 10)
    bits = np.array([WITH, WITHOUT, INCORRECT, WITHOUT | INCORRECT] * 10)
    store = store_of(40, kind=kinds, allowed=bits)
    recipe = Recipe(size=32, batch=64)
    one, again = (Batches(store, np.arange(40), recipe, 2)[1] for _ in range(2))
    np.testing.assert_array_equal(one[0], again[0])
    crops, allowed = one
    assert crops.shape == (64, 32, 32, 3)
    assert crops.max() > 1  # bytes, not 0..1: the network scales them itself
    assert {tuple(row) for row in allowed} == {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)}
    later = Batches(store, np.arange(40), recipe, 2, epoch=1)[1]
    assert not np.array_equal(one[0], later[0])


def test_without_any_face_training_says_why():
    looks = [0, 0, 0, 0, 4, 5]  # like the first, which validates, or the fifth, a test
    store = store_of(6, kind="with", allowed=WITH, group=looks)
    store.records["validation"][0] = True
    store.records["test"][4] = True
    store.records["group"][5] = 4
    said = (
        "none of the faces is left to train on: of 4 in train.json, 1 look like test pictures or "
        "are of their groups, 3 are of groups that are validated on; add pictures of other people"
    )
    with pytest.raises(InputError, match=said):
        divided(store, 0.0)
    store = store_of(3, kind="face", allowed=WITHOUT)
    store.records["kind"][0], store.records["validation"][0] = "without", True
    with pytest.raises(InputError, match="2 are not surely faces, or not surely none"):
        divided(store, 0.0)
    store.records["validation"] = True
    with pytest.raises(InputError, match=r"of 0 in train\.json; add pictures"):
        divided(store, 0.0)
    with pytest.raises(InputError, match="no faces to validate on"):
        divided(store_of(3, kind="with", allowed=WITH), 0.0)


def test_how_many_faces_do_what_is_told():
    store = store_of(12, kind="with", allowed=WITH)
    records = store.records
    records["own"][:6] = True
    records["validation"][[4, 10]] = True
    records["test"][[5, 11]] = True
    records["group"][3] = 4
    training, validation = divided(store, 0.0)
    assert told(store, training, validation) == (
        "12 faces: 7 to train on (3 your own), 2 to validate on (1 your own), "
        "2 to test with (1 your own), 1 unused, their groups validating or tested (1 your own)"
    )
    records["own"] = records["test"] = False
    assert told(store, *divided(store, 0.0)) == (
        "12 faces: 9 to train on, 2 to validate on, 1 unused, their groups validating or tested"
    )


@pytest.mark.parametrize("backbone", ["cnn", "mobilenet_v2"])
def test_networks_take_bytes_and_give_logits(backbone):
    model = build(backbone, alpha=0.35, size=64)
    assert model.output_shape == (None, 3)
    picture = np.full((1, 64, 64, 3), 255, np.float32)
    normalise = keras.Model(model.input, model.get_layer("normalise").output)
    np.testing.assert_allclose(normalise.predict_on_batch(picture), 1.0, atol=1e-5)


def test_weights_of_another_input_size_are_carried_over(tmp_path):
    donor = keras.applications.MobileNetV2((224, 224, 3), 0.35, include_top=False, weights=None)
    file = tmp_path / "trunk.weights.h5"
    donor.save_weights(file)
    model = build("mobilenet_v2", alpha=0.35, size=64, weights=file)
    np.testing.assert_array_equal(
        model.get_layer("block_3_expand").get_weights()[0],
        donor.get_layer("block_3_expand").get_weights()[0],
    )
    with pytest.raises(InputError, match="alpha 1"):
        build("mobilenet_v2", alpha=1.0, size=64, weights=file)


def test_freezing_stops_where_it_is_told():
    model = build("mobilenet_v2", alpha=0.35, size=64)
    freeze_until(model, "block_2_add")
    assert not model.get_layer("block_1_expand").trainable
    assert model.get_layer("block_3_expand").trainable
    freeze_until(model, None)
    assert model.get_layer("block_1_expand").trainable
    with pytest.raises(UsageError, match="block_99"):
        freeze_until(model, "block_99")


def test_unknown_backbones_are_refused():
    with pytest.raises(UsageError, match="mobilenet_v2, resnet50v2, vgg16, cnn"):
        build("resnet18")
    assert settle(Recipe(backbone="cnn")).freeze is None
    assert settle(Recipe()).freeze == Recipe.freeze


def test_several_runs_become_the_mean_of_their_weights(tmp_path):
    model, *others = (build("cnn", size=32) for _ in range(3))
    files = [tmp_path / "one.keras", tmp_path / "two.keras"]
    for other, file in zip(others, files, strict=True):
        other.save(file)
    expected = [
        np.mean(same, axis=0)
        for same in zip(*(m.get_weights() for m in (model, *others)), strict=True)
    ]
    mean_into(model, files)
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    mean_into(model, [])
    np.testing.assert_allclose(model.get_weights()[0], expected[0], atol=1e-6)


def test_a_mean_with_something_else_is_refused(tmp_path):
    model = build("cnn", size=32)
    file = tmp_path / "other.keras"
    file.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"--mean-with .*other\.keras: no \.keras of a run"):
        mean_into(model, [file])
    build("mobilenet_v2", alpha=0.35, size=32).save(file)
    with pytest.raises(InputError, match="another network than the run's"):
        mean_into(model, [file])


def test_a_network_with_a_damaged_middle_is_named_wherever_it_is_read(tmp_path):
    file = tmp_path / "best.keras"
    build("cnn", size=32).save(file)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as whole:
        start = whole.getinfo("config.json").header_offset + 60
    content[start : start + 8] = b"\0" * 8
    file.write_bytes(content)
    (tmp_path / "history.json").write_text("[]")
    run = ClassifierRun(tmp_path, Recipe(), None, None, None)
    for read, error in (
        (lambda: mean_into(build("cnn", size=32), [file]), InputError),
        (lambda: going_on(Recipe(backbone="cnn", size=32, start=str(file))), InputError),
        (run.network, InputError),
        (lambda: open_float_classifier(file), ModelError),
    ):
        with pytest.raises(error, match=r"best\.keras"):
            read()


def test_the_heads_bias_moves_the_logits():
    model = build("cnn", size=32)
    picture = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    before = model.predict_on_batch(picture)
    move_head(model, np.array([0, 0.5, -1], np.float32))
    after = model.predict_on_batch(picture)
    np.testing.assert_allclose(after - before, [[0, 0.5, -1]] * 2, atol=1e-4)


def test_the_gate_says_by_how_much():
    Gate(0.95, 0.946, 0.995).check()
    with pytest.raises(GateError, match=r"loses 1\.00 points"):
        Gate(0.95, 0.94, 0.995).check()
    with pytest.raises(GateError, match=r"agrees on 98\.00 %"):
        Gate(0.95, 0.95, 0.98).check()
    scores = np.eye(3, dtype=np.float32)
    gate = compare(np.array([0, 1, 1]), scores, scores[[0, 1, 1]])
    assert gate.agreement == gate.float_accuracy == pytest.approx(2 / 3)
    assert gate.int8_accuracy == 1


@pytest.mark.parametrize(("batch", "augmented"), [(8, 16), (20, 20), (64, 20)])
def test_half_of_what_sets_the_ranges_is_augmented_whatever_the_batch(batch, augmented):
    store = store_of(6, allowed=[1, 2, 4] * 2, kind=["with", "without", "incorrect"] * 2)
    recipe = Recipe(backbone="cnn", size=32, batch=batch)
    run = ClassifierRun(None, recipe, store, np.arange(6), np.arange(0))
    shown = list(representative(run, 40))
    whole = {plain(store.square(i), 32, recipe.padding).tobytes() for i in range(6)}
    plainly = [crop.astype(np.uint8).tobytes() in whole for crop in shown]
    assert len(shown) == 40
    assert not any(plainly[:augmented])
    assert all(plainly[augmented:])


def test_training_goes_on_from_what_a_network_knows_at_any_input_size(tmp_path):
    before = build("cnn", size=32)
    before.save(tmp_path / "before.keras")
    faces = np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    recipe = Recipe(backbone="cnn", size=32, freeze=None, start=str(tmp_path / "before.keras"))
    after = exact(going_on(recipe))
    np.testing.assert_allclose(after.predict(faces), before.predict(faces), atol=1e-5)

    larger = exact(going_on(replace(recipe, size=48)))
    assert larger.input_shape == (None, 48, 48, 3)
    for ours, theirs in zip(larger.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_training_goes_on_from_the_network_that_ships_before_its_prior():
    shipped = models_dir() / "mask_classifier.tflite"
    card = json.loads(shipped.with_suffix(".json").read_text())
    faces = np.random.default_rng(1).integers(0, 255, (8, 7, 7, 3), np.uint8).repeat(16, 1)
    faces = faces.repeat(16, 2)
    network = exact(going_on(Recipe(start=str(shipped))))
    logits = network.predict(faces.astype(np.float32))
    shift = card["calibration"]["shift_in_head"]
    integer = integer_logits(shipped, faces)
    apart = [np.abs(logits + added - integer).mean() for added in (np.array(shift), 0)]
    assert apart[0] < apart[1] < 1
    assert np.ptp(shift) > 0.5


def test_only_a_mask_classifier_is_brought_to_another_input_size():
    picture = keras.Input((32, 32, 3))
    two = keras.layers.Dense(2)(keras.layers.Flatten()(picture))
    with pytest.raises(InputError, match=r"gives \(None, 2\): no mask classifier"):
        resized(keras.Model(picture, two), 48)


def test_a_network_whose_input_is_a_list_of_one_is_taken_as_any_other(tmp_path):
    network = build("cnn", size=32)
    listed = keras.Model(network.inputs, network.outputs)
    listed.save(tmp_path / "listed.keras")
    begun = exact(going_on(Recipe(start=str(tmp_path / "listed.keras"), size=32, freeze=None)))
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(begun(faces), network(faces), atol=1e-4)


def test_labels_that_can_not_be_learnt_are_known_before_training():
    kinds, bits = np.array(["with", "without", "not_covered"]), [WITH, WITHOUT, WITHOUT | INCORRECT]
    store = store_of(3, kind=kinds, allowed=bits)
    assert untaught(store, np.arange(3)) == ["incorrect_mask"]
    assert untaught(store, np.arange(1)) == ["without_mask", "incorrect_mask"]
    store.records["landmark_score"], store.records["face"] = 0.9, 60
    assert untaught(store, np.arange(3)) == []  # masks are drawn on the bare face


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"backbone": "cnn", "weights": "imagenet"}, "cnn has no ImageNet weights"),
        ({"backbone": "resnet"}, "no backbone 'resnet'"),
        ({"alpha": 0.42, "weights": "imagenet"}, "alpha must be one of"),
        ({"backbone": "vgg16", "size": 20}, "vgg16, alpha 1, size 20: Input size must be at least"),
    ],
)
def test_a_network_that_there_is_not_is_a_usage_error(asked, said):
    with pytest.raises(UsageError, match=said):
        build(**asked)


def test_weights_of_another_network_are_named(tmp_path):
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save_weights(file)
    with pytest.raises(InputError, match=r"other\.weights\.h5: no weights of mobilenet_v2"):
        build(size=32, alpha=0.35, weights=file)


@pytest.mark.parametrize(
    "option",
    ["--epochs 0", "--steps 0", "--batch 1", "--size 8", "--rate 0", "--held-out 1", "--alpha 0",
     "--threads -1", "--padding 0.6", "--head-steps -1", "--patience 0"],
)  # fmt: skip
def test_a_number_that_makes_no_sense_is_a_usage_error(tmp_path, option):
    asked = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), *option.split()]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 2  # 64 by the entry point
    assert option.split()[0] in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_is_cut_short_leaves_the_one_before(tmp_path):
    """A kill, or a full disk, while an epoch is being written."""
    store = store_of(12, kind="with", allowed=WITH, validation=True)
    recipe = Recipe(size=32, backbone="cnn")
    loss = partial_loss(0.0)

    def keeper():
        return Keeper(tmp_path, recipe, Validation(store, np.arange(12), recipe))

    first, model = keeper(), build("cnn", size=32)
    model.compile("sgd", loss)
    first.set_model(model)
    first.on_epoch_end(0)
    whole = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    assert len(whole) == 6
    save = model.save

    def cut_short(path, **options):
        save(path, **options)
        path.write_bytes(path.read_bytes()[:1000])
        raise OSError(28, "No space left on device", str(path))

    model.save = cut_short
    with pytest.raises(OSError, match="No space left"):
        first.on_epoch_end(1)
    with pytest.raises(OSError, match="No space left"):
        first._checkpoint(model.get_weights())
    assert {p: p.read_bytes() for p in whole} == whole
    again = keeper()
    assert again.resume() == 1
    assert again.resumed(loss).input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("file", ["state.json", "average.npz", "model.keras"])
def test_a_damaged_checkpoint_is_named(tmp_path, file):
    store = store_of(12, kind="with", allowed=WITH, validation=True)
    recipe = Recipe(size=32, backbone="cnn")
    keeper = Keeper(tmp_path, recipe, Validation(store, np.arange(12), recipe))
    keeper.set_model(build("cnn", size=32))
    keeper.on_epoch_end(0)
    (tmp_path / "last" / file).write_bytes(b"cut short")
    take_up = keeper.resume if file != "model.keras" else keeper.resumed
    arguments = () if file != "model.keras" else (partial_loss(0.0),)
    with pytest.raises(InputError, match="damaged, can't go on from it"):
        take_up(*arguments)


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best(tmp_path):
    store = store_of(12, kind="with", allowed=WITH, validation=True)
    recipe = Recipe(size=32, backbone="cnn", patience=2)
    validation = Validation(store, np.arange(12), recipe)
    scores = iter([0.5, 0.7, 0.6, 0.6])
    validation.figures = lambda _: {"score": next(scores)}
    keeper, model = Keeper(tmp_path, recipe, validation), build("cnn", size=32)
    model.stop_training = False
    keeper.set_model(model)
    for epoch, (best, over) in enumerate([(1, 0), (2, 0), (2, 0), (2, 1)]):
        weights = [w + 0.01 for w in model.get_weights()]
        model.set_weights(weights)
        keeper.on_epoch_end(epoch)
        if best == epoch + 1:
            kept = weights
        assert model.stop_training == bool(over)
    stored = keras.models.load_model(tmp_path / "best.keras", compile=False).get_weights()
    np.testing.assert_allclose(stored[0], kept[0])


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ([WITH, WITHOUT] * 6, [3, 3, 0]),
        ([INCORRECT, WITH, WITH] * 4, [4, 0, 4]),
        ([WITH], [1, 0, 0]),
    ],
)
def test_an_epoch_is_chosen_by_half_of_each_frequent_class(labels, counts):
    """Also if the classes alternate, as pairs of pictures of each person do; one face stays."""
    store = store_of(len(labels), allowed=labels, validation=True)
    validation = Validation(store, np.arange(len(labels)), Recipe(size=32))
    assert np.bincount(validation.labels, minlength=3).tolist() == counts
    assert len(validation.crops) == len(validation.small) == sum(counts)


def test_the_rate_warms_up_and_falls_as_a_cosine_to_nothing(tmp_path):
    store = store_of(4, kind="with", allowed=WITH, validation=True)
    recipe = Recipe(size=32, backbone="cnn", steps=50, epochs=2, warm_up=10, rate=0.01)
    keeper, model = (
        Keeper(tmp_path, recipe, Validation(store, np.arange(4), recipe)), build("cnn", size=32)
    )  # fmt: skip
    model.compile(keras.optimizers.AdamW(1.0), partial_loss(0.0))
    keeper.set_model(model)
    rates = []
    for step in range(100):
        keeper.on_train_batch_begin(step)
        rates.append(float(model.optimizer.learning_rate))
        keeper.on_train_batch_end(step)
    assert np.argmax(rates) in range(8, 12)
    assert rates[0] == pytest.approx(0.001, rel=0.01)
    assert rates[50] == pytest.approx(0.005, rel=0.01)
    assert rates[75] == pytest.approx(0.01 * 0.5 * (1 - 2**-0.5), rel=0.01)
    assert rates[-1] < 1e-5


def test_what_is_scored_and_kept_is_the_average_of_the_weights(tmp_path):
    store = store_of(4, kind="with", allowed=WITH, validation=True)
    recipe = Recipe(size=32, backbone="cnn")
    keeper, model = (
        Keeper(tmp_path, recipe, Validation(store, np.arange(4), recipe)), build("cnn", size=32)
    )  # fmt: skip
    model.compile("sgd", partial_loss(0.0))
    keeper.set_model(model)
    start = model.get_weights()
    for step in range(2 * keeper.EVERY):
        model.set_weights([w + (step + 1) * 0.01 for w in start])
        keeper.on_train_batch_end(step)
    keeper.on_epoch_end(0)
    last = model.get_weights()[0]
    kept = keras.models.load_model(tmp_path / "best.keras", compile=False)
    away = kept.get_weights()[0] - start[0]
    assert 0.08 - 1e-4 < away.mean() < (last - start[0]).mean() - 0.01
