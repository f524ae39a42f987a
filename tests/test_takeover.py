"""A changed configuration is prepared beside the running watch, one at a time."""

import json
import os
import threading
from typing import ClassVar

import pytest
from mosquitto import wait_for

from maskedge import takeover
from maskedge.config import CameraConfig, Config
from maskedge.configfile import LoadedConfig
from maskedge.errors import ConfigError, InputError, ModelError, ResourceError
from maskedge.modelfile import models_dir
from maskedge.models.store import Choice, Folders, Store
from maskedge.reload import SETTLE
from maskedge.takeover import Takeover
from maskedge.vision.inputs import Size

OLD = Config()
IN_USE = Folders(models_dir(), models_dir())
OTHER_NETWORKS = Config.model_validate({"detector": {"threshold": 0.4}})


class Networks:
    """Open until closed; opening waits for ``may_open``."""

    may_open = threading.Event()
    unfit: ClassVar[set[str]] = set()
    opened = 0
    closed = False

    @classmethod
    def open(cls, _config, folders, frame=None):
        assert cls.may_open.wait(30)
        if any(folder.name in cls.unfit for folder in folders):
            raise ModelError("unfit; install it again")
        cls.opened += 1
        one = cls()
        one.folders, one.frame = folders, frame
        return one

    def close(self):
        Networks.closed = True


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKEDGE_MODELS", str(tmp_path / "models"))
    return Store()


@pytest.fixture(autouse=True)
def _own_store(store):
    """No test looks at what this machine has installed."""


def put_in_force(store, *classifiers):
    """Sets of a classifier, the last in force; their contents are whatever ``open`` says."""
    for name in classifiers:
        (store.sets / name).mkdir(parents=True, exist_ok=True)
    newest, before = ([*classifiers[::-1], None])[:2]
    choices = {"current": Choice(classifier=newest), "previous": Choice(classifier=before)}
    said = {role: {"detector": None, "classifier": c.classifier} for role, c in choices.items()}
    store.pointer.write_text(json.dumps({"schema": "maskedge.models/1", **said}))


@pytest.fixture
def networks(monkeypatch):
    monkeypatch.setattr(takeover, "Vision", Networks)
    monkeypatch.setattr(Networks, "unfit", set())
    monkeypatch.setattr(Networks, "may_open", threading.Event())
    monkeypatch.setattr(Networks, "opened", 0)
    monkeypatch.setattr(Networks, "closed", False)
    return Networks


def asked(new, path=None, frame=None):
    """A takeover that was asked and whose ``load`` gives ``new``, or raises it."""

    def load():
        if isinstance(new, Exception):
            raise new
        return LoadedConfig(new, path)

    one = Takeover(LoadedConfig(OLD, path), load)
    one.ask()
    assert one.look(0.0, OLD, IN_USE, frame) is None
    return one


def successor_of(one):
    return wait_for(lambda: one.look(0.0, OLD, IN_USE))


def test_the_loop_never_waits_for_networks_that_open(networks):
    one = asked(OTHER_NETWORKS)
    assert all(one.look(float(n), OLD, IN_USE) is None for n in range(100))
    networks.may_open.set()
    successor = successor_of(one)
    assert successor.loaded.config == OTHER_NETWORKS
    assert isinstance(successor.vision, networks)
    assert one.look(0.0, OLD, IN_USE) is None


def test_what_needs_no_other_networks_opens_none(networks):
    one = asked(Config.model_validate({"verdict": {"min_face": 60}}))
    assert successor_of(one).vision is None
    assert networks.opened == 0


def test_a_change_while_one_is_prepared_is_prepared_after_it(networks, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("1")
    one = asked(OTHER_NETWORKS, path)
    path.write_text("12")
    one.ask()
    networks.may_open.set()
    assert successor_of(one).vision is not None
    assert one.look(1.0, OTHER_NETWORKS, IN_USE) is None
    assert wait_for(lambda: one.look(1.0 + SETTLE, OTHER_NETWORKS, IN_USE)).vision is None
    assert networks.opened == 1


def test_what_the_last_frame_needs_is_open_before_the_swap():
    vision = successor_of(asked(OTHER_NETWORKS, frame=(1280, 720))).vision
    assert vision.detector.sizes == (Size(480, 288),)
    vision.close()


def test_smaller_faces_than_the_networks_in_use_can_find_ask_for_others():
    smaller = Config.model_validate({"verdict": {"min_face": 30}})
    vision = successor_of(asked(smaller, frame=(1280, 720))).vision
    assert vision.detector.sizes == (Size(640, 384),)
    vision.close()


def test_frames_of_another_camera_say_nothing_of_the_next(networks):
    networks.may_open.set()
    other = OTHER_NETWORKS.model_copy(update={"camera": CameraConfig(width=1920, height=1080)})
    assert successor_of(asked(other, frame=(1280, 720))).vision.frame is None


@pytest.mark.parametrize("error", [ConfigError("line 3"), ModelError("damaged"), OSError("bug")])
def test_what_refuses_it_is_raised_where_the_loop_looks(error):
    one = asked(error)
    with pytest.raises(type(error), match=str(error)):
        successor_of(one)
    assert one.look(0.0, OLD, IN_USE) is None


def test_a_source_that_is_nothing_is_refused_before_the_camera_in_use_is_closed():
    one = asked(Config.model_validate({"camera": {"source": "picamra"}}))
    with pytest.raises(InputError, match="did you mean picamera"):
        successor_of(one)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("note.mp4", b"no video", "is no video that can be decoded"),
        ("empty.avi", b"", "the file is empty"),
        ("cut.jpg", b"\xff\xd8\xff\xe0", "the JPEG is cut off"),
    ],
)
def test_a_recording_that_cannot_be_played_is_refused_the_same(name, content, why, tmp_path):
    (tmp_path / name).write_bytes(content)
    one = asked(Config.model_validate({"camera": {"source": str(tmp_path / name)}}))
    with pytest.raises(InputError, match=why):
        successor_of(one)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    new = Config.model_validate({"camera": {"source": str(tmp_path / "pipe.mp4")}})
    assert successor_of(asked(new)).loaded.config == new


def test_without_a_thread_to_be_had_it_is_told_and_tried_again(no_threads):
    one = Takeover(LoadedConfig(OLD, None), lambda: LoadedConfig(OLD, None))
    one.ask()
    with no_threads(), pytest.raises(ResourceError, match="can't start new thread; tried again"):
        one.look(0.0, OLD, IN_USE)
    assert successor_of(one).loaded.config == OLD


@pytest.mark.parametrize("ready", [True, False])
def test_networks_that_nobody_takes_over_are_closed(networks, ready):
    one = asked(OTHER_NETWORKS)
    if ready:
        networks.may_open.set()
        wait_for(lambda: not one._answers.empty())
    one.close()
    networks.may_open.set()
    wait_for(lambda: networks.closed)


def test_without_a_way_to_read_it_again_nothing_changes():
    one = Takeover(LoadedConfig(OLD, None), None)
    one.ask()
    assert one.look(0.0, OLD, IN_USE) is None
    assert not one._busy


FIRST, SECOND = "classifier-000000000001", "classifier-000000000002"


def test_installed_networks_are_noticed_and_opened(networks, store):
    networks.may_open.set()
    one = Takeover(LoadedConfig(OLD, None), lambda: LoadedConfig(OLD, None))
    assert one.look(0.0, OLD, IN_USE) is None
    put_in_force(store, FIRST)
    assert one.look(1.0, OLD, IN_USE) is None
    assert one.look(1.0 + SETTLE, OLD, IN_USE) is None
    successor = wait_for(lambda: one.look(2.0, OLD, IN_USE))
    assert successor.vision.folders == Folders(models_dir(), store.sets / FIRST)
    assert successor.refused is None


def test_installed_networks_that_do_not_open_refuse_only_themselves(networks, store):
    networks.may_open.set()
    networks.unfit.add(FIRST)
    put_in_force(store, FIRST)
    successor = successor_of(asked(OLD))
    assert (successor.vision, successor.refused) == (None, "unfit; install it again")
    successor = successor_of(asked(OTHER_NETWORKS))
    assert successor.loaded.config == OTHER_NETWORKS
    assert successor.vision.folders == IN_USE
    assert successor.refused == "unfit; install it again"


@pytest.mark.parametrize(
    ("unfit", "serves", "says"),
    [
        (set(), SECOND, None),
        ({SECOND}, FIRST, "unfit"),
        ({FIRST, SECOND}, models_dir().name, "unfit"),
    ],
)
def test_a_start_falls_back_to_what_opens(networks, store, unfit, serves, says):
    networks.may_open.set()
    networks.unfit |= unfit
    put_in_force(store, FIRST, SECOND)
    vision, refused = Takeover(LoadedConfig(OLD, None), None).first(OLD)
    assert vision.folders.classifier.name == serves
    assert (refused is None) if says is None else says in refused


def test_a_start_with_a_damaged_pointer_has_the_shipped_networks(networks, store):
    networks.may_open.set()
    put_in_force(store, FIRST)
    store.pointer.write_text("{")
    vision, refused = Takeover(LoadedConfig(OLD, None), None).first(OLD)
    assert vision.folders == IN_USE
    assert "in-force.json: damaged" in refused


def test_a_start_for_which_nothing_opens_says_why(networks):
    networks.may_open.set()
    networks.unfit.add(models_dir().name)
    with pytest.raises(ModelError, match="unfit"):
        Takeover(LoadedConfig(OLD, None), None).first(OLD)
