"""What runs made of the outputs of a project: of all that lies in one, envid may remove that, as it was made, alone.

One file for each output, bound to the project and kept where only this user can write. One that is lost or damaged
says nothing: then everything is somebody's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from envid.app.running.outputs import KEPT_MODE, OddOutput, Row, digest_of, kind_of, listed
from envid.app.running.rerun import decoded, encoded
from envid.errors import WriteFailed
from envid.store import sidecar
from envid.values.digest import derive_hex
from envid.whole import make_directory, write

CONTEXT = "envid-run-made/1"
"""BLAKE3 ``derive_key`` context of the name of an output's record."""


def read(cache: str, root: str, outputs: Sequence[str]) -> dict[str, Row]:
    """Return what runs are known to have made of ``outputs`` in the project ``root``."""
    found: dict[str, Row] = {}
    for output in outputs:
        request = _request(root, output)
        data = sidecar.read_private(_directory(cache), request.hex())
        answer = None if data is None else sidecar.decode(request, data)
        if answer is None:
            continue
        try:
            found |= decoded(answer[2])
        except ValueError:
            continue
    return found


def keep(cache: str, root: str, outputs: Sequence[str], rows: Mapping[str, Row]) -> None:
    """Record that ``rows`` are what a run made of ``outputs``; where that cannot be written, nothing is known."""
    for output in outputs:
        own = {path: row for path, row in rows.items() if path == output or path.startswith(f"{output}/")}
        request = _request(root, output)
        data = sidecar.encode(request, 0, b"", encoded(own)) if own else b""
        if len(data) > sidecar.MAX_BYTES:
            data = b""
        try:
            make_directory(_directory(cache), mode=0o700)
            write(os.path.join(_directory(cache), request.hex()), data, mode=0o600, durable=False)
        except WriteFailed:
            continue


def seen(root: str, outputs: Sequence[str], *, without: Sequence[str]) -> dict[str, Row]:
    """Return what is there of ``outputs`` now, but for the paths ``without`` and what is of no kind that is kept."""
    rows: dict[str, Row] = {}
    for output in outputs:
        try:
            there = listed(root, output)
        except OSError:
            continue
        for path, found in there:
            if path in without:
                continue
            full = f"{root}/{path}"
            try:
                kind = kind_of(path, found)
                mode = 0 if kind == "link" else found.st_mode & KEPT_MODE
                target = os.readlink(full) if kind == "link" else ""
                size, digest = (found.st_size, digest_of(full)) if kind == "file" else (0, "")
            except (OddOutput, OSError):
                continue
            rows[path] = (kind, mode, size, digest, target)
    return rows


def _directory(cache: str) -> str:
    return os.path.join(cache, "answers-v1")


def _request(root: str, output: str) -> bytes:
    return bytes.fromhex(derive_hex(CONTEXT, f"{root}\0{output}".encode("utf-8", "surrogateescape")))
