"""Everything that decides a classifier's training run, and is written beside its result."""

from __future__ import annotations

from dataclasses import dataclass

from maskedge.vision.masks import DEFAULT_PADDING


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run.

    ``smallest`` is the face size, pixels, down to which training shrinks faces; ``start`` a network
    to go on from, instead of ``weights`` and a new head.
    """

    backbone: str = "mobilenet_v2"
    alpha: float = 1.0
    size: int = 112
    weights: str | None = None
    padding: float = DEFAULT_PADDING
    smallest: float = 18.0
    freeze: str | None = "block_2_add"
    batch: int = 32
    head_steps: int = 200
    steps: int = 400
    epochs: int = 20
    head_rate: float = 1e-3
    rate: float = 4e-4
    warm_up: int = 300
    decay: float = 1e-3
    smoothing: float = 0.02
    patience: int = 8
    held_out: float = 0.15
    seed: int = 1
    start: str | None = None
