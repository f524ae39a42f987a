"""The log in the journal, on a terminal and in a file; and so every complaint."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from maskedge import logs

TALK = """
import logging, sys
from maskedge import logs
logs.set_up({verbosity})
log = logging.getLogger("maskedge.part")
log.debug("deb"); log.info("inf"); log.warning("war\\nning"); log.error("err"); log.critical("cri")
{more}
"""


def talk(verbosity=1, more="", *, journal=False, terminal=False, **environ):
    """What arrives at the other end of standard error."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    if journal:
        found = os.fstat(writer)
        environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
    code = TALK.format(verbosity=verbosity, more=more)
    ours = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=writer, env={**ours, "TERM": "xterm", **environ}
    )
    process.wait(60)
    said = os.read(reader, 65_536).decode().replace("\r\n", "\n")
    os.close(writer)
    os.close(reader)
    return said.splitlines()


def test_the_journal_gets_priorities_and_no_times():
    assert talk(journal=True) == [
        "<7>maskedge.part: deb",
        "<6>maskedge.part: inf",
        "<4>maskedge.part: war",
        "<4>ning",
        "<3>maskedge.part: err",
        "<2>maskedge.part: cri",
    ]


@pytest.mark.parametrize("stream", ["", "8:12345", "nonsense", ":"])
def test_a_variable_that_was_inherited_from_elsewhere_is_no_journal(stream):
    lines = talk(JOURNAL_STREAM=stream)
    assert "<" not in "".join(lines)
    assert lines[0].endswith(" DEBUG   maskedge.part: deb")
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_colours_unless_somebody_says_no():
    lines = talk(terminal=True)
    assert lines[1].endswith(" INFO    maskedge.part: inf")
    assert lines[1].startswith("20")
    assert lines[2].startswith("\x1b[33m20")
    assert lines[4].startswith("\x1b[1;31m20")
    assert lines[4].endswith("maskedge.part: err\x1b[0m")
    assert "\x1b" not in "".join(talk(terminal=True, NO_COLOR="1"))
    assert "\x1b" not in "".join(talk(terminal=True, TERM="dumb"))


@pytest.mark.parametrize(("verbosity", "lines"), [(-3, 2), (-2, 2), (-1, 4), (0, 5), (1, 6)])
def test_verbosity(verbosity, lines):
    assert len(talk(verbosity, journal=True)) == lines


def test_what_nobody_caught_has_a_priority_too():
    in_thread = "import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()"
    for more in ("1 / 0", in_thread):
        lines = talk(-2, more, journal=True)[2:]
        assert lines[0] == "<2>maskedge: it crashed"
        assert lines[-1] == "<2>ZeroDivisionError: division by zero"


def test_a_complaint_is_an_error_in_the_journal_and_red_on_a_terminal():
    more = "from maskedge.cli import run; run(['check', '--config', '/none.yaml'])"
    assert talk(-2, more, journal=True)[-1].startswith("<3>maskedge: /none.yaml: ")
    assert talk(-2, more, terminal=True)[-1].startswith("\x1b[1;31mmaskedge: /none.yaml: ")
    assert talk(-2, more)[-1].startswith("maskedge: /none.yaml: ")


def test_a_stream_without_a_file_is_neither():
    class Nothing:
        def isatty(self):
            return False

        def fileno(self):
            raise OSError

    assert not logs.in_journal(Nothing(), {"JOURNAL_STREAM": "1:2"})
    assert logs.emphasised("text", 40, Nothing()) == "text"
