"""A place to look at, made of files, with a configuration."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from findings import write

from maskedge import modelfile
from maskedge.config import Config
from maskedge.doctor.finding import Place


@pytest.fixture
def place(tmp_path):
    """``place(camera={...})``: an empty file system with this configuration."""

    def build(environ=None, **settings):
        root = tmp_path / "root"
        (root / "sys/bus").mkdir(parents=True, exist_ok=True)
        (root / "dev").mkdir(exist_ok=True)
        config = Config.model_validate({"device": "door", **settings})
        return Place(config, root, dict(os.environ) if environ is None else environ)

    return build


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A copy of the shipped networks, to be damaged."""
    folder = tmp_path / "models"
    shutil.copytree(modelfile.models_dir(), folder)
    monkeypatch.setattr(modelfile, "models_dir", lambda: folder)
    return folder


@pytest.fixture
def fake_systemctl(tmp_path):
    """``fake_systemctl("ActiveState=active")``: an environment with it, and a running systemd."""

    def build(*lines):
        (tmp_path / "root/run/systemd/system").mkdir(parents=True, exist_ok=True)
        program = write(
            tmp_path / "bin/systemctl", "#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n"
        )
        program.chmod(0o755)
        return {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    return build
