"""Blobs: bytes in the store under their own BLAKE3, each in an entry's form, so that it proves itself.

A blob's key is ``envid1-blob-<BLAKE3 of its bytes>`` and its document is empty.
"""

from __future__ import annotations

from envid.store.cache import Bypass, Miss
from envid.store.place import Place
from envid.values.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A blob that the store has."""

    digest: str
    """BLAKE3, 64 hexadecimal digits."""
    size: int
    """Bytes before the codec."""
    new: bool
    """False: it was there already; its time is now."""


def keep_bytes(place: Place, data: bytes) -> Kept | Bypass:
    """Keep ``data``; what is there already is touched, so that ``gc`` sees that it is in use. Never raises."""
    raise NotImplementedError


def keep_file(place: Place, path: str) -> Kept | Bypass:
    """Keep the bytes of the regular file ``path``, of any size; Bypass ``unwritable`` when it changes meanwhile."""
    raise NotImplementedError


def load(place: Place, digest: str, *, limit: int) -> bytes | Miss:
    """Return the bytes of the blob ``digest``, at most ``limit``, or why not; a damaged one is set aside."""
    raise NotImplementedError


def lay(place: Place, digest: str, destination: str, *, mode: int) -> Miss | None:
    """Put the bytes of the blob at ``destination``, whole or not at all, with exactly ``mode``; None when done.

    A copy, never a hard link: users edit what they get. Raises WriteFailed for the destination.
    """
    raise NotImplementedError
