from __future__ import annotations

import errno
import sys
import types
from pathlib import Path

import pytest

from maskedge.errors import AcceleratorError, ModelError
from maskedge.inference import edgetpu
from maskedge.inference.edgetpu import compiled_path, diagnose, open_on_tpu
from maskedge.inference.runtime import find_runtime


def usb(sysfs, name="2-1", vendor="18d1", product="9302", speed="5000"):
    device = sysfs / "bus/usb/devices" / name
    device.mkdir(parents=True)
    for attribute, value in {
        "idVendor": vendor,
        "idProduct": product,
        "speed": speed,
        "busnum": "2",
        "devnum": "7",
    }.items():
        (device / attribute).write_text(value + "\n")


@pytest.fixture
def sysfs(tmp_path):
    usb(tmp_path / "sys", "1-1", "046d", "0825", "480")
    (tmp_path / "sys/bus/usb/devices/1-0:1.0").mkdir()
    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    return tmp_path / "sys"


@pytest.fixture
def dev(tmp_path):
    node = tmp_path / "dev/bus/usb/002/007"
    node.parent.mkdir(parents=True)
    node.touch()
    return tmp_path / "dev"


def test_no_device_says_so(sysfs, dev):
    found = diagnose(sysfs, dev)
    assert found.present is False
    assert "no Edge TPU on USB or PCIe; plug it in" in str(found)


@pytest.mark.parametrize(("vendor", "product"), [("1a6e", "089a"), ("18d1", "9302")])
def test_a_usb_device_is_seen_before_and_after_its_firmware(sysfs, dev, vendor, product):
    usb(sysfs, "2-1", vendor, product)
    found = diagnose(sysfs, dev)
    assert (found.present, found.usable) == (True, True)
    assert str(found) == "Edge TPU on USB (2-1, 5000 Mbit/s)"


def test_a_slow_port_is_named(sysfs, dev):
    usb(sysfs, speed="480")
    found = diagnose(sysfs, dev)
    assert found.usable
    assert "480 Mbit/s" in found.finding
    assert "USB 3" in found.cure


def test_a_missing_permission_on_usb_names_group_and_rule(sysfs, dev):
    usb(sysfs)
    found = diagnose(sysfs, dev, may_open=lambda _: False)
    assert (found.present, found.usable) == (True, False)
    assert "002/007" in found.finding
    assert "udev" in found.cure
    assert "plugdev" in found.cure


def test_a_device_without_a_node_is_hidden_from_the_service(sysfs, dev):
    usb(sysfs)
    (dev / "bus/usb/002/007").unlink()
    found = diagnose(sysfs, dev)
    assert not found.usable
    assert "isn't" in found.finding
    assert "service" in found.cure


def test_a_pcie_device(sysfs, dev):
    (dev / "apex_0").touch()
    assert diagnose(sysfs, dev).usable
    blocked = diagnose(sysfs, dev, may_open=lambda _: False)
    assert not blocked.usable
    assert "group apex" in blocked.cure


def test_a_usable_device_counts_before_a_blocked_one(sysfs, dev):
    (dev / "apex_0").touch()
    usb(sysfs)
    found = diagnose(sysfs, dev, may_open=lambda path: "apex" not in path.name)
    assert found.usable
    assert "USB" in found.finding


def test_a_pcie_device_without_its_driver(sysfs, dev):
    card = sysfs / "bus/pci/devices/0000:01:00.0"
    card.mkdir()
    (card / "vendor").write_text("0x1ac1\n")
    (card / "device").write_text("0x089a\n")
    found = diagnose(sysfs, dev)
    assert (found.present, found.usable) == (True, False)
    assert "gasket" in found.cure


def test_a_system_without_sysfs_cannot_tell(tmp_path):
    assert diagnose(tmp_path / "none", tmp_path / "none").present is None


def test_looking_never_raises(sysfs, dev):
    usb(sysfs)

    def broken(_):
        raise OSError(errno.EIO, "I/O error")

    assert diagnose(sysfs, dev, may_open=broken).present is None


def test_the_compiled_file_lies_beside(tmp_path):
    assert compiled_path(tmp_path / "a.b.tflite").name == "a.b_edgetpu.tflite"


def raising(error):
    def make(_path, _device):
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            OSError("libedgetpu.so.1: cannot open shared object file"),
            AcceleratorError,
            "get-started",
        ),
        (
            ValueError("Failed to load delegate\n"),
            AcceleratorError,
            "as 'usb:9'.*no Edge TPU|can't look",
        ),
        (
            RuntimeError("Package requires runtime version (14)"),
            ModelError,
            r"version \(14\).*compile",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file"), ModelError, "python -m convert compile"),
    ],
)
def test_what_libedgetpu_raises_becomes_a_sentence_with_its_cure(tmp_path, error, kind, says):
    with pytest.raises(kind, match=says):
        open_on_tpu(tmp_path / "x_edgetpu.tflite", "usb:9", raising(error))


def test_without_the_library_the_real_runner_says_how_to_install_it(tiny):
    with pytest.raises(
        AcceleratorError, match=r"libedgetpu\.so\.1 can't be loaded.*libedgetpu1-std"
    ):
        edgetpu.load(tiny(), None, 1)


def test_the_delegate_gets_the_device_string(tiny, monkeypatch):
    calls = []

    class Module:
        @staticmethod
        def load_delegate(library, options):
            calls.append((library, options))
            raise ValueError("Failed to load delegate")

    monkeypatch.setattr(edgetpu, "find_runtime", lambda: types.SimpleNamespace(module=Module))
    monkeypatch.setattr(edgetpu, "LIBRARY", "libc.so.6")  # some library that loads
    for device in ("pci:0", None):
        with pytest.raises(AcceleratorError):
            edgetpu.load(tiny(), device, 1)
    assert calls == [("libc.so.6", {"device": "pci:0"}), ("libc.so.6", {})]


def fake_pycoral(monkeypatch, **content):
    for name in ("pycoral", "pycoral.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = types.ModuleType("pycoral.utils.edgetpu")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, "pycoral.utils.edgetpu", module)


def test_googles_pycoral_is_used_where_it_imports(tiny, picture, monkeypatch):
    calls = []

    def make_interpreter(path, device=None):
        calls.append((path, device))
        return find_runtime().load(Path(path).read_bytes(), 1)

    fake_pycoral(monkeypatch, make_interpreter=make_interpreter)
    path = tiny()
    network = edgetpu.load(path, "usb", 1)
    assert network.backend == "edgetpu"
    assert network.invoke(picture)[0].shape == (1, 3)
    assert calls == [(str(path), "usb")]


def test_the_other_pycoral_is_passed_over(tiny, monkeypatch):
    fake_pycoral(monkeypatch, reef="a map of corals")
    with pytest.raises(AcceleratorError, match=r"libedgetpu\.so\.1"):
        edgetpu.load(tiny(), None, 1)
