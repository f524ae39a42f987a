"""A reload changes what it names, and nothing else: lamps stay on, events are not lost."""

from collections import Counter

import pytest
from mosquitto import wait_for

from maskedge.config import SignalsConfig
from maskedge.signals.local import Signals

GPIO = [{"pin": 17}, {"pin": 27, "seconds": 60}]


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def signals(counted):
    made = []

    def build(**settings):
        made.append(Signals(SignalsConfig(**settings), lambda name: counted.update([name])))
        return made[-1]

    yield build
    for one in made:
        one.close(0.1)


def test_another_command_leaves_outputs_as_they_are(header, signals, story):
    one = signals(gpio=GPIO)
    event = story.started()
    one.told([event])
    wait_for(lambda: header.pin(17).state and header.pin(27).state, "lamp and buzzer")
    one.reconfigure(SignalsConfig(gpio=GPIO, command={"run": ["true"]}), [event])
    for pin in (17, 27):
        assert [change.state for change in header.pin(pin).states] == [False, True]


def test_another_output_leaves_a_command_at_its_work(header, signals, story, counted, tmp_path):
    run = ["sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"]
    one = signals(command={"run": run})
    event = story.started()
    one.told([event, story.started()])
    one.reconfigure(SignalsConfig(gpio=GPIO, command={"run": run}), [event])
    wait_for(lambda: header.pin(17).state, "the lamp of a violation that stands")
    (tmp_path / "go").touch()
    wait_for(lambda: counted["commands_run"] == 2, "both runs")
    assert counted == {"commands_run": 2}


def test_events_that_wait_for_a_program_go_to_the_next(signals, story, counted, tmp_path):
    one = signals(command={"run": ["sh", "-c", f"touch {tmp_path}/began; sleep 600"]})
    one.told([story.started() for _ in range(4)])
    wait_for((tmp_path / "began").exists, "its start")
    one.reconfigure(SignalsConfig(command={"run": ["true"]}), [])
    wait_for(lambda: counted == {"commands_failed": 1, "commands_run": 3}, "those that waited")
    one.reconfigure(SignalsConfig(), [])
    one.told([story.started()])
    assert one.status().command_error is None
