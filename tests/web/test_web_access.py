"""Who may see the page."""

import pytest

from maskedge.config import WebConfig
from maskedge.errors import ConfigError
from maskedge.web.access import Access, token

SECRET = "correct horse battery"  # noqa: S105 - of these tests only


def section(**settings):
    return WebConfig(enabled=True, **settings)


def test_on_this_machine_alone_no_token_is_needed():
    assert token(section(), {}) is None
    assert token(section(host="::1"), {}) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])  # noqa: S104 - to be refused
def test_where_others_reach_it_a_token_is_needed(host):
    with pytest.raises(ConfigError, match=r"needed.*web\.token_file.*openssl"):
        token(section(host=host), {})


def test_the_token_comes_from_file_environment_or_credential(tmp_path):
    (tmp_path / "t").write_text(f"{SECRET}\n")
    (tmp_path / "web-token").write_text(SECRET)
    assert token(section(token_file=tmp_path / "t"), {}) == SECRET
    (tmp_path / "t").write_text(f"{SECRET}\r\n", encoding="utf-8-sig")  # by an editor of Windows
    assert token(section(token_file=tmp_path / "t"), {}) == SECRET
    assert token(section(), {"MASKEDGE_WEB_TOKEN": SECRET}) == SECRET
    assert token(section(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == SECRET


def test_an_empty_credential_means_none_is_set(tmp_path):
    (tmp_path / "web-token").write_text("\n")
    assert token(section(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"short", "16"),
        (b"\xff", "UTF"),
        (b"a short one of two\nlines, short", "one line"),
        ("a short one mit Umlaut: ä".encode(), "ASCII"),
    ],
)
def test_a_token_that_protects_nothing_is_refused_and_not_repeated(tmp_path, content, words):
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        token(section(token_file=path), {})
    assert str(path) in str(caught.value)
    assert "short" not in str(caught.value).replace("shorter", "")


def test_a_missing_token_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none: can't be read: No such file"):
        token(section(token_file=tmp_path / "none"), {})


def test_the_host_must_be_an_address():
    with pytest.raises(ValueError, match="address of this machine"):
        section(host="my-pi")
    assert section(host="localhost").host == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8620", True),
        ("localhost:9000", True),
        ("LOCALHOST.", True),
        ("192.168.1.5", True),
        ("[::1]:8620", True),
        ("my-pi:8620", True),
        ("my-pi.local", True),
        ("mask.example.org", True),
        ("evil.example.com:8620", False),
        ("127.0.0.1.evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("", False),
        ("[", False),
        ("user@127.0.0.1", False),
    ],
)
def test_only_names_that_nobody_else_can_point_at_us_are_known(monkeypatch, host, known):
    monkeypatch.setattr("socket.gethostname", lambda: "My-Pi")
    assert Access(section(allowed_hosts=["Mask.example.org"]), None).knows(host) is known


def test_bearer_and_cookie_admit_and_nothing_else_does():
    access = Access(section(), SECRET)
    good = f"{access.cookie}={access.session()}"
    assert access.admits(f"Bearer {SECRET}", None)
    assert access.admits(f"bearer  {SECRET}", "")
    assert access.admits(None, good)
    assert access.admits("Bearer wrong", f"theme=dark; {good}")
    for authorization, cookies in [
        (None, None), (SECRET, None), (f"Basic {SECRET}", None), ("Bearer", None),
        ("Bearer \u00e4", None), (None, f"{access.cookie}={SECRET}"), (None, f"{access.cookie}="),
        (None, "=;;= \x00"), (None, f"maskedge-1={access.session()}"),
    ]:  # fmt: skip
        assert not access.admits(authorization, cookies)


@pytest.mark.parametrize(
    "other", ['layout={"dark":true}', "seen=a b", "flag", "name=J\u00e4ger", "=", ""]
)
def test_cookies_of_other_programs_on_this_host_lock_nobody_out(other):
    access = Access(section(), SECRET)
    good = f"{access.cookie}={access.session()}"
    for cookies in (
        f"{other}; {good}",
        f"{good}; {other}",
        f"{access.cookie}=old; {other}; {good}",
    ):
        assert access.admits(None, cookies)
    assert not access.admits(None, other)


def test_another_token_ends_every_session():
    assert Access(section(), SECRET).session() != Access(section(), SECRET + "2").session()


def test_the_token_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "hmac.compare_digest", lambda a, b: compared.append((a, b)) or a == b, raising=True
    )
    access = Access(section(), SECRET)
    assert access.accepts(SECRET)
    assert not access.admits("Bearer x", f"{access.cookie}=y")
    assert len(compared) == 3


@pytest.mark.parametrize(
    "name", ["proxy.example.org:8443", "https://proxy", "proxy/door", "a b", ""]
)
def test_allowed_hosts_that_no_browser_sends_are_refused(name):
    with pytest.raises(ValueError, match=r"host names alone, without https://, port or path"):
        section(allowed_hosts=["mask.example.org", name])


def test_an_allowed_host_may_end_in_a_dot():
    assert Access(section(allowed_hosts=["mask.example.org."]), None).knows("mask.example.org:80")
