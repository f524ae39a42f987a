"""The face detector's network: MobileNetV2 0.35 trunk, light feature pyramid, anchor-free heads.

The trunk's batch norms are folded into its convolutions before training starts: pictures per
second triple on a CPU, and a batch of any size and shape gives the same statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convert.backend import downloading
from maskedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

STRIDES = (8, 16, 32)
"""Input pixels between the cells of each output level."""
WIDTH = 64
"""Channels of the pyramid and the heads."""
TRUNK_BLOCKS = (  # number of the first, output channels at alpha 0.35, repeats, stride, expansion
    (0, 8, 1, 2, 1),
    (2, 8, 1, 1, 6),
    (3, 16, 3, 2, 6),
    (6, 24, 4, 2, 6),
    (10, 32, 3, 1, 6),
    (13, 56, 3, 2, 6),
)
"""MobileNetV2 without block 1 and its 48 channels at half the picture's size: block 0 takes over
its stride. That saves a fifth of the time, and small faces lose nothing that stride 8 could show.
"""
OFFSET_ZERO = 3.0
"""The stored centre offset that means "at the middle of the cell"; offsets reach 3 strides."""
SIZE_ZERO = 2.5
"""The stored logarithmic size that means "one stride"."""
PRIOR = 0.01
"""Score of every cell before training (Focal Loss for Dense Object Detection, section 4.1)."""
BN_EPSILON = 1e-3


def _conv(  # noqa: PLR0913 - a convolution has that many
    x: Any, filters: int, kernel: int, stride: int, name: str, *, act: bool = True
) -> Any:
    from keras import layers  # noqa: PLC0415

    x = layers.Conv2D(
        filters, kernel, stride, padding="same", kernel_initializer="he_normal", name=name
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if act else x


def _depthwise(x: Any, stride: int, name: str) -> Any:
    from keras import layers  # noqa: PLC0415

    x = layers.DepthwiseConv2D(
        3, stride, padding="same", depthwise_initializer="he_normal", name=name
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _trunk(x: Any) -> list[Any]:
    """Features at strides 8, 16 and 32, with keras.applications' layer names."""
    from keras import layers  # noqa: PLC0415

    levels = []
    x = _conv(x, 16, 3, 2, "Conv1")
    channels = 16
    for first, width, repeats, first_stride, expansion in TRUNK_BLOCKS:
        for number in range(first, first + repeats):
            stride = first_stride if number == first else 1
            prefix = f"block_{number}" if number else "expanded_conv"
            y = _conv(x, channels * expansion, 1, 1, f"{prefix}_expand") if number else x
            if stride == 2:  # noqa: PLR2004 - the last and widest features of the finer level
                levels.append(y)
            y = _depthwise(y, stride, f"{prefix}_depthwise")
            y = _conv(y, width, 1, 1, f"{prefix}_project", act=False)
            kept = stride == 1 and channels == width
            x = layers.Add(name=f"{prefix}_add")([x, y]) if kept else y
            channels = width
    return [*levels[-2:], x]


def _double(x: Any, like: Any, name: str) -> Any:
    """Nearest-neighbour upsampling to the size of ``like``: one RESIZE_NEAREST_NEIGHBOR."""
    from keras import layers  # noqa: PLC0415

    return layers.Resizing(like.shape[1], like.shape[2], interpolation="nearest", name=name)(x)


def _head(x: Any, stride: int) -> tuple[Any, Any]:
    from keras import initializers, layers  # noqa: PLC0415

    for number in (1, 2):
        x = _depthwise(x, 1, f"head{stride}_depthwise{number}")
        x = _conv(x, WIDTH, 1, 1, f"head{stride}_conv{number}")
    score = layers.Conv2D(
        1,
        1,
        kernel_initializer=initializers.RandomNormal(stddev=0.01),
        bias_initializer=initializers.Constant(float(np.log(PRIOR / (1 - PRIOR)))),
        name=f"score{stride}",
    )(x)
    box = layers.Conv2D(
        4,
        1,
        kernel_initializer=initializers.RandomNormal(stddev=0.01),
        bias_initializer=initializers.Constant(OFFSET_ZERO),
        name=f"box{stride}_conv",
    )(x)
    return score, layers.ReLU(6.0, name=f"box{stride}")(box)


def build_detector(height: int, width: int, batch: int | None = None) -> Any:
    """The network for one input size; weights of one size fit all others.

    Args:
        height: rows, a multiple of 32.
        width: columns, a multiple of 32.
        batch: a fixed batch size, as the int8 conversion wants it; None: any.

    Returns:
        A Keras model. Input: float32 (batch, height, width, 3), RGB scaled to -1..1. Outputs, for
        each stride 8, 16, 32: score logits (batch, rows, columns, 1) and boxes (batch, rows,
        columns, 4) in 0..6: centre x and y offset from the cell's middle plus 3, and the natural
        logarithm of width and height plus 2.5, all in strides. The range is bounded by the
        activation, so that 8 bits always resolve 0.024 of a stride and 2.4 % of a size.
    """
    import keras  # noqa: PLC0415 - takes seconds
    from keras import layers  # noqa: PLC0415

    picture = layers.Input((height, width, 3), batch_size=batch, name="picture")
    c3, c4, c5 = _trunk(picture)
    p5 = _conv(c5, WIDTH, 1, 1, "lateral32")
    p4 = layers.Add(name="merge16")(
        [_conv(c4, WIDTH, 1, 1, "lateral16", act=False), _double(p5, c4, "up16")]
    )
    p4 = _conv(_depthwise(p4, 1, "smooth16_depthwise"), WIDTH, 1, 1, "smooth16_conv")
    p3 = layers.Add(name="merge8")(
        [_conv(c3, WIDTH, 1, 1, "lateral8", act=False), _double(p4, c3, "up8")]
    )
    p3 = _conv(_depthwise(p3, 1, "smooth8_depthwise"), WIDTH, 1, 1, "smooth8_conv")
    outputs = [
        output
        for level, stride in zip((p3, p4, p5), STRIDES, strict=True)
        for output in _head(level, stride)
    ]
    return keras.Model(picture, outputs, name="face_detector")


def load_imagenet(model: Any, weights: Path | None) -> None:
    """Start the trunk from keras.applications' MobileNetV2 0.35, its batch norms folded in.

    Args:
        model: from :func:`build_detector`.
        weights: a ``.weights.h5`` of ``MobileNetV2(alpha=0.35, include_top=False)``; None
            downloads it.

    Raises:
        InputError: the file can't be read as that.
        MaskedgeError: it can't be downloaded.
    """
    import keras  # noqa: PLC0415

    with downloading("ImageNet's weights"):
        source = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3),
            alpha=0.35,
            include_top=False,
            weights="imagenet" if weights is None else None,
        )
    try:
        if weights is not None:
            source.load_weights(weights)
    except (OSError, ValueError) as error:
        raise InputError(f"--weights {weights}: no weights of MobileNetV2 0.35: {error}") from error
    for layer in model.layers:
        if layer.name == "Conv1" or layer.name.startswith(("block_", "expanded_conv_")):
            norm = "bn_Conv1" if layer.name == "Conv1" else f"{layer.name}_BN"
            if layer.weights:
                layer.set_weights(_folded(source, layer.name, norm))


def _folded(source: Any, conv: str, norm: str) -> list[Any]:
    (kernel,) = source.get_layer(conv).get_weights()
    gamma, beta, mean, variance = source.get_layer(norm).get_weights()
    factor = gamma / np.sqrt(variance + BN_EPSILON)
    by_channel = factor if kernel.shape[-1] == factor.size else factor[:, None]  # depthwise
    return [kernel * by_channel, beta - mean * factor]


def training_model(network: Any) -> Any:
    """The network with bytes as its input and all cells in one array, as the loss wants them.

    Its kernels are rounded as they will be in int8, see :mod:`convert.rounded`.

    Returns:
        A Keras model sharing the network's weights: uint8-valued (batch, height, width, 3) to
        float32 (batch, cells, 5): score logit and the four box values, finest level first.
    """
    import keras  # noqa: PLC0415
    from keras import layers  # noqa: PLC0415

    from convert.rounded import Rounded  # noqa: PLC0415

    picture = layers.Input(network.input_shape[1:], name="bytes")
    outputs = Rounded(network, name="rounded")(
        layers.Rescaling(1 / 127.5, -1.0, name="scale")(picture)
    )
    cells = [
        layers.Reshape((-1, 5), name=f"cells{stride}")(
            layers.Concatenate(name=f"level{stride}")([outputs[2 * level], outputs[2 * level + 1]])
        )
        for level, stride in enumerate(STRIDES)
    ]
    return keras.Model(picture, layers.Concatenate(axis=1, name="cells")(cells), name="training")


def cell_grid(height: int, width: int) -> Any:
    """Where the cells are: float32 (cells, 3) of centre x, centre y and stride, in pixels."""
    rows = []
    for stride in STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        centres = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * stride
        rows.append(np.column_stack([centres, np.full(len(centres), stride)]))
    return np.concatenate(rows).astype(np.float32)
