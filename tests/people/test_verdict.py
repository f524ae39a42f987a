from types import SimpleNamespace

import pytest

from maskedge.config import TrackerConfig, VerdictConfig
from maskedge.geometry import Box
from maskedge.people.rules import attempts
from maskedge.people.tracker import Tracker
from maskedge.people.verdict import UNSURE, Judge

MASK = (0.96, 0.02, 0.02)
BARE = (0.02, 0.96, 0.02)
NOSE = (0.02, 0.02, 0.96)
TORN = (0.4, 0.3, 0.3)
VIEW = (640, 480)


def face(x, y=200.0, size=80.0):
    return Box(x - 0.4 * size, y - size / 2, x + 0.4 * size, y + size / 2)


class Room:
    """A tracker and a judge, and persons who stand where they are told."""

    def __init__(self, fps=10.0, **config):
        self.tracker = Tracker(TrackerConfig())
        self.judge = Judge(VerdictConfig(**config))
        self.fps = fps
        self.now = 100.0
        self.looks = 0
        self.log = []
        self.tracks = []

    def step(self, persons, quality=1.0, dt=None):
        """One frame: persons are (box, scores)."""
        self.now += 1 / self.fps if dt is None else dt
        scores = {box: s for box, s in persons}  # noqa: C416 - names say what is what
        self.tracks = self.tracker.update([b for b, _ in persons], [0.9] * len(persons), self.now)
        for track in self.tracks:
            due = track.confirmed and track.seen
            if due and self.judge.needs_look(track, self.now) is not None:
                self.looks += 1
                self.judge.observe(track, scores[track.detection], quality, self.now)
        made = self.judge.update(self.tracks, self.now, VIEW)
        self.log += made
        return made

    def stay(self, seconds, *persons, quality=1.0):
        """Everybody stays for a while; returns the decisions."""
        made = []
        for _ in range(round(seconds * self.fps)):
            made += self.step(persons, quality)
        return made

    def label(self):
        (track,) = self.tracks
        return self.judge.state(track)[0]


def kinds(decisions):
    return [(d.type, d.label, d.reason) for d in decisions]


@pytest.mark.parametrize(("fps", "within"), [(3, 1.5), (5, 1.3), (10, 1.0), (15, 1.0), (30, 1.0)])
@pytest.mark.parametrize(("scores", "label"), [(BARE, "without_mask"), (NOSE, "incorrect_mask")])
def test_a_clear_view_is_decided_within_a_second(fps, within, scores, label):
    room = Room(fps)
    start = room.now + 1 / fps
    (decision,) = room.stay(3, (face(300), scores))
    assert (decision.type, decision.label) == ("started", label)
    assert decision.decided_at - start <= within
    assert decision.first_seen == pytest.approx(start)
    assert decision.confidence == pytest.approx(0.96, abs=0.01)
    assert decision.frames == decision.agree > 2
    assert decision.box == face(300)


@pytest.mark.parametrize("scores", [MASK, TORN, (0.25, 0.65, 0.1)])
def test_masked_and_unsure_never_alert(scores):
    room = Room()
    assert room.stay(30, (face(300), scores)) == []
    assert room.label() == ("with_mask" if scores is MASK else UNSURE)


def test_which_violation_may_be_in_doubt_that_it_is_one_is_not():
    room = Room()
    (decision,) = room.stay(3, (face(300), (0.04, 0.5, 0.46)))
    assert decision.label == "without_mask"
    assert decision.confidence == pytest.approx(0.5, abs=0.01)


def test_another_rule_may_decide():
    room = Room()
    room.judge = Judge(VerdictConfig(), attempts(1))
    (decision,) = room.stay(1, (face(300), BARE))
    assert (decision.label, decision.frames) == ("without_mask", 1)


def test_a_person_is_told_once_however_long_the_visit():
    room = Room()
    assert kinds(room.stay(120, (face(300), BARE))) == [("started", "without_mask", None)]


def test_leaving_ends_it_as_of_the_last_sighting():
    room = Room(leave_after=3.0)
    (started,) = room.stay(3, (face(300), BARE))
    last = room.now
    assert room.stay(2.9) == []
    (ended,) = room.stay(0.5)
    assert (ended.type, ended.reason, ended.key) == ("ended", "left", started.key)
    assert ended.ended_at == pytest.approx(last)
    assert (ended.label, ended.track_id) == (started.label, started.track_id)
    assert ended.decided_at == started.decided_at


@pytest.mark.parametrize("fps", [3, 10])
def test_putting_the_mask_on_ends_it_in_time(fps):
    room = Room(fps)
    (started,) = room.stay(20, (face(300), BARE))
    change = room.now
    made = room.stay(5, (face(300), MASK))
    assert kinds(made) == [("ended", "without_mask", "mask_on")]
    assert made[0].key == started.key
    config = room.judge.config
    noticed = made[0].ended_at - change
    assert 0 < noticed <= config.reclassify + 2 / fps
    decided = next(i for i, d in enumerate(room.log) if d.type == "ended")
    assert decided == 1
    assert room.label() == "with_mask"


def test_once_it_is_on_what_was_before_counts_no_more():
    room = Room(clear_after=0.5)
    room.stay(20, (face(300), BARE))
    room.stay(4, (face(300), MASK))
    (track,) = room.tracks
    label, confidence, violation = room.judge.state(track)
    assert (label, violation) == ("with_mask", None)
    assert confidence == pytest.approx(0.96, abs=0.01)


def test_clearing_is_noticed_within_clear_after_and_reclassify():
    room = Room(10)
    room.stay(20, (face(300), BARE))
    limit = room.judge.config.clear_after + room.judge.config.reclassify + 0.2
    assert kinds(room.stay(limit, (face(300), MASK))) == [("ended", "without_mask", "mask_on")]


def test_a_moment_of_mask_clears_nothing():
    room = Room()
    room.stay(5, (face(300), BARE))
    for _ in range(5):
        assert room.stay(1.0, (face(300), MASK)) == []
        assert room.stay(2.0, (face(300), BARE)) == []


def test_taking_the_mask_off_is_found():
    room = Room()
    assert room.stay(60, (face(300), MASK)) == []
    made = room.stay(3.5, (face(300), BARE))
    assert kinds(made) == [("started", "without_mask", None)]


def test_mask_on_and_off_again_is_told_again_only_after_the_cooldown():
    room = Room(cooldown=10.0)
    room.stay(3, (face(300), BARE))
    assert len(room.stay(4, (face(300), MASK))) == 1
    assert room.stay(5, (face(300), BARE)) == []
    assert kinds(room.stay(8, (face(300), BARE))) == [("started", "without_mask", None)]


def test_another_violation_replaces_the_first_after_the_cooldown():
    room = Room(cooldown=10.0)
    (first,) = room.stay(3, (face(300), BARE))
    assert room.stay(5, (face(300), NOSE)) == []
    ended, second = room.stay(10, (face(300), NOSE))
    assert kinds([ended, second]) == [
        ("ended", "without_mask", "label_changed"),
        ("started", "incorrect_mask", None),
    ]
    assert ended.key == first.key != second.key


def test_a_face_between_two_violations_does_not_flap():
    room = Room()
    for _ in range(40):
        room.stay(0.5, (face(300), BARE))
        room.stay(0.5, (face(300), NOSE))
    assert [d.type for d in room.log] == ["started"]


def test_lost_and_found_again_nearby_is_the_same_violation():
    room = Room()
    (started,) = room.stay(3, (face(300), BARE))
    first = room.tracks[0].id
    room.stay(3)
    assert room.stay(10, (face(330), BARE)) == []
    assert room.tracks[0].id != first
    (ended,) = room.stay(8)
    assert ended.key == started.key


def test_lost_is_not_declared_gone_while_a_newcomer_may_be_the_same_person():
    room = Room(leave_after=3.0)
    room.stay(3, (face(300), BARE))
    room.stay(2.6)
    assert room.stay(5, (face(310), BARE)) == []


def test_found_again_after_the_end_is_quiet_until_the_cooldown_is_over():
    room = Room(leave_after=3.0, cooldown=10.0)
    room.stay(3, (face(300), BARE))
    assert kinds(room.stay(4)) == [("ended", "without_mask", "left")]
    assert room.stay(4, (face(300), BARE)) == []
    assert kinds(room.stay(5, (face(300), BARE))) == [("started", "without_mask", None)]


def test_somebody_else_further_off_has_a_violation_of_their_own():
    room = Room()
    room.stay(3, (face(100), BARE))
    room.stay(2.5)
    made = room.stay(3, (face(500), BARE))
    assert ("started", "without_mask", None) in kinds(made)


def test_two_seen_at_once_are_two_persons():
    room = Room()
    room.stay(3, (face(300), BARE))
    made = room.stay(3, (face(300), BARE), (face(390), BARE))
    assert kinds(made) == [("started", "without_mask", None)]


def a_track(number, box, now, *, seen=True, since=0.0):
    return SimpleNamespace(
        id=number, box=box, detection=box, first_box=face(220), first_seen=since, last_seen=now,
        velocity=(0.0, 0.0), seen=seen, confirmed=True, score=0.9,
    )  # fmt: skip


def test_a_neighbours_track_that_slips_onto_the_face_tells_nobody_twice():
    judge = Judge(VerdictConfig())
    told = []
    for number in range(40):
        now = number / 10
        if number < 20:  # two in view, one of them bare and told, the other nearly decided
            tracks = [a_track(1, face(220), now), a_track(2, face(300), now)]
            judge.observe(tracks[1], BARE, 1.0, now)
            if number > 12:
                judge.observe(tracks[0], BARE, 1.0, now)
        else:  # the tracker gives the bare face to the other's track
            tracks = [a_track(1, face(302), now), a_track(2, face(300), 1.9, seen=False)]
            judge.observe(tracks[0], BARE, 1.0, now)
        told += judge.update(tracks, now, VIEW)
    assert [(d.type, d.track_id) for d in told] == [("started", 2)]


def test_one_lost_violation_is_continued_by_one_person_only():
    room = Room()
    room.stay(3, (face(300), BARE))
    room.stay(3)
    made = room.stay(3, (face(280), BARE), (face(370), BARE))
    assert kinds(made) == [("started", "without_mask", None)]


def test_a_masked_newcomer_does_not_inherit_a_violation():
    room = Room(leave_after=3.0)
    room.stay(3, (face(300), BARE))
    room.stay(2.5)
    made = room.stay(6, (face(300), MASK))
    assert kinds(made) == [("ended", "without_mask", "left")]


def test_labels_that_are_not_watched_are_not_told():
    room = Room(alert_on=("without_mask",))
    assert room.stay(5, (face(300), NOSE)) == []
    assert room.label() == "incorrect_mask"


def test_a_change_to_an_unwatched_label_ends_it():
    room = Room(alert_on=("without_mask",))
    room.stay(5, (face(300), BARE))
    made = room.stay(5, (face(300), NOSE))
    assert kinds(made) == [("ended", "without_mask", "label_changed")]


def test_new_thresholds_keep_persons_and_violations():
    room = Room()
    (started,) = room.stay(3, (face(300), BARE))
    room.judge.reconfigure(VerdictConfig(min_evidence=9, leave_after=1.0))
    assert room.stay(5, (face(300), BARE)) == []
    (ended,) = room.stay(2)
    assert ended.key == started.key


def test_a_label_no_longer_watched_ends_at_once():
    room = Room()
    room.stay(3, (face(300), BARE))
    room.judge.reconfigure(VerdictConfig(alert_on=("incorrect_mask",)))
    assert kinds(room.stay(1, (face(300), BARE))) == [("ended", "without_mask", "reconfigured")]


def test_flush_ends_all_that_is_open_also_who_is_lost():
    room = Room()
    room.stay(3, (face(100), BARE), (face(500), BARE))
    room.stay(2.5, (face(500), BARE))
    assert len(room.judge.open) == 2
    made = room.judge.flush(room.now)
    assert kinds(made) == [("ended", "without_mask", "shutdown")] * 2
    assert [end.ended_at for end in made] == pytest.approx([room.now - 2.5, room.now])
    assert room.judge.open == ()
    assert room.judge.flush(room.now) == []


def test_poor_looks_need_longer():
    good, poor = Room(), Room()
    (early,) = good.stay(5, (face(300), BARE), quality=1.0)
    (late,) = poor.stay(5, (face(300), BARE), quality=0.5)
    assert late.decided_at - early.decided_at > 0.5


def test_a_decided_person_is_looked_at_seldom_an_undecided_one_always():
    sure, unsure = Room(), Room()
    sure.stay(11, (face(300), MASK))
    unsure.stay(11, (face(300), TORN))
    assert sure.looks <= 20
    assert unsure.looks >= 100


def test_undecided_come_before_decided_unless_these_waited_much_longer():
    room = Room()
    room.stay(5, (face(100), MASK))
    room.stay(0.3, (face(100), MASK), (face(500), TORN))
    decided, undecided = sorted(room.tracks, key=lambda track: track.id)
    needs = room.judge.needs_look
    room.judge.observe(decided, MASK, 1.0, room.now)
    assert needs(decided, room.now + 0.9) is None
    assert needs(undecided, room.now + 1.1) > needs(decided, room.now + 1.1) > 0
    room.judge.observe(undecided, TORN, 1.0, room.now + 2.9)
    assert needs(decided, room.now + 3.0) > needs(undecided, room.now + 3.0) > 0


def test_time_jumps_decide_nothing_false():
    room = Room()
    (started,) = room.stay(3, (face(300), BARE))
    made = room.step([(face(300), BARE)], dt=86_400.0)
    assert kinds(made) == [("ended", "without_mask", "left")]
    assert made[0].key == started.key
    masked = Room()
    masked.stay(3, (face(300), MASK))
    for dt in (-50.0, 0.0, 86_400.0, -86_400.0):
        assert masked.step([(face(300), MASK)], dt=dt) == []
    assert masked.stay(5, (face(300), MASK)) == []


def test_one_person_is_forgotten_when_gone():
    room = Room()
    for number in range(200):
        room.stay(0.5, (face(50 + 3 * number), MASK))
        room.stay(2.2)
    assert len(room.judge._persons) + len(room.judge._lost) <= 1
