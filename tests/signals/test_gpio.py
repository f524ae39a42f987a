"""Outputs are on when they should be, also on a header that isn't there at first."""

import os
import sys
import threading
import time

import pytest
from mosquitto import PATIENCE, wait_for

from maskedge.config import GpioConfig
from maskedge.signals import gpio
from maskedge.signals.gpio import Output, Outputs


@pytest.fixture
def outputs():
    made = []

    def build(*configs, **more):
        made.append(Outputs([GpioConfig(**config) for config in configs], **more))
        return made[-1]

    yield build
    for one in made:
        one.close()


def level(header, pin):
    """The voltage at the pin: 1 high, 0 low; None: nobody drives it."""
    mock = header.pin(pin)
    return int(mock.state) if mock.function == "output" else None


def levels(header, pin):
    """Every voltage so far, also one that lasted for a moment only."""
    return [int(change.state) for change in header.pin(pin).states]


# the rules, without hardware or time


def test_a_lamp_is_on_while_any_violation_stands(story):
    lamp = Output(GpioConfig(pin=17))
    first, second = story.started(), story.started("incorrect_mask")
    assert not lamp.wanted(0.0)
    lamp.note(first, 0.0)
    lamp.note(second, 1.0)
    lamp.note(story.ended(first), 2.0)
    assert lamp.wanted(1000.0)
    assert lamp.until(1000.0) is None
    lamp.note(story.ended(second), 1001.0)
    assert not lamp.wanted(1001.0)


def test_a_buzzer_sounds_for_its_time_though_the_violation_stands_or_is_over(story):
    buzzer = Output(GpioConfig(pin=17, seconds=2))
    first = story.started()
    buzzer.note(first, 10.0)
    buzzer.note(story.ended(first), 10.5)
    assert buzzer.wanted(11.9)
    assert buzzer.until(11.0) == 12.0
    assert not buzzer.wanted(12.0)
    assert buzzer.until(12.0) is None


def test_the_next_violation_prolongs_it(story):
    buzzer = Output(GpioConfig(pin=17, seconds=2))
    buzzer.note(story.started(), 10.0)
    buzzer.note(story.started(), 11.0)
    assert buzzer.wanted(12.9)
    assert not buzzer.wanted(13.0)


@pytest.mark.parametrize("seconds", [None, 2])
def test_other_labels_dont_switch_it(story, seconds):
    lamp = Output(GpioConfig(pin=17, seconds=seconds, labels=["incorrect_mask"]))
    lamp.note(story.started("without_mask"), 0.0)
    assert not lamp.wanted(0.1)
    lamp.note(story.started("incorrect_mask"), 0.0)
    assert lamp.wanted(0.1)


def test_an_end_without_its_beginning_is_nothing(story):
    lamp = Output(GpioConfig(pin=17))
    lamp.note(story.ended(story.started()), 0.0)
    assert not lamp.wanted(0.1)


# on gpiozero's fake header


def test_pins_are_switched_high_or_low_and_let_go(header, outputs, story):
    both = outputs({"pin": 17}, {"pin": "BOARD13", "active_high": False})  # GPIO27
    wait_for(lambda: level(header, 27) == 1, "off is high on a relay board")
    assert level(header, 17) == 0
    violation = story.started()
    both.told([violation])
    wait_for(lambda: (level(header, 17), level(header, 27)) == (1, 0), "both on")
    both.told([story.ended(violation)])
    wait_for(lambda: (level(header, 17), level(header, 27)) == (0, 1), "both off")
    assert both.error is None
    both.close()
    assert (level(header, 17), level(header, 27)) == (None, None)


def test_a_timed_output_goes_off_without_any_further_event(header, outputs, story):
    buzzer = outputs({"pin": 5, "seconds": 0.3})
    begin = time.monotonic()
    buzzer.told([story.started()])
    wait_for(lambda: levels(header, 5) == [0, 1, 0], "on and off")
    assert time.monotonic() - begin >= 0.3


def test_it_ends_dark_though_a_violation_stands(header, outputs, story):
    lamp = outputs({"pin": 17})
    lamp.told([story.started()])
    wait_for(lambda: level(header, 17) == 1, "on")
    lamp.close()
    header.pin(17).assert_states([False, True, False])
    assert level(header, 17) is None


def test_a_reload_goes_on_with_the_violations_that_stand(header, outputs, story):
    standing = [story.started()]
    outputs({"pin": 17}, {"pin": 5, "seconds": 60}, standing=standing)
    wait_for(lambda: level(header, 17) == 1, "the lamp")
    assert level(header, 5) == 0  # the buzzer had its time


def test_a_pin_that_no_pi_has_is_one_clear_error_and_the_others_work(header, outputs, story):
    some = outputs({"pin": 17}, {"pin": 99})
    wait_for(lambda: some.error, "the error")
    assert some.error.startswith("pin 99: ")
    assert some.error.endswith("choose another pin in signals.gpio")
    some.told([story.started()])
    wait_for(lambda: level(header, 17) == 1, "the other")


def test_an_output_that_fails_later_is_told_tried_again_and_caught_up(
    header, outputs, story, monkeypatch
):
    monkeypatch.setattr(gpio, "RETRY", 0.1)
    lamp = outputs({"pin": 17})
    wait_for(lambda: level(header, 17) == 0, "the pin")
    broken = [True]

    class Broken:
        def __init__(self, real):
            self.real = real

        def on(self):
            if broken[0]:
                raise OSError(5, "Input/output error")
            self.real.on()

        def off(self):
            self.real.off()

        def close(self):
            self.real.close()

    lamp._switches[0] = Broken(lamp._switches[0])
    monkeypatch.setattr(lamp, "_connect", lambda config: Broken(gpio.open_pin(config)))
    lamp.told([story.started()])
    wait_for(lambda: lamp.error, "the error")
    assert lamp.error.startswith("pin 17: [Errno 5] Input/output error; ")
    broken[0] = False
    wait_for(lambda: lamp.error is None and level(header, 17) == 1, "the lamp again")


# where there is no gpiozero, no backend, no header


def test_without_gpiozero_the_error_names_the_packages(outputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    lamp = outputs({"pin": 17})
    wait_for(lambda: lamp.error, "the error")
    assert lamp.error == (
        "pin 17: gpiozero is missing: sudo apt install python3-gpiozero python3-lgpio"
    )


def test_without_its_backend_too_and_nothing_warns(outputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "lgpio", None)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    lamp = outputs({"pin": 17})
    wait_for(lambda: lamp.error, "the error")
    assert lamp.error.startswith("pin 17: lgpio is missing: sudo apt install")


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("unable to locate Pi revision in /proc/device-tree or /proc/cpuinfo", "no Raspberry Pi"),
        ("can not open gpiochip", "group gpio"),
        ("'GPIO busy'", "another program"),
    ],
)
def test_what_lgpio_says_gets_its_cure(said, cure):
    assert cure in gpio.explain(17, RuntimeError(said))


@pytest.mark.usefixtures("header")
def test_lgpio_is_given_a_folder_where_it_may_make_its_pipe(monkeypatch, tmp_path):
    monkeypatch.delenv("LG_WD", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    gpio.open_pin(GpioConfig(pin=17)).close()
    assert os.environ["LG_WD"] == str(tmp_path)
    monkeypatch.delenv("LG_WD")


def test_telling_never_waits_for_a_pin_that_hangs(outputs, story):
    hang, began, over = threading.Event(), threading.Event(), []

    class Hanging:
        def on(self):
            began.set()
            over.append(hang.wait(PATIENCE))

        off = close = on

    lamp = outputs({"pin": 17}, connect=lambda _: Hanging())
    lamp.told([story.started()])
    assert began.wait(PATIENCE)
    for _ in range(1000):
        lamp.told([story.started()])
    assert not over
    hang.set()
