"""A network's file and the JSON beside it: what it is, and proof that it is that.

``models/NAME.tflite`` has a ``models/NAME.json`` (schema ``maskedge.model/1``) that ``convert``
writes: labels, input size, calibration, SHA-256, training data and metrics. The daemon trusts a
file only when its bytes have the SHA-256 that the JSON names.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from maskedge.errors import ModelError

SCHEMA = "maskedge.model/1"
TFLITE_MAGIC = b"TFL3"


def models_dir() -> Path:
    """The folder of the shipped networks: inside an installed package, or of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


@dataclass(frozen=True)
class ModelFile:
    """A verified network file.

    Attributes:
        path: the ``.tflite`` (or other) file.
        sha256: hexadecimal digest of its bytes.
        card: the JSON beside it; empty for a user's own file without one.
    """

    path: Path
    sha256: str
    card: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class labels in the order of the network's scores."""
        return tuple(self.card.get("labels", ()))

    @property
    def fingerprint(self) -> str:
        """The first 12 digits of the SHA-256: how events name the network that made them."""
        return self.sha256[:12]

    @classmethod
    def load(cls, path: Path) -> ModelFile:
        """Read and verify a network's file.

        Args:
            path: the file; the JSON beside it has the same stem.

        Raises:
            ModelError: the file is missing, isn't a TFLite flatbuffer (for ``.tflite``), its JSON
                is damaged, or its SHA-256 isn't the JSON's.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: can't read the network: {error.strerror}") from error
        if path.suffix == ".tflite" and data[4:8] != TFLITE_MAGIC:
            raise ModelError(f"{path}: not a TFLite file ({len(data)} bytes); install it again")
        digest = hashlib.sha256(data).hexdigest()
        card = _read_card(path.with_suffix(".json"))
        expected = card.get("sha256", digest)
        if expected != digest:
            raise ModelError(
                f"{path}: SHA-256 is {digest[:12]}…, but {path.with_suffix('.json').name} says "
                f"{str(expected)[:12]}…: damaged, or of another version; install both again"
            )
        return cls(path, digest, card)


def _read_card(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: can't read the network's description: {error}") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise ModelError(f"{path}: not a network's description (schema {SCHEMA})")
    return card
