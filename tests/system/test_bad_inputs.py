"""What people get wrong: one clear line, the right exit code, never a traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mosquitto import free_port

from maskedge.modelfile import models_dir

PICTURE = np.full((120, 160, 3), 90, np.uint8)


@pytest.fixture
def maskedge(tmp_path):
    """Run ``maskedge`` with defaults and a port where no broker is; returns what it said."""
    config = tmp_path / "config.yaml"
    config.write_text(f"mqtt: {{host: 127.0.0.1, port: {free_port()}}}\n")

    def call(*args, **environ):
        return subprocess.run(
            [sys.executable, "-m", "maskedge", *map(str, args)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={
                **os.environ,
                "MASKEDGE_CONFIG": str(config),
                "STATE_DIRECTORY": str(tmp_path / "state"),
                **environ,
            },
        )

    return call


def said(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("maskedge:")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert str(word) in lines[0]


def test_a_missing_source(maskedge, tmp_path):
    said(maskedge("run", "--source", tmp_path / "no.mp4"), 66, tmp_path / "no.mp4", "no such file")


def test_a_video_of_zero_bytes(maskedge, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    said(maskedge("run", "--source", path), 66, path, "empty")
    said(maskedge("detect", path), 66, path, "empty")


def test_a_text_file_as_video(maskedge, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("hello")
    said(maskedge("run", "--source", path), 66, path)


def test_no_camera(maskedge):
    if list(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    done = maskedge("run", "--source", "auto", "--set", "camera.give_up_after=1")
    said(done, 69, "no camera found", "V4L2", "Pi camera")


def test_an_unknown_host_of_a_stream(maskedge):
    done = maskedge(
        "run", "--source", "rtsp://user:hunter2@no-such-host.invalid/x",
        "--set", "camera.give_up_after=1", "--set", "camera.reopen_delay=0.1",
    )  # fmt: skip
    said(done, 69, "no-such-host.invalid")
    assert "hunter2" not in done.stderr


def test_a_damaged_network(maskedge, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes((models_dir() / "mask_classifier.tflite").read_bytes()[:5000])
    said(maskedge("check", "--set", f"classifier.model={path}"), 66, path)


def test_a_network_that_is_none(maskedge, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_text("not a network")
    said(maskedge("check", "--set", f"classifier.model={path}"), 66, path, "not a TFLite file")


def test_a_network_whose_description_says_another_sha(maskedge, tmp_path):
    for suffix in (".tflite", ".json"):
        shutil.copy(models_dir() / f"mask_classifier{suffix}", tmp_path)
    path = tmp_path / "mask_classifier.tflite"
    path.write_bytes(path.read_bytes() + b"\0")
    said(maskedge("check", "--set", f"classifier.model={path}"), 66, path, "SHA-256")


def test_a_network_of_the_wrong_shape(maskedge):
    detector = next(models_dir().glob("face_detector*.tflite"))
    said(maskedge("check", "--set", f"classifier.model={detector}"), 66, detector)
    classifier = models_dir() / "mask_classifier.tflite"
    said(maskedge("check", "--set", f"detector.model={classifier}"), 66, classifier)


def test_a_missing_password_file(maskedge, tmp_path):
    done = maskedge(
        "check", "--set", "mqtt.username=me", "--set", f"mqtt.password_file={tmp_path}/none"
    )
    said(done, 78, f"{tmp_path}/none")


def test_a_certificate_that_is_none(maskedge, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("x")
    done = maskedge("check", "--set", "mqtt.tls.enabled=true", "--set", f"mqtt.tls.ca_file={path}")
    said(done, 78, path)


def test_a_corrupt_picture_in_a_folder_is_named_and_the_others_are_judged(maskedge, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), PICTURE)
    whole = (folder / "a.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "c.png"), PICTURE)
    done = maskedge("detect", "--json", folder)
    said(done, 66, folder / "b.jpg")
    assert [line.split('"')[3] for line in done.stdout.splitlines()] == [
        f"{folder}/a.jpg",
        f"{folder}/c.png",
    ]


def test_detecting_nothing_that_exists(maskedge, tmp_path):
    said(maskedge("detect", tmp_path / "none.jpg"), 66, "none.jpg")
    (tmp_path / "empty").mkdir()
    said(maskedge("detect", tmp_path / "empty"), 66, "no picture")


def test_annotated_copies_never_overwrite_the_pictures(maskedge, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PICTURE)
    before = path.read_bytes()
    said(maskedge("detect", "--out", tmp_path, path), 69, "overwrite")
    assert path.read_bytes() == before


def test_listening_to_nobody(maskedge):
    said(maskedge("listen", "--timeout", "5"), 69, "connection refused")
    said(maskedge("listen", "--host", "no-such-host.invalid"), 69, "no-such-host.invalid")


def test_an_unwritable_place_for_annotated_copies(maskedge, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PICTURE)
    said(maskedge("detect", "--out", "/proc/x", path), 69, "/proc/x")
