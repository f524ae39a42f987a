"""systemd is told of work, not of life: checked on a real notify socket."""

import os
import socket

import pytest

from maskedge.health.watchdog import Notifier, Watchdog, watchdog_interval


@pytest.fixture
def manager(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(path)})
        yield server, notifier
        notifier.close()


def received(server):
    lines = []
    while True:
        try:
            lines.append(server.recv(4096).decode())
        except BlockingIOError:
            return lines


def test_lines_arrive_as_one_datagram(manager):
    server, notifier = manager
    notifier.send("READY=1", "STATUS=watching")
    assert received(server) == ["READY=1\nSTATUS=watching"]


def test_abstract_socket():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        name = f"maskedge-test-{os.getpid()}"
        server.bind(f"\0{name}")
        server.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.send("READY=1")
        notifier.close()
        assert received(server) == ["READY=1"]


def test_without_systemd_nothing_is_sent():
    notifier = Notifier({})
    notifier.send("READY=1")
    notifier.close()


def test_a_manager_that_is_gone_does_not_disturb(tmp_path):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.send("READY=1")
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "junk"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_interval(environ, seconds):
    assert watchdog_interval(environ) == seconds


def test_pings_come_with_work_and_at_most_four_times_an_interval(manager):
    server, notifier = manager
    watchdog = Watchdog(notifier, interval=20.0, cure_limit=60.0)
    for tenth in range(100):  # ten seconds of frames at 10 fps
        watchdog.worked(tenth / 10)
    assert received(server) == ["WATCHDOG=1"] * 2


def test_no_work_no_ping(manager):
    server, notifier = manager
    Watchdog(notifier, interval=20.0, cure_limit=60.0)
    assert received(server) == []


def test_a_lost_camera_feeds_it_only_within_the_limit(manager):
    server, notifier = manager
    watchdog = Watchdog(notifier, interval=20.0, cure_limit=60.0)
    pings = []
    for second in range(0, 200, 5):
        watchdog.curing(float(second), lost_since=0.0)
        pings += [second for _ in received(server)]
    assert pings == list(range(0, 60, 5))


def test_to_wait_for_a_frame_is_work_unless_the_last_was_lost(manager):
    server, notifier = manager
    watchdog = Watchdog(notifier, interval=20.0, cure_limit=60.0)
    watchdog.waiting(0.0)
    assert received(server) == ["WATCHDOG=1"]
    watchdog.failed()
    watchdog.waiting(10.0)
    assert received(server) == []
    watchdog.worked(20.0)
    watchdog.waiting(30.0)
    assert received(server) == ["WATCHDOG=1"] * 2


def test_without_an_interval_nothing_is_sent(manager):
    server, notifier = manager
    watchdog = Watchdog(notifier, interval=None, cure_limit=60.0)
    watchdog.worked(1.0)
    assert received(server) == []
