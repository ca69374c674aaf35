"""A worker that does what all commands do to a store, in an order drawn by lot, and looks at all that it reads."""

from __future__ import annotations

import io
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Final

from envid import manifest
from envid.manifest import Made
from envid.slot import Slot, narrow
from envid.store import archive, blobs, cache, collection, flight
from envid.store.cache import Bypass, Diverged, Miss, Stored
from envid.store.place import BLOBS, ENTRIES, Place
from envid.store.usage import using
from envid.values.digest import blake3_hex
from faults.operations import LIMIT, files_below, leave_to_write, noise, place_of

KEYS: Final = 30
"""Entries that all workers read and write."""
GENTLE: Final = ("get", "get", "get", "put", "put", "run", "restore", "restore", "export", "collect")
"""Nothing is lost by these: what was stored is read."""
HARSH: Final = (*GENTLE, "damage", "evict")
"""With damage done to files and a collection that leaves nothing: a miss is right at any time."""


class WrongBytes(AssertionError):
    """Something else was read than was written."""


def slot_of(number: int) -> Slot:
    """Return one of the slots."""
    return narrow("mixed", {"number": str(number)})


def payload_of(number: int) -> bytes:
    """Return what belongs into it: small, large, compressible or not."""
    size = (0, 10, 900, 5000, 40_000)[number % 5]
    return noise(size, number) if number % 2 else b"text %d " % number * (size // 8)


def outputs_of(number: int) -> dict[str, bytes]:
    """Return the files of one run."""
    return {f"out/{at}.txt": noise(300 + 70 * at, 100 * number + at) for at in range(3)}


def run_slot(number: int) -> Slot:
    """Return the slot of a run's manifest."""
    return narrow("mixed-run", {"number": str(number)})


def run_manifest(number: int) -> bytes:
    """Return the manifest of one run."""
    return manifest.encode(
        Made(path=path, kind="file", mode=0o644, size=len(data), digest=blake3_hex(data))
        for path, data in outputs_of(number).items()
    )


class Worker:
    """One process's share of the work."""

    def __init__(self, root: str, seed: int, *, kinds: tuple[str, ...]) -> None:
        self.place: Place = place_of(root)
        self.own = f"{root}/own-{seed}"
        self.lot = random.Random(seed)
        self.kinds = kinds
        self.strict = kinds == GENTLE
        self.done: Counter[str] = Counter()
        os.makedirs(self.own, exist_ok=True)

    def work(self, operations: int) -> str:
        """Do so many operations; raise WrongBytes, or say ``well``."""
        for _ in range(operations):
            kind = self.lot.choice(self.kinds)
            getattr(self, kind)(self.lot.randrange(KEYS))
            self.done[kind] += 1
        return "well"

    def get(self, number: int) -> None:
        """Read one entry."""
        found = cache.get(self.place, slot_of(number))
        self._exact(found, payload_of(number), f"entry {number}", missable=True)

    def put(self, number: int) -> None:
        """Write one entry, and read it back."""
        outcome = cache.put(self.place, leave_to_write(slot_of(number)), payload_of(number))
        if isinstance(outcome, Diverged) or (self.strict and not isinstance(outcome, Stored)):
            raise WrongBytes(f"put {number}: {outcome}")
        found = cache.get(self.place, slot_of(number))
        self._exact(found, payload_of(number), f"entry {number} after {outcome}", missable=not self.strict)

    def run(self, number: int) -> None:
        """Publish as ``envid run`` does: under the flight's guard, blobs first, the manifest last."""
        with flight.single(self.place, run_slot(number), wait=5, purpose="mixed"):
            if not isinstance(cache.find(self.place, run_slot(number)), Miss):
                return
            for path, data in outputs_of(number).items():
                kept = blobs.keep_bytes(self.place, data)
                if isinstance(kept, Bypass):
                    if self.strict:
                        raise WrongBytes(f"blob {path} of {number}: {kept}")
                    return
            cache.put(self.place, leave_to_write(run_slot(number)), run_manifest(number))

    def restore(self, number: int) -> None:
        """Lay the outputs of a run, as ``envid run`` does on a hit."""
        with using(self.place, purpose="mixed"):
            found = cache.get(self.place, run_slot(number))
            self._exact(found, run_manifest(number), f"manifest {number}", missable=True)
            if isinstance(found, Miss):
                return
            for path, data in outputs_of(number).items():
                to = f"{self.own}/laid"
                missed = blobs.lay(self.place, blake3_hex(data), to, mode=0o644)
                if missed is None:
                    self._exact(Path(to).read_bytes(), data, path, missable=False)
                else:
                    self._exact(
                        missed, data, f"blob of run {number}, whose manifest is there", missable=not self.strict
                    )

    def export(self, number: int) -> None:
        """Write an archive of all, which is a set of files that all prove themselves."""
        stream = io.BytesIO()
        with using(self.place, purpose="mixed"):
            archive.write(self.place, archive.everything(self.place), stream)
        other = place_of(f"{self.own}/imported-{self.lot.random()}")
        stream.seek(0)
        taken = archive.read(other, stream, provers={}, trust=True)
        if taken.fault or taken.diverged or taken.skipped:
            raise WrongBytes(f"an archive of envid's own: {taken}")
        self._exact(cache.get(other, slot_of(number)), payload_of(number), f"imported {number}", missable=True)

    def collect(self, _: int) -> None:
        """Collect what is old: nothing is."""
        collection.collect(self.place, max_size=LIMIT, max_age=86400, now_ns=time.time_ns())

    def evict(self, number: int) -> None:
        """Collect as if it were tomorrow, leaving little."""
        if number % 5 == 0:
            collection.collect(self.place, max_size=100_000, max_age=3600, now_ns=time.time_ns() + 86400 * 10**9)

    def damage(self, _: int) -> None:
        """Flip a bit of a file of the store, as a disk may."""
        areas = [f"{self.place.root}/{area}" for area in (ENTRIES, BLOBS)]
        files = sorted(path for area in areas for path in files_below(area))
        if not files:
            return
        try:
            handle = os.open(self.lot.choice(files), os.O_RDWR)
        except OSError:
            return
        size = os.fstat(handle).st_size
        if size:
            at = self.lot.randrange(size)
            byte = os.pread(handle, 1, at)
            os.pwrite(handle, bytes([byte[0] ^ 1 << self.lot.randrange(8)]) if byte else b"", at)
        os.close(handle)

    def _exact(self, found: bytes | Miss, wanted: bytes, what: str, *, missable: bool) -> None:
        if isinstance(found, Miss):
            if not missable:
                raise WrongBytes(f"{what}: missed, {found.reason}")
        elif found != wanted:
            raise WrongBytes(f"{what}: {len(found)} bytes, not the {len(wanted)} that were written")


def problems(root: str, *, lost: bool) -> list[str]:
    """Return what is wrong with the store now; a miss is wrong where ``lost`` says that nothing may be lost."""
    place, found = place_of(root), []
    for number in range(KEYS):
        for slot, wanted in ((slot_of(number), payload_of(number)), (run_slot(number), run_manifest(number))):
            data = cache.get(place, slot)
            if data != wanted and not (isinstance(data, Miss) and (data.reason == "absent" or not lost)):
                found.append(f"{slot.layer} {number}: {data.reason if isinstance(data, Miss) else 'WRONG BYTES'}")
    return found
