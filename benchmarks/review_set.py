"""What the review set holds after a month, what it writes, and what it costs the daemon's loop.

    python benchmarks/review_set.py                                  a simulated month, and the cost
    python benchmarks/review_set.py --coco val.json --pictures val   also how alike faces are

The month: 1,500 visitors a day, three quarters of them from 7 to 10 and from 12 to 14 o'clock, 8 %
of them doubtful; a poster by the door, whose face is seen anew every ten minutes; 24 kB of the disk
a face, 20 MB in all; written at the keeper's own pace, nothing labelled. Beside it, what a set
would hold that takes all until it is full.

The cost: the time of the daemon's thread in `Candidates.note`, as a share of its time in the
pipeline, both for the same frames of one person before real networks (one thread); once as it is,
and once with every look told as doubtful and more doubtful than the one before.

How alike: of faces of 48 pixels and more, the share of pairs of different ones, and of the same
face in a box moved by 3 % of its size at each edge with some noise, whose hashes differ in at most
so many bits; of pairs, per 100,000.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from commandline import Parser, existing, run

from maskedge.config import Config, InferenceConfig
from maskedge.geometry import Box
from maskedge.pipeline import Pipeline
from maskedge.review.candidates import FLOOR, Candidates
from maskedge.review.keeper import BURST, EVERY, HOURS, MAX_FACES, STEPS
from maskedge.review.selection import NEAR, Candidate, Selection
from maskedge.scene import SceneCamera, Visit, Wearing
from maskedge.vision.base import LABELS
from maskedge.vision.likeness import picture_hash
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from pathlib import Path

DAYS, VISITORS, DOUBTFUL = 30, 1500, 0.08
LIMIT, FACE = 20_000_000, 24_000
"""Bytes: of the set, and of a face with its record and a label, in whole blocks."""
POSTER = 600.0
GUESSES = {"with_mask": 0.6, "incorrect_mask": 0.3, "without_mask": 0.1}
DAY = 86_400.0


def main() -> None:
    """Measure and print JSON."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=existing, help="labelled faces, to see how alike they are")
    parser.add_argument("--pictures", type=existing, help="their folder")
    options = parser.parse_args()
    if options.coco and not options.pictures:
        parser.error("--coco needs --pictures")
    told: dict[str, Any] = {"month": month(), "cost": cost()}
    if options.coco:
        told["alike"] = alike(options.coco, options.pictures)
    print(json.dumps(told, indent=1))


def arrivals(chance: random.Random) -> list[tuple[float, Candidate]]:
    """Every doubtful face of the month, in its order."""
    poster = chance.getrandbits(64)
    made = []
    for day in range(DAYS):
        for _ in range(round(VISITORS * DOUBTFUL)):
            busy = chance.random() < 0.75
            hour = chance.choice([7, 8, 9, 12, 13]) if busy else chance.randrange(24)
            made.append((day * DAY + (hour + chance.random()) * 3600, chance.getrandbits(64)))
        for number in range(round(DAY / POSTER)):
            blur = sum(1 << bit for bit in chance.sample(range(64), chance.choice([0, 1, 2, 3, 5])))
            made.append((day * DAY + number * POSTER, poster ^ blur))
    faces = []
    for number, (moment, likeness) in enumerate(sorted(made)):
        (guess,) = chance.choices(list(GUESSES), list(GUESSES.values()))
        doubt = FLOOR + (1 - FLOOR) * chance.betavariate(1, 2)
        step = min(STEPS - 1, int(STEPS * (doubt - FLOOR) / (1 - FLOOR)))
        kind = (step, guess, int(moment % DAY / 3600) // HOURS)
        near = "poster" if (likeness ^ poster).bit_count() <= 2 * NEAR else "face"
        faces.append((moment, Candidate(f"{near}-{number}", kind, likeness, doubt, FACE)))
    return faces


def month() -> dict[str, Any]:
    """The set beside one that takes the first."""
    chance = random.Random(1)
    faces = arrivals(chance)
    chosen = Selection(MAX_FACES, LIMIT, chance)
    writes: Counter[int] = Counter()
    turns, counted = float(BURST), 0.0
    for moment, face in faces:
        turns = min(BURST, turns + (moment - counted) / EVERY)
        counted = moment
        if turns >= 1 and chosen.offer(face) is not None:
            turns -= 1
            writes[int(moment / DAY)] += 1
    first = [face for _, face in faces][: LIMIT // FACE]
    came = {face.name: moment for moment, face in faces}
    return {
        "came": len(faces),
        "kinds that came": len({face.kind for _, face in faces}),
        "chosen": holds(chosen.kept, came),
        "the first": holds(first, came),
        "faces written on the first, second, last day": [writes[d] for d in (0, 1, DAYS - 1)],
        "MB written in the month": round(sum(writes.values()) * FACE / 1e6),
    }


def holds(kept: list[Candidate], came: dict[str, float]) -> dict[str, Any]:
    """What is in a set."""
    kinds = Counter(candidate.kind for candidate in kept)
    return {
        "faces": len(kept),
        "kinds": len(kinds),
        "share of the commonest kind": round(max(kinds.values()) / len(kept), 3),
        "of the poster": sum(candidate.name.startswith("poster") for candidate in kept),
        "share from the first ten days": round(
            sum(came[candidate.name] < 10 * DAY for candidate in kept) / len(kept), 3
        ),
        "by night, 20 to 4 o'clock": sum(candidate.kind[2] in {0, 5} for candidate in kept),
    }


def cost() -> dict[str, float]:
    """Of noting what frames brought, as a share of the pipeline's time."""
    config = Config(inference=InferenceConfig(accelerator="cpu", threads=1))
    vision = Vision.open(config)
    spent: Counter[str] = Counter()
    for _ in range(3):
        pipeline = Pipeline(vision.detector, vision.classifier, vision.assess, None, config)
        usual, worst = Candidates(), Candidates()
        scene = SceneCamera([Visit(Wearing.BARE)], fps=10, pause=0.1, realtime=False)
        scene.open()
        for number in range(int(scene.duration * 10)):
            frame = scene.read()
            start = time.thread_time()
            result = pipeline.process(frame, frame.time)
            spent["pipeline"] += time.thread_time() - start
            lead = 0.69 - 0.01 * number  # ever more doubtful
            scores = ((1 + lead) / 2, (1 - lead) / 2, 0.0)
            torn = replace(
                result, looks=tuple(replace(look, scores=scores) for look in result.looks)
            )
            for name, candidates, seen in (("usual", usual, result), ("worst", worst, torn)):
                start = time.thread_time()
                candidates.note(frame, seen, frame.time, 1.7e9, vision.models)
                spent[name] += time.thread_time() - start
    vision.close()
    return {name: round(spent[name] / spent["pipeline"], 4) for name in ("usual", "worst")}


def alike(coco: Path, pictures: Path) -> dict[str, Any]:
    """How far hashes of faces lie apart."""
    from convert.coco import read_coco, read_pixels  # noqa: PLC0415 - only for this

    rng = np.random.default_rng(1)
    hashes, again = [], []
    for picture in read_coco(coco, pictures):
        pixels = None
        for face in picture.faces:
            if face.box.size < Config().verdict.min_face:
                continue
            pixels = read_pixels(picture) if pixels is None else pixels
            moved = Box(*(np.array(face.box) + rng.normal(0, 0.03, 4) * face.box.size))
            seen, twice = cut(pixels, face.box), cut(pixels, moved)
            if min(*seen.shape[:2], *twice.shape[:2]) < 9:
                continue
            noisy = np.clip(twice + rng.normal(0, 4, twice.shape), 0, 255).astype(np.uint8)
            hashes.append(picture_hash(seen))
            again.append((picture_hash(noisy) ^ hashes[-1]).bit_count())
    known = np.array(hashes, np.uint64)
    apart = np.bitwise_count(known[:, None] ^ known[None])[np.triu_indices(len(known), 1)]
    return {
        "faces": len(known),
        "bits": {
            bits: {
                "different, per 100,000": round(1e5 * float((apart <= bits).mean()), 1),
                "the same": round(float((np.array(again) <= bits).mean()), 2),
            }
            for bits in (4, 6, 8, 10, 12)
        },
    }


def cut(pixels: np.ndarray[Any, Any], box: Box) -> np.ndarray[Any, Any]:
    """A face's own pixels."""
    x1, y1, x2, y2 = box.clipped(pixels.shape[1], pixels.shape[0])
    return pixels[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)]


if __name__ == "__main__":
    assert set(GUESSES) == set(LABELS)
    run(main)
