"""The status page of a real daemon: off by default, watched in a real browser, reloaded."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from browser import chromium, tab
from mosquitto import free_port, wait_for

SECRET = "correct horse battery"  # noqa: S105 - of these tests only

STATE = ("outbox.db", "homeassistant.json", "baseline.json")
"""All that a unit keeps on disk."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def listening(pid):
    """Ports at which a process listens."""
    own = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            own.add(str(entry.readlink()))
    rows = [
        line.split()
        for name in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/{pid}/net", name).read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rsplit(":", 1)[1], 16)
        for row in rows
        if f"socket:[{row[9]}]" in own and row[2].endswith(":0000")
    }


def status(port):
    """What the page knows, or nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/status.json")
        return json.load(connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def test_by_default_nothing_listens_and_no_server_is_loaded(broker, daemon, visit_video):
    broker.start()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(lambda: "without_mask started" in unit.log, "work being done")
    assert listening(unit.process.pid) == set()
    assert "status page" not in unit.log
    mapped = Path(f"/proc/{unit.process.pid}/maps").read_text()
    assert "tflite" in mapped or "litert" in mapped  # the look into the process works


def test_a_port_in_use_ends_the_start_with_one_line_and_69(daemon, visit_video):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        unit = daemon(visit_video, web={"enabled": True, "port": port}).start()
        assert unit.wait() == 69
    (line,) = [line for line in unit.log.splitlines() if line.startswith("maskedge:")]
    assert f"port {port}: another program does; stop it or change web.port" in line
    assert "Traceback" not in unit.log


def test_a_port_that_is_not_permitted_ends_the_start_with_one_line_and_78(daemon, visit_video):
    """It never mends itself by starting again: see RestartPreventExitStatus in the unit."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        pytest.skip("here anybody may listen at any port")
    unit = daemon(visit_video, web={"enabled": True, "port": 1})
    if os.geteuid() == 0:
        unit.under = ("setpriv", "--bounding-set=-net_bind_service")
    assert unit.start().wait() == 78
    (line,) = [line for line in unit.log.splitlines() if line.startswith("maskedge:")]
    assert "port 1: not permitted; choose a web.port above 1023" in line


def test_a_missing_token_ends_the_start_with_one_line_and_78(daemon, visit_video):
    unit = daemon(visit_video, web={"enabled": True, "host": "0.0.0.0"}).start()  # noqa: S104
    assert unit.wait() == 78
    (line,) = [line for line in unit.log.splitlines() if line.startswith("maskedge:")]
    assert "a token is needed" in line


def test_the_token_is_never_told(broker, daemon, visit_video):
    broker.start()
    port = free_port()
    unit = daemon(visit_video, camera={"loop": True}, web={"enabled": True, "port": port})
    unit.start(MASKEDGE_WEB_TOKEN=SECRET).ready()
    for token in (SECRET, "a wrong one that is long"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/status.json", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.status == (200 if token == SECRET else 401)
        assert SECRET not in answer.read().decode()
        connection.close()
    assert SECRET not in unit.log


def test_a_visit_is_watched_in_a_browser_and_no_picture_is_written(
    broker, daemon, browser, visit_video
):
    port = free_port()
    unit = daemon(visit_video, camera={"loop": True}, web={"enabled": True, "port": port})
    before = set(unit.folder.rglob("*"))
    unit.start(HOME=str(unit.folder), TMPDIR=str(unit.folder)).ready()
    assert listening(unit.process.pid) == {port}
    with tab(browser) as page:
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#stage[data-state=live]").wait_for()
        page.locator(".fault[data-key=broker_lost]").wait_for()  # it isn't running yet
        page.locator(".box[data-label=without_mask]").wait_for()
        row = page.locator("#violation-rows tr").first
        row.wait_for()
        assert "without mask" in row.inner_text()
        broker.start()
        page.locator(".fault[data-key=broker_lost]").wait_for(state="detached")
        page.get_by_text(re.compile("^Over: Broker lost")).wait_for(state="attached")
        assert page.said == []
    written = {str(p.relative_to(unit.folder)) for p in set(unit.folder.rglob("*")) - before}
    allowed = {"daemon.log", "state"} | {f"state/{n}" for n in STATE}
    assert {name for name in written if not name.startswith("state/outbox.db")} <= allowed


def test_switched_on_moved_and_refused_while_it_runs(broker, daemon, health, visit_video):
    broker.start()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    first, second = free_port(), free_port()

    def change(**web):
        unit.configure({**unit.settings, "web": web})

    change(enabled=True, port=first)
    wait_for(lambda: status(first), "the page switched on")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        change(enabled=True, port=taken.getsockname()[1])
        wait_for(
            lambda: any(r["refused"] for r in status(first)["config"]["reloads"]), "the refusal"
        )
        wait_for(
            lambda: any(f["code"] == "config_refused" for f in health().get("faults", [])),
            "the fault",
        )
    assert "another program" in status(first)["config"]["reloads"][0]["refused"]
    assert listening(unit.process.pid) == {first}
    change(enabled=True, port=second)
    wait_for(lambda: status(second), "the page at its new place")
    assert listening(unit.process.pid) == {second}
    change(enabled=False)
    wait_for(lambda: not listening(unit.process.pid), "the page switched off")
    assert unit.process.poll() is None


def check(folder, **web):
    """What ``maskedge check`` says of the page."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"web": web}))
    done = subprocess.run(
        [sys.executable, "-m", "maskedge", "check", "--json", "--config", str(config)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout and json.loads(done.stdout)["status page"], done.stderr


def test_check_says_where_the_page_would_be_and_what_it_lacks(tmp_path):
    (tmp_path / "token").write_text(SECRET)
    assert check(tmp_path)[1] == "off"
    code, said, _ = check(tmp_path, enabled=True, host="::", token_file="token")  # noqa: S106
    assert (code, said) == (0, "http://[::]:8620/, with a token")
    code, _, error = check(tmp_path, enabled=True, host="0.0.0.0")  # noqa: S104 - to be refused
    assert code == 78
    assert "a token is needed" in error
