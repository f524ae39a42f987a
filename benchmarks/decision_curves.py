"""Violations found against false alerts, by evidence rule, on simulated visits with known truth.

    python benchmarks/decision_curves.py --visits 1200 --fps 10

Each rule sees the same scenes: a third of the visitors with a mask, a third without, a third with
the nose out, some two or three in view at once, through networks with the errors of
``maskedge.people.simulate.Noise`` (about 91 % of looks right, errors that last). Times are seconds
of clear view until the alert. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from commandline import Parser, amount, count, run

from maskedge.config import Config
from maskedge.people.rules import Rule, agreement, attempts, confidence, evidence
from maskedge.people.scenes import crowd
from maskedge.trial import Outcome, play

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSONS = 12
"""In one scene."""


def rules() -> Iterator[tuple[str, Rule | None]]:
    """The rules compared; None: the configuration's defaults."""
    yield "defaults", None
    for least in (0.6, 0.7, 0.75, 0.85, 0.9):
        name = f"evidence 3, agreement 0.7, confidence {least}"
        yield name, evidence(3.0) & agreement(0.7) & confidence(least)
    for least in (2.0, 4.0):
        name = f"evidence {least:g}, agreement 0.7, confidence 0.8"
        yield name, evidence(least) & agreement(0.7) & confidence(0.8)
    counted = agreement(0.6) & confidence(0.8)
    yield "3 attempts, 60 % agreement, score 0.8", attempts(3) & counted
    yield "8 attempts, 60 %, 0.8 (equal delay at 10 fps)", attempts(8) & counted
    yield "one look", attempts(1)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if of == 0:
        return 0.0, 1.0
    z, share = 1.96, hits / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return (middle - spread) / scale, (middle + spread) / scale


def measure(rule: Rule | None, visits: int, fps: float, seed: int) -> Outcome:
    """Play as many scenes as hold ``visits``."""
    outcome = Outcome()
    for number in range(math.ceil(visits / PERSONS)):
        scene = crowd(seed + number, PERSONS, fps=fps)
        outcome += play(scene, Config(), rule=rule)[1]
    return outcome


def row(name: str, outcome: Outcome) -> dict[str, object]:
    """One rule's figures."""
    masked = outcome.visits["with_mask"]
    false = [round(1000 * edge, 1) for edge in wilson(outcome.false_alerts, masked)]
    found = [round(edge, 3) for edge in wilson(outcome.found, outcome.clear)]
    return {
        "rule": name,
        "false_per_1000": round(outcome.false_per_1000, 1),
        "false_interval": false,
        "found": round(outcome.found_share, 3),
        "found_interval": found,
        "delay_p50": round(outcome.delay(0.5), 2),
        "delay_p95": round(outcome.delay(0.95), 2),
        "wrong_label": outcome.wrong_label,
        "repeated": outcome.repeated,
        "nobody": outcome.ghosts,
        "switches": outcome.switches,
        "looks_per_frame": round(outcome.looks / outcome.frames, 2),
        "visits": outcome.visits.total(),
    }


def main() -> None:
    """Print a table, or JSON lines."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=count, default=600)
    parser.add_argument("--fps", type=amount, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-defaults", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.json:
        print("| rule | false alerts per 1,000 | found | p50 s | p95 s | repeated | nobody |")
        print("|---|---|---|---|---|---|---|")
    for name, rule in rules():
        if arguments.only_defaults and rule is not None:
            continue
        result = row(name, measure(rule, arguments.visits, arguments.fps, arguments.seed))
        if arguments.json:
            print(json.dumps(result), flush=True)
        else:
            low, high = result["false_interval"]
            print(
                f"| {name} | {result['false_per_1000']} ({low}-{high}) | {result['found']:.1%} | "
                f"{result['delay_p50']} | {result['delay_p95']} | {result['repeated']} | "
                f"{result['nobody']} |",
                flush=True,
            )


if __name__ == "__main__":
    run(main)
