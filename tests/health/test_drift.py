"""What is raised, what is cleared and what is kept, on visits whose truth is known."""

import json
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from doorway import Door, Network, card

from maskedge.config import Config
from maskedge.health import baseline as baseline_module
from maskedge.health.baseline import Baseline, BaselineFile
from maskedge.health.drift import BLOCK, BLOCKS, SHIPPED, SITE, Comparison, Drift
from maskedge.health.features import BY_NAME, OFFSETS, distance, part
from maskedge.people.verdict import UNSURE
from maskedge.pipeline import FrameResult
from maskedge.vision.base import LABELS

DAY = 86_400.0


class Site:
    """A unit at a door, through days that pass in no time."""

    def __init__(self, folder, cards=({}, {}), clock=lambda: 0.0, **drift):
        self.path = folder / "baseline.json"
        self.config = Config(device="door", drift=drift)
        self.models = tuple(Network(card=card) for card in cards)
        self.drift = Drift(self.config, self.models, self.path)
        self.drift._file._clock, self.drift._file._saved_at = clock, clock()
        self.now = 0.0

    def pass_by(self, door, visits, every=300.0):
        """So many visits, one each ``every`` seconds; returns those after which it was raised."""
        raised = []
        for number in range(visits):
            self.now += every
            self.drift.visit(door.visit(), self.now)
            if self.drift.message:
                raised.append(number + 1)
        return raised

    def learn(self, door=None):
        """Seven days and a bit."""
        assert self.pass_by(door or Door(), 2050) == []
        assert self.drift.state == "watching"
        self.drift.close(5.0)
        return self

    @property
    def moved(self):
        return {(c.feature.name, c.against) for c in self.drift.moved}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The file of a unit that has learnt its place."""
    return Site(tmp_path_factory.mktemp("state")).learn().path


@pytest.fixture
def site(tmp_path, learnt):
    """A unit that has learnt, and was started again."""
    shutil.copy(learnt, tmp_path)
    found = Site(tmp_path)
    assert found.drift.state == "watching"
    return found


# raised and cleared


def test_nothing_moves_in_weeks_that_are_like_the_first(site):
    assert site.pass_by(Door(rng=np.random.default_rng(8)), 6000) == []
    figures = site.drift.figures()
    assert figures["visits"] == 6000
    assert {name for name, _ in site.drift.comparisons} == set(BY_NAME)
    assert all(abs(f[SITE]["psi"]) < 0.1 for f in figures["features"].values())


CHANGES = {
    "light": ({"light": 65.0}, "brightness"),
    "aim": ({"size": 60.0}, "size"),
    "people": ({"masked": 0.25}, "label"),
    "confidence": ({"sure": 3.0}, "confidence"),
    "unsure": ({"unsure": 0.3}, "unsure"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_moved_is_named_and_nothing_else_and_cleared_when_it_is_over(site, change):
    changed, feature = CHANGES[change]
    site.pass_by(Door(rng=np.random.default_rng(8)), 600)
    raised = site.pass_by(Door(**changed, rng=np.random.default_rng(9)), 450)
    assert BLOCK * (BLOCKS - 1) <= raised[0] <= 300
    allowed = {feature, "margin"} if feature == "confidence" else {feature}
    assert {name for name, _ in site.moved} <= allowed
    title = BY_NAME[feature].title
    assert title in site.drift.message or feature in site.drift.message
    again = site.pass_by(Door(rng=np.random.default_rng(8)), 150)
    assert BLOCK * (BLOCKS - 1) <= again[-1] + 1 <= BLOCK * (BLOCKS + 1)
    assert site.moved == set()
    # What was counted while it lasted is gone: only visits since then stand beside the reference.
    since = 150 - again[-1]
    assert site.drift.window.day(BY_NAME[feature], 1).sum() <= since


def test_the_fault_says_from_where_to_where(site):
    site.pass_by(Door(light=60.0, rng=np.random.default_rng(9)), 400)
    message = site.drift.message
    assert message.startswith("brightness of faces: 4")
    assert ", here at first 11" in message
    assert "(PSI " in message
    assert "docs/drift.md" in message


def test_a_change_for_the_better_is_none(site):
    better = Door(sure=8.0, unsure=0.0, rng=np.random.default_rng(9))
    assert site.pass_by(better, 600) == []
    assert site.drift.comparisons["confidence", SITE].distance.psi > 0.5


def test_a_group_that_comes_in_together_is_no_drift(site):
    site.pass_by(Door(rng=np.random.default_rng(8)), 600)
    class_of_children = Door(size=60.0, masked=0.0, rng=np.random.default_rng(9))
    raised = []
    for _ in range(60):
        site.now += 3.0
        site.drift.visit(class_of_children.visit(), site.now)
        raised += [True] if site.drift.message else []
    raised += site.pass_by(Door(rng=np.random.default_rng(8)), 300)
    assert raised == []


def test_a_dark_hour_is_no_drift_though_the_day_has_moved(site):
    site.pass_by(Door(rng=np.random.default_rng(8)), 600, every=600.0)
    dark = Door(light=40.0, rng=np.random.default_rng(9))
    assert site.pass_by(dark, BLOCK, every=120.0) == []
    assert site.drift.comparisons["brightness", SITE].over
    assert site.pass_by(Door(rng=np.random.default_rng(8)), 300, every=600.0) == []


def test_few_visits_are_no_proof_however_low_the_limit():
    feature, rng = BY_NAME["brightness"], np.random.default_rng(3)

    def counts(visits):
        found = (feature.bin(value) for value in rng.normal(120, 22, visits))
        return np.bincount(list(found), minlength=feature.bins)

    known = counts(2000)
    found = [counts(100) for _ in range(500)]
    apart = [distance(feature, one, known) for one in found]
    over = [
        Comparison(feature, SITE, far, 0.0, one, known).over
        for far, one in zip(apart, found, strict=True)
    ]
    assert sum(far.psi > 0 for far in apart) > 150
    assert sum(over) <= 1


def test_evenings_are_no_drift_where_evenings_are_dark(tmp_path):
    site = Site(tmp_path)
    rng = np.random.default_rng(3)

    def days(count):
        raised = []
        for _ in range(count):
            for light in (90.0, 130.0, 150.0, 70.0):  # six hours each
                raised += site.pass_by(Door(light=light, rng=rng), 36, every=600.0)
        return raised

    assert days(8) == []
    assert site.drift.state == "watching"
    assert days(30) == []


def test_a_place_whose_days_differ_must_move_further(tmp_path, site):
    restless = Site(tmp_path / "restless")
    for day in range(8):
        restless.pass_by(Door(masked=0.4 if day % 7 > 4 else 0.9), 288)
    assert restless.drift.state == "watching"
    for place in (restless, site):
        place.pass_by(Door(masked=0.4 if place is restless else 0.7), 300)
    limits = [place.drift.comparisons["label", SITE].limit for place in (restless, site)]
    assert limits[0] > 2 * limits[1] == 2 * 0.25
    assert restless.moved == set()


def test_an_ignored_feature_raises_no_fault(tmp_path, learnt):
    shutil.copy(learnt, tmp_path)
    site = Site(tmp_path, ignore=["brightness"])
    assert site.pass_by(Door(light=60.0), 500) == []
    assert site.drift.comparisons["brightness", SITE].over


def test_switched_off_it_does_nothing(tmp_path):
    site = Site(tmp_path, enabled=False)
    site.drift.frame(None, 0.0)
    assert site.drift.state == "off"
    assert site.drift.message is None


# the shipped reference


def test_days_on_which_it_is_switched_off_are_none_of_the_first(tmp_path):
    one = Site(tmp_path)
    one.pass_by(Door(), 400)
    learnt = one.drift.baseline.seconds
    one.drift.reconfigure(Config(device="door", drift={"enabled": False}), one.models)
    one.drift.frame(FrameResult(), one.now)
    one.now += 10 * DAY
    one.drift.frame(FrameResult(), one.now)
    one.drift.reconfigure(one.config, one.models)
    one.pass_by(Door(), 1)
    assert one.drift.baseline.seconds == learnt
    assert one.drift.state == "learning"


def test_from_the_first_day_it_is_noticed_that_networks_are_less_sure_than_measured(tmp_path):
    measured = tuple(card(network, Door(sure=6.0)) for network in ("detector", "classifier"))
    site = Site(tmp_path, measured)
    raised = site.pass_by(Door(sure=3.0, rng=np.random.default_rng(2)), 200)
    assert raised[0] <= 150
    assert site.drift.state == "learning"
    assert {against for _, against in site.moved} == {SHIPPED}
    assert "where the network was measured" in site.drift.message


def test_surer_than_measured_is_well_and_so_is_another_light(tmp_path):
    measured = tuple(card(network, Door(sure=4.0)) for network in ("detector", "classifier"))
    site = Site(tmp_path, measured)
    assert site.pass_by(Door(sure=6.0, light=40.0, size=300.0), 300) == []
    assert {n for n, against in site.drift.comparisons if against == SHIPPED} == {
        "confidence", "margin", "score",
    }  # fmt: skip


def test_a_reference_of_other_bins_is_passed_over(tmp_path, caplog):
    old = card("classifier", Door())
    old["reference"]["features"]["confidence"]["edges"][0] = 0.1
    site = Site(tmp_path, ({}, old))
    assert "confidence has other bins" in caplog.text
    assert set(site.drift._shipped) == {"margin"}


# what is kept


def written(site):
    site.drift.close(5.0)
    return json.loads(site.path.read_text()) if site.path.exists() else None


def test_what_was_learnt_outlives_a_restart(tmp_path):
    site = Site(tmp_path)
    site.pass_by(Door(), 1000)
    site.drift.save()
    assert written(site)["visits"] == 1000
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    again = Site(tmp_path)
    assert again.drift.state == "learning"
    assert again.drift.baseline.visits == 1000
    assert (again.drift.baseline.days == site.drift.baseline.days).all()
    again.pass_by(Door(), 1100)
    assert again.drift.state == "watching"


def test_the_card_is_written_once_an_hour_while_it_learns_and_never_after(tmp_path, monkeypatch):
    writes = []
    real = BaselineFile._write
    monkeypatch.setattr(BaselineFile, "_write", lambda s, t: (writes.append(len(t)), real(s, t)))
    clock = [0.0]
    site = Site(tmp_path, clock=lambda: clock[0])
    door = Door()
    for _ in range(2050):  # one visit in five minutes: 7 days and 3 hours
        clock[0] += 300.0
        site.pass_by(door, 1)
        site.drift.close(5.0)
    assert site.drift.state == "watching"
    assert 160 <= len(writes) <= 7 * 24 + 1
    assert max(writes) < 10_000
    before = len(writes)
    clock[0] += 10 * DAY
    site.pass_by(door, 500)
    site.drift.save()
    assert len(writes) == before


def test_without_visits_nothing_is_written(tmp_path):
    clock = [0.0]
    site = Site(tmp_path, clock=lambda: clock[0])
    clock[0] += DAY
    site.drift.save()
    assert written(site) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "maskedge.drift/1"}', "\x00\x01", '{"days": {}}']
)
def test_a_damaged_file_is_learnt_anew(tmp_path, text):
    (tmp_path / "baseline.json").write_text(text)
    site = Site(tmp_path)
    assert site.drift.state == "learning"
    assert site.drift.baseline.visits == 0


@pytest.mark.parametrize("place", [0, 7, 40, 1000, -2])
def test_a_file_cut_short_is_learnt_anew(tmp_path, learnt, place):
    (tmp_path / "baseline.json").write_text(learnt.read_text()[:place])
    assert Site(tmp_path).drift.state == "learning"


def test_a_disk_that_takes_nothing_is_told_once_and_costs_nothing_else(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(baseline_module, "SAVE_EVERY", 0.0)
    (tmp_path / "state").write_text("a file where the folder should be")
    site = Site(tmp_path / "state")
    for _ in range(3):
        site.pass_by(Door(), 10)
        site.drift.close(5.0)
    assert caplog.text.count("can't be written") == 1
    assert site.drift.baseline.visits == 30


def test_without_a_thread_to_be_had_it_is_written_the_next_time(tmp_path, no_threads, monkeypatch):
    monkeypatch.setattr(baseline_module, "SAVE_EVERY", 0.0)
    site = Site(tmp_path)
    with no_threads():
        site.pass_by(Door(), 10)
    assert not site.path.exists()
    site.pass_by(Door(), 10)
    site.drift.close(5.0)
    assert json.loads(site.path.read_text())


def test_deleting_the_file_makes_it_learn_anew(site):
    site.pass_by(Door(), 10)
    site.path.unlink()
    site.pass_by(Door(), 10)
    assert site.drift.state == "learning"
    assert site.drift.baseline.visits == 10


def test_a_state_folder_that_vanishes_takes_nothing_with_it(site):
    shutil.rmtree(site.path.parent)
    site.pass_by(Door(), 10)
    assert site.drift.state == "watching"


@pytest.mark.parametrize(
    "change",
    [
        {"camera": {"source": "rtsp://other/cam"}},
        {"camera": {"rotate": 90}},
        {"detector": {"input": 640}},
        {"verdict": {"min_face": 80}},
    ],
)
def test_another_camera_is_another_place(site, change):
    site.pass_by(Door(light=60.0), 400)
    assert site.drift.message
    site.drift.reconfigure(Config(device="door", **change), site.models)
    assert site.drift.state == "learning"
    assert site.drift.message is None


def test_other_thresholds_keep_what_was_learnt(site):
    site.drift.reconfigure(Config(device="door", drift={"threshold": 0.5}), site.models)
    assert site.drift.state == "watching"
    site.pass_by(Door(), 200)
    assert site.drift.comparisons["size", SITE].limit == 0.5


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize(("days", "done"), [(2, True), (20, False)])
def test_other_days_keep_what_was_learnt_until_then(tmp_path, days, done, restart):
    one = Site(tmp_path)
    one.pass_by(Door(), 700)  # 2.4 days
    counted = one.drift.baseline.total.copy()
    one.drift.save()
    one.drift.close(5.0)
    if restart:
        one = Site(tmp_path, baseline_days=days)
    else:
        config = Config(device="door", drift={"baseline_days": days})
        one.drift.reconfigure(config, one.models)
    assert (one.drift.baseline.total == counted).all()
    assert len(one.drift.baseline.days) == days
    one.pass_by(Door(), 1)
    assert (one.drift.state == "watching") is done
    learnt = one.drift.baseline.days.copy()
    one.drift.reconfigure(Config(device="door", drift={"baseline_days": 5}), one.models)
    assert (len(one.drift.baseline.days) == 5) is not done
    assert not done or (one.drift.baseline.days == learnt).all()


def test_another_network_is_learnt_anew_and_nothing_secret_is_in_the_file(tmp_path):
    source = {"source": "rtsp://user:hunter2@cam/stream"}
    config = Config(device="door", camera=source)
    drift = Drift(config, (Network(), Network()), tmp_path / "baseline.json")
    drift.visit(Door().visit(), 0.0)
    drift.save()
    drift.close(5.0)
    assert "hunter2" not in drift._file.path.read_text()
    drift.reconfigure(config, (Network(), Network("fresh")))
    assert drift.baseline.visits == 0


def test_days_beyond_the_first_share_their_places():
    found = Baseline.empty("key", 2)
    where = np.array([OFFSETS["unsure"]])
    for _ in range(50):
        found.learn(where, DAY / 4, 1000)
    assert found.days.shape[0] == 2
    assert part(found.total, BY_NAME["unsure"]).sum() == 50
    assert not found.complete


def test_labels_and_unsure_are_those_of_the_verdict():
    assert BY_NAME["label"].names == LABELS
    assert BY_NAME["unsure"].names[1] == UNSURE


def test_the_guide_names_every_feature_and_key():
    text = (Path(__file__).parents[2] / "docs/drift.md").read_text()
    for name in BY_NAME:
        assert f"`{name}`" in text
    for key in type(Config().drift).model_fields:
        assert f"`{key}`" in text
