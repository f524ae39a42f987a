#!/usr/bin/env python3
"""Looks up known flaws of the installed packages by pip-audit, and says clean only if it could.

    .venv/bin/python scripts/audit.py

Where PyPI's advisories can't be reached, or a mirror without them stands in for PyPI, pip-audit
leaves the packages out and ends with "No known vulnerabilities found". This doesn't: it ends with
0 only if every package was looked up, with 1 if one has a known flaw, with 69 if some weren't
looked up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

COMMAND = (sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off")
OURS = "maskedge"


def verdict(report: str) -> tuple[int, list[str]]:
    """Exit code and lines for pip-audit's JSON; empty text: it could look up nothing."""
    packages = json.loads(report or '{"dependencies": []}')["dependencies"]
    packages = [package for package in packages if package["name"] != OURS]
    flaws = [
        f"{package['name']} {package['version']}: {flaw['id']}"
        + (f", mended in {' or '.join(flaw['fix_versions'])}" if flaw["fix_versions"] else "")
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    left = sum("skip_reason" in package for package in packages)
    looked = f"{len(packages) - left} of {len(packages)} packages looked up"
    if flaws:
        return 1, [*flaws, f"{len(flaws)} known flaws; {looked}"]
    if left or not packages:
        cure = "run this where https://pypi.org/pypi answers, without a mirror"
        return os.EX_UNAVAILABLE, [f"{looked}: nothing is proven; {cure}"]
    return 0, [f"{looked}, no known flaw"]


def main() -> int:
    """Run pip-audit over the environment of this Python."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    code, lines = verdict(done.stdout)
    if not done.stdout:
        lines = [*done.stderr.splitlines()[-1:], *lines]
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
