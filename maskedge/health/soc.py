"""Temperature and throttling of the SoC, read from sysfs; None where the kernel tells nothing."""

from __future__ import annotations

from pathlib import Path

SYSFS = Path("/sys")

# Bits of get_throttled, as the Raspberry Pi documentation numbers them ("vcgencmd get_throttled"):
# now; 16 higher: since it was switched on.
_LIMITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
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


def throttling(sysfs: Path = SYSFS) -> str | None:
    """What the Pi's firmware limits at this moment, in words with the cure."""
    active = _limits(sysfs, first_bit=0)
    return f"the Pi reports {active}: {CURES}" if active else None


def throttled_since_boot(sysfs: Path = SYSFS) -> str | None:
    """What the Pi's firmware has limited at any time since it was switched on."""
    return _limits(sysfs, first_bit=16) or None


def _limits(sysfs: Path, first_bit: int) -> str:
    text = _read(sysfs / "devices/platform/soc/soc:firmware/get_throttled")
    try:
        flags = 0 if text is None else int(text, 16) >> first_bit
    except ValueError:
        return ""
    return ", ".join(name for bit, name in _LIMITS.items() if flags >> bit & 1)
