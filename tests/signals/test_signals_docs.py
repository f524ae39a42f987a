"""What docs/signals.md shows is run: its configurations load, its programs write their files."""

import csv
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from mosquitto import wait_for

from maskedge import configfile
from maskedge.config import CommandConfig, GpioConfig
from maskedge.signals.local import Signals

TEXT = (Path(__file__).parents[2] / "docs/signals.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def load(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return configfile.load(path).config


def block(kind, beginning):
    (found,) = [text for of, text in BLOCKS if of == kind and beginning in text]
    return found


def test_every_key_is_explained():
    for kind in (GpioConfig, CommandConfig):
        for name in kind.model_fields:
            assert f"| `{name}` |" in TEXT


def test_lamp_buzzer_and_relay(tmp_path, story):
    Device.pin_factory = header = MockFactory()
    config = load(tmp_path, block("yaml", "pin: 17"))
    signals = Signals(config.signals, print)
    pins = {number: header.pin(number) for number in (17, 27, 22)}
    try:
        wait_for(lambda: pins[22].function == "output" and pins[22].state, "the relay's rest")
        signals.told([story.started("incorrect_mask")])
        wait_for(lambda: pins[17].state, "the lamp")
        wait_for(lambda: any(change.state for change in pins[27].states), "the buzzer")
        assert pins[22].state
        signals.told([story.started("without_mask")])
        wait_for(lambda: not pins[22].state, "the relay")
    finally:
        signals.close()
        Device.pin_factory = None


@pytest.mark.parametrize("which", ["note-violation", "jq"])
def test_the_programs_write_their_csv_file(tmp_path, story, monkeypatch, which):
    if which == "jq" and shutil.which("jq") is None:
        pytest.skip("jq is not installed: see tests/apt-packages.txt")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    program = tmp_path / "note-violation"
    program.write_text(block("python", "csv.writer"))
    program.chmod(0o755)
    text = block("yaml", which).replace("/etc/maskedge/note-violation", str(program))
    counted = Counter()
    signals = Signals(load(tmp_path, text).signals, lambda name: counted.update([name]))
    event = story.started()
    signals.told([event])
    wait_for(counted.total, "its end")
    assert signals.status().command_error is None
    signals.close()
    (row,) = csv.reader((tmp_path / "violations.csv").read_text().splitlines())
    if which == "jq":
        assert row[1:] == ["without_mask", "hall"]
    else:
        assert row[1:] == ["started", "without_mask", "hall", "0.9", event.event_id]
