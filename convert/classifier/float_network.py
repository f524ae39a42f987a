"""A Keras model behind the runtime's port, so that float and int8 networks are scored alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convert.backend import UNREADABLE
from maskedge.errors import ModelError
from maskedge.inference.network import TensorSpec
from maskedge.modelfile import ModelFile
from maskedge.vision.masks import NetworkMaskClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class KerasNetwork:
    """A Keras model as a :class:`maskedge.inference.network.Network`; float, nothing quantised."""

    backend = "keras"

    def __init__(self, model: Any) -> None:
        self._model = model
        self.input_spec = TensorSpec("picture", (1, *model.input_shape[1:]), "float32", 0.0, 0)
        self.picture = np.zeros(model.input_shape[1:], np.uint8)
        outputs: tuple[int, ...] = (1, *model.output_shape[1:])
        self.output_specs: tuple[TensorSpec, ...] = (
            TensorSpec("logits", outputs, "float32", 0.0, 0),
        )

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """See the port: uint8 (height, width, 3) RGB in, float32 logits out."""
        picture = self.picture if picture is None else picture
        result = self._model.predict_on_batch(picture[None].astype(np.float32))
        return (np.asarray(result, np.float32),)

    def close(self) -> None:
        """Nothing to free."""


def open_float_classifier(path: Path) -> NetworkMaskClassifier:
    """The classifier of a ``.keras`` file; padding and temperature from the JSON beside it, if any.

    Raises:
        ModelError: no Keras model, or no mask classifier.
    """
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except UNREADABLE as error:
        raise ModelError(f"{path}: can't read it as a Keras model: {error}") from error
    return NetworkMaskClassifier(ModelFile.load(path), KerasNetwork(model))
