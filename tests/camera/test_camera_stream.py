from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time

import cv2
import numpy as np
import pytest
from mosquitto import free_port

from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.camera.guard import CameraGuard, CameraState
from maskedge.camera.probe import explain
from maskedge.camera.stream import StreamCamera
from maskedge.errors import CameraError

LOGIN = "joe:p%40ss%2Fw%3Ard@"
PASSWORD = "p@ss/w:rd"  # noqa: S105 - of a server that lives for a second


@contextlib.contextmanager
def guard_of(url, read_timeout=5.0):
    guard = CameraGuard(
        lambda: StreamCamera(url, read_timeout=read_timeout),
        read_timeout=read_timeout,
        open_timeout=30.0,
        reopen_delay=0.5,
        reopen_delay_max=1.0,
        give_up_after=0,
        max_hung=1000,
    )
    with guard:
        yield guard


def streaming(guard):
    return guard.status.state is CameraState.STREAMING


def lost(guard):
    return guard.status.state is CameraState.LOST


def failure(url):
    camera = StreamCamera(url)
    with pytest.raises(CameraError) as caught:
        camera.open()
    message = str(caught.value)
    for secret in ("wrong", "p%40ss", "p@ss"):
        assert secret not in message
    return message


@pytest.fixture
def answering():
    """A TCP server that answers every connection with these bytes, or not at all."""
    sockets = []

    def start(answer: bytes | None) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    sockets.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return server.getsockname()[1]

    threads = []
    yield start
    sockets[0].shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(30)
    for opened in sockets:
        opened.close()


def test_it_is_a_camera():
    assert isinstance(StreamCamera("rtsp://host/cam"), Camera)


def test_frames_of_a_real_rtsp_server(rtsp_server):
    camera = StreamCamera(rtsp_server().url())
    before = time.monotonic()
    camera.open()
    found = [camera.read() for _ in range(12)]
    camera.close()
    assert [frame.number for frame in found] == list(range(12))
    assert (found[0].width, found[0].height, found[0].order) == (320, 240, ChannelOrder.BGR)
    assert before < found[0].time < found[-1].time <= time.monotonic()
    assert found[0].pixels.max() > 150  # the ball
    with pytest.raises(CameraError, match="not open"):
        camera.read()


def test_a_server_killed_and_started_again(rtsp_server, until, timed):
    server = rtsp_server()
    with guard_of(server.url()) as guard:
        until(lambda: streaming(guard))
        server.kill()
        with timed("RTSP server killed: until it is told"):
            until(lambda: lost(guard))
        until(lambda: guard.status.reopens >= 3)
        assert "refuses port" in guard.status.error
        server.start()
        with timed("RTSP server started again: until it streams"):
            until(lambda: streaming(guard))
        assert guard.status.error is None
        until(lambda: guard.wait(1.0) is not None)


def test_a_frozen_servers_read_ends_by_itself(rtsp_server):
    server = rtsp_server()
    camera = StreamCamera(server.url(), read_timeout=2.0)
    camera.open()
    camera.read()
    server.freeze()
    began = time.monotonic()
    with pytest.raises(CameraError, match="the stream stopped"):
        list(iter(camera.read, None))
    assert time.monotonic() - began < 45  # about 2; without limits OpenCV takes 90
    camera.close()


def test_a_frozen_server_is_noticed_and_the_stream_recovers(rtsp_server, until, timed):
    server = rtsp_server()
    with guard_of(server.url(), read_timeout=3.0) as guard:
        until(lambda: streaming(guard))
        server.freeze()
        with timed("RTSP server frozen: until it is told (read_timeout 3)"):
            until(lambda: lost(guard))
        assert "stream stopped" in guard.status.error or "took longer" in guard.status.error
        server.thaw()
        with timed("RTSP server thawed: until it streams"):
            until(lambda: streaming(guard))


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_user_and_password(rtsp_server, method):
    server = rtsp_server("joe", PASSWORD, method)
    camera = StreamCamera(server.url(login=LOGIN))
    assert camera.name == server.url(login="joe:***@")
    camera.open()
    assert camera.read().width == 320
    camera.close()
    assert "refuses this user and password" in failure(server.url(login="joe:wrong@"))
    assert "wants a user and password" in failure(server.url())
    assert "has no stream at '/other'" in failure(server.url("/other", LOGIN))
    assert "answers, but sent no video" in explain(server.url(login=LOGIN))  # it got in


def test_a_password_from_the_environment_opens_the_stream(rtsp_server, monkeypatch):
    server = rtsp_server("joe", PASSWORD, "basic")
    monkeypatch.setenv("MASKEDGE_CAMERA_PASSWORD", PASSWORD)
    camera = StreamCamera(server.url(login="joe@"))
    camera.open()
    camera.close()
    assert camera.name == server.url(login="joe@")


def test_an_unknown_host():
    assert "host 'no-such-host.invalid' is unknown" in failure("rtsp://no-such-host.invalid/cam")


def test_a_refused_port():
    port = free_port()
    message = failure(f"rtsp://joe:wrong@127.0.0.1:{port}/cam")
    assert f"127.0.0.1 refuses port {port}: start its stream server" in message


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("rtsp:///cam", "can't be understood"),
        ("rtsp://host:99999999/cam", "can't be understood"),
        ("rtsp://[::1/cam", "can't be understood"),
    ],
)
def test_an_address_that_is_none(url, meaning):
    assert meaning in explain(url)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no connection"),
        (b"", "no connection"),
        (b"RTSP/1.0 503 Service Unavailable\r\nCSeq: 1\r\n\r\n", "error 503"),
        (b"RTSP/1.0 404 Not Found\r\n\r\n", "correct the path"),
        (b"RTSP/1.0 403 Forbidden\r\n\r\n", "refuses this user"),
        (b"RTSP/1.0 200 OK\r\n\r\n", "no video that can be decoded"),
        (None, "doesn't answer on port"),
    ],
)
def test_what_else_may_answer(answering, answer, meaning):
    url = f"rtsp://127.0.0.1:{answering(answer)}/cam"
    assert meaning in explain(url, timeout=0.5 if answer is None else 20.0)


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """A camera's MJPEG over HTTP, behind Basic authentication at /private."""

    def do_GET(self):
        if self.path == "/private" and not self.headers.get("Authorization"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        if self.path not in {"/mjpeg", "/private"}:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 128, np.uint8))[1].tobytes()
        part = (
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        ) + jpeg
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(part + b"\r\n")
                time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.fixture
def mjpeg_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_mjpeg_over_http(mjpeg_server):
    camera = StreamCamera(f"http://joe:pw@{mjpeg_server}/private")
    camera.open()
    assert [camera.read().width for _ in range(3)] == [160] * 3
    camera.close()
    assert "has no stream at '/nope'" in failure(f"http://{mjpeg_server}/nope")
    assert "wants a user and password" in failure(f"http://{mjpeg_server}/private")
