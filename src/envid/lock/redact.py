"""Take credentials out of text and URLs: no lock, log or error may carry one."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "****"
"""What stands where a credential stood."""

_URL: Final = re.compile(r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s\"'<>`]+)")
_TRAILING: Final = ".,;:!)]}"


def redact(text: str, *, secrets: tuple[str, ...] = ()) -> str:
    """Return ``text`` with the userinfo, query and fragment of every URL hidden, and every known secret."""
    for secret in sorted({s for s in secrets if s}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _URL.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    rest = match["rest"]
    tail = ""
    while rest and rest[-1] in _TRAILING:
        rest, tail = rest[:-1], rest[-1] + tail
    return f"{match['scheme']}://{_clean(rest, hidden=True)}{tail}"


def clean_url(url: str) -> str:
    """Return ``url`` without userinfo, query and fragment; other text unchanged.

    The user name of an SSH URL (``git+ssh://git@host``) is part of the address and stays; a
    password beside it does not.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    return f"{scheme}://{_clean(rest, hidden=False, ssh=scheme.lower().endswith('ssh'))}"


def _clean(rest: str, *, hidden: bool, ssh: bool = False) -> str:
    cut = min((rest.find(mark) for mark in "?#" if mark in rest), default=-1)
    if cut >= 0:
        rest = rest[:cut] + (f"?{HIDDEN}" if hidden and rest[cut] == "?" else "")
    authority, slash, path = rest.partition("/")
    # The last @ ends the userinfo: a password may hold one that nobody escaped.
    userinfo, at, host = authority.rpartition("@")
    if not at:
        return authority + slash + path
    if ssh:
        return f"{userinfo.partition(':')[0]}@{host}{slash}{path}"
    return (f"{HIDDEN}@" if hidden else "") + host + slash + path


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the parts of ``url`` that must not appear anywhere: password, or a lone user name that is a token."""
    from urllib.parse import unquote, urlsplit

    try:
        split = urlsplit(url)
        user, password = split.username, split.password
    except ValueError:
        return ()
    found = (password,) if password else (user,) if user and len(user) >= 8 else ()
    return tuple(sorted({part for raw in found if raw for part in (raw, unquote(raw))}))
