"""Where a name and password come from, and that they are never typed where everybody can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.credentials import Credentials, credentials_for, split_url
from holdfast.cli.terminal import CommandError

URL = "https://dav.example.org/a"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/.netrc, and nothing in the environment."""
    for name in ("HOLDFAST_PASSWORD", "HOLDFAST_TOKEN", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".netrc"
    file.write_text("machine dav.example.org login ada password from-netrc\n")
    file.chmod(0o600)
    return file


def test_a_named_user_takes_the_password_of_the_environment_first(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_PASSWORD", "from-environment")
    monkeypatch.setenv("HOLDFAST_TOKEN", "hf_token")
    assert credentials_for(URL, "ada") == Credentials(("ada", "from-environment"))


def test_then_that_of_netrc_if_it_is_the_same_user(place: Path):
    assert credentials_for(URL, "ada") == Credentials(("ada", "from-netrc"))


def test_without_a_user_a_token_comes_before_netrc(place: Path, monkeypatch: pytest.MonkeyPatch):
    assert credentials_for(URL, None) == Credentials(("ada", "from-netrc"))
    monkeypatch.setenv("HOLDFAST_TOKEN", "hf_token")
    assert credentials_for(URL, None) == Credentials(token="hf_token")


def test_another_host_gets_nothing_of_it(place: Path):
    assert credentials_for("https://evil.example.org/", None) == Credentials()


def test_a_password_that_cannot_be_asked_for_is_a_plain_sentence(place: Path):
    with pytest.raises(CommandError, match="The password of bob is needed"):
        credentials_for(URL, "bob")


def test_a_netrc_that_cannot_be_read_is_a_plain_sentence(place: Path):
    place.write_text("machine\n")
    with pytest.raises(CommandError, match="cannot be used"):
        credentials_for(URL, None)


def test_a_token_that_would_break_a_header_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_TOKEN", "a\r\nX-Evil: b")
    with pytest.raises(CommandError, match="is no API token"):
        credentials_for(URL, None)


def test_secrets_do_not_show_themselves():
    assert "secret" not in repr(Credentials(("ada", "secret"), "secret"))


@pytest.mark.parametrize(
    ("text", "url", "user"),
    [
        ("http://h/a", "http://h/a", ""),
        ("HTTPS://ada@H.example:8443/a%20b#part", "https://h.example:8443/a%20b", "ada"),
        ("http://h", "http://h/", ""),
        ("http://[::1]:80/a", "http://[::1]:80/a", ""),
        ("http://h/Zoë", "http://h/Zo%C3%AB", ""),
    ],
)
def test_a_url_is_taken_apart(text: str, url: str, user: str):
    assert split_url(text) == (url, user)


@pytest.mark.parametrize(
    "text", ["http://", "http:///a", "http://h:x/", "http://[::1/", "http://h/a\nb", "http://h/ b"]
)
def test_what_is_no_url_is_a_plain_sentence(text: str):
    with pytest.raises(CommandError, match="is no URL"):
        split_url(text)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(CommandError) as caught:
        split_url("http://ada:hunter2@h/")
    assert "hunter2" not in str(caught.value)
