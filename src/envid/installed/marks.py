"""What installers leave beside a distribution about themselves, which no wheel brings: held to the installed RECORD.

Every installer writes a row for each of these files. Nothing says what they should hold, so who also rewrites the
row is found only where the bytes are none that an installer writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from envid.installed.proof import Place
from envid.values.finding import Finding

_MAX: Final = 64 * 1024
"""Bytes; the largest of these files, ``direct_url.json``, has some hundred."""
_NAME: Final = re.compile(rb"[!-~][ -~]{0,63}\r?\n?")
_HINT: Final = "run `envid sync`, which installs the distribution again"
MARKS: Final = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json", "provenance_url.json")


def check_marks(places: Mapping[str, Place], paths: Iterable[str]) -> Iterator[Finding]:
    """Yield what is wrong with the files at ``paths``, which are relative to the environment.

    ``places`` are the distributions by metadata directory; a file of none of them is passed over.
    """
    wanted: dict[str, list[str]] = {}
    for path in paths:
        info, _, name = path.rpartition("/")
        if name in MARKS and info in places:
            wanted.setdefault(info, []).append(name)
    for info, names in wanted.items():
        place = places[info]
        record = place.read("RECORD") or b""
        for name in names:
            found = _judged(place, name, record)
            if found is not None:
                yield found


def _judged(place: Place, name: str, record: bytes) -> Finding | None:
    data = place.read(name, _MAX)
    if data is None:
        return _finding(place, name, "env.tampered", "the file is too large for what it is, or cannot be read")
    path = re.escape(f"{place.directory}/{name}".encode())
    row = re.search(rb'(?m)^"?%b"?,(?:sha256=([A-Za-z0-9_-]{43})=?)?,([0-9]{0,15})\r?$' % path, record)
    if row is None:
        message = "the RECORD of the distribution does not have this file: no installer wrote it"
        return _finding(place, name, "env.extra-file", message)
    if row[1] is not None and row[1] != _digest(data):
        return _finding(place, name, "env.tampered", "the file is not the one that the installer wrote")
    if (name == "REQUESTED" and data) or (name == "INSTALLER" and not _NAME.fullmatch(data)):
        return _finding(place, name, "env.tampered", "the file holds what no installer writes there")
    return None


def _digest(data: bytes) -> bytes:
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    return urlsafe_b64encode(sha256(data).digest()).rstrip(b"=")


def _finding(place: Place, name: str, code: str, message: str) -> Finding:
    return Finding(
        code=code, severity="error", subject=place.name, path=f"{place.info}/{name}", message=message, hint=_HINT
    )
