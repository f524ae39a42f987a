"""What several trainings begin with."""

import sys

import pytest


@pytest.fixture(autouse=True)
def drawn_alike():
    """Weights that a test doesn't give are the same in every run."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(1)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Untrained weights, so that no test needs ImageNet's; the same in every run."""
    import keras  # noqa: PLC0415 - few tests have Keras

    from convert.detector.network import build_detector  # noqa: PLC0415

    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("start") / "start.weights.h5"
    build_detector(64, 64).save_weights(path)
    return path
