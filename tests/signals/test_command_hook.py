"""The command: fed, bounded, killed, and never waited for. Real programs, real processes."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from mosquitto import wait_for

from maskedge import events
from maskedge.config import CommandConfig
from maskedge.signals import command
from maskedge.signals.command import CommandHook


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def hook(counted):
    made = []

    def build(*run, **settings):
        config = CommandConfig(run=run, **settings)
        made.append(CommandHook(config, lambda name: counted.update([name])))
        return made[-1]

    yield build
    for one in made:
        if not one._closing:
            one.close(0.1)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def alive(pid):
    """Whether a process of this number runs; one that only waits for its parent doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_gets_the_event_on_stdin_and_in_variables(hook, story, counted, tmp_path):
    out = tmp_path / "out"
    one = hook("sh", "-c", f"cat > {out}; env > {out}.env; pwd > {out}.cwd; mv {out} {out}.json")
    event = story.started()
    one.told([event])
    wait_for(lambda: counted["commands_run"], "the end")
    payload = json.loads((tmp_path / "out.json").read_text())
    jsonschema.Draft202012Validator(events.schema("violation-1")).validate(payload)
    assert payload["event_id"] == event.event_id
    assert payload["seq"] is None
    given = dict(line.split("=", 1) for line in (tmp_path / "out.env").read_text().splitlines())
    assert {key: value for key, value in given.items() if key.startswith("MASKEDGE_")} == {
        "MASKEDGE_EVENT": "started",
        "MASKEDGE_LABEL": "without_mask",
        "MASKEDGE_DEVICE": "door",
        "MASKEDGE_CAMERA": "hall",
        "MASKEDGE_EVENT_ID": event.event_id,
        "MASKEDGE_VIOLATION_ID": event.event_id,
    }
    assert one.error is None


def test_secrets_and_what_is_systemds_stay_with_us(story):
    ours = {
        "PATH": "/bin",
        "MY_TOKEN": "for the script",
        "MASKEDGE_MQTT_PASSWORD": "secret",
        "MASKEDGE_CAMERA_PASSWORD": "secret",
        "CREDENTIALS_DIRECTORY": "/run/credentials",
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "1",
    }
    given = command.environment(story.started(), ours)
    assert {key for key in given if not key.startswith("MASKEDGE_")} == {"PATH", "MY_TOKEN"}
    assert "secret" not in given.values()


def test_it_starts_in_the_state_folder(hook, story, counted, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    hook("sh", "-c", "echo $MASKEDGE_LABEL >> violations.csv").told([story.started()])
    wait_for(lambda: counted["commands_run"], "the end")
    assert (tmp_path / "violations.csv").read_text() == "without_mask\n"


def test_it_inherits_none_of_our_files(hook, story, counted, tmp_path):
    secret = (tmp_path / "secret").open("w")
    os.set_inheritable(secret.fileno(), True)
    hook("sh", "-c", f"ls -l /proc/self/fd > {tmp_path}/fds").told([story.started()])
    wait_for(lambda: counted["commands_run"], "the end")
    assert "secret" not in (tmp_path / "fds").read_text()
    secret.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["started without_mask", "started incorrect_mask"]),
        ({"events": ["ended"]}, ["ended without_mask"]),
        ({"labels": ["incorrect_mask"]}, ["started incorrect_mask"]),
        (
            {"events": ["started", "ended"]},
            ["started without_mask", "started incorrect_mask", "ended without_mask"],
        ),
    ],
)
def test_it_is_started_for_what_was_asked_in_order(
    hook, story, counted, tmp_path, settings, expected
):
    log = tmp_path / "log"
    one = hook("sh", "-c", f'echo "$MASKEDGE_EVENT $MASKEDGE_LABEL" >> {log}', **settings)
    first = story.started()
    one.told([first, story.started("incorrect_mask"), story.ended(first)])
    wait_for(lambda: counted["commands_run"] == len(expected), "all of them")
    assert log.read_text().splitlines() == expected


def test_no_shell_looks_at_the_arguments(hook, story, counted, tmp_path):
    out = tmp_path / "out"
    show = script(tmp_path / "show", f'printf "%s|" "$@" > {out}')
    hook(show, "$(id); rm *", 440).told([story.started()])
    wait_for(lambda: counted["commands_run"], "the end")
    assert out.read_text() == "$(id); rm *|440|"


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        ("echo a; echo no paper >&2; exit 3", "exit code 3, its last words: no paper"),
        ("kill -35 $$", "ended by signal 35"),
    ],
    ids=["exit-code", "signal-without-a-name"],
)
def test_one_that_fails_says_why_until_one_ends_well(hook, story, counted, tmp_path, failing, told):
    fail = tmp_path / "fail"
    fail.touch()
    one = hook("sh", "-c", f"if [ -e {fail} ]; then {failing}; fi")
    one.told([story.started()])
    wait_for(lambda: counted["commands_failed"], "the failure")
    assert one.error == f"sh: {told}"
    fail.unlink()
    one.told([story.started()])
    wait_for(lambda: counted["commands_run"], "the success")
    assert one.error is None


def test_one_that_hangs_is_killed_with_all_that_it_started(hook, story, counted, tmp_path):
    pids = tmp_path / "pids"
    one = hook("sh", "-c", f"sleep 600 & echo $! > {pids}; echo $$ >> {pids}; wait", timeout=2)
    one.told([story.started()])
    wait_for(lambda: counted["commands_failed"], "its end")
    assert one.error == ("sh: killed after 2 s; make it faster or raise signals.command.timeout")
    found = [int(line) for line in pids.read_text().split()]
    assert len(found) == 2
    wait_for(lambda: not any(map(alive, found)), "both gone")


def test_what_it_leaves_in_the_background_ends_with_it(hook, story, counted, tmp_path):
    pids = tmp_path / "pids"
    one = hook("sh", "-c", f"sleep 600 & echo $! > {pids}")
    begin = time.monotonic()
    one.told([story.started()])
    wait_for(lambda: counted["commands_run"], "its end, though the pipe is still open")
    assert time.monotonic() - begin < 60  # not ten minutes
    (pid,) = map(int, pids.read_text().split())
    wait_for(lambda: not alive(pid), "it is gone")


def test_one_that_talks_without_end_is_cut_short(hook, story, counted):
    one = hook("sh", "-c", "yes | head -c 30000000; printf 'bye\\033[2J' >&2; exit 1", timeout=60)
    one.told([story.started()])
    wait_for(lambda: counted["commands_failed"], "its end")
    assert one.error.endswith("its last words: bye[2J")  # nothing that steers a terminal


def test_one_that_reads_nothing_and_closes_everything_is_no_trouble(hook, story, counted):
    one = hook("sh", "-c", "exec <&- >&- 2>&-; sleep 0.3")
    one.told([story.started()])
    wait_for(lambda: counted["commands_run"], "its end")
    assert one.error is None


def test_never_more_at_once_than_allowed(hook, story, counted, tmp_path):
    one = hook(
        "sh", "-c", f"mkdir {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.2; "
        f"[ $(ls {tmp_path} | wc -l) -le 2 ] || exit 9; rmdir {tmp_path}/$$", at_once=2,
    )  # fmt: skip
    one.told([story.started() for _ in range(8)])
    wait_for(lambda: counted.total() == 8, "all of them")
    assert counted == {"commands_run": 8}


def test_a_slow_one_never_holds_up_who_tells_and_leaves_the_oldest_out(
    hook, story, counted, monkeypatch, tmp_path
):
    monkeypatch.setattr(command, "WAITING", 3)
    log, go = tmp_path / "log", tmp_path / "go"
    one = hook("sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done; "
                           f"echo $MASKEDGE_EVENT_ID >> {log}", timeout=60)  # fmt: skip
    told = [story.started() for _ in range(6)]
    one.told(told[:1])
    wait_for(lambda: not one._events, "the first to be started")
    one.told(told[1:])
    assert counted == {"commands_skipped": 2}  # the first still runs
    assert "slower than events come, 2 were left out" in one.error
    go.touch()
    wait_for(lambda: counted["commands_run"] == 4, "the rest")
    assert log.read_text().split() == [e.event_id for e in (told[0], *told[3:])]
    wait_for(lambda: one.error is None, "all is well again")


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (Path.exists, "no such file; correct signals.command.run"),
        (lambda p: p.write_text("#!/bin/sh\n"), "not an executable file for this user"),
        (lambda p: p.mkdir(), "not an executable file for this user"),
    ],
)
def test_a_program_that_isnt_there_is_told_at_once(hook, tmp_path, prepare, error):
    path = tmp_path / "prog"
    prepare(path)
    assert error in hook(str(path)).error


def test_one_in_a_folder_that_is_closed_to_us_is_told(hook, closed):
    said = hook(str(closed / "prog")).error
    assert said.startswith(f"{closed}/prog: Permission denied; put it where the service may look")


def test_one_that_isnt_in_the_path_or_isnt_a_program(hook, story, counted, tmp_path):
    assert "not found in PATH" in hook("no-such-program-here").error
    path = tmp_path / "prog"
    path.write_text("no first line\n")
    path.chmod(0o755)
    one = hook(str(path))
    assert one.error is None
    one.told([story.started()])
    wait_for(lambda: counted["commands_failed"], "the failure")
    assert "first line must be #! and its interpreter" in one.error


def test_one_that_is_put_there_later_clears_the_error(hook, story, counted, tmp_path):
    one = hook(str(tmp_path / "prog"))
    assert one.error
    script(tmp_path / "prog", "true")
    one.told([story.started()])
    wait_for(lambda: counted["commands_run"], "its end")
    assert one.error is None


def test_closing_gives_what_runs_its_time_then_kills_it(hook, story, counted, tmp_path):
    pids = tmp_path / "pids"
    quick = hook("sh", "-c", "sleep 0.3")
    quick.told([story.started()])
    quick.close(20.0)
    assert counted == {"commands_run": 1}
    slow = hook("sh", "-c", f"echo $$ > {pids}.new; mv {pids}.new {pids}; sleep 600")
    slow.told([story.started(), story.started()])
    wait_for(pids.exists, "its start")
    begin = time.monotonic()
    slow.close(0.3)
    assert time.monotonic() - begin < 60
    wait_for(lambda: not alive(int(pids.read_text())), "it is gone")
    wait_for(lambda: counted == {"commands_run": 1, "commands_failed": 1}, "its outcome")
