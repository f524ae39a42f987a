"""Random visits for the simulator: walking up, walking by, standing about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskedge.people.simulate import Noise, Scene, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.people.simulate import Knots

SAME_DEPTH = 1.15
"""Faces this alike in size are equally far away, so that none can hide behind the other."""


def approach(rng: np.random.Generator, start: float, view: tuple[int, int]) -> Knots:
    """Walk towards the camera and past it, in 4 to 8 seconds."""
    width, height = view
    seconds = rng.uniform(4, 8)
    x0, x1 = rng.uniform(0.2, 0.8, 2) * width
    size0, size1 = rng.uniform(25, 40), rng.uniform(100, 150)
    middle = start + 0.6 * seconds
    out = (-0.2 if x1 < width / 2 else 1.2) * width
    return (
        (start, x0, 0.35 * height, size0),
        (middle, x1, rng.uniform(0.3, 0.5) * height, 0.7 * size1),
        (start + seconds, out, 0.5 * height, size1),
    )


def cross(rng: np.random.Generator, start: float, view: tuple[int, int]) -> Knots:
    """Walk by from one side to the other, 1 to 4 face heights a second."""
    width, height = view
    size = rng.uniform(45, 110)
    seconds = (width + 2 * size) / (rng.uniform(1, 4) * size)
    y = rng.uniform(0.25, 0.7) * height
    ends = (-size, width + size)
    x0, x1 = ends if rng.random() < 0.5 else ends[::-1]  # noqa: PLR2004 - a coin
    return ((start, x0, y, size), (start + seconds, x1, y, size * rng.uniform(0.9, 1.1)))


def linger(rng: np.random.Generator, start: float, view: tuple[int, int]) -> Knots:
    """Come in from a side, stand for 3 to 15 seconds, leave by a side."""
    width, height = view
    size = rng.uniform(60, 120)
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.3, 0.6) * height
    came, went = (-size if rng.random() < 0.5 else width + size for _ in range(2))  # noqa: PLR2004
    pace = rng.uniform(1.5, 3) * size
    arrived = start + abs(x - came) / pace
    left = arrived + rng.uniform(3, 15)
    return (
        (start, came, y, size),
        (arrived, x, y, size),
        (left, x, y, size),
        (left + abs(went - x) / pace, went, y, size),
    )


PATHS: tuple[Callable[..., Knots], ...] = (
    approach,
    cross,
    linger,
)


def crowd(  # noqa: PLR0913 - a scene's dimensions
    seed: int,
    persons: int,
    *,
    labels: tuple[str, ...] = ("with_mask", "without_mask", "incorrect_mask"),
    every: float = 3.0,
    fps: float = 10.0,
    noise: Noise | None = None,
    view: tuple[int, int] = (640, 480),
) -> Scene:
    """Persons who come by independently, but don't walk through each other.

    Args:
        seed: of everything.
        persons: how many.
        labels: each person wears one of them throughout, in turn.
        every: mean seconds between arrivals.
        fps: frames per second.
        noise: of the networks.
        view: width and height of the picture, pixels.
    """
    rng = np.random.default_rng([seed, 3])
    time = 0.0
    visits: list[Visit] = []
    while len(visits) < persons:
        time += float(rng.exponential(every))
        path = PATHS[int(rng.integers(len(PATHS)))](rng, time, view)
        visit = Visit(path, ((0.0, labels[len(visits) % len(labels)]),))
        if not any(_collide(visit, other) for other in visits):
            visits.append(visit)
    return Scene(tuple(visits), fps=fps, view=view, noise=noise or Noise(), seed=seed)


def _collide(one: Visit, other: Visit) -> bool:
    """Whether two heads at the same distance would pass through each other."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    for time in np.arange(start, end, 0.1):
        a, b = one.box(float(time)), other.box(float(time))
        if a is None or b is None or max(a.size, b.size) > SAME_DEPTH * min(a.size, b.size):
            continue
        (x, y), (u, v) = a.centre, b.centre
        if max(abs(x - u) / (a.width + b.width), abs(y - v) / (a.height + b.height)) < 0.5:  # noqa: PLR2004 - boxes overlap
            return True
    return False
