r"""False alarms of drift in days without it, and how soon real changes are noticed.

    python benchmarks/drift.py FOLDER --cache CACHE --yunet face_detection_yunet_2023mar.onnx

FOLDER holds a COCO set (val.json and val/). Its pictures are moved before the real pipeline once,
as they are and under each change, and what is measured of each visit is kept in CACHE: numbers, no
pixels. Days at a door are then drawn from these visits, whole pictures with all their faces at
once, and given to the daemon's own :class:`maskedge.health.drift.Drift`:

- visitors come from 7 to 20 o'clock, some 300 groups a day, 120 at weekends;
- faces are 0.7 EV darker in the morning and in the evening, 0.3 EV brighter on sunny noons;
- the share of visitors with a mask differs from day to day (some 60 %, less at weekends).

Pictures with an even number make the networks' reference, those with an odd one come to the door.
YuNet's file gives the landmarks on which new masks are drawn; without it these rows are left out.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from commandline import Parser, count, existing, run
from drift_visits import PlayedVisit, collect
from tqdm import tqdm

from convert.coco import read_coco
from maskedge.config import Config, InferenceConfig
from maskedge.errors import EndOfStream
from maskedge.health.drift import Drift
from maskedge.health.features import FEATURES, distance
from maskedge.pipeline import Pipeline
from maskedge.scene import SceneCamera
from maskedge.vision.base import LABELS
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from maskedge.health.features import Feature

HOUR, DAY = 3600.0, 86_400.0
OPEN, CLOSED = 7.0, 20.0
WEEK, GROUPS, WEEKEND_GROUPS = 7, 300, 120
MASKED, WEEKEND_MASKED, SWAY = 0.6, 0.5, 0.05
CHANGES = {
    "dark": "light -2 EV",
    "blur": "out of focus (sigma 3 px)",
    "balance": "white balance fixed for lamps, under the sky",
    "turned": "camera turned by 90°",
    "all clear masks": "all of the masked wear clear masks",
    "half clear masks": "half of them do",
    "all loud masks": "all of the masked wear loud prints",
    "half loud masks": "half of them do",
}
Pool = dict[str, dict[int, list[PlayedVisit]]]
"""Visits by condition and picture."""


def pooled(found: dict[str, list[PlayedVisit]], odd: bool) -> Pool:
    """One half of the pictures."""
    pool: Pool = {name: {} for name in found}
    for name, visits in found.items():
        for visit in visits:
            if visit.picture % 2 == odd:
                pool[name].setdefault(visit.picture, []).append(visit)
    return pool


def networks_in(cache: Path) -> str:
    """Which ones the visits were played through."""
    return str(json.loads((cache / "plain.json").read_text(encoding="utf-8"))["models"])


def tally(visits: list[PlayedVisit]) -> dict[str, Any]:
    """How many visits there are, how many of a known label were decided, and how many right."""
    known = [v for v in visits if v.truth]
    decided = [v for v in known if "label" in v.values]
    right = sum(LABELS[int(v.values["label"])] == v.truth for v in decided)
    return {
        "visits": len(visits),
        "of_known_label": len(known),
        "decided": len(decided),
        "right": round(right / max(1, len(decided)), 4),
    }


@dataclass
class Network:
    """All that drift asks of a network's file."""

    card: dict[str, Any]
    fingerprint: str = ""


def networks(pool: Pool) -> tuple[Any, ...]:
    """Networks whose reference was measured on these visits."""
    cards: dict[str, dict[str, Any]] = {"detector": {}, "classifier": {}}
    visits = [visit for group in pool["plain"].values() for visit in group]
    for feature in FEATURES:
        if feature.network is not None:
            counts = counted(feature, visits).tolist()
            cards[feature.network][feature.name] = {"edges": list(feature.edges), "counts": counts}
    return tuple(Network({"reference": {"features": part}}) for part in cards.values())


def places(even: Pool, odd: Pool) -> dict[str, dict[str, float]]:
    """How far visits of one kind alone lie from the networks' reference: PSI, for the worse."""
    known, here = ([v for g in pool["plain"].values() for v in g] for pool in (even, odd))
    kinds = {
        "faces below 64 px": [v for v in here if v.values["size"] < 64],
        "faces above 128 px": [v for v in here if v.values["size"] > 128],
        **{label: [v for v in here if v.truth == label] for label in LABELS},
    }
    watched = [feature for feature in FEATURES if feature.network is not None]
    found: dict[str, dict[str, float]] = {}
    for kind, visits in kinds.items():
        for feature in watched:
            apart = distance(feature, counted(feature, visits), counted(feature, known))
            if apart is not None and apart.worsens(feature):
                found.setdefault(kind, {})[feature.name] = round(apart.psi, 3)
    return found


def counted(feature: Feature, visits: list[PlayedVisit]) -> NDArray[np.int64]:
    """Counts (bins,) of a feature."""
    bins = [feature.bin(v.values[feature.name]) for v in visits if feature.name in v.values]
    return np.bincount(bins, minlength=feature.bins)


@dataclass
class Door:
    """Who comes, group by group."""

    pool: Pool
    rng: np.random.Generator
    change: str | None = None
    masked: list[int] = field(init=False)
    bare: list[int] = field(init=False)

    def __post_init__(self) -> None:
        plain = self.pool["plain"]
        wearing = {n for n, group in plain.items() if any(v.truth == "with_mask" for v in group)}
        self.masked, self.bare = sorted(wearing), sorted(plain.keys() - wearing)

    def day(self, number: int) -> Iterator[tuple[float, list[PlayedVisit], int]]:
        """Time, visits that the unit sees, and how many persons came; of one day."""
        rng = self.rng
        weekend = number % WEEK >= 5
        groups = rng.poisson((WEEKEND_GROUPS if weekend else GROUPS) * rng.uniform(0.8, 1.2))
        share = rng.normal(WEEKEND_MASKED if weekend else MASKED, SWAY)
        sunny = rng.random() < 0.5
        for hour in np.sort(rng.uniform(OPEN, CLOSED, groups)):
            visits, persons = self._group(float(hour), share, sunny)
            yield number * DAY + float(hour) * HOUR, visits, persons

    def _group(self, hour: float, share: float, sunny: bool) -> tuple[list[PlayedVisit], int]:
        rng = self.rng
        light = "evening" if hour < 9 or hour > 17 else "plain"
        if sunny and 11 < hour < 14:
            light = "noon"
        masked = rng.random() < share
        share, _, kind = (self.change or "").partition(" ")
        if kind.endswith("masks") and masked and rng.random() < {"all": 1.0, "half": 0.5}[share]:
            changed = self.pool[kind]
            group = changed[sorted(changed)[rng.integers(len(changed))]]
            return [visit for visit in group if visit.truth == "without_mask"], len(group)
        chosen = self.masked if masked else self.bare
        picture = chosen[rng.integers(len(chosen))]
        persons = len(self.pool["plain"][picture])
        if self.change in {"dark", "blur", "balance", "turned"}:
            light = self.change
        visits = list(self.pool[light].get(picture, ()))
        rng.shuffle(visits)  # type: ignore[arg-type]
        return visits, persons


class Unit:
    """The daemon's drift at a door."""

    def __init__(self, models: tuple[Any, ...], pool: Pool, seed: int, folder: Path) -> None:
        self.door = Door(pool, np.random.default_rng(seed))
        self.drift = Drift(Config(device="door"), models, folder / f"{seed}.json")
        self.today = 0
        self.alarms: list[str] = []
        self.persons = self.faces = 0

    def days(self, count: int, *, until_raised: bool = False) -> int:
        """Let days pass; returns on how many of them something was raised."""
        bad = 0
        for _ in range(count):
            raised = False
            for now, visits, persons in self.door.day(self.today):
                self.persons += persons
                for number, visit in enumerate(visits):
                    before = self.drift.message is not None
                    self.drift.visit(visit.values, now + number)
                    self.faces += 1
                    message = self.drift.message
                    raised |= message is not None
                    if message and not before:
                        self.alarms.append(message)
                        if until_raised:
                            return bad
            self.today += 1
            bad += raised
        return bad


def false_alarms(
    models: tuple[Any, ...], pool: Pool, units: int, days: int, folder: Path
) -> dict[str, Any]:
    """Days without drift, after a week of learning."""
    alarms, bad, visits = [], 0, 0
    for seed in tqdm(range(units), desc="no drift", unit="unit", dynamic_ncols=True):
        unit = Unit(models, pool, seed, folder)
        unit.days(WEEK + 1)
        bad += unit.days(days)
        visits += unit.drift.window.visits
        alarms += unit.alarms
    return {"days": units * days, "alarms": len(alarms), "days_raised": bad, "what": alarms,
            "visits_counted": visits}  # fmt: skip


def detection(
    models: tuple[Any, ...], pool: Pool, change: str, units: int, folder: Path
) -> dict[str, Any]:
    """Persons who came from a change until it was raised."""
    came, counted, hours, named = [], [], [], []
    for seed in range(units):
        unit = Unit(models, pool, 1000 + seed, folder)
        unit.days(WEEK + 3)
        unit.alarms.clear()
        unit.door.change = change
        unit.persons, before, begin = 0, unit.drift.window.visits, unit.today
        unit.days(14, until_raised=True)
        if unit.alarms:
            came.append(unit.persons)
            counted.append(unit.drift.window.visits - before)
            hours.append(unit.today - begin)
            named.append(sorted({c.feature.name for c in unit.drift.moved}))
    found = len(came)
    return {
        "noticed": f"{found} of {units}",
        "persons_median": statistics.median(came) if came else None,
        "persons_most": max(came, default=None),
        "visits_median": statistics.median(counted) if counted else None,
        "days_most": max(hours, default=None),
        "named": {n: sum(n in names for names in named) for n in sorted(set().union(*named))},
    }  # fmt: skip


def cost(models: tuple[Any, ...], pool: Pool, folder: Path) -> dict[str, float]:
    """What watching for drift adds to the pipeline's CPU time, on the sample scene."""
    config = Config(inference=InferenceConfig(accelerator="cpu", threads=1), drift={"spacing": 0})
    vision = Vision.open(config)
    pipeline = Pipeline(vision.detector, vision.classifier, vision.assess, None, config)
    drift = Drift(config, vision.files, folder / "cost.json")
    scene = SceneCamera(realtime=False)
    scene.open()
    seeing = watching = 0.0
    frames = 0
    with suppress(EndOfStream):
        while True:
            frame = scene.read()
            begin = time.thread_time()
            result = pipeline.process(frame, frame.time)
            seen = time.thread_time()
            drift.frame(result, frame.time)
            watching += time.thread_time() - seen
            seeing += seen - begin
            frames += 1
    vision.close()
    unit = Unit(models, pool, 9000, folder)
    unit.days(WEEK + 3)
    begin = time.thread_time()
    for _ in range(100):
        unit.drift._compare()  # noqa: SLF001 - it comes once in 30 visits
    return {
        "share_of_the_pipeline": round(watching / seeing, 4),
        "us_per_frame": round(1e6 * watching / frames, 1),
        "ms_per_comparison": round(10 * (time.thread_time() - begin), 2),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=existing, help="holds val.json and val/")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what was measured")
    parser.add_argument("--yunet", type=existing, help="YuNet's ONNX file, to draw new masks")
    parser.add_argument("--every", type=count, default=1, help="take only every so many pictures")
    parser.add_argument("--units", type=count, default=10, help="units without drift")
    parser.add_argument("--days", type=count, default=200, help="days of each")
    parser.add_argument("--trials", type=count, default=20, help="units for each change")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = read_coco(options.folder / "val.json", options.folder / "val")
    found = collect(pictures, options.cache, options.yunet, options.every)
    even, pool = pooled(found, odd=False), pooled(found, odd=True)
    models = networks(even)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "networks": networks_in(options.cache),
            "visits": {name: tally(visits) for name, visits in found.items()},
            "places": places(even, pool),
            "no_drift": false_alarms(models, pool, options.units, options.days, folder),
        }
        for change, words in CHANGES.items():
            if change.removeprefix("all ").removeprefix("half ") in pool:
                figures = detection(models, pool, change, options.trials, folder)
                result[change] = {"what": words, **figures}
        result["cost"] = cost(models, pool, folder)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
