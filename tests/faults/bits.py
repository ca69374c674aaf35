"""Files of the store with other bytes than were written: a read gives the exact bytes or a miss, and never raises."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from blake3 import blake3

from envid.errors import EnvidError
from envid.slot import Slot, narrow
from envid.store import blobs, cache, entry
from envid.store.cache import Candidate, Miss
from envid.store.place import QUARANTINE, Place
from envid.values.digest import blake3_hex
from envid.values.reason import MISSES
from faults.operations import LAYER, in_a_word, leave_to_write, noise, place_of
from faults.rows import Claim, Count, thinned

_LONG: Final = 3400
"""Bytes of the payload in the long form: its entries are of about 4 KiB."""
_SHORT: Final = 40
_FUZZED: Final = 40_000
"""Headers that are made up in the long form."""
_LIMIT: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file of the store, the bytes that it stands for, and a way to read it."""

    name: str
    path: str
    payload: bytes
    read: Callable[[], bytes | Miss]

    def problems(self, *, must_miss: bool) -> Iterator[str]:
        """Read it, and say what is wrong."""
        try:
            found = self.read()
        except (EnvidError, OSError, ValueError, AssertionError, LookupError, MemoryError, TypeError) as error:
            yield f"raised {error!r}"
            return
        if isinstance(found, Miss):
            if found.reason not in MISSES:
                yield f"missed for no reason that has a name: {found.reason}"
        elif found != self.payload:
            yield "WRONG BYTES"
        elif must_miss:
            yield "read, although other bytes stand there"


def _find(place: Place, slot: Slot) -> bytes | Miss:
    found = cache.find(place, slot)
    if isinstance(found, Candidate):
        # What the gate is given is the document of this slot, or nothing is read.
        assert found.document == slot.document
        return cache.get(place, slot)
    return found


def _laid(place: Place, digest: str, destination: str) -> bytes | Miss:
    missed = blobs.lay(place, digest, destination, mode=0o644)
    if missed is not None:
        if os.path.lexists(destination):
            raise ValueError("a miss left something at the destination")
        return missed
    data = Path(destination).read_bytes()
    os.unlink(destination)
    return data


def _targets(directory: str, size: int) -> list[Target]:
    """Make a store with an entry and a blob, stored as they are and squeezed."""
    place = place_of(directory)
    found = []
    # Below a limit nothing is squeezed.
    squeezable = noise(size, 6) + bytes(max(size // 2, entry.MIN_SQUEEZED))
    for form, payload in (("raw", noise(size, 5)), ("zstd", squeezable)):
        slot = narrow(LAYER, {"form": form})
        assert in_a_word(cache.put(place, leave_to_write(slot), payload)) == "stored"
        path = place.entry_path(slot)
        found += [
            Target(name=f"get-{form}", path=path, payload=payload, read=partial(cache.get, place, slot, limit=_LIMIT)),
            Target(name=f"find-{form}", path=path, payload=payload, read=partial(_find, place, slot)),
        ]
        digest = blake3_hex(payload)
        assert in_a_word(blobs.keep_bytes(place, payload)) == "stored"
        read = partial(blobs.load, place, digest, limit=_LIMIT)
        found.append(Target(name=f"load-{form}", path=place.blob_path(digest), payload=payload, read=read))
        read = partial(_laid, place, digest, f"{directory}/laid")
        found.append(Target(name=f"lay-{form}", path=place.blob_path(digest), payload=payload, read=read))
    return found


def _write(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(handle, data)
    os.close(handle)


def _tried(
    damages: Callable[[bytes, float], Iterator[tuple[str, bytes]]], must_miss: bool, directory: str, scale: float
) -> Count:
    count = Count()
    targets = _targets(directory, _LONG if scale >= 1 else _SHORT)
    for target in targets:
        os.chmod(target.path, 0o600)
        sound = Path(target.path).read_bytes()
        for name, damaged in damages(sound, scale):
            if damaged == sound:
                continue
            _write(target.path, damaged)
            count.add(target.problems(must_miss=must_miss), of=f"{target.name}: {name}")
            if not count.trials % 1000:
                shutil.rmtree(f"{directory}/cache/{QUARANTINE}", ignore_errors=True)
        _write(target.path, sound)
        count.add([] if target.read() == target.payload else ["is a miss when it is whole again"], of=target.name)
    return count


# --- the damages ----------------------------------------------------------------------------


def _flips(sound: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    for bit in range(0, len(sound) * 8, 1 if scale >= 1 else 13):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(damaged)


def _cuts(sound: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    for length in range(len(sound)):
        yield f"cut to {length}", sound[:length]


def _extensions(sound: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    for size in (*range(1, 65), 512, 4096, 1 << 20):
        yield f"{size} zeros more", sound + bytes(size)
        yield f"{size} bytes more", sound + noise(size, size)
    yield "twice", sound + sound
    yield "its trailer twice", sound + sound[-entry.TRAILER :]
    yield "nothing but another before it", bytes(1) + sound


def _blocks(sound: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    """Give what disks make of files: a block of zeros, of other bytes, or of another place."""
    lot = random.Random(7)
    for number in range(max(100, round(4000 * scale))):
        start = lot.randrange(len(sound))
        end = min(len(sound), start + lot.choice((1, 2, 16, 64, 512)))
        other = lot.randrange(len(sound))
        block = lot.choice((bytes(end - start), lot.randbytes(end - start), sound[other : other + end - start]))
        yield f"block {number}", sound[:start] + block + sound[end:]


def _headers(sound: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    """Give headers that say something else, under a right trailer: what a hostile writer can make."""
    header, start = entry.decode_header(sound)
    text, rest = sound[entry.PREFACE : start], sound[start : -entry.TRAILER]
    lot = random.Random(8)

    def under(preface: bytes, head: bytes, body: bytes | bytearray) -> bytes:
        start, stored = preface + head + bytes(body[: header.document]), bytes(body[header.document :])
        return start + stored + entry.trailer(start, blake3(stored).digest())

    def ordinary(head: bytes) -> bytes:
        return entry.MAGIC + bytes([entry.FORMAT]) + len(head).to_bytes(4, "big")

    for number in range(256):
        yield f"format {number}", under(entry.MAGIC + bytes([number]) + len(text).to_bytes(4, "big"), text, rest)
    lengths = [0, 1, len(text) - 1, len(text) + 1, 4096, 4097, 1 << 16, 1 << 24, 1 << 31, (1 << 32) - 1]
    for length in lengths:
        yield f"header of {length}", under(entry.MAGIC + b"\x01" + length.to_bytes(4, "big"), text, rest)
    odd = ("0", "1", "-1", "00", "1e3", "999999999", "16777216", "16777217", "1099511627776", "1099511627777",
           "9999999999999", "99999999999999", "true", "null", '"1"', "1.0", "١")  # fmt: skip
    for member in ("document", "size", "stored"):
        for value in odd:
            now = f'"{member}":{getattr(header, member)}'
            head = text.replace(now.encode(), f'"{member}":{value}'.encode())
            yield f"{member} of {value}", under(ordinary(head), head, rest)
    pieces = [b'"codec":"raw"', b'"codec":"zstd"', b'"codec":"bomb"', b'"size":1', b'"stored":1', b'"document":0']
    for number in range(max(200, round(_FUZZED / 8 * scale))):
        changed, body = bytearray(text), bytearray(rest)
        for _ in range(lot.randrange(1, 4)):
            at = lot.randrange(len(changed)) if changed else 0
            match lot.randrange(5):
                case 0 if changed:
                    changed[at] = lot.randrange(256)
                case 1:
                    del changed[at : at + lot.randrange(1, 6)]
                case 2:
                    changed[at:at] = lot.choice(pieces)
                case 3 if changed:
                    # A digit for a digit: lengths and digests that look right.
                    digits = [place for place, byte in enumerate(changed) if 48 <= byte <= 57]
                    if digits:
                        changed[lot.choice(digits)] = lot.choice(b"0123456789")
                case _:
                    cut = lot.randrange(len(body) + 1)
                    body = body[:cut] + lot.choice((b"", bytes(8), lot.randbytes(8))) + body[cut:]
        yield f"made up {number}", under(ordinary(bytes(changed)), bytes(changed), bytes(body))


_DAMAGES: Final = (
    ("flips", _flips, True, "every single-bit flip of an entry and a blob is a miss"),
    ("cuts", _cuts, True, "every shorter length of an entry and a blob is a miss"),
    ("extensions", _extensions, True, "an entry or a blob with more bytes is a miss"),
    ("blocks", _blocks, True, "an entry or a blob with a block of zeros or of other bytes is a miss"),
    ("headers", _headers, False, "a header that says something else, under a right trailer"),
)


def _swapped(directory: str, scale: float) -> Count:
    """Put sound files into one another's places: entries, blobs, both, and another layer's."""
    count, number = Count(), max(4, round(40 * scale))
    place = place_of(directory)
    targets = []
    for at in range(number):
        slot = narrow(LAYER if at % 2 else f"{LAYER}-2", {"at": str(at)})
        payload = noise(30 + at, at) if at % 3 else b"the same"
        assert in_a_word(cache.put(place, leave_to_write(slot), payload)) == "stored"
        read = partial(cache.get, place, slot)
        targets.append(Target(name=f"entry {at}", path=place.entry_path(slot), payload=payload, read=read))
        payload = noise(60, 1000 + at)
        assert in_a_word(blobs.keep_bytes(place, payload)) == "stored"
        read = partial(blobs.load, place, blake3_hex(payload), limit=_LIMIT)
        path = place.blob_path(blake3_hex(payload))
        targets.append(Target(name=f"blob {at}", path=path, payload=payload, read=read))
    bytes_of = {target.path: Path(target.path).read_bytes() for target in targets}
    for target in thinned(targets, 1):
        for other in targets:
            if other is target:
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target.path)
            _write(target.path, bytes_of[other.path])
            count.add(target.problems(must_miss=True), of=f"{target.name} is {other.name}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target.path)
        _write(target.path, bytes_of[target.path])
    return count


CLAIMS: Final = (
    *(
        Claim(part="bits", name=name, text=text, try_=partial(_tried, damages, must_miss))
        for name, damages, must_miss, text in _DAMAGES
    ),
    Claim(part="bits", name="swaps", text="a sound file in another one's place is a miss", try_=_swapped),
)
