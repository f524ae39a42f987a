"""The detector's optimiser: Muon for 1x1 convolutions, AdamW for everything else.

Nine of ten of its weights are matrices of 1x1 convolutions. Muon (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon) makes each of their steps orthogonal, so that channels
that hear little yet learn as fast as the others; without batch norms nothing else does that.
"""

from __future__ import annotations

from typing import Any

import keras

LEAST = 8
"""Inputs and outputs that a convolution must have, each, to be taken as a matrix: not the heads'
last ones."""


@keras.saving.register_keras_serializable("maskedge")
class PointwiseMuon(keras.optimizers.Muon):  # type: ignore[misc]  # Keras has no types
    """Keras' Muon, which knows matrices only, for kernels (1, 1, inputs, outputs).

    Steps are scaled as in "Muon is Scalable for LLM Training" (arXiv:2502.16982), so that rate and
    weight decay mean what they mean to AdamW.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = variable.shape
        return len(shape) != 4 or shape[:2] != (1, 1) or min(shape[2:]) < LEAST  # noqa: PLR2004

    def lr_adjust(self, x: Any) -> Any:
        """A step, of the size that AdamW's would have."""
        return x * (self.rms_rate * float(max(x.shape[-2:])) ** 0.5)
