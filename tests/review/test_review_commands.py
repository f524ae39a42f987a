"""``maskedge review`` and ``maskedge purge`` at the terminal."""

import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from kept import fill, record

from maskedge.errors import ReviewError
from maskedge.events import uuid7
from maskedge.review.folder import ReviewFolder
from maskedge.review.record import DELETED
from maskedge.snapshots.folder import SnapshotFolder, name

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def folder(tmp_path):
    """Three faces, of today, 10 and 40 days ago; the second is labelled."""
    faces = [record(n, time=NOW - timedelta(days=d)) for n, d in ((1, 0), (2, 10), (3, 40))]
    folder = fill(tmp_path / "state" / "review", faces)
    folder.mark(faces[1].name, "with_mask")
    return folder


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state"), "HOME": str(tmp_path)}


@pytest.fixture
def maskedge(environ, tmp_path):
    def run(*args, **more):
        return subprocess.run(
            [sys.executable, "-m", "maskedge", *args],
            capture_output=True, text=True, timeout=120, check=False, env=environ,
            stdin=subprocess.DEVNULL, cwd=tmp_path, **more,
        )  # fmt: skip

    return run


def ages(folder):
    """Days of the faces that are there."""
    return [(NOW - item.record.time).days for item in ReviewFolder(folder.path).items()]


class TestPurge:
    def test_by_itself_it_removes_what_is_older_than_configured(self, maskedge, folder):
        half = folder.path / f"{record(50).name}.jpg"
        half.write_bytes(b"the daemon is at it")
        done = maskedge("purge")
        assert half.exists()
        assert done.returncode == 0
        assert re.fullmatch(
            rf"1 picture \(0\.0 MB\) removed from {folder.path}; 2 left\n", done.stdout
        )
        assert ages(folder) == [10, 0]
        assert maskedge("purge", "--set", "review.max_age=5").stdout.startswith("1 picture (1 lab")
        assert ages(folder) == [0]
        assert maskedge("purge").stdout.startswith("no picture removed")

    def test_older_than_asks_and_tells_as_json(self, maskedge, folder):
        refused = maskedge("purge", "--older-than", "1w")
        assert refused.returncode == 64
        assert "give --yes" in refused.stderr
        assert ages(folder) == [40, 10, 0]
        done = maskedge("purge", "--older-than", "1w", "--yes", "--json")
        told = json.loads(done.stdout)
        taken = told["review"].pop("bytes")
        assert told == {
            "dry_run": False,
            "review": {"folder": str(folder.path), "removed": 2, "labelled": 1, "left": 1},
        }
        assert taken > 10_000
        assert ages(folder) == [0]

    def test_all_leaves_no_picture_not_even_half_ones_or_those_deleted_a_moment_ago(
        self, maskedge, folder
    ):
        folder.mark(record(1, time=NOW).name, DELETED)
        (folder.path / f"{record(50).name}.jpg").write_bytes(b"half")
        (folder.path / f".{record(51).name}.jpg.123").write_bytes(b"half")
        tried = maskedge("purge", "--all", "--dry-run", "--json")
        assert json.loads(tried.stdout)["review"]["removed"] == 3
        assert len(ages(folder)) == 3
        assert maskedge("purge", "--all", "--yes").returncode == 0
        assert list(folder.path.iterdir()) == []

    def test_at_a_terminal_it_asks_first(self, folder, environ, tmp_path):
        for answer, left in ((b"n\n", 3), (b"y\n", 0)):
            leader, follower = pty.openpty()
            process = subprocess.Popen(
                [sys.executable, "-m", "maskedge", "purge", "--all"],
                stdin=follower, stdout=follower, stderr=follower, env=environ, cwd=tmp_path,
            )  # fmt: skip
            os.close(follower)
            said = b""
            while b"[y/N]" not in said:
                said += os.read(leader, 1000)
            assert b"Remove 3 pictures (1 labelled" in said
            os.write(leader, answer)
            assert process.wait(60) == (130 if left else 0)
            os.close(leader)
            assert len(ages(folder)) == left

    def test_pictures_of_violations_are_covered_too(self, maskedge, folder, tmp_path):
        pictures = SnapshotFolder(tmp_path / "pictures", max_age=7, max_megabytes=1)
        for days in (0, 5, 20):
            moment = NOW - timedelta(days=days)
            file = name(f"{moment:%Y-%m-%dT%H:%M:%S.000Z}", "without_mask", str(uuid7()))
            (pictures.path / file).parent.mkdir(exist_ok=True, mode=0o700)
            (pictures.path / file).write_bytes(b"x" * 1000)
            os.utime(pictures.path / file, (moment.timestamp(),) * 2)
        (pictures.path / "holiday.jpg").write_bytes(b"mine")
        where = ("--set", f"snapshot.folder={pictures.path}")
        told = json.loads(maskedge("purge", "--json", *where).stdout)
        assert told["review"]["removed"] == 1
        assert told["snapshots"] == {
            "folder": str(pictures.path), "removed": 1, "bytes": 1000, "left": 2, "labelled": None
        }  # fmt: skip
        assert json.loads(
            maskedge("purge", "--json", "--older-than", "4d", "--dry-run", *where).stdout
        )["snapshots"]["removed"] == 1  # fmt: skip
        assert len(list(pictures.path.iterdir())) == 3
        only_faces = maskedge("purge", "--all", "--yes", "--folder", str(folder.path), *where)
        assert len(only_faces.stdout.splitlines()) == 1
        assert len(list(pictures.path.iterdir())) == 3
        assert len(maskedge("purge", "--all", "--yes", *where).stdout.splitlines()) == 2
        assert [path.name for path in pictures.path.iterdir()] == ["holiday.jpg"]

    @pytest.mark.parametrize("age", ["3", "d", "-1d", "3y", "1e9d", "999999w"])
    def test_a_senseless_age_is_a_usage_error(self, maskedge, folder, age):
        done = maskedge("purge", "--older-than", age, "--yes")
        assert done.returncode == 64
        assert "expected a time such as 90m, 12h, 7d or 2w" in done.stderr
        assert len(ages(folder)) == 3

    def test_all_and_an_age_exclude_each_other(self, maskedge):
        done = maskedge("purge", "--all", "--older-than", "1d")
        assert (done.returncode, done.stderr) == (64, "maskedge: --all or --older-than, not both\n")

    def test_where_nothing_was_ever_kept_it_says_so_and_makes_nothing(self, maskedge, tmp_path):
        done = maskedge("purge", "--all", "--yes")
        assert done.returncode == 0
        assert done.stdout.startswith("no picture removed")
        assert list(tmp_path.iterdir()) == []


class TestReview:
    def test_it_serves_until_it_is_interrupted_and_then_really_deletes(
        self, folder, environ, tmp_path
    ):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "maskedge", "review", "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=tmp_path,
        )  # fmt: skip
        try:
            assert process.stdout.readline().startswith(f"3 faces in {folder.path}.")
            ((port, key),) = re.findall(
                r"http://127\.0\.0\.1:(\d+)(\S+)", process.stdout.readline()
            )
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
            connection.request("GET", key)
            answer = connection.getresponse()
            answer.read()
            cookie = answer.headers["set-cookie"].partition(";")[0]
            assert process.stdout.readline().startswith("Opened. A link for another browser: http")
            path = f"/faces/{record(1, time=NOW).name}/label"
            connection.request("PUT", path, b"deleted", {"Cookie": cookie})
            assert connection.getresponse().status == 204
            connection.close()
            assert len(ages(folder)) == 3
        finally:
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert rest == "\n1 of 2 faces are labelled.\n"
        assert ages(folder) == [40, 10]

    @pytest.mark.usefixtures("folder")
    def test_the_labelled_ones_are_exported(self, maskedge, tmp_path):
        done = maskedge("review", "--export", "out", "--json")
        assert json.loads(done.stdout) == {"folder": "out", "faces": 1, "labels": {"with_mask": 1}}
        told = maskedge("review", "--export", "again")
        assert told.stdout.splitlines() == [
            "1 faces to again: 1 with_mask",
            "Next: python -m convert dataset again --out data/mine",
        ]
        assert len(list((tmp_path / "out" / "review").iterdir())) == 1
        once_more = maskedge("review", "--export", "out")
        assert once_more.returncode == 64
        assert "holds something already" in once_more.stderr

    def test_no_faces_is_one_clear_error(self, maskedge, tmp_path):
        for arguments in ((), ("--export", "out"), ("--folder", "none")):
            done = maskedge("review", "--no-browser", *arguments)
            assert done.returncode == 66
            assert len(done.stderr.splitlines()) == 1
            assert "review.enabled: true" in done.stderr or "no face is labelled" in done.stderr
        assert maskedge("review", "--json").returncode == 64
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_may_not_be_read_names_the_cure(self, folder):
        root = os.geteuid() == 0
        os.seteuid(65534) if root else folder.path.chmod(0)
        try:
            with pytest.raises(ReviewError, match=r"can't be read: Permission denied; .* sudo$"):
                ReviewFolder(folder.path).items()
        finally:
            os.seteuid(0) if root else folder.path.chmod(0o700)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
    def test_what_root_labels_belongs_to_the_service(self, folder):
        for path in (folder.path, *folder.path.iterdir()):
            os.chown(path, 65534, 65534)
        folder.mark(record(1, time=NOW).name, "without_mask")
        assert {path.stat().st_uid for path in folder.path.iterdir()} == {65534}


@pytest.mark.usefixtures("folder")
def test_the_page_needs_its_extra(maskedge, tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ImportError(name='uvicorn')")
    done = maskedge("review", "--no-browser")
    assert done.returncode == 69
    assert done.stderr == "maskedge: uvicorn is missing: pip install 'maskedge[web]'\n"
