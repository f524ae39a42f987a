"""No check can hang or crash the command; what errors say is split before the cure."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from findings import bad, fine, sabotage

from maskedge.doctor import devices, runner
from maskedge.doctor.finding import Check, split
from maskedge.errors import UsageError
from maskedge.health.faults import FAULTS

ROOT = Path(__file__).parents[2]


class Slow(Check):
    name, deadline = "clock", 0.2

    def run(self, place):  # noqa: ARG002
        time.sleep(30)
        yield self.ok("late")


class Broken(Check):
    name = "clock"

    def run(self, place):  # noqa: ARG002
        yield self.ok("first")
        raise RuntimeError("boom")


def test_a_check_that_hangs_is_given_up(place):
    began = time.monotonic()
    one = bad(runner.examine([Slow()], place()))
    assert one.message == "no answer within 0.2 s"
    assert one.cure
    assert time.monotonic() - began < 20


def test_a_check_that_raises_is_a_finding(place):
    findings = list(runner.examine([Broken()], place()))
    assert findings[0].message == "first"
    assert findings[1].message == "can't be checked (RuntimeError: boom)"
    assert findings[1].cure


class Impatient(devices.CameraPicture):
    def limit(self, place):  # noqa: ARG002
        return 1.0


def test_a_library_that_hangs_is_killed(place, tmp_path):
    where = place(sabotage(tmp_path, "import time; time.sleep(300)"), camera={"source": "fake"})
    one = bad(runner.examine([Impatient()], where))
    assert one.message == "no answer within 1 s"
    assert one.help == "docs/faults.md#camera_lost"
    assert "cable" in one.cure


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_a_library_that_crashes_is_a_finding(place, tmp_path, code, how):
    where = place(sabotage(tmp_path, code), camera={"source": "fake"})
    one = bad(runner.examine([devices.CameraPicture()], where))
    assert one.message == f"the check's process crashed ({how})"
    assert one.cure


def test_a_native_librarys_chatter_does_no_harm(place, tmp_path):
    code = "import cv2, os; os.write(1, b'INFO: hello'); real = cv2.cvtColor\n"
    code += "cv2.cvtColor = lambda *a: (os.write(1, b'INFO'), real(*a))[1]"
    where = place(sabotage(tmp_path, code), camera={"source": "fake"})
    fine(runner.examine([devices.CameraPicture()], where))


def test_an_unknown_check_is_a_usage_error():
    with pytest.raises(UsageError, match="no check is called 'brokr'; there are configuration, "):
        runner.chosen(["brokr"])


def test_without_a_valid_configuration_only_some_checks_run():
    names = [check.name for check in runner.chosen([], settings=False)]
    assert "broker" not in names
    assert "camera" not in names
    assert "clock" in names


def test_help_leads_to_faults_that_are_described():
    described = (ROOT / "docs/faults.md").read_text()
    for fault in FAULTS:
        assert f"`{fault.code}`" in described


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("b:1: refused; is it on?", ("b:1: refused", "is it on?")),
        ("none found. Plug one in: a, b", ("none found", "Plug one in: a, b")),
        ("/dev/x: gone: check the cable", ("/dev/x: gone", "check the cable")),
        ("odd", ("odd", "see the help")),
    ],
)
def test_our_sentences_are_split_before_the_cure(sentence, parts):
    assert split(sentence) == parts
