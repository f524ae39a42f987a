"""A face's box as a Kalman filter: constant velocity, any interval between sightings.

The state is centre x, centre y, ln width and ln height with their rates. The four are taken as
independent, so that each has a 2x2 covariance; on so few numbers plain Python is four times
as fast as NumPy. Logarithms, because a person walking up grows by a share, not by pixels. Noise is
measured in face sizes: a near face moves and jitters by more pixels than a far one.

Model: white-noise acceleration, Bar-Shalom, Li and Kirubarajan (2001), section 6.2.2.
"""

from __future__ import annotations

import math

from maskedge.geometry import Box

Four = tuple[float, float, float, float]

MEASURE_STD: Four = (0.08, 0.08, 0.10, 0.10)
"""Jitter of a detection: centre in face sizes, width and height in logarithms."""
START_RATE_STD: Four = (2.5, 1.5, 0.5, 0.5)
"""Speed of a newcomer, per second: a walker crosses at some six face heights, most are slower."""
ACCELERATION: Four = (3.0, 1.5, 0.03, 0.03)
"""Spectral density of acceleration, face sizes² (or logarithms²) per second³."""
DOUBT_STD: Four = (0.8, 0.5, 0.15, 0.15)
"""Most that an unseen face is believed to stray: beyond, it is more likely somebody else."""
MAX_GROWTH = 1.5
"""Largest believable rate of ln size, per second."""
MAX_LOG_SIZE = 10.0
"""Of a predicted width or height, in ln pixels: who is unseen for long grows no further."""


def measurement(box: Box) -> Four:
    """A box as centre x, centre y, ln width, ln height."""
    x, y = box.centre
    return x, y, math.log(box.width), math.log(box.height)


class _Axis:
    """One of the four quantities with its rate, and their 2x2 covariance.

    Variances are in the axis's own unit, squared: face sizes for the centre, logarithms for sizes.

    Attributes:
        mean: the estimate, pixels or ln pixels.
        rate: of the mean, per second.
        var: variance of the mean.
        cov: covariance of mean and rate.
        rate_var: variance of the rate.
    """

    __slots__ = ("_believed", "_jitter", "_noise", "cov", "mean", "rate", "rate_var", "var")

    def __init__(self, which: int, mean: float, unit: float) -> None:
        self._jitter = MEASURE_STD[which] ** 2
        self._noise = ACCELERATION[which]
        self._believed = DOUBT_STD[which] ** 2 + self._jitter
        square = unit * unit
        self.mean, self.rate = mean, 0.0
        self.var = self._jitter * square
        self.cov = 0.0
        self.rate_var = START_RATE_STD[which] ** 2 * square

    def predict(self, dt: float, square: float) -> None:
        """Move on by ``dt`` seconds; ``square``: of one face size in pixels, or 1."""
        noise = self._noise * square
        self.mean += self.rate * dt
        self.var += dt * (2 * self.cov + dt * self.rate_var + noise * dt * dt / 3)
        self.cov += dt * (self.rate_var + noise * dt / 2)
        self.rate_var += noise * dt

    def update(self, measured: float, square: float) -> None:
        """Correct with a measurement."""
        innovation = measured - self.mean
        expected = self.var + self._jitter * square
        gain, rate_gain = self.var / expected, self.cov / expected
        self.mean += gain * innovation
        self.rate += rate_gain * innovation
        self.rate_var -= rate_gain * self.cov
        self.cov *= 1 - gain
        self.var *= 1 - gain

    def scale(self, factor: float) -> None:
        """Go over to pixels that are this many times as many."""
        square = factor * factor
        self.mean *= factor
        self.rate *= factor
        self.var *= square
        self.cov *= square
        self.rate_var *= square

    def believed_var(self, square: float) -> float:
        """Variance of the next measurement, without what lies further off than a person strays."""
        return min(self.var + self._jitter * square, self._believed * square)


class BoxFilter:
    """One face's position, size and their rates, with uncertainty. Pixels and seconds."""

    __slots__ = ("_axes", "_square")

    def __init__(self, box: Box) -> None:
        """Start at rest on the first sighting ``box`` (not empty)."""
        means = measurement(box)
        size = math.exp((means[2] + means[3]) / 2)
        self._square = size * size
        units = size, size, 1.0, 1.0
        self._axes = tuple(
            _Axis(which, mean, unit)
            for which, (mean, unit) in enumerate(zip(means, units, strict=True))
        )

    def _rescale(self) -> None:
        """Note what one "face size" is on the axes of the centre."""
        _, _, width, height = self._axes
        self._square = math.exp(width.mean + height.mean)

    @property
    def box(self) -> Box:
        """The estimate as a box."""
        x, y, width, height = (axis.mean for axis in self._axes)
        half_width, half_height = math.exp(width) / 2, math.exp(height) / 2
        return Box(x - half_width, y - half_height, x + half_width, y + half_height)

    @property
    def centre(self) -> tuple[float, float]:
        """Of the estimate, pixels."""
        return self._axes[0].mean, self._axes[1].mean

    @property
    def velocity(self) -> tuple[float, float]:
        """Of the centre, pixels per second."""
        return self._axes[0].rate, self._axes[1].rate

    def expectation(self) -> tuple[Four, Four]:
        """Mean and believed variance of the next measurement."""
        x, y, width, height = self._axes
        square = self._square
        return (
            (x.mean, y.mean, width.mean, height.mean),
            (
                x.believed_var(square),
                y.believed_var(square),
                width.believed_var(1.0),
                height.believed_var(1.0),
            ),
        )

    def scale(self, across: float, down: float) -> None:
        """Go over to a picture this many times as wide and high."""
        x, y, width, height = self._axes
        x.scale(across)
        y.scale(down)
        width.mean += math.log(across)
        height.mean += math.log(down)
        self._rescale()

    def predict(self, dt: float) -> None:
        """Move on by ``dt`` >= 0 seconds."""
        x, y, width, height = self._axes
        x.predict(dt, self._square)
        y.predict(dt, self._square)
        for axis in (width, height):
            axis.predict(dt, 1.0)
            axis.mean = min(max(axis.mean, 0.0), MAX_LOG_SIZE)
        self._rescale()

    def update(self, box: Box) -> None:
        """Correct with a sighting ``box`` (not empty)."""
        measured = measurement(box)
        x, y, width, height = self._axes
        x.update(measured[0], self._square)
        y.update(measured[1], self._square)
        for axis, value in ((width, measured[2]), (height, measured[3])):
            axis.update(value, 1.0)
            axis.rate = min(max(axis.rate, -MAX_GROWTH), MAX_GROWTH)
        self._rescale()
