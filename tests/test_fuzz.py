"""Whatever comes from outside: it works, or it is one clear error; a password is never shown."""

import contextlib
import json
import os
import sqlite3
import string
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from maskedge.camera import files, urls
from maskedge.config import MQTT_RESERVED, Config, MqttConfig
from maskedge.delivery.connection import Incoming
from maskedge.delivery.outbox import Outbox
from maskedge.delivery.store import Row
from maskedge.errors import CameraError, InputError, MaskedgeError
from maskedge.listen import Subscriber, pretty
from maskedge.listen import _json_line as json_line

few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

# topics


@few
@given(device=st.text(max_size=20), prefix=st.text(max_size=20))
def test_topics_are_valid_or_refused(device, prefix):
    try:
        config = Config.model_validate({"device": device, "mqtt": {"prefix": prefix}})
    except ValidationError as error:
        told = str(error)
        assert "must not" in told or "utf" in told.lower() or "unicode" in told.lower()
        return
    root = config.topic_root
    assert not set(root) & set("+#\0$")  # wildcards and the broker's own tree (MQTT 5.0, 4.7)
    assert all(root.split("/"))
    assert root.endswith(f"/{config.device}")
    assert "/" not in config.device
    assert len(root.encode()) < 65_535


@few
@given(st.text(min_size=1, max_size=12), st.sampled_from(MQTT_RESERVED), st.integers(0, 12))
def test_a_reserved_character_is_refused_wherever_it_stands(text, reserved, place):
    with pytest.raises(ValidationError, match="must not contain"):
        Config.model_validate({"device": text[:place] + reserved + text[place:]})


# addresses

SECRET = st.text(string.ascii_letters + string.digits + "@:/?#%&=+!$ ;\\\"'", min_size=6).map(
    lambda text: f"S3{text}cr3t"
)
SCHEME = st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP", "file", "ftp"])
REST = st.text(string.ascii_lowercase + string.digits + "/.?=", max_size=12)


@few
@given(SCHEME, SECRET, REST, st.booleans())
def test_a_password_in_an_address_is_never_shown(scheme, secret, rest, quoted):
    password = quote(secret, safe="") if quoted else secret
    url = f"{scheme}://joe:{password}@cam.local/{rest}"
    for told in (urls.redact(url), urls.shown(url), urls.redact(f"open {url}: refused")):
        assert password not in told
        assert "cr3t" not in told
        assert "joe" in told


@few
@given(SCHEME, SECRET, st.sampled_from(["password", "pwd", "PASSWD", "token", "api_key", "auth"]))
def test_nor_one_in_a_query(scheme, secret, name):
    url = f"{scheme}://cam.local/live?channel=1&{name}={quote(secret, safe='')}&subtype=0"
    told = urls.redact(url)
    assert quote(secret, safe="") not in told
    assert "channel=1" in told
    assert "subtype=0" in told


@few
@given(st.text(max_size=40))
def test_any_text_as_source_is_shown_without_an_error(text):
    assert isinstance(urls.shown(text), str)
    assert isinstance(urls.scheme(text), str | None)


@few
@given(SCHEME, st.text(max_size=20))
def test_completing_any_address_works_or_is_a_clear_error(scheme, rest):
    with contextlib.suppress(MaskedgeError):
        assert isinstance(urls.with_password(f"{scheme}://{rest}"), str)


# what others publish

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**400) | st.floats()
    | st.text(st.characters(), max_size=20) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip
ODD = b'{"schema": "maskedge.violation/1", "event_id": "a", "confidence": %s}'
FIELDS = ("type", "label", "camera", "confidence", "votes", "track_id", "decided_at", "ended_at",
          "delayed", "seq", "faults")  # fmt: skip


@pytest.fixture(scope="module")
def listening():
    subscriber = Subscriber(MqttConfig(), faults=True)
    yield subscriber
    subscriber.close()


@few
@given(
    st.sampled_from(["violation", "health", "availability"]),
    st.binary(max_size=60)
    | st.fixed_dictionaries(
        {"schema": st.sampled_from(["maskedge.violation/1", "maskedge.health/1"]),
         "event_id": st.text(st.characters(), max_size=8)},
        optional=dict.fromkeys(FIELDS, JSON),
    ).map(lambda fields: json.dumps(fields).encode()),
)  # fmt: skip
@example("violation", ODD % b"NaN")
@example("violation", ODD % (b"1" * 400))
@example("violation", ODD % b'"\\ud800"')
def test_any_message_is_shown_as_one_clean_line_or_left_out(listening, leaf, payload):
    message = Incoming(f"maskedge/door/{leaf}", payload, retained=False)
    for notice in listening._read(message):
        assert pretty(notice).isprintable()
        line = json_line(notice)
        if line is not None:
            assert json.loads(line.encode())["schema"] == "maskedge.violation/1"
            assert "\n" not in line


# recordings


@pytest.fixture(scope="module", params=[("avi", "MJPG"), ("mp4", "mp4v"), ("webm", "VP80")])
def video(request, tmp_path_factory):
    suffix, codec = request.param
    path = tmp_path_factory.mktemp("fuzz") / f"whole.{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    for number in range(12):
        writer.write(np.full((48, 64, 3), number * 20, np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.fixture(scope="module")
def pictures():
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return {
        suffix: cv2.imencode(suffix, pixels)[1].tobytes()
        for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff")
    }


def watch(path):
    """Every frame of it, or one clear error that names it."""
    camera = None
    try:
        camera = files.open_files(path)
        camera.open()
        for _ in range(100):
            frame = camera.read()
            assert frame.pixels.dtype == np.uint8
            assert frame.pixels.shape[2] == 3
    except (CameraError, InputError) as error:
        assert path.name in str(error)
        assert len(str(error).splitlines()) == 1
    finally:
        if camera is not None:
            camera.close()


@few
@given(share=st.floats(0, 1), suffix=st.sampled_from([".avi", ".mp4", ".mkv", ".jpg", ".bin"]))
def test_a_truncated_video_under_any_name(tmp_path, video, share, suffix):
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(video[: int(len(video) * share)])
    watch(path)


@few
@given(st.data())
def test_a_damaged_video(tmp_path, video, data):
    damaged = bytearray(video)
    for place in data.draw(st.lists(st.integers(0, len(video) - 1), min_size=1, max_size=20)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.mkv"  # whatever it is called
    path.write_bytes(damaged)
    watch(path)


@few
@given(data=st.data(), share=st.floats(0, 1))
def test_a_damaged_picture(tmp_path, pictures, data, share):
    suffix = data.draw(st.sampled_from(sorted(pictures)))
    damaged = bytearray(pictures[suffix][: int(len(pictures[suffix]) * share)])
    for place in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=5)):
        if damaged:
            damaged[place] ^= 0xFF
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(damaged)
    watch(path)


@few
@given(st.binary(max_size=200), st.sampled_from([".jpg", ".png", ".mp4", ".avi", ".tiff", ""]))
def test_any_bytes_as_a_recording(tmp_path, content, suffix):
    path = tmp_path / f"bytes{suffix}"
    path.write_bytes(content)
    watch(path)


# outbox


def use(path):
    """Open it, look, add, close: nothing is raised, whatever was there."""
    outbox = Outbox(path)
    rows = outbox.pending(1000)
    assert all(isinstance(row, Row) for row in rows)
    status = outbox.status()
    assert status.pending >= 0
    assert outbox.close() == 0
    return status


@few
@given(st.binary(max_size=5000))
def test_any_bytes_as_an_outbox(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("outbox") / "outbox.db"
    path.write_bytes(content)
    status = use(path)
    assert status.error is None
    if content:
        (aside,) = path.parent.glob("outbox.db.aside-*")
        assert aside.read_bytes() == content


VALUE = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=20)
VALUE |= st.text(max_size=20).filter(lambda text: text.isprintable())


@few
@given(st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=1, max_size=5))
def test_any_values_in_its_rows(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("outbox") / "outbox.db"
    Outbox(path).close()
    with sqlite3.connect(path) as database:
        for row in rows:
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute(
                    "INSERT INTO events (event_id, payload, created) VALUES (?, ?, ?)", row
                )
    database.close()
    use(path)


@few
@given(st.data())
def test_an_outbox_with_flipped_bytes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("outbox") / "outbox.db"
    Outbox(path).close()
    with sqlite3.connect(path) as database:
        text = json.dumps({"decided_at": "x" * 200})
        values = [(str(number), text, 1.0) for number in range(50)]
        database.executemany(
            "INSERT INTO events (event_id, payload, created) VALUES (?, ?, ?)", values
        )
    database.close()
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=30)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    use(path)
    assert {entry.name.split(".aside")[0] for entry in Path(path.parent).iterdir()} <= {
        "outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.numbers"
    }  # fmt: skip
    assert os.stat(path).st_mode & 0o077 == 0  # noqa: PTH116
