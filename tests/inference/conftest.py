"""Tiny real networks; ``tests/data/make_tiny_models.py`` makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def tiny(tmp_path):
    """A copy of a tiny network: ``tiny("uint8")``, ``tiny("int8")`` or ``tiny("float32")``."""

    def copy(dtype: str = "uint8") -> Path:
        return Path(shutil.copy(DATA / f"tiny_{dtype}.tflite", tmp_path))

    return copy


@pytest.fixture
def picture():
    """Noise of the tiny networks' size."""
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
