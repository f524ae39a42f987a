"""A signal may come in the middle of anything."""

import os
import subprocess
import sys

from mosquitto import PATIENCE

CHILD = """
import signal, sys
from maskedge.configfile import load
from maskedge.inference.resilient import hurry
from maskedge.models.store import Store
from maskedge.requests import Requests
from maskedge.takeover import Takeover

loaded = load(None)
folders = Store().folders()
takeover = Takeover(loaded, lambda: loaded)
requests = Requests(takeover.ask, hurry)
lines = 0

def interrupt(_frame, event, _argument):
    global lines
    if event == "line":
        lines += 1
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    return interrupt

with requests.listening():
    takeover.ask()
    sys.settrace(interrupt)
    takeover.look(0.0, loaded.config, folders)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    sys.settrace(None)
assert lines > 10
assert takeover._busy and requests.stopping
"""


def test_signals_at_any_line_of_what_they_interrupt_hang_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    config.touch()
    environ = {**os.environ, "MASKEDGE_CONFIG": str(config), "MASKEDGE_MODELS": str(tmp_path)}
    subprocess.run([sys.executable, "-c", CHILD], timeout=PATIENCE, check=True, env=environ)
