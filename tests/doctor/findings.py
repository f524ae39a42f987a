"""What every test of the doctor does: look, and hold a finding to its promise."""

from __future__ import annotations

import os


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def looked(check, place):
    """The findings; those that are bad must say what to do."""
    findings = list(check.run(place))
    told(findings)
    return findings


def told(findings):
    assert findings
    for finding in findings:
        assert finding.message
        assert finding.cure or finding.status == "ok"


def bad(findings):
    (one,) = [finding for finding in findings if finding.status != "ok"]
    told([one])
    return one


def fine(findings):
    findings = list(findings)
    assert {finding.status for finding in findings} == {"ok"}, findings
    return " ".join(finding.message for finding in findings)


def sabotage(tmp_path, code):
    """An environment in which every Python runs this before anything else."""
    write(tmp_path / "sabotage/sitecustomize.py", code)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "sabotage")}
