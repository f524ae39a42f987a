"""The security guide answers what bandit finds, and a clean audit of packages is a real one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import audit

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_each_finding_of_bandit_is_answered_and_no_answer_is_left_over():
    pytest.importorskip("bandit")
    command = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", "maskedge", "convert"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    results = json.loads(done.stdout)["results"]
    found = defaultdict(set)
    for result in results:
        assert result["issue_severity"] != "HIGH", result
        found[result["test_id"]].add(result["filename"].removeprefix("./"))
    answered = defaultdict(set)
    guide = (ROOT / "docs/security.md").read_text().split("### bandit")[1]
    for finding, where, _answer in re.findall(
        r"^\| (.*B\d{3}.*) \| (.*) \| (.+) \|$", guide, re.MULTILINE
    ):
        for number in re.findall(r"B\d{3}", finding):
            answered[number].update(where.split(", "))
    assert answered == found


def package(name, *flaws, **more):
    vulns = [{"id": flaw, "fix_versions": ["2.0"]} for flaw in flaws]
    return {"name": name, "version": "1.0", "vulns": vulns, **more}


MISSED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited"}
OURS = {"name": "maskedge", "skip_reason": "distribution marked as editable"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([package("numpy"), package("pydantic"), OURS], 0, "2 of 2 packages looked up, no known"),
        ([MISSED, OURS], 69, "0 of 1 packages looked up: nothing is proven"),
        ([package("pydantic"), MISSED], 69, "1 of 2 packages looked up: nothing is proven"),
        ([], 69, "0 of 0 packages looked up: nothing is proven"),
        ([package("numpy", "PYSEC-1"), MISSED], 1, "numpy 1.0: PYSEC-1, mended in 2.0"),
    ],
)
def test_an_audit_is_clean_only_if_every_package_was_looked_up(packages, code, said):
    got, lines = audit.verdict(json.dumps({"dependencies": packages, "fixes": []}))
    assert got == code
    assert said in "\n".join(lines)


def test_an_audit_that_could_not_begin_proves_nothing():
    assert audit.verdict("")[0] == 69
