"""The systemd unit: it verifies, it is tight, and it holds what the platform was found to need."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from maskedge.daemon import STOP_WITHIN

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd/maskedge.service"


def directives():
    """``{key: [values]}`` of the unit."""
    found = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_it_verifies_and_its_exposure_is_at_most_1_3():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [ROOT / "scripts/check-units"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # work, not life
        ("Type", "notify"),
        ("WatchdogSec", "30"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "64 78"),
        ("StartLimitBurst", "10"),
        # nobody's account, nobody else's files
        ("DynamicUser", "yes"),
        ("PrivateUsers", "yes"),
        ("StateDirectory", "maskedge"),
        ("StateDirectoryMode", "0700"),
        ("LoadCredential", "mqtt-password:/etc/maskedge/mqtt-password"),
        ("ProtectSystem", "strict"),
        ("ReadOnlyPaths", "/etc/maskedge"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        # camera, Coral and GPIO header, nothing else
        ("DevicePolicy", "closed"),
        ("DeviceAllow", "char-video4linux rw"),
        ("DeviceAllow", "char-media rw"),
        ("DeviceAllow", "char-dma_heap rw"),
        ("DeviceAllow", "char-usb_device rw"),
        ("DeviceAllow", "char-apex rw"),
        ("DeviceAllow", "char-gpiochip rw"),
        ("SupplementaryGroups", "video plugdev apex gpio"),
        ("DeviceAllow", "/dev/vchiq rw"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),  # libusb: the last
        # OpenBLAS asks for mbind at import: an error, not a signal
        ("SystemCallFilter", "@system-service"),
        ("SystemCallFilter", "~@privileged @resources"),
        ("SystemCallErrorNumber", "EPERM"),
        ("MemoryDenyWriteExecute", "yes"),
        # bounds
        ("MemoryMax", "512M"),
        # memory stays memory
        ("LimitCORE", "0"),
        ("MemorySwapMax", "0"),
        ("TasksMax", "64"),
        ("OOMPolicy", "continue"),
    ],
)
def test_it_says(key, value):
    assert value in directives()[key]


def test_it_never_hides_the_processor_from_the_networks():
    # Without /proc/cpuinfo int8 inference is up to 250 times slower.
    assert "ProcSubset" not in directives()


def test_only_char_devices_that_are_named_are_allowed():
    assert len(directives()["DeviceAllow"]) == 7


def test_systemd_waits_longer_than_a_clean_end_takes():
    assert float(directives()["TimeoutStopSec"][0]) > STOP_WITHIN + 2


def test_the_installer_makes_each_group_that_the_unit_names():
    # One that is missing keeps the service from starting; `video` is in every Debian.
    (named,) = directives()["SupplementaryGroups"]
    made = re.search(r"for group in ([\w ]+);", (ROOT / "systemd/install.sh").read_text())
    assert set(named.split()) == {"video", *made[1].split()}
    rules = (ROOT / "systemd/60-maskedge-coral.rules").read_text()
    assert set(re.findall(r'GROUP="(\w+)"', rules)) <= set(named.split())
