"""`systemd/install.sh` into a folder: install, upgrade, uninstall, purge; cut off; odd roots."""

import fcntl
import hashlib
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
            timeout=800,
            check=False,
        )

    return run


def digests(folder):
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).digest() for p in found}


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="install.sh wants root, even into a folder")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# What pip says of itself where the environment is sound.
OWN_PIP = 'case "$*" in *pip\\ --version) echo "pip 1 from $(dirname "$0")/" && exit ;; esac'


@pytest.fixture
def quick(install, tmp_path):
    """Installs all but packages: in place of pip and maskedge runs what is given."""

    def run(*, pip="exit 0", maskedge="exit 0", programs=None, **environ):
        venv = tmp_path / "root/opt/maskedge/venv/bin"
        script(venv / "python", f"{OWN_PIP}\n{pip}")
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


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "root/opt/maskedge"


def environments(prefix):
    """All that are there; the one in force is the first."""
    in_force = (prefix / "venv").readlink().name
    return [in_force, *sorted({path.name for path in prefix.iterdir()} - {"venv", in_force})]


@AS_ROOT
def test_an_upgrade_that_is_cut_off_leaves_the_program_in_force(quick, prefix):
    mine = prefix / "venv/bin/mine"
    script(mine, f"{prefix}/venv/bin/python")
    assert quick().returncode == 0  # from a folder, as earlier versions of the script made it
    (before,) = environments(prefix)
    assert mine.read_text() == f"#!/bin/sh\n{prefix}/{before}/bin/python\n"
    cut = 'rm "$(dirname "$0")/mine" && kill -KILL $PPID'
    assert quick(pip=cut).returncode == -signal.SIGKILL
    assert mine.exists()
    assert environments(prefix)[0] == before
    assert quick().returncode == 0
    (after,) = environments(prefix)
    assert after != before
    assert f"{prefix}/{after}/bin" in mine.read_text()


@AS_ROOT
def test_what_a_power_cut_left_of_an_earlier_install_is_made_anew(quick, prefix):
    assert quick().returncode == 0
    (prefix / "unfinished").touch()
    real = shutil.which("python3")
    made = {"python3": f'[ "$2" != venv ] || exit 3\nexec {real} "$@"'}
    assert quick(programs=made).returncode == 3


@AS_ROOT
def test_a_program_that_still_runs_is_kept(quick, prefix):
    assert quick().returncode == 0
    (before,) = environments(prefix)
    command = [sys.executable, "-c", "input()", prefix / before / "bin/maskedge"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as running:
        assert quick().returncode == 0
        assert environments(prefix)[1:] == [before]
        running.stdin.write(b"\n")
    assert quick().returncode == 0
    assert len(environments(prefix)) == 1


@AS_ROOT
def test_too_little_space_is_told_before_anything_is_done(quick, prefix):
    assert quick().returncode == 0
    (before,) = environments(prefix)
    done = quick(programs={"stat": 'echo "99 * 1000000"'}, pip="exit 1")
    assert done.returncode == 69
    told = "maskedge: too little space: 99 MB are free in /opt/maskedge, it needs 100 MB\n"
    assert done.stderr == told
    assert environments(prefix) == [before]


@AS_ROOT
def test_two_at_once_are_one_too_many(quick, prefix):
    assert quick().returncode == 0
    (prefix / "venv.others").mkdir()
    folder = os.open(prefix, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = quick()
    os.close(folder)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "maskedge: another install.sh is at work: wait for it\n"
    assert "venv.others" in environments(prefix)


@AS_ROOT
def test_a_pip_without_a_network_leaves_what_runs(quick, prefix):
    assert quick().returncode == 0
    (before,) = environments(prefix)
    done = quick(pip="exit 1")
    assert done.returncode == 69
    assert "is there a network" in done.stderr
    assert environments(prefix) == [before]


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
def test_a_configuration_that_the_new_program_refuses_leaves_the_old_program(quick, prefix):
    assert quick().returncode == 0
    (before,) = environments(prefix)
    done = quick(maskedge='[ "$1" != check ] || exit 78')
    assert done.returncode == 78
    assert "what is installed is left as it is" in done.stderr
    assert environments(prefix) == [before]


@AS_ROOT
def test_damaged_networks_are_not_called_a_wrong_configuration(quick, tmp_path):
    (tmp_path / "in-force.json").write_text("{")
    ours = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m maskedge "$@"'
    done = quick(maskedge=ours, MASKEDGE_MODELS=str(tmp_path))
    assert done.returncode == 66
    assert "in-force.json: damaged" in done.stderr
    assert "what is installed is left as it is" in done.stderr
    assert not (tmp_path / "root/etc/systemd/system/maskedge.service").exists()


@AS_ROOT
def test_32_bit_programs_under_a_64_bit_kernel_are_refused(quick):
    real = shutil.which("python3")
    narrow = f'case $2 in *uname*) echo aarch64 32 ;; *) exec {real} "$@" ;; esac'
    done = quick(programs={"python3": narrow})
    assert done.returncode == 69
    assert "install the 64-bit Raspberry Pi OS" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
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
    python = program.read_text().splitlines()[0].removeprefix("#!")
    before = digests(program.parents[1])
    inside = program.resolve().parents[1]
    version = checkout / "maskedge/__init__.py"
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "99.'))
    late = [python, "-I", "-c", "input(); import maskedge; print(maskedge.__version__)"]
    pipe = subprocess.PIPE
    with subprocess.Popen(late, stdin=pipe, stdout=pipe, text=True) as running:
        assert install("--no-start").returncode == 0
        assert not running.communicate("\n")[0].startswith("99.")
        assert digests(inside) == before
    late[-1] = late[-1].removeprefix("input(); ")
    late[0] = program.read_text().splitlines()[0].removeprefix("#!")
    assert subprocess.check_output(late, text=True).startswith("99.")
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
