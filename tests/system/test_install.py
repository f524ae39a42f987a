"""`systemd/install.sh` into a folder: install, upgrade, uninstall, purge."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "config.yaml")

COMPLETIONS = (
    "bash-completion/completions/maskedge",
    "zsh/site-functions/_maskedge",
    "fish/vendor_completions.d/maskedge.fish",
)


@pytest.fixture
def checkout(tmp_path):
    """A copy: the script builds where it stands."""
    target = tmp_path / "checkout"
    target.mkdir()
    for name in NEEDED:
        shutil.copy(ROOT / name, target)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("maskedge", "convert", "models", "systemd", "docs"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    return target


@pytest.fixture
def install(checkout, tmp_path):
    def run(*args):
        return subprocess.run(
            [checkout / "systemd/install.sh", *args],
            env={**os.environ, "MASKEDGE_ROOT": str(tmp_path / "root")},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return run


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="install.sh wants root, even into a folder")
def test_install_upgrade_uninstall_purge(install, checkout, tmp_path):
    root = tmp_path / "root"
    before = files(checkout)
    done = install("--no-start")
    assert done.returncode == 0, done.stderr
    assert files(checkout) == before
    program = root / "opt/maskedge/venv/bin/maskedge"
    checked = subprocess.run(
        [program, "check", "--config", root / "etc/maskedge/config.yaml"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert "face_detector_320x320.tflite" in checked.stdout
    assert "etc/systemd/system/maskedge.service" in files(root)

    command = root / "usr/local/bin/maskedge"
    assert str(command.readlink()) == "/opt/maskedge/venv/bin/maskedge"
    local = root / "usr/local/share"
    assert ".TH MASKEDGE 1" in (local / "man/man1/maskedge.1").read_text()
    for path in COMPLETIONS:
        assert "_MASKEDGE_COMPLETE" in (local / path).read_text()

    config = root / "etc/maskedge/config.yaml"
    config.write_text("name: mine\n")
    assert install("--no-start").returncode == 0
    assert config.read_text() == "name: mine\n"
    assert (root / "etc/maskedge/config.yaml.new").exists()

    config.write_text("nmae: mine\n")
    refused = install("--no-start")
    assert refused.returncode == 78
    assert "did you mean `name`?" in refused.stderr

    assert install("--uninstall").returncode == 0
    assert files(root) == {"etc/maskedge/config.yaml", "etc/maskedge/config.yaml.new"}
    assert not command.is_symlink()
    assert install("--uninstall", "--purge").returncode == 0
    assert files(root) == set()


@pytest.mark.parametrize("args", [["--bogus"], ["--purge"]])
def test_wrong_options_change_nothing(install, tmp_path, args):
    done = install(*args)
    assert done.returncode == 64
    assert "Usage: sudo systemd/install.sh" in done.stderr
    assert not (tmp_path / "root").exists()
