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
    """A network run with rounded kernels; its own stay exact, all else in it is as without this."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the network makes of its inputs."""
        layers = [layer for layer in self.layer.layers if hasattr(layer, "kernel")]
        kernels = {id(x.kernel): rounded(x.kernel.value, channel_axes(x)) for x in layers}
        # All of them: a scope inside another, as JAX trains in, doesn't know the outer one's.
        before = [(v, kernels.get(id(v), v.value)) for v in self.layer.variables]
        with keras.StatelessScope(state_mapping=before) as scope:
            outputs = self.layer(inputs, training=training)
        for variable, value in before:  # batch statistics, random numbers
            after = scope.get_current_value(variable)
            if after is not value:
                variable.assign(after)
        return outputs


def with_rounded(network: Any) -> Any:
    """A model to train: the network's layers, kernels rounded, their exact values shared."""
    # Not the network itself: a compiled one inside another adds its "loss" to the other's.
    inside = keras.Model(network.input, network.output, name=network.name)
    picture = keras.Input(network.input_shape[1:])
    logits = Rounded(inside, name="rounded")(picture)
    return keras.Model(picture, logits, name=f"{network.name}_rounded")


def exact(model: Any) -> Any:
    """The network inside a model that trains it with rounded kernels; itself if it has none."""
    inside = [layer.layer for layer in model.layers if isinstance(layer, Rounded)]
    return inside[0] if inside else model
