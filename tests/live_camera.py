"""A network camera that shows visits, with everything that can befall one."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from functools import cache

import cv2
import numpy as np

from maskedge.scene import SceneCamera, Visit, Wearing

BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()


@cache
def visits(seconds=4.0, pause=4.0):
    """A bare-faced visit at 10 fps as JPEGs, each with a noise of its own as of a sensor."""
    scene = SceneCamera([Visit(Wearing.BARE, seconds)], fps=10, pause=pause, realtime=False)
    scene.open()
    noise = np.random.default_rng(3)
    frames = []
    for _ in range(int(scene.duration * 10)):
        pixels = scene.read().pixels.astype(np.int16) + noise.integers(-2, 3, (480, 640, 1))
        frames.append(jpeg(pixels.clip(0, 255).astype(np.uint8)))
    return frames


class LiveCamera:
    """A network camera (MJPEG over HTTP), with everything that can befall one."""

    def __init__(self):
        self.fps = 10.0
        self.frames = visits()
        self.hanging = False
        self.refusing = False
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if camera.refusing:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    camera.stream(self.wfile)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/cam"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stream(self, sink):
        begin, number = time.monotonic(), 0
        while not self.refusing:
            if self.hanging:
                time.sleep(0.05)
                continue
            picture = self.frames[number % len(self.frames)]
            sink.write(BOUNDARY % len(picture) + picture + b"\r\n")
            number += 1
            time.sleep(max(0.0, begin + number / self.fps - time.monotonic()))

    def close(self):
        self.refusing = True
        self._server.shutdown()
        self._server.server_close()
