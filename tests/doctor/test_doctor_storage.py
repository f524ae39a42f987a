"""Folders and files."""

from __future__ import annotations

from types import SimpleNamespace

from findings import bad, fine, looked, write

from maskedge.doctor import storage


def test_disk(place, tmp_path, monkeypatch):
    where = place({"STATE_DIRECTORY": str(tmp_path)})
    free = [500e6]
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    assert "500 MB free, writable" in fine(looked(storage.Disk(), where))
    free[0] = 100e6
    assert bad(looked(storage.Disk(), where)).status == "warn"
    free[0] = 1e6
    one = bad(looked(storage.Disk(), where))
    assert (one.status, one.help) == ("fail", "docs/faults.md#outbox_unwritable")
    assert list(tmp_path.glob("tmp*")) == []


def test_disk_where_the_folder_does_not_exist_yet(place, tmp_path):
    where = place({"XDG_STATE_HOME": str(tmp_path / "a/b")})
    assert str(tmp_path / "a/b/maskedge") in fine(looked(storage.Disk(), where))
    assert not (tmp_path / "a").exists()


def test_disk_that_cannot_be_written(place, tmp_path):
    write(tmp_path / "file", "in the way")
    for folder in ("/proc/nowhere", str(tmp_path / "file"), str(tmp_path / "file/deeper")):
        one = bad(looked(storage.Disk(), place({}, outbox={"path": f"{folder}/outbox.db"})))
        assert (one.status, one.help) == ("fail", "docs/faults.md#outbox_unwritable")


def test_disk_of_the_service_when_somebody_asks_at_the_terminal(place):
    where = place({})
    (where.root / "var/lib/maskedge").mkdir(parents=True)
    assert "var/lib/maskedge" in fine(looked(storage.Disk(), where))


def test_disk_of_somebody_else(place, tmp_path, monkeypatch):
    monkeypatch.setattr(storage.os, "access", lambda *_: False)
    monkeypatch.setattr(storage.os, "geteuid", lambda: 1000)
    one = bad(looked(storage.Disk(), place({"STATE_DIRECTORY": str(tmp_path / "x")})))
    assert (one.status, one.cure) == ("fail", "sudo maskedge doctor disk")


def test_uncertain_faces_have_their_folder_too(place, tmp_path):
    assert fine(looked(storage.Review(), place())).startswith("off")
    where = place({"XDG_STATE_HOME": str(tmp_path)}, review={"enabled": True})
    assert f"{tmp_path}/maskedge/review: " in fine(looked(storage.Review(), where))
    write(tmp_path / "file", "in the way")
    where = place(review={"enabled": True, "folder": str(tmp_path / "file")})
    one = bad(looked(storage.Review(), where))
    assert one.help == "docs/faults.md#review_unwritable"
    assert "review.folder" in one.cure


def test_pictures_of_violations_have_their_folder_too(place, tmp_path):
    assert fine(looked(storage.Snapshots(), place())).startswith("off")
    assert "published" in fine(looked(storage.Snapshots(), place(snapshot={"mqtt": True})))
    where = place(snapshot={"folder": str(tmp_path)})
    assert f"{tmp_path}: " in fine(looked(storage.Snapshots(), where))
    write(tmp_path / "file", "in the way")
    one = bad(looked(storage.Snapshots(), place(snapshot={"folder": str(tmp_path / "file")})))
    assert one.help == "docs/faults.md#snapshot_failed"


def test_secrets_that_everybody_can_read(place, tmp_path):
    assert fine(looked(storage.Secrets(), place())) == "no file to look at"
    system = write(place().root / "etc/maskedge/mqtt-password", "secret")
    own = write(tmp_path / "token", "x" * 20)
    where = place(web={"token_file": str(own)}, mqtt={"password_file": str(tmp_path / "none")})
    system.chmod(0o600)
    own.chmod(0o640)
    assert fine(looked(storage.Secrets(), where)) == "2 files, for their owner only"
    own.chmod(0o644)
    one = bad(looked(storage.Secrets(), where))
    assert (one.status, one.cure) == ("warn", f"sudo chmod 600 {own}")
    assert "0644" in one.message


def test_a_secret_that_the_service_reads_itself_is_handed_over(place, fake_systemctl, tmp_path):
    environ = fake_systemctl("LoadState=loaded", "ActiveState=active")
    own = write(tmp_path / "password", "secret")
    own.chmod(0o644)
    (one,) = looked(storage.Secrets(), place(environ, mqtt={"password_file": str(own)}))
    assert one.cure.startswith(f"sudo chmod 600 {own}; as the service can't read it then")
    handed = write(place().root / "etc/maskedge/mqtt-password", "secret")
    handed.chmod(0o644)
    assert bad(looked(storage.Secrets(), place(environ))).cure == f"sudo chmod 600 {handed}"


def test_a_folder_that_only_the_service_cannot_write(place, fake_systemctl, tmp_path, monkeypatch):
    monkeypatch.setattr(storage.os, "geteuid", lambda: 0)
    environ = fake_systemctl("LoadState=loaded", "ProtectSystem=strict")
    where = place(
        environ,
        outbox={"path": str(tmp_path / "outbox.db")},
        review={"enabled": True, "folder": str(tmp_path)},
        snapshot={"folder": str(tmp_path)},
    )
    for check in (storage.Disk(), storage.Review(), storage.Snapshots()):
        one = bad(looked(check, where))
        assert one.status == "fail"
        assert "writes below /var/lib/maskedge only" in one.message
        assert f"set {check.setting} to null" in one.cure
    fine(looked(storage.Disk(), place({**environ, "STATE_DIRECTORY": str(tmp_path)})))
