"""`systemd/install.sh` into a folder: install, upgrade, uninstall, purge; cut off; odd roots."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
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
    def run(*args, **environ):
        return subprocess.run(
            ["env", "--default-signal=HUP", "systemd/install.sh", *args],  # nohup takes it away
            cwd=checkout,
            env={**os.environ, "MASKEDGE_ROOT": str(tmp_path / "root"), **environ},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return run


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="install.sh wants root, even into a folder")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def quick(install, tmp_path):
    """Installs all but packages: in place of pip and maskedge runs what is given."""

    def run(*, pip="exit 0", maskedge="exit 0", programs=None, **environ):
        venv = tmp_path / "root/opt/maskedge/venv/bin"
        script(venv / "python", pip)
        script(venv / "maskedge", maskedge)
        mine = tmp_path / "programs"
        shutil.rmtree(mine, ignore_errors=True)
        for name, text in (programs or {}).items():
            script(mine / name, text)
        return install("--no-start", PATH=f"{mine}:{os.environ['PATH']}", **environ)

    return run


@AS_ROOT
def test_a_configuration_cut_off_in_the_middle_is_not_taken_for_the_users(quick, tmp_path):
    config = tmp_path / "root/etc/maskedge/config.yaml"
    cut = '[ "$1" != -m ] || { head -c 100 "$3" >"$4"; kill -KILL $PPID; }'
    assert quick(programs={"install": cut}).returncode == -signal.SIGKILL
    assert not config.exists()
    assert quick().returncode == 0
    assert config.read_bytes() == (ROOT / "config.yaml").read_bytes()
    assert config.stat().st_mode & 0o777 == 0o644
    assert not list(config.parent.glob("*.new"))


@AS_ROOT
def test_what_a_power_cut_left_is_made_anew(quick, tmp_path):
    prefix = tmp_path / "root/opt/maskedge"
    cut = "[ $3 = --version ] || kill -KILL $PPID"
    assert quick(pip=cut).returncode == -signal.SIGKILL
    assert quick().returncode == 0  # only killed: pip goes on where it was
    assert quick(pip=cut).returncode == -signal.SIGKILL
    (prefix / "unfinished").write_text("of another boot")
    real = shutil.which("python3")
    made = {"python3": f'[ "$2" != venv ] || exit 3\nexec {real} "$@"'}
    assert quick(programs=made).returncode == 3
    assert not (prefix / "venv").exists()


@AS_ROOT
def test_two_at_once_are_one_too_many(quick, tmp_path):
    assert quick().returncode == 0
    folder = os.open(tmp_path / "root/opt/maskedge", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = quick()
    os.close(folder)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "maskedge: another install.sh is at work: wait for it\n"


@AS_ROOT
def test_a_pip_without_a_network_leaves_what_runs(quick, tmp_path):
    prefix = tmp_path / "root/opt/maskedge"
    assert quick(pip="[ $3 = --version ]").returncode == 69
    assert not (prefix / "unfinished").exists()
    assert (prefix / "venv").exists()


@AS_ROOT
@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
def test_ended_by_a_signal_it_leaves_no_temporary_folder(quick, tmp_path, name):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = quick(pip=f"[ $2 = pip ] && kill -{name} $PPID", TMPDIR=str(temporary))
    assert done.returncode == 128 + signal.Signals[f"SIG{name}"]
    assert list(temporary.iterdir()) == []


@AS_ROOT
def test_what_only_this_root_has_is_not_the_services(quick, tmp_path):
    said = tmp_path / "environ"
    (tmp_path / "elsewhere/systemd").mkdir(parents=True)
    done = quick(
        pip=f"env >{said}",
        CDPATH=str(tmp_path / "elsewhere"),
        PYTHONPATH=str(tmp_path),
        PIP_USER="yes",
        PIP_INDEX_URL="https://mirror.example/simple",
    )
    assert done.returncode == 0, done.stderr
    environ = dict(line.partition("=")[::2] for line in said.read_text().splitlines())
    assert "PYTHONPATH" not in environ
    assert (environ["PIP_USER"], environ["PYTHONNOUSERSITE"]) == ("no", "1")
    assert environ["PIP_INDEX_URL"] == "https://mirror.example/simple"


@AS_ROOT
def test_the_modes_of_the_systems_folders_are_left_alone(quick, tmp_path):
    folder = tmp_path / "root/usr/local/bin"
    folder.mkdir(parents=True)
    folder.chmod(0o2775)
    assert quick().returncode == 0
    assert folder.stat().st_mode & 0o7777 == 0o2775


@AS_ROOT
def test_a_configuration_that_the_new_program_refuses_leaves_the_old_program(quick, tmp_path):
    assert quick().returncode == 0
    (tmp_path / "root/etc/maskedge/config.yaml").write_text("nmae: x\n")
    mark = tmp_path / "installed"
    asked = f'PYTHONPATH="$PYTHONPATH" exec {sys.executable} "$@"'
    done = quick(pip=f'case "$*" in *maskedge\\ check*) {asked} ;; *install*) touch {mark} ;; esac')
    assert (done.returncode, mark.exists()) == (78, False)
    assert "did you mean `name`?" in done.stderr
    assert "nothing was changed" in done.stderr


@AS_ROOT
def test_damaged_networks_are_not_called_a_wrong_configuration(quick, tmp_path):
    (tmp_path / "in-force.json").write_text("{")
    ours = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m maskedge "$@"'
    done = quick(maskedge=ours, MASKEDGE_MODELS=str(tmp_path))
    assert done.returncode == 66
    assert "in-force.json: damaged" in done.stderr
    assert "the running service is left as it is" in done.stderr
    assert not (tmp_path / "root/etc/systemd/system/maskedge.service").exists()


@AS_ROOT
def test_32_bit_programs_under_a_64_bit_kernel_are_refused(quick):
    real = shutil.which("python3")
    narrow = f'case $2 in *uname*) echo aarch64 32 ;; *) exec {real} "$@" ;; esac'
    done = quick(programs={"python3": narrow})
    assert done.returncode == 69
    assert "install the 64-bit Raspberry Pi OS" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@AS_ROOT
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
