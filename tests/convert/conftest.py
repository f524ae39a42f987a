"""What several trainings begin with."""

import pytest


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Untrained weights, so that no test needs ImageNet's."""
    from convert.detector.network import build_detector  # noqa: PLC0415 - few tests have Keras

    path = tmp_path_factory.mktemp("start") / "start.weights.h5"
    build_detector(64, 64).save_weights(path)
    return path
