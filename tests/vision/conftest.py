"""The daemon's own vision and pipeline with the real networks, fed pictures."""

import tracemalloc

import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.pipeline import Pipeline
from maskedge.vision.system import Vision


class Line:
    fps = 10

    def __init__(self, **sections):
        cpu = {"inference": {"accelerator": "cpu", "threads": 1}}
        self.config = Config.model_validate({**cpu, **sections})
        self.vision = vision = Vision.open(self.config)
        self.pipeline = Pipeline(
            vision.detector, vision.classifier, vision.assess, vision.gate, self.config
        )
        self.number = 0

    def step(self, pixels, order=ChannelOrder.RGB):
        self.number += 1
        now = self.number / self.fps
        return self.pipeline.process(Frame(pixels, order, now, self.number), now)


@pytest.fixture
def peak():
    """``peak(work)``: most bytes that it has allocated at a time.

    The least of three runs: other threads allocate too, xdist's when it hears what to run next.
    """

    def measure(work):
        tracemalloc.start()
        try:
            peaks = []
            for _ in range(3):
                tracemalloc.clear_traces()
                work()
                peaks.append(tracemalloc.get_traced_memory()[1])
            return min(peaks)
        finally:
            tracemalloc.stop()

    return measure


@pytest.fixture
def open_line():
    """``open_line(detector={...}).step(pixels)``"""
    made = []

    def build(**sections):
        made.append(Line(**sections))
        return made[-1]

    yield build
    for line in made:
        line.vision.close()
