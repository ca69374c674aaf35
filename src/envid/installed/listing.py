"""A packed walk, read back directory by directory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from envid.installed.reading import DIGEST, Reading
from envid.installed.walk import FIELDS, HEAD, pack

_NUMBERS: Final = 8 * FIELDS
"""Bytes of metadata for each name."""


class Listing(NamedTuple):
    """One directory: as packed, decoded only where something differs."""

    path: str
    """POSIX, relative to the environment; empty for its root."""
    mode: int
    """Of the directory itself; 0 when it could not be read, or was not asked for."""
    names: bytes
    """File names (everything but directories) in the filesystem's order, separated by NUL."""
    stats: bytes
    """``walk.FIELDS`` native signed 64-bit integers for each name; all 0 for a name that is not there."""
    whole: bool
    """False when only some names were asked for."""
    digests: bytes = b""
    """``reading.DIGEST`` bytes for each name, of the contents; empty where nothing was read."""

    def files(self) -> list[str]:
        """Return the names, decoded as the filesystem's."""
        return os.fsdecode(self.names).split("\0") if self.names else []

    def numbers(self) -> array[int]:
        """Return the integers of all names in one array."""
        numbers = array("q")
        numbers.frombytes(self.stats)
        return numbers

    def packed(self) -> bytes:
        """Return the listing as ``walk`` packs it."""
        return pack(self.path, self.mode, self.names, self.stats, whole=self.whole)


def unpack(data: bytes, digests: bytes = b"") -> list[Listing]:
    """Return the listings of a packed walk, with what was read of it; raise ValueError when it is cut short."""
    listings = []
    at = 0
    done = 0
    while at < len(data):
        if at + HEAD.size > len(data):
            raise ValueError("a packed walk is cut short")
        mode, path, names, stats, whole = HEAD.unpack_from(data, at)
        at += HEAD.size
        middle, last, end = at + path, at + path + names, at + path + names + stats
        if end > len(data):
            raise ValueError("a packed walk is cut short")
        read = digests[done : done + stats * DIGEST // _NUMBERS] if digests else b""
        listings.append(
            Listing(os.fsdecode(data[at:middle]), mode, data[middle:last], data[last:end], bool(whole), read)
        )
        done += len(read)
        at = end
    return listings


class Seen:
    """What is on disk below some directories: walked before, or being read while it is looked at."""

    def __init__(self, walked: bytes = b"", reading: Reading | None = None) -> None:
        self.walked = walked
        """As ``walk`` packs it; with a reading, complete once ``take`` has come to its end."""
        self.listings = unpack(walked)
        self._reading = reading

    @property
    def sha256(self) -> bool:
        """Whether digests in the listings are SHA-256 instead of BLAKE3."""
        return self._reading is not None and self._reading.sha256

    def take(self, alone: bytes, tell: Callable[[int], None]) -> Iterator[list[Listing]]:
        """Yield every listing once, many at a time, last those of the packed walk ``alone``, of which none is read.

        ``tell`` hears of the bytes of files as they are read.
        """
        yield self.listings
        runs: list[tuple[int, bytes, list[Listing]]] = []
        for number, walked, digests in self._reading.runs() if self._reading is not None else ():
            listings = unpack(walked, digests)
            runs.append((number, walked, listings))
            tell(_size(listings))
            yield listings
        runs.sort(key=lambda run: run[0])
        self.walked += b"".join([walked for _, walked, _ in runs]) + alone
        last = unpack(alone)
        self.listings = [*self.listings, *(listing for *_, listings in runs for listing in listings), *last]
        yield last


def _size(listings: list[Listing]) -> int:
    numbers = array("q")
    numbers.frombytes(b"".join([listing.stats for listing in listings]))
    return sum(numbers[1::FIELDS])
