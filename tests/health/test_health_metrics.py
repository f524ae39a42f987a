"""Counters, percentiles, compliance, SoC."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge.health import soc
from maskedge.health.metrics import WINDOW, Metrics, percentile
from maskedge.people.compliance import MAX_PERSONS, Compliance


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_is_a_value_that_the_asked_share_does_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_the_median_of_an_odd_number_is_the_middle():
    values = [5.0, 1.0, 9.0, 3.0, 7.0]
    assert percentile(values, 0.5) == statistics.median(values)


def test_counters_only_grow_and_are_sorted():
    metrics = Metrics()
    metrics.count("b")
    metrics.count("a", 3)
    metrics.count("b")
    assert list(metrics.counters().items()) == [("a", 3), ("b", 2)]


def test_timings_are_in_milliseconds_over_a_bounded_window():
    metrics = Metrics()
    for _ in range(WINDOW):
        metrics.observe({"detect": 9.0})
    for _ in range(WINDOW):
        metrics.observe({"detect": 0.004})
    assert metrics.stage_ms() == {"detect": {"p50": 4.0, "p95": 4.0}}


def test_compliance_counts_persons_not_frames():
    compliance = Compliance(window=100.0)
    for moment in range(50):
        compliance.note([(1, "with_mask")], float(moment))
    compliance.note([(2, "without_mask")], 50.0)
    assert compliance.share(50.0) == (0.5, 2)


def test_who_violated_once_in_a_visit_did_not_comply():
    compliance = Compliance(window=100.0)
    compliance.note([(1, "without_mask")], 0.0)
    compliance.note([(1, "with_mask")], 1.0)
    assert compliance.share(1.0) == (0.0, 1)


def test_the_unsure_do_not_count_and_nobody_has_no_share():
    compliance = Compliance(window=100.0)
    compliance.note([(1, "unsure")], 0.0)
    assert compliance.share(0.0) == (None, 0)


def test_the_window_slides_and_memory_is_bounded():
    compliance = Compliance(window=10.0)
    compliance.note([(1, "with_mask")], 0.0)
    assert compliance.share(10.0)[1] == 1
    assert compliance.share(10.1)[1] == 0
    compliance.note([(n, "with_mask") for n in range(MAX_PERSONS + 5)], 20.0)
    assert compliance.share(20.0)[1] == MAX_PERSONS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0\n", None),
        ("50005\n", "the Pi reports under-voltage, throttled: use the official power supply"),
        ("50000\n", None),  # it was so since boot, but isn't now
        ("junk\n", None),
    ],
)
@pytest.mark.parametrize("bus", ["soc", "soc@107c000000"])  # Pi 4, Pi 5
def test_throttling_in_words(tmp_path, text, said, bus):
    assert soc.throttled(tmp_path) is None
    folder = tmp_path / f"devices/platform/{bus}/{bus}:firmware"
    folder.mkdir(parents=True)
    (folder / "get_throttled").write_text(text)
    found = soc.throttling(tmp_path)
    assert found is None if said is None else found.startswith(said)
    assert soc.throttled(tmp_path) is (None if text == "junk\n" else said is not None)


def test_temperature(tmp_path):
    assert soc.temperature(tmp_path) is None
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("48312\n")
    assert soc.temperature(tmp_path) == 48.3
