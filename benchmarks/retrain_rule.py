"""How often ``convert retrain`` refuses a network that is as good, or that is badly calibrated.

    python benchmarks/retrain_rule.py [--trials 300] [--faces 50 100 300 1000]

Test faces are made up: of each a network sees its label through noise (normal, three numbers), and
says how probable the labels are after that, so that its calibration is perfect. The noise of two
networks is alike but for a twentieth of its variance: they are as good as each other, and call one
face in forty otherwise. The new one's logits are then doubled (too sure) or halved (too unsure).
Every face is a group of its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from commandline import Parser, count, run
from tqdm import tqdm

from convert.card import table
from convert.contest import Answers, judge
from convert.metrics import PRIOR, calibration_error
from maskedge.vision.masks import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOISE = 0.36
"""Standard deviation: 96 of 100 faces are judged right."""
COMMON = 0.95
"""Share of its variance that both networks see."""
MANY = 200_000
NETWORKS = {"as good": 1.0, "too sure": 2.0, "too unsure": 0.5}
"""What the new network's logits are multiplied by."""


def answers(faces: int, sure: float, rng: np.random.Generator) -> Answers:
    """What both networks say of so many faces."""
    truth = rng.choice(len(PRIOR), faces, p=PRIOR)
    common = np.sqrt(COMMON) * rng.normal(size=(faces, len(PRIOR)))

    def scores(sure: float) -> NDArray[np.float32]:
        own = np.sqrt(1 - COMMON) * rng.normal(size=common.shape)
        seen = np.eye(len(PRIOR))[truth] + NOISE * (common + own)
        logits = sure * (seen / NOISE**2 + np.log(PRIOR))
        return softmax(logits.astype(np.float32), 1.0)

    old, new = scores(1.0), scores(sure)
    own, size = np.ones(faces, bool), np.full(faces, 50, np.float32)
    return Answers(truth, np.arange(faces), own, size, old, new, old, new)


def row(faces: int, name: str, trials: int, rng: np.random.Generator) -> list[object]:
    """Shares of tests in which a new network is refused."""
    made = partial(answers, sure=NETWORKS[name], rng=rng)
    many = made(MANY)
    error = calibration_error(many.truth, many.challenger)
    reports = [judge(made(faces)) for _ in tqdm(range(trials), desc=f"{name}, {faces}")]
    ece = sum(report["criteria"][-1]["verdict"] == "worse" for report in reports)
    refused = sum(not report["accepted"] for report in reports)
    return [name, float(error), faces, ece / trials, refused / trials]


def main() -> None:
    """Simulate and print a Markdown table."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=count, default=300, help="tests of each kind")
    parser.add_argument(
        "--faces", type=count, nargs="+", default=[50, 100, 300, 1000], help="in a test"
    )
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    rows = [row(faces, name, options.trials, rng) for name in NETWORKS for faces in options.faces]
    head = ("new network", "its ECE, of many faces", "test faces", "refused for ECE", "refused")
    print(table(head, rows))


if __name__ == "__main__":
    run(main)
