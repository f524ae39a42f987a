"""A power cut at any step of a change leaves old networks in force or new ones, never neither."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from power_cut import card, install, network

from maskedge.models.change import changing
from maskedge.models.store import Store

OLD, NEW, NEWEST = network("old"), network("new"), network("newest")
SCRIPT = Path(__file__).with_name("power_cut.py")


def in_force(store):
    """The classifier's content; None: the shipped one. Whatever is named must be whole."""
    state = store.state()
    if state.current.classifier is None:
        return None
    folder = store.folders().classifier
    content = (folder / "mask_classifier.tflite").read_bytes()
    assert (folder / "mask_classifier.json").read_bytes() == card(content)
    assert store.origin(state.current.classifier) == {"from": "a test"}
    return content


@pytest.mark.parametrize("mode", ["kept", "lost"])
@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        ("first install", None, NEW),
        ("another install", OLD, NEW),
        ("go back", OLD, None),
        ("go back again", OLD, NEW),
    ],
)
def test_cut_off_at_every_step(tmp_path, what, before, after, mode):
    store = Store(tmp_path / "store")
    if what == "go back again":
        install(store, NEW)
    if before is not None:
        install(store, before)
    change = "go back" if what.startswith("go back") else "install"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, SCRIPT, tmp_path, change, mode], check=True, env=environ, timeout=120
    )
    assert in_force(Store(tmp_path / "whole")) == after
    cuts = sorted(tmp_path.glob("cut-*"), key=lambda path: int(path.name[4:]))
    assert len(cuts) >= (12 if change == "install" else 3)
    found = [in_force(Store(cut)) for cut in cuts]
    assert found[0] == before
    assert set(found) <= {before, after}
    assert found == sorted(found, key=[before, after].index), "once new, it stays new"
    for cut in cuts:
        again = Store(cut)
        install(again, NEWEST)
        assert in_force(again) == NEWEST
        assert not list(cut.glob(".staging*"))
        assert len(list(again.sets.iterdir())) <= 2
        with changing(again) as undo:
            undo.go_back()
        assert in_force(again) in {before, after}
