"""A store with things in it, of any age."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from envid import manifest
from envid.manifest import Made
from envid.slot import Slot, narrow
from envid.store import blobs, cache
from envid.store.blobs import Kept
from envid.store.cache import Stored
from envid.store.place import Place, Policy, open_place
from envid.values.digest import blake3_hex

NOW = 1_790_000_000 * 10**9
"""The present of these tests, nanoseconds since the epoch."""
HOUR = 3600
DAY = 24 * HOUR


def place_of(root: Path, **policy: object) -> Place:
    """Return the place ``root``, without a floor of free space."""
    return open_place(root, Policy(**{"min_free": 0, **policy}))  # type: ignore[arg-type]


def slot_of(number: int, layer: str = "run") -> Slot:
    """Return one of many slots."""
    return narrow(layer, {"number": str(number)})


def entry(place: Place, number: int, payload: bytes | None = None, *, layer: str = "run", age: float = 0) -> Path:
    """Put an entry that is ``age`` seconds old; return its path."""
    slot = slot_of(number, layer)
    data = f"payload {number}".encode() if payload is None else payload
    assert isinstance(cache.keep(place, slot, data, squeeze=False), Stored)
    return aged(Path(place.entry_path(slot)), age)


def run(place: Place, number: int, files: Mapping[str, bytes], *, age: float = 0) -> Path:
    """Put blobs and an entry with the manifest that names them, all ``age`` seconds old; return the entry's path."""
    made = []
    for path, data in files.items():
        kept = blobs.keep_bytes(place, data)
        assert isinstance(kept, Kept)
        aged(Path(place.blob_path(kept.digest)), age)
        made.append(Made(path=path, kind="file", mode=0o644, size=len(data), digest=kept.digest))
    return entry(place, number, manifest.encode(made), age=age)


def blob(place: Place, data: bytes, *, age: float = 0) -> Path:
    """Put a blob; return its path."""
    assert isinstance(blobs.keep_bytes(place, data), Kept)
    return aged(Path(place.blob_path(blake3_hex(data))), age)


def wheel(place: Place, data: bytes, *, age: float = 0) -> Path:
    """Put an artifact into its area; return its path."""
    sha256 = hashlib.sha256(data).hexdigest()
    return file(place, f"wheels-v1/{sha256[:2]}/{sha256}/a-1-py3-none-any.whl", data, age=age)


def file(place: Place, name: str, data: bytes = b"", *, age: float = 0) -> Path:
    """Put any file into the cache directory."""
    path = Path(place.root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return aged(path, age)


def aged(path: Path, age: float) -> Path:
    """Make it ``age`` seconds old in the present of these tests."""
    time_ns = NOW - round(age * 10**9)
    os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)
    return path
