"""A packed walk, read back directory by directory."""

from __future__ import annotations

import os
from array import array
from typing import NamedTuple

from envid.installed.walk import HEAD, pack


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


def unpack(data: bytes) -> list[Listing]:
    """Return the listings of a packed walk; raise ValueError when it is cut short."""
    listings = []
    at = 0
    while at < len(data):
        if at + HEAD.size > len(data):
            raise ValueError("a packed walk is cut short")
        mode, path, names, stats, whole = HEAD.unpack_from(data, at)
        at += HEAD.size
        middle, last, end = at + path, at + path + names, at + path + names + stats
        if end > len(data):
            raise ValueError("a packed walk is cut short")
        listings.append(Listing(os.fsdecode(data[at:middle]), mode, data[middle:last], data[last:end], bool(whole)))
        at = end
    return listings
