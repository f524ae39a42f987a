"""The day in half hours: each person once."""

from hypothesis import given
from hypothesis import strategies as st

from maskedge.web.history import MAX_PERSONS, SLOTS, SPAN, DayHistory

NOON = 1_800_000_000.0 // SPAN * SPAN


def sums(history, wall=NOON):
    slots = history.slots(wall)
    return sum(slot["good"] for slot in slots), sum(slot["bad"] for slot in slots)


def test_a_person_counts_once_however_many_frames_show_them():
    history = DayHistory()
    for second in range(100):
        history.note([(1, "with_mask")], NOON + second)
    assert sums(history) == (1, 0)


def test_who_is_unsure_does_not_count():
    history = DayHistory()
    history.note([(1, "unsure")], NOON)
    assert sums(history) == (0, 0)
    assert history.version == 0


def test_who_takes_the_mask_off_moves_to_the_violating_and_stays_there():
    history = DayHistory()
    for label in ("with_mask", "incorrect_mask", "with_mask"):
        history.note([(1, label)], NOON)
    assert sums(history) == (0, 1)


def test_a_person_stays_in_the_slot_of_the_first_decision():
    history = DayHistory()
    history.note([(1, "with_mask")], NOON - 1)
    history.note([(1, "without_mask")], NOON + 1)
    before, after = history.slots(NOON + 1)[-2:]
    assert (before["bad"], after["bad"]) == (1, 0)


def test_the_day_always_has_all_its_slots_and_forgets_the_day_before():
    history = DayHistory()
    history.note([(1, "with_mask")], NOON)
    slots = history.slots(NOON + 3 * SPAN)
    assert len(slots) == SLOTS
    assert slots[-4] == {"start": int(NOON), "good": 1, "bad": 0}
    assert sums(history, NOON + SLOTS * SPAN) == (0, 0)


def test_a_clock_set_back_finds_its_slot_again():
    history = DayHistory()
    for number, wall in enumerate((NOON, NOON + SPAN, NOON)):
        history.note([(number, "with_mask")], wall)
    assert [slot["good"] for slot in history.slots(NOON + SPAN)[-2:]] == [2, 1]


def test_memory_is_bounded():
    history = DayHistory()
    for number in range(3 * MAX_PERSONS):
        history.note([(number, "with_mask")], NOON + number * SPAN)
    assert len(history._visits) == MAX_PERSONS
    assert len(history._slots) == SLOTS


@given(st.lists(st.tuples(
    st.integers(0, 5),
    st.sampled_from(["with_mask", "without_mask", "incorrect_mask", "unsure"]),
    st.integers(0, 5000),
)))  # fmt: skip
def test_everybody_decided_on_is_counted_exactly_once(looks):
    history = DayHistory()
    for person, label, second in looks:
        history.note([(person, label)], NOON + second)
    good, bad = sums(history, NOON + 5000)
    decided = {person for person, label, _ in looks if label != "unsure"}
    violating = {p for p, label, _ in looks if label in {"without_mask", "incorrect_mask"}}
    assert (good, bad) == (len(decided - violating), len(violating))
