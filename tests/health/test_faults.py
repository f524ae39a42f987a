"""Faults are raised once, cleared once, and carry since, message and help."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from maskedge.health.faults import FAULTS, FaultBoard, Situation

ROOT = Path(__file__).parents[2]
ALL_WRONG = Situation(
    camera_error="no frame for 5 s",
    scene=frozenset({"black", "covered", "frozen"}),
    accelerator_fault="no Edge TPU",
    broker_error="connection refused",
    outbox_error="disk full",
    outbox_note="set aside",
    outbox_dropped=3,
    config_error="config.yaml:3: wrong",
    review_error="disk full",
    models_error="damaged",
    throttled="under-voltage",
    clock_synced=False,
    behind=0.9,
    gpio_error="pin 17: busy",
    command_error="exit code 1",
    drift="brightness moved",
    snapshot_error="the disk is full",
)


@pytest.fixture
def board():
    return FaultBoard(lambda moment: f"t{moment:.0f}")


def test_nothing_wrong_is_ok(board):
    assert not board.update(Situation(), 1.0)
    assert board.status == "ok"
    assert board.as_json() == []


def test_every_fault_can_be_raised_and_cleared(board):
    assert board.update(ALL_WRONG, 1.0)
    assert set(board.raised) == {kind.code for kind in FAULTS}
    assert board.status == "failed"
    assert board.update(Situation(), 2.0)
    assert board.status == "ok"


def test_a_fault_is_logged_once_when_raised_and_once_when_cleared(board, caplog):
    wrong = Situation(broker_error="connection refused")
    for moment in range(10):
        board.update(wrong, float(moment))
    board.update(Situation(), 10.0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["fault broker_lost: connection refused", "cleared broker_lost after 10 s"]


def test_a_reworded_fault_keeps_its_beginning(board):
    board.update(Situation(broker_error="a"), 1.0)
    assert not board.update(Situation(broker_error="b"), 5.0)
    assert board.as_json() == [
        {
            "code": "broker_lost",
            "since": "t1",
            "message": "b",
            "help": "docs/faults.md#broker_lost",
        }
    ]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({"outbox_dropped": 3}, "3 oldest events were dropped at outbox.max_events: bring the"),
        ({"outbox_dropped": 3, "outbox_unwritten": 3}, "3 oldest events were dropped from memory"),
        ({"outbox_dropped": 1, "outbox_damaged": 1}, "1 events were damaged on disk"),
    ],
)
def test_lost_events_are_told_with_their_cause_alone(board, lost, said):
    board.update(Situation(**lost), 1.0)
    assert board.raised["outbox_overflow"].message.startswith(said)
    assert ";" not in board.raised["outbox_overflow"].message


def test_only_what_blinds_it_is_failed(board):
    board.update(replace(ALL_WRONG, camera_error=None, scene=frozenset()), 1.0)
    assert board.status == "degraded"


def test_every_test_that_the_fault_matrix_names_is_there():
    guide = (ROOT / "docs/faults.md").read_text().split("## The fault matrix")[1]
    rows = guide.split("### Under a real systemd")[0].splitlines()
    rows = [row for row in rows if row.startswith("| ") and "| caused by |" not in row]
    cells = [row.split(" | ")[2] for row in rows]
    named = {name for cell in cells for name in re.findall(r"`([\w…]+)`", cell)}
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 60
    assert not [name for name in named if f"def test_{name.removesuffix('…')}" not in tests]


def test_every_fault_has_its_section_in_the_documentation():
    text = (ROOT / "docs/faults.md").read_text()
    documented = set(re.findall(r"^### .*`(\w+)`", text, re.MULTILINE))
    assert documented == {kind.code for kind in FAULTS}
    anchors = set(re.findall(r'^<a id="(\w+)"></a>$', text, re.MULTILINE))
    assert anchors == documented  # where `help` in health points to
