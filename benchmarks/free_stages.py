"""How near could a frame come to its networks if whole stages took no time at all?

    python benchmarks/free_stages.py [--seconds 2] [--json]

``maskedge bench`` says what a frame costs beside its networks. Here ever more of its stages only
hand out what they gave for the first frame: what is left then is what no faster code for them can
save. CPU time, one thread; a row's frame and networks run in turn, so that a busy machine slows
both alike.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from commandline import Parser, amount, run

from maskedge.bench.whole import Bench, slope
from maskedge.geometry import Box
from maskedge.vision import masks, system
from maskedge.vision.builtin import BuiltinDetector
from maskedge.vision.letterbox import Letterbox
from maskedge.vision.motion import MotionGate

if TYPE_CHECKING:
    from collections.abc import Callable

INFERENCE = {"accelerator": "cpu", "device": None, "threads": 1}
FACES = (0, 1, 4)
FRAMES = ((640, 480), (1920, 1080))
STAGES = {
    "boxes: decoding, NMS, vote": ((BuiltinDetector, "_faces"),),
    "picture into the detector, motion gate": ((Letterbox, "write"), (MotionGate, "_changed")),
    "faces: quality, crop": ((system, "assess"), (masks, "write_crop")),
}
"""By name, in the order in which they become free. A picture is no longer written only once boxes
are handed out: a network works in the memory of its input, too."""


def main() -> None:
    """Print a table, or JSON: a frame over its networks, with ever more stages free."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=amount, default=2.0, help="for each figure")
    parser.add_argument("--json", action="store_true", help="for a program")
    asked = parser.parse_args()
    names, rows = list(STAGES), []
    if not asked.json:
        print(f"a frame's CPU time over that of its networks, with {FACES} faces; and what one")
        print("more face costs, in runs of the classifier")
        print(f"{'free':42}", *(f"{f'{w}x{h}':26}" for w, h in FRAMES), sep="  ")
    for count in range(len(names) + 1):
        figures = {f"{w}x{h}": _figures((w, h), names[:count], asked.seconds) for w, h in FRAMES}
        rows.append({"free": names[:count], "frames": figures})
        if not asked.json:
            told = (
                f"{', '.join(f'{ratio:.2f}' for ratio in each['ratios'])}; {each['slope']:.2f}"
                for each in figures.values()
            )
            name = f"+ {names[count - 1]}" if count else "nothing"
            print(f"{name:42}", *(f"{text:26}" for text in told), sep="  ", flush=True)
    if asked.json:
        print(json.dumps(rows))


def _figures(size: tuple[int, int], free: list[str], seconds: float) -> dict[str, Any]:
    """Ratios for each count of faces, and their slope."""
    rows = []
    for faces in FACES:
        with ExitStack() as stack:
            for owner, name in (place for stage in free for place in STAGES[stage]):
                stack.enter_context(patch.object(owner, name, _once(getattr(owner, name))))
            bench = Bench(INFERENCE)
            row = bench.crowd(size, faces, seconds)
            bench.close()
        if row["classified"] != faces:
            raise SystemExit(f"{row['classified']} of {faces} faces were judged; see {free}")
        rows.append(row)
    return {"ratios": [row["ratio"] for row in rows], "slope": slope(rows)}


def _once(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but that it works once for each face and then only hands out what it gave."""
    given: dict[object, Any] = {}

    def handed(*arguments: Any, **named: Any) -> Any:
        key = next((a for a in arguments if isinstance(a, Box)), None)
        if key not in given:
            given[key] = work(*arguments, **named)
        return given[key]

    return handed


if __name__ == "__main__":
    run(main)
