"""Kernels rounded while training as int8 will round them: the network learns to live with it.

Quantisation-aware training (Jacob et al., arXiv:1712.05877, section 3) of the kernels alone. The
ranges of activations, by minimum and maximum over pictures, cost this network next to nothing.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

LEVELS = 127
"""Steps from 0 to a channel's largest weight: TFLite's int8 kernels are symmetric."""


def rounded(kernel: Any, channel_axes: tuple[int, ...]) -> Any:
    """A kernel as int8 will hold it, with the gradient of the one that it was made from.

    Args:
        kernel: float32, any shape.
        channel_axes: the axes that have a scale for each of their places.

    Returns:
        float32 of the same shape, each channel on a grid of its largest magnitude / 127.
    """
    kernel = ops.convert_to_tensor(kernel)
    others = [axis for axis in range(len(kernel.shape)) if axis not in channel_axes]
    scale = ops.maximum(ops.max(ops.abs(kernel), axis=others, keepdims=True) / LEVELS, 1e-12)
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


def channel_axes(layer: Any) -> tuple[int, ...]:
    """The axes of a convolution's kernel that have a scale of their own for each place in int8."""
    return (2, 3) if isinstance(layer, keras.layers.DepthwiseConv2D) else (3,)


@keras.saving.register_keras_serializable("maskedge")
class Rounded(keras.layers.Wrapper):  # type: ignore[misc]  # Keras has no types
    """A network of convolutions, run with rounded kernels; its own weights stay as they are."""

    def call(self, inputs: Any) -> Any:
        """What the network makes of its inputs."""
        mapping = [
            (layer.kernel, rounded(layer.kernel.value, channel_axes(layer)))
            for layer in self.layer.layers
            if hasattr(layer, "kernel")
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return self.layer(inputs)
