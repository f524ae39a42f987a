"""One check in a process of its own: ``python -m maskedge.doctor NAME``.

The configuration comes on standard input, findings go out as JSON: the last line of standard
output, after whatever native libraries chatter there.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from maskedge.config import Config
from maskedge.doctor.checks import CHECKS
from maskedge.doctor.finding import Place
from maskedge.doctor.runner import findings_of


def main() -> None:
    """Run the check that ``sys.argv`` names."""
    asked = json.load(sys.stdin)
    place = Place(Config.model_validate(asked["config"]), Path(asked["root"]))
    findings = findings_of(CHECKS[sys.argv[1]](), place)
    sys.stdout.write("\n" + json.dumps([asdict(finding) for finding in findings]))
    sys.stdout.flush()
    os._exit(0)  # a hung thread of a native library must not hold up the end


if __name__ == "__main__":
    main()
