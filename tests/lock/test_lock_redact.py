"""Credentials are taken out of every text and URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.lock.redact import clean_url, redact, secrets_of

SAFE = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=3, max_size=12)
SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%@:+-._~"
SECRET = st.text(alphabet=SIGNS, min_size=6, max_size=24).map(lambda text: f"Z{text}Z")


@given(user=SAFE, secret=SECRET, host=SAFE, path=SAFE)
def test_no_password_survives(user: str, secret: str, host: str, path: str) -> None:
    """Whatever characters a password has, neither redacted text nor a cleaned URL holds it."""
    url = f"https://{user}:{secret}@{host}.example/{path}/x.whl"
    assert secret not in redact(f"cannot fetch {url}, sorry")
    assert secret not in clean_url(url)
    assert clean_url(url) == f"https://{host}.example/{path}/x.whl"


@given(secret=SECRET, key=SAFE)
def test_no_query_survives(secret: str, key: str) -> None:
    """Signed queries and fragments are hidden whatever their names."""
    for mark in "?#":
        url = f"https://files.example/x.whl{mark}{key}={secret}"
        assert secret not in redact(f"<{url}>")
        assert clean_url(url) == "https://files.example/x.whl"


@given(st.text(max_size=200))
def test_text_without_urls_stays(text: str) -> None:
    """Text that holds no URL and no known secret is not changed."""
    if "://" not in text:
        assert redact(text) == text


@pytest.mark.parametrize(
    ("given_url", "wanted"),
    [
        ("https://files.example/a.whl", "https://files.example/a.whl"),
        ("git+ssh://git@host.example/r.git", "git+ssh://git@host.example/r.git"),
        ("ssh://git:secret@host.example/r.git", "ssh://git@host.example/r.git"),
        ("https://token@host.example/r", "https://host.example/r"),
        ("https://u:p@ss@host.example/r", "https://host.example/r"),
        ("https://host.example/a@b/c.whl", "https://host.example/a@b/c.whl"),
        ("file:///a/b.whl", "file:///a/b.whl"),
        ("not a url", "not a url"),
    ],
)
def test_clean_urls(given_url: str, wanted: str) -> None:
    """The account of an SSH URL is its address; anything else before the host goes."""
    assert clean_url(given_url) == wanted


def test_known_secrets_are_hidden_outside_urls() -> None:
    """A secret that is known is hidden wherever it stands, the longer one first."""
    assert redact("got abc123 and abc123def", secrets=("abc123", "abc123def")) == "got **** and ****"


def test_punctuation_behind_a_url_stays() -> None:
    """A sentence keeps its full stop, and brackets close."""
    assert redact("see (https://u:p@h.example/x).") == "see (https://****@h.example/x)."
    assert redact("Failed: https://h.example/x?sig=1: no") == "Failed: https://h.example/x?****: no"


def test_secrets_of_urls() -> None:
    """Passwords are secrets, in both spellings; a lone user name is one when it looks like a token."""
    assert secrets_of("https://u:p%40ss@h.example/") == ("p%40ss", "p@ss")
    assert secrets_of("https://abcdefgh12@h.example/") == ("abcdefgh12",)
    assert secrets_of("https://git@h.example/") == ()
    assert secrets_of("https://h.example/") == ()
    assert secrets_of("https://[broken/") == ()
