"""The server: what it answers, to whom, and what a bad client can cost."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mosquitto import free_port, wait_for
from webloop import ask, configuration, parts

from maskedge.errors import EX_CONFIG, EX_UNAVAILABLE, ConfigError, WebError
from maskedge.web import app, page, picture, server, shield
from maskedge.web.page import StatusPage

SECRET = "correct horse battery"  # noqa: S105 - of these tests only


@pytest.fixture
def locked(serve, tmp_path):
    """A page that asks for a token."""
    path = tmp_path / "token"
    path.write_text(SECRET)
    return serve(token_file=path)


def listeners():
    """Ports at which this process listens."""
    own = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            own.add(str(entry.readlink()))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/self/net", name).read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rsplit(":", 1)[1], 16)
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in own
    }


class Stream:
    """A reader of the news."""

    def __init__(self, port, **headers):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() not in {b"\r\n", b""}:
            pass
        self.last = b""

    def next(self, wanted):
        """The content of the next event of this name."""
        name = None
        while line := self._file.readline():
            self.last = line.strip() or self.last
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: ") and name == wanted:
                return json.loads(line[6:])
        return None

    def close(self):
        self._file.close()
        self._socket.close()


def test_off_means_no_socket_and_nothing_loaded():
    before = listeners()
    off = StatusPage(configuration(enabled=False))
    off.frame(None, None, 0.0)
    off.told([])
    off.looked(None, parts(), 0.0)
    off.refused("x")
    off.close()
    assert not off.enabled
    assert listeners() == before


def test_the_daemon_loads_no_server_before_it_is_asked_for():
    code = (
        "import sys, maskedge.daemon;"
        "sys.exit(bool({'starlette', 'uvicorn', 'prometheus_client'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_page_and_its_two_files_are_served_with_the_strict_headers(serve):
    port = serve().port
    for path, kind in [("/", "text/html"), ("/style.css", "text/css"), ("/page.js", "javascript")]:
        answer = ask(port, path)
        assert answer.status == 200
        assert kind in answer.headers["content-type"]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in answer.body
        assert b"style=" not in answer.body
    assert ask(port, "/none").status == 404
    assert ask(port, "/events", method="POST").status == 405
    assert "content-security-policy" in ask(port, "/none").headers


def test_a_rebound_name_gets_nothing_not_even_the_page(serve):
    port = serve(allowed_hosts=["mask.example.org"]).port
    for path in ("/", "/status.json", "/picture", "/metrics", "/session"):
        answer = ask(port, path, host="evil.example.com")
        assert answer.status == 403
        assert b"web.allowed_hosts" in answer.body
    assert ask(port, "/status.json", host="mask.example.org").status == 200


def test_two_host_headers_or_none_are_refused(serve):
    port = serve().port
    for lines in (b"", b"Host: localhost\r\nHost: localhost\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n" + lines + b"\r\n")
            assert connection.recv(100).split()[1] in {b"400", b"403"}


def test_other_sites_can_make_a_browser_ask_but_get_nothing(serve):
    port = serve().port
    for site in ("cross-site", "same-site"):
        for path in ("/picture", "/events", "/status.json", "/session"):
            assert ask(port, path, Sec_Fetch_Site=site).status == 403
        assert ask(port, "/", Sec_Fetch_Site=site).status == 200  # a link may lead here
    assert ask(port, "/status.json", Sec_Fetch_Site="same-origin").status == 200


def test_without_the_token_only_the_empty_page_is_shown(locked, monkeypatch):
    monkeypatch.setattr(app, "WRONG", 0.01)
    assert ask(locked.port, "/").status == 200
    for path in ("/events", "/status.json", "/picture", "/metrics", "/session"):
        answer = ask(locked.port, path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert ask(locked.port, path, Authorization="Bearer wrong").status == 401
    assert ask(locked.port, "/status.json", Authorization=f"Bearer {SECRET}").status == 200
    assert ask(locked.port, "/status.json?token=" + SECRET.replace(" ", "%20")).status == 401


def test_logging_in_gives_a_cookie_that_scripts_cannot_read(locked):
    answer = ask(locked.port, "/session", "POST", SECRET)
    assert answer.status == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert SECRET not in cookie
    pair = cookie.partition(";")[0]
    assert ask(locked.port, "/status.json", Cookie=pair).status == 200
    assert ask(locked.port, "/session", Cookie=pair).json == {"token": True}
    gone = ask(locked.port, "/session", "DELETE", Cookie=pair)
    assert "Max-Age=0" in gone.headers["set-cookie"]


def test_a_wrong_token_costs_time_and_names_nothing(locked):
    for method, body, headers in (
        ("POST", "wrong", {}),
        ("GET", None, {"Authorization": "Bearer wrong"}),
    ):
        began = time.monotonic()
        answer = ask(locked.port, "/session", method, body, **headers)
        assert answer.status == 401
        assert time.monotonic() - began >= app.WRONG
    assert "set-cookie" not in answer.headers
    assert ask(locked.port, "/session", "POST", "x" * 5000).status == 413
    assert ask(locked.port, "/session", "POST", b"\xff\xfe").status == 400


def test_a_log_in_that_never_arrives_is_given_up(locked, monkeypatch):
    monkeypatch.setattr(shield, "BODY_TIMEOUT", 0.2)
    with socket.create_connection(("127.0.0.1", locked.port), timeout=30) as connection:
        connection.sendall(
            b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
        assert b" 400 " in connection.recv(100)


def test_the_news_begins_with_how_things_are_and_goes_on(serve):
    loop = serve()
    stream = Stream(loop.port)
    assert stream.next("help")["camera_lost"]["title"] == "Camera lost"
    assert stream.next("violations") == []
    loop.violate()
    assert stream.next("violations")[0]["label"] == "without_mask"
    loop.parts = parts(config_error="line 3: wrong")
    loop.look()
    codes = {fault["code"] for fault in stream.next("overview")["health"]["faults"]}
    assert "config_refused" in codes
    loop.page.refused("config.yaml:3: wrong")
    assert stream.next("config")["reloads"][0]["refused"] == "config.yaml:3: wrong"
    stream.close()


def test_who_comes_later_is_told_nothing_out_of_date(serve, monkeypatch):
    monkeypatch.setattr(app, "FRESH", 60.0)  # so long is a look waited for
    loop = serve()
    loop.look()
    hub = loop.page._hub
    hub._overview_at = hub._wanted_until = float("-inf")  # as if a minute had passed
    loop.parts = parts(config_error="since then")
    stream = Stream(loop.port)
    stream.next("day")
    wait_for(hub.looked, "the wish for an overview")
    loop.look()
    codes = {fault["code"] for fault in stream.next("overview")["health"]["faults"]}
    assert "config_refused" in codes
    stream.close()


def test_a_silent_daemon_is_no_reason_to_hang_up(serve, monkeypatch):
    monkeypatch.setattr(app, "SILENCE", 0.3)
    stream = Stream(serve().port)
    stream.next("overview")
    assert wait_for(lambda: stream._file.readline() == b":\n", "a sign of life")
    stream.close()


def test_pictures_follow_each_other_newest_first(serve):
    loop = serve(picture_fps=30).start(fps=20)
    seen = []
    for _ in range(3):
        answer = ask(loop.port, f"/picture?after={seen[-1] if seen else 0}")
        assert answer.headers["content-type"] == "image/jpeg"
        view = json.loads(answer.headers["x-maskedge-view"])
        shape = cv2.imdecode(np.frombuffer(answer.body, np.uint8), 1).shape
        assert shape == (view["height"], view["width"], 3)
        assert view["persons"][0]["label"] == "without_mask"
        seen.append(view["number"])
    assert seen == sorted(set(seen))


def test_no_more_pictures_are_encoded_than_asked_for(serve, monkeypatch):
    encoded = []
    encode = picture.encode
    monkeypatch.setattr(picture, "encode", lambda *args: encoded.append(args) or encode(*args))
    loop = serve(picture_fps=4).start(fps=30)
    time.sleep(0.5)
    assert not encoded  # nobody watches
    end = time.monotonic() + 2
    last = [0, 0]
    while time.monotonic() < end:
        for watcher in (0, 1):  # two who watch cost no more than one
            answer = ask(loop.port, f"/picture?after={last[watcher]}")
            last[watcher] = json.loads(answer.headers["x-maskedge-view"])["number"]
    assert 1 <= len(encoded) <= 2.5 * 4 + 2


def test_without_frames_the_answer_is_no_content(serve, monkeypatch):
    monkeypatch.setattr(picture, "PATIENCE", 0.2)
    assert ask(serve().port, "/picture").status == 204


def test_a_picture_that_is_switched_off_is_not_there(serve):
    loop = serve(picture=False).start()
    assert ask(loop.port, "/picture").status == 404
    assert ask(loop.port, "/status.json").json["config"]["picture"] is False


def test_a_senseless_number_is_refused(serve):
    assert ask(serve().port, "/picture?after=x").status == 400


def test_a_mistake_of_ours_is_logged_and_the_server_goes_on(serve, monkeypatch, caplog):
    loop = serve()
    monkeypatch.setattr(loop.page._hub, "topics", lambda: 1 / 0)
    assert ask(loop.port, "/status.json").status == 500
    assert "the page failed at /status.json" in caplog.text
    assert ask(loop.port, "/").status == 200


def test_a_client_that_reads_nothing_costs_the_loop_nothing_and_is_cut_off(serve, monkeypatch):
    """The loop goes on at full speed, memory stays bounded, and the kernel ends it."""
    monkeypatch.setattr(server, "STUCK", 2.0)
    loop = serve(picture_fps=30)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", loop.port))
    stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    longest, rounds = 0.0, 0
    inside = loop.page._server._server.server_state.connections
    wait_for(lambda: inside, "the connection")

    def turn():
        nonlocal longest, rounds
        began = time.perf_counter()
        loop.step(pixels=np.zeros((48, 64, 3), np.uint8))
        loop.violate(person=rounds)
        loop.look()
        rounds += 1
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.005)
        return not inside

    wait_for(turn, "the end of the stuck connection", timeout=120)
    assert longest < 1.0  # never waited for the client; generous for a loaded machine
    assert ask(loop.port, "/status.json").status == 200
    stuck.close()


def test_connections_beyond_the_bound_are_refused_and_come_back_when_others_go(serve):
    loop = serve()
    idle = [
        socket.create_connection(("127.0.0.1", loop.port), timeout=30)
        for _ in range(server.MAX_CONNECTIONS + 20)
    ]
    inside = loop.page._server._server.server_state.connections
    wait_for(lambda: len(inside) == server.MAX_CONNECTIONS, "a full house")
    with pytest.raises(OSError):  # noqa: PT011 - reset, closed or broken: all the same
        ask(loop.port, "/status.json")
    for connection in idle:
        connection.close()
    wait_for(lambda: not inside, "an empty house")
    assert ask(loop.port, "/status.json").status == 200


def test_who_connects_and_says_nothing_or_never_comes_to_the_point_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.5)
    port = serve().port
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost: loc"):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(beginning)
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100) == b""
            assert time.monotonic() - began >= 0.4


def test_a_second_request_on_a_connection_gets_no_more_time_than_the_first(serve, monkeypatch):
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.5)
    port = serve().port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 204 " in connection.recv(4000)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"G")
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert connection.recv(100) == b""
                    break
            else:
                pytest.fail("a request may take for ever")


def test_garbage_is_answered_and_not_logged(serve, caplog):
    port = serve().port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
        assert b"400" in connection.recv(100)
    assert not caplog.records[-1:] or "HTTP" not in caplog.records[-1].message


def test_a_port_in_use_is_one_clear_error_with_69(serve):
    port = serve().port
    with pytest.raises(WebError, match=rf"port {port}: another program.*web\.port") as caught:
        StatusPage(configuration(port=port))
    assert caught.value.exit_code == EX_UNAVAILABLE == 69


def test_an_address_that_is_not_ours_is_named(monkeypatch):
    monkeypatch.setenv("MASKEDGE_WEB_TOKEN", SECRET)
    with pytest.raises(WebError, match=r"192\.0\.2\.1.*web\.host"):
        StatusPage(configuration(host="192.0.2.1"))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"uvicorn is missing: pip install 'maskedge\[web\]'"):
        page.check(configuration().config.web)
    assert ConfigError.exit_code == EX_CONFIG


def test_it_listens_only_where_it_is_told(serve):
    loop = serve()
    other = socket.gethostbyname(socket.gethostname())
    if not other.startswith("127."):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, loop.port), timeout=5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", loop.port), timeout=5)


def test_ipv6_is_served_too():
    status = StatusPage(configuration(host="::1"))
    try:
        port = status._loaded.config.web.port
        with socket.create_connection(("::1", port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close\r\n\r\n")
            assert b" 200 " in connection.recv(100)
    finally:
        status.close()


def test_closing_ends_every_stream_and_frees_the_port_soon(serve, monkeypatch):
    monkeypatch.setattr(server, "STOP", 30)  # a busy machine's clients get their last bytes, too
    loop = serve().start()
    streams = [Stream(loop.port) for _ in range(3)]

    def look():
        with contextlib.suppress(OSError):  # closing may be faster than the answer
            ask(loop.port, "/picture")

    waiting = threading.Thread(target=look, daemon=True)
    waiting.start()
    began = time.monotonic()
    loop.page.close()
    assert time.monotonic() - began < 10
    assert loop.port not in listeners()
    for stream in streams:
        stream.next("nothing of this name")  # reads on to the end
        assert stream.last == b"0"  # the last chunk: it was ended, not cut off
        stream.close()
    waiting.join(30)
    socket.create_server(("127.0.0.1", loop.port)).close()


class TestReload:
    def test_to_another_port(self, serve):
        loop = serve()
        old, new = loop.port, free_port()
        loop.violate()
        loop.page.reconfigure(configuration(port=new))
        assert ask(new, "/status.json").json["violations"], "the history outlives the move"
        with pytest.raises(ConnectionRefusedError):
            ask(old, "/")

    def test_to_a_port_in_use_is_refused_and_the_old_one_runs_on(self, serve):
        loop = serve()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(WebError, match="another program"):
                loop.page.reconfigure(configuration(port=taken.getsockname()[1]))
            loop.page.refused("the port is in use")
        said = ask(loop.port, "/status.json").json["config"]
        assert said["reloads"][0]["refused"] == "the port is in use"

    def test_to_another_address_with_the_same_port_and_back_when_that_fails(
        self, serve, monkeypatch
    ):
        loop = serve()
        monkeypatch.setenv("MASKEDGE_WEB_TOKEN", SECRET)
        with pytest.raises(WebError, match=r"192\.0\.2\.1"):
            loop.page.reconfigure(configuration(host="192.0.2.1", port=loop.port))
        assert ask(loop.port, "/status.json", Authorization=f"Bearer {SECRET}").status == 200
        loop.page.reconfigure(configuration(host="0.0.0.0", port=loop.port))  # noqa: S104
        assert ask(loop.port, "/status.json").status == 401
        assert ask(loop.port, "/status.json", Authorization=f"Bearer {SECRET}").status == 200

    def test_a_new_token_is_asked_for_at_once_also_of_those_inside(self, serve, tmp_path):
        loop = serve()
        stream = Stream(loop.port)
        (tmp_path / "t").write_text(SECRET)
        loop.page.reconfigure(configuration(port=loop.port, token_file=tmp_path / "t"))
        assert stream.next("nothing of this name") is None
        stream.close()
        assert ask(loop.port, "/status.json").status == 401

    def test_another_token_in_the_same_file_ends_the_old_one(self, locked):
        held = ask(locked.port, "/session", "POST", SECRET).headers["set-cookie"].partition(";")[0]
        path = locked.loaded.config.web.token_file
        path.write_text(SECRET[::-1])
        locked.page.reconfigure(locked.loaded)
        assert ask(locked.port, "/status.json", Authorization=f"Bearer {SECRET}").status == 401
        assert ask(locked.port, "/status.json", Cookie=held).status == 401
        new = {"Authorization": f"Bearer {SECRET[::-1]}"}
        assert ask(locked.port, "/status.json", **new).status == 200
        path.unlink()
        with pytest.raises(ConfigError, match="token_file"):
            locked.page.reconfigure(locked.loaded)
        assert ask(locked.port, "/status.json", **new).status == 200

    def test_without_a_token_where_one_is_needed_is_refused(self, serve, monkeypatch):
        monkeypatch.delenv("MASKEDGE_WEB_TOKEN", raising=False)
        loop = serve()
        with pytest.raises(ConfigError, match="token is needed"):
            loop.page.reconfigure(configuration(host="0.0.0.0", port=loop.port))  # noqa: S104
        assert ask(loop.port, "/status.json").status == 200

    def test_off_and_on_again(self, serve):
        loop = serve()
        loop.page.reconfigure(configuration(port=loop.port, enabled=False))
        assert loop.port not in listeners()
        assert not loop.page.enabled
        loop.step()
        loop.page.reconfigure(configuration(port=loop.port))
        assert ask(loop.port, "/").status == 200

    def test_another_section_changes_nothing_for_those_who_watch(self, serve):
        loop = serve()
        stream = Stream(loop.port)
        stream.next("overview")
        before = loop.page._server
        other = loop.loaded.config.model_copy(update={"name": "back door"})
        loop.page.reconfigure(type(loop.loaded)(other, None))
        assert loop.page._server is before
        values = {row["key"]: row["value"] for row in stream.next("config")["values"]}
        assert values["name"] == "back door"
        stream.close()
