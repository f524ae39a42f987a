"""A face's box as a Kalman filter: constant velocity, any interval between sightings.

The state is centre x, centre y, ln width and ln height with their rates. The four are taken as
independent, so that each has a 2x2 covariance and the whole filter is a few products of
four-vectors. Logarithms, because a person walking up grows by a share, not by pixels. Noise is
measured in face sizes: a near face moves and jitters by more pixels than a far one.

Model: white-noise acceleration, Bar-Shalom, Li and Kirubarajan (2001), section 6.2.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from maskedge.geometry import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEASURE_STD = np.array([0.08, 0.08, 0.10, 0.10])
"""Jitter of a detection: centre in face sizes, width and height in logarithms."""
START_RATE_STD = np.array([2.5, 1.5, 0.5, 0.5])
"""Speed of a newcomer, per second: a walker crosses at some six face heights, most are slower."""
ACCELERATION = np.array([3.0, 1.5, 0.03, 0.03])
"""Spectral density of acceleration, face sizes² (or logarithms²) per second³."""
DOUBT_STD = np.array([0.8, 0.5, 0.15, 0.15])
"""Most that an unseen face is believed to stray: beyond, it is more likely somebody else."""
_BELIEVED_VAR = DOUBT_STD**2 + MEASURE_STD**2
MAX_GROWTH = 1.5
"""Largest believable rate of ln size, per second."""
MAX_LOG_SIZE = 10.0
"""Of a predicted width or height, in ln pixels: who is unseen for long grows no further."""


def measurement(box: Box) -> NDArray[np.float64]:
    """A box as centre x, centre y, ln width, ln height."""
    x, y = box.centre
    return np.array([x, y, math.log(box.width), math.log(box.height)])


class BoxFilter:
    """One face's position, size and their rates, with uncertainty. Pixels and seconds."""

    def __init__(self, box: Box) -> None:
        """Start at rest on the first sighting ``box`` (not empty)."""
        self.mean = measurement(box)
        self.rate = np.zeros(4)
        self._rescale()
        unit = self._unit
        self._var = (MEASURE_STD * unit) ** 2
        self._cov = np.zeros(4)
        self._rate_var = (START_RATE_STD * unit) ** 2

    def _rescale(self) -> None:
        """Note what one "face size" is on each axis."""
        size = math.exp((self.mean[2] + self.mean[3]) / 2)
        self._unit = np.array([size, size, 1.0, 1.0])
        self._jitter = (MEASURE_STD * self._unit) ** 2

    @property
    def box(self) -> Box:
        """The estimate as a box."""
        x, y = float(self.mean[0]), float(self.mean[1])
        half_width, half_height = np.exp(self.mean[2:]) / 2
        return Box(
            float(x - half_width),
            float(y - half_height),
            float(x + half_width),
            float(y + half_height),
        )

    @property
    def velocity(self) -> tuple[float, float]:
        """Of the centre, pixels per second."""
        return float(self.rate[0]), float(self.rate[1])

    @property
    def expected_var(self) -> NDArray[np.float64]:
        """Variance of the next measurement about :attr:`mean`, shape (4,)."""
        result: NDArray[np.float64] = self._var + self._jitter
        return result

    @property
    def believed_var(self) -> NDArray[np.float64]:
        """:attr:`expected_var` without what lies further off than a person strays, shape (4,)."""
        result: NDArray[np.float64] = np.minimum(self.expected_var, _BELIEVED_VAR * self._unit**2)
        return result

    def predict(self, dt: float) -> None:
        """Move on by ``dt`` >= 0 seconds."""
        noise = ACCELERATION * self._unit**2
        self.mean = self.mean + self.rate * dt
        self.mean[2:] = np.minimum(np.maximum(self.mean[2:], 0.0), MAX_LOG_SIZE)
        self._var = self._var + 2 * dt * self._cov + dt**2 * self._rate_var + noise * dt**3 / 3
        self._cov = self._cov + dt * self._rate_var + noise * dt**2 / 2
        self._rate_var = self._rate_var + noise * dt
        self._rescale()

    def update(self, box: Box) -> None:
        """Correct with a sighting ``box`` (not empty)."""
        innovation = measurement(box) - self.mean
        expected = self.expected_var
        gain, rate_gain = self._var / expected, self._cov / expected
        self.mean = self.mean + gain * innovation
        self.rate = self.rate + rate_gain * innovation
        self.rate[2:] = np.minimum(np.maximum(self.rate[2:], -MAX_GROWTH), MAX_GROWTH)
        self._rate_var = self._rate_var - rate_gain * self._cov
        self._cov = self._cov * (1 - gain)
        self._var = self._var * (1 - gain)
        self._rescale()
