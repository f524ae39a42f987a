"""Temperature and throttling of the SoC, read from sysfs; None where the kernel tells nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

SYSFS = Path("/sys")

# Bits of get_throttled, as the Raspberry Pi documentation numbers them ("vcgencmd get_throttled"):
# now; 16 higher: since it was switched on.
_LIMITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_FIRMWARE = ("soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware")
"""The firmware's device up to the Pi 4, and on the Pi 5; named as the device tree has it."""
CURES = "use the official power supply and a cooler"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def temperature(sysfs: Path = SYSFS) -> float | None:
    """Degrees Celsius of the first thermal zone."""
    text = _read(sysfs / "class/thermal/thermal_zone0/temp")
    try:
        return None if text is None else round(int(text) / 1000, 1)
    except ValueError:
        return None


def throttled(sysfs: Path = SYSFS) -> bool | None:
    """Whether the Pi's firmware limits it at this moment; None where no firmware says so."""
    flags = _flags(sysfs)
    return None if flags is None else bool(_limits(flags))


def throttling(sysfs: Path = SYSFS) -> str | None:
    """What the Pi's firmware limits at this moment, in words with the cure."""
    active = _limits(_flags(sysfs) or 0)
    return f"the Pi reports {active}: {CURES}" if active else None


def throttled_since_boot(sysfs: Path = SYSFS) -> str | None:
    """What the Pi's firmware has limited at any time since it was switched on."""
    return _limits((_flags(sysfs) or 0) >> 16) or None


def _flags(sysfs: Path) -> int | None:
    for device in _FIRMWARE:
        text = _read(sysfs / "devices/platform" / device / "get_throttled")
        with suppress(ValueError):
            return int(text or "", 16)
    return None


def _limits(flags: int) -> str:
    return ", ".join(name for bit, name in _LIMITS.items() if flags >> bit & 1)
