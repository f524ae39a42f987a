"""Networks by name: uint8 range in (0..255 RGB), three raw logits out.

Normalisation is part of the graph, so the runtime hands over camera bytes. The head is a 1x1
convolution: a Dense layer of new TensorFlow releases is quantised per channel under an operator
version that the Edge TPU compiler miscomputes. Softmax, with the shipped temperature, is the
runtime's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from convert.backend import downloading
from maskedge.errors import InputError, UsageError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from pathlib import Path

BACKBONES = ("mobilenet_v2", "resnet50v2", "vgg16", "cnn")


def _cnn(inputs: Any) -> Any:
    """A small plain network: the baseline that pretrained ones have to beat."""
    x = inputs
    for filters in (24, 48, 96, 128):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.99)(x)
        x = keras.layers.ReLU(6.0)(x)
    return x


def _pretrained(name: str, shape: tuple[int, int, int], alpha: float, weights: str | None) -> Any:
    applications = keras.applications
    asked = {"input_shape": shape, "include_top": False, "weights": weights}
    trunk = {"mobilenet_v2": "MobileNetV2", "resnet50v2": "ResNet50V2", "vgg16": "VGG16"}[name]
    if name == "mobilenet_v2":
        asked["alpha"] = alpha
    try:
        with downloading("--weights imagenet"):
            return getattr(applications, trunk)(**asked)
    except ValueError as error:
        raise UsageError(f"{name}, alpha {alpha:g}, size {shape[0]}: {error}") from error


def _carry_weights(trunk: Any, name: str, alpha: float, file: Path) -> None:
    """Load a trunk's ``.weights.h5`` that was saved at 224x224 into the same trunk at any size."""
    donor = _pretrained(name, (224, 224, 3), alpha, None)
    try:
        donor.load_weights(str(file))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: no weights of {name}, alpha {alpha}: {error}") from error
    trunk.set_weights(donor.get_weights())


def build(
    backbone: str = "mobilenet_v2",
    *,
    alpha: float = 1.0,
    size: int = 112,
    weights: Path | str | None = None,
    dropout: float = 0.2,
) -> Any:
    """A classifier.

    Args:
        backbone: one of :data:`BACKBONES`.
        alpha: MobileNetV2's width.
        size: edge of the input, pixels.
        weights: a ``.weights.h5`` file of the trunk, ``"imagenet"`` to download, None for random.
        dropout: before the head.

    Returns:
        keras.Model: (N, size, size, 3) values 0..255 to (N, 3) logits in the order of LABELS; its
        ``trunk_layers`` attribute lists the backbone's layers, first to last.

    Raises:
        UsageError: no such backbone, or not of this width or size.
        InputError: the weight file doesn't fit.
        MaskedgeError: the weights can't be downloaded.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"no backbone {backbone!r}; there are: {', '.join(BACKBONES)}")
    if backbone == "cnn" and weights is not None:
        raise UsageError("cnn has no ImageNet weights: leave --weights out, or take a --backbone")
    inputs = keras.Input((size, size, 3), name="picture")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(inputs)
    if backbone == "cnn":
        x = _cnn(x)
    else:
        online = weights if isinstance(weights, str) else None
        trunk = _pretrained(backbone, (size, size, 3), alpha, online)
        if weights is not None and not isinstance(weights, str):
            _carry_weights(trunk, backbone, alpha, weights)
        x = inline(trunk, x)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Conv2D(len(LABELS), 1, name="head")(x)
    return keras.Model(inputs, keras.layers.Flatten(name="logits")(x), name=backbone)


def inline(trunk: Any, inputs: Any) -> Any:
    """Apply a functional model layer by layer, so that the result is one flat graph."""
    values: dict[int, Any] = {id(trunk.inputs[0]): inputs}
    for layer in trunk.layers[1:]:
        source = layer.input
        taken = [values[id(t)] for t in source] if isinstance(source, list) else values[id(source)]
        values[id(layer.output)] = layer(taken)
    return values[id(trunk.outputs[0])]


def resized(model: Any, size: int) -> Any:
    """The same network, weights and all, for another edge of the input, pixels.

    Raises:
        InputError: its input is no picture, or it doesn't give one logit per label.
    """
    if len(model.input_shape) != 4 or model.output_shape != (None, len(LABELS)):
        raise InputError(
            f"{model.name}: takes {model.input_shape} and gives {model.output_shape}: no mask "
            "classifier"
        )
    # Some take a list of one picture, which clone_model would want back.
    plain = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    inputs = keras.Input((size, size, 3), name="picture")
    copy = keras.models.clone_model(plain, input_tensors=inputs)
    copy.set_weights(model.get_weights())
    return copy


def freeze_until(model: Any, name: str | None) -> None:
    """Make every layer up to and including ``name`` constant, batch statistics included.

    ``"pool"`` freezes the whole trunk; None nothing.

    Raises:
        UsageError: no layer has that name.
    """
    names = [layer.name for layer in model.layers]
    if name is not None and name not in names:
        raise UsageError(f"no layer {name!r} to freeze until; this network has: {', '.join(names)}")
    frozen = name is not None
    for layer in model.layers:
        layer.trainable = not frozen
        if layer.name == name:
            frozen = False
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.99
