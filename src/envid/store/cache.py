"""Slots on disk: read with a ``ReadPass``, written with a ``WritePass``, and with nothing else.

A read gives the exact bytes that were written under this key, or a miss with its reason. It takes no lock.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Final

from envid.atomic import freshen, publish, rename
from envid.errors import WriteFailed
from envid.gate import Absent, Fresh, ReadPass, WritePass, confirm, decide
from envid.slot import Slot
from envid.store import entry
from envid.store.entry import Damage, Entry
from envid.store.place import QUARANTINE, TEMPORARY, Place, is_trusted, lacks_space, prepare
from envid.values.digest import blake3_hex
from envid.values.frozen import dataclass
from envid.whole import make_directory, shut

SQUEEZED_FROM: Final = 1024 * 1024
"""Bytes of a payload from which on zstd is tried: below, compressing takes longer than writing what it saves."""
MAX_IN_MEMORY: Final = 512 * 1024 * 1024
"""Bytes of an entry that is read at once; larger things are blobs."""

_KEPT_AS_THEY_ARE: Final = frozenset({"absent", "newer-format", "older-format", "unreadable", "foreign", "oversized"})
"""Misses after which the file stays: it is not there, not ours to move, or of use to another envid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Nothing was read."""

    reason: str
    """One of ``values.reason.MISSES``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """Nothing was written."""

    reason: str
    """One of ``values.reason.BYPASSES``."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The slot holds what was given."""

    new: bool
    """False: it was there already, with the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """The slot holds other bytes, made earlier under the same key; they stay."""

    first: str
    """BLAKE3 of the payload that is kept."""
    second: str
    """BLAKE3 of the one that was given."""


class Candidate:
    """An entry found under a key: its document is open to the gate, its payload to whoever has a pass."""

    __slots__ = ("_entry", "_path", "_place")

    def __init__(self, place: Place, path: str, found: Entry) -> None:
        self._place = place
        self._path = path
        self._entry = found

    @property
    def document(self) -> bytes:
        """The document of the slot that it was made under."""
        return self._entry.document

    @property
    def digest(self) -> str:
        """BLAKE3 of the payload, as its header has it."""
        return self._entry.header.digest

    def payload(self, leave: ReadPass, *, limit: int = MAX_IN_MEMORY) -> bytes | Miss:
        """Return the payload, or why not."""
        if type(leave) is not ReadPass:
            raise TypeError("reading takes a ReadPass of the gate")
        if leave.slot.key != self._entry.header.key or leave.slot.document != self._entry.document:
            return _missed(self._place, leave.slot, "misnamed")
        try:
            data = entry.payload(self._entry, limit=limit)
        except Damage as damage:
            set_aside(self._place, self._path, damage.reason)
            return _missed(self._place, leave.slot, damage.reason)
        self._place.tally.add(leave.slot.layer, "hit")
        return data


def find(place: Place, slot: Slot) -> Candidate | Miss:
    """Return the sound entry under the key of ``slot``, or why there is none; a damaged one is set aside."""
    path = place.entry_path(slot)
    try:
        return Candidate(place, path, read_entry(path, place, slot.key))
    except Damage as damage:
        set_aside(place, path, damage.reason)
        return _missed(place, slot, damage.reason)


def read_entry(path: str, place: Place, key: str, *, limit: int = MAX_IN_MEMORY) -> Entry:
    """Return the entry in a file of the store, which is that of ``key``; raise Damage, for any reason to miss it."""
    opened = open_file(path, place)
    if isinstance(opened, Miss):
        raise Damage(opened.reason)
    handle, found = opened
    try:
        if found.st_size > limit + entry.MAX_DOCUMENT:
            raise Damage("oversized")
        return entry.read(lambda number, at: _read_at(handle, number, at), found.st_size, key)
    except (OSError, MemoryError):
        raise Damage("unreadable") from None
    finally:
        shut(handle)


def _read_at(handle: int, number: int, at: int) -> bytes:
    data = os.pread(handle, number, at)
    # A file in full gives all at once, but for those beyond 2 GiB; one that is cut meanwhile gives what it has.
    while len(data) < number and (more := os.pread(handle, number - len(data), at + len(data))):
        data += more
    return data


def _missed(place: Place, slot: Slot, reason: str) -> Miss:
    place.tally.add(slot.layer, reason)
    return Miss(reason=reason)


def get(place: Place, slot: Slot, *, limit: int = MAX_IN_MEMORY) -> bytes | Miss:
    """Return what was made under ``slot``, by way of the gate."""
    found = find(place, slot)
    if isinstance(found, Miss):
        return found
    decision = decide(found.document, slot)
    return found.payload(decision.read, limit=limit) if isinstance(decision, Fresh) else Miss(reason="misnamed")


def put(place: Place, leave: WritePass, payload: bytes, *, squeeze: bool = True) -> Stored | Diverged | Bypass:
    """Write ``payload`` into the slot of ``leave``; what is there already stays. Never raises with a WritePass."""
    if type(leave) is not WritePass:
        raise TypeError("writing takes a WritePass of the gate")
    slot = leave.slot
    outcome = _put(place, slot, payload, squeeze)
    place.tally.add(slot.layer, _event(outcome))
    return outcome


def _event(outcome: Stored | Diverged | Bypass) -> str:
    if isinstance(outcome, Bypass):
        return outcome.reason
    if isinstance(outcome, Diverged):
        return "diverged"
    return "stored" if outcome.new else "kept"


def _put(place: Place, slot: Slot, payload: bytes, squeeze: bool) -> Stored | Diverged | Bypass:
    parts = entry.parts(slot.key, slot.document, payload, squeeze=squeeze and len(payload) >= SQUEEZED_FROM)
    path, size = place.entry_path(slot), sum(map(len, parts))
    written = write_parts(place, path, parts, size)
    if written is not False:
        return Stored(new=True) if written is True else written
    there = find(place, slot)
    if isinstance(there, Candidate):
        return _compared(there, slot, payload)
    # What stood there was damaged, and is set aside by now; another writer may have been quicker.
    written = write_parts(place, path, parts, size)
    if written is True:
        return Stored(new=True)
    there = find(place, slot)
    if isinstance(there, Candidate):
        return _compared(there, slot, payload)
    return written or Bypass(reason="unwritable", message=f"{path} is taken by something that is no entry")


def keep(place: Place, slot: Slot, payload: bytes, *, squeeze: bool = True) -> Stored | Diverged | Bypass:
    """Write ``payload`` as ``put`` does, into a slot that cannot move: it names all that the payload was made of."""
    decision = decide(None, slot)
    assert isinstance(decision, Absent)
    leave = confirm(decision.work, slot)
    assert isinstance(leave, WritePass)
    return put(place, leave, payload, squeeze=squeeze)


def make(place: Place, slot: Slot, work: Callable[[], bytes], *, squeeze: bool = True) -> bytes:
    """Return what belongs into ``slot``: read, or made by ``work`` and kept. For slots that cannot move meanwhile."""
    there = get(place, slot)
    if isinstance(there, bytes):
        return there
    made = work()
    keep(place, slot, made, squeeze=squeeze)
    return made


def read_file(path: str, place: Place, *, limit: int = MAX_IN_MEMORY, renew: bool = True) -> bytes | Miss:
    """Return the bytes of a file of the store, or why they are not to be had; ``renew`` as below. Never raises."""
    opened = open_file(path, place, renew=renew)
    if isinstance(opened, Miss):
        return opened
    handle, found = opened
    try:
        if found.st_size > limit + entry.MAX_DOCUMENT:
            return Miss(reason="oversized")
        data = os.read(handle, found.st_size + 1)
        while len(data) < found.st_size and (more := os.read(handle, found.st_size - len(data))):
            data += more
        return data
    except (OSError, MemoryError):
        return Miss(reason="unreadable")
    finally:
        shut(handle)


def open_file(path: str, place: Place, *, renew: bool = True) -> tuple[int, os.stat_result] | Miss:
    """Return a descriptor, for the caller to close, and the status of a file of the store, which is in use now.

    Without ``renew`` it is looked at only: its time stays. Never raises; a Miss where there is no regular file that
    only those could have written whom the policy trusts.
    """
    if place.trouble is not None and place.trouble.reason == "untrusted":
        return Miss(reason="foreign")
    try:
        # Not followed, not waited for: a link or a pipe in the store is none of ours.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Miss(reason="absent")
    except OSError:
        odd = os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path))
        return Miss(reason="foreign" if odd else "unreadable")
    try:
        found = os.fstat(handle)
    except OSError:
        shut(handle)
        return Miss(reason="unreadable")
    if not stat.S_ISREG(found.st_mode) or not is_trusted(found, place.policy):
        shut(handle)
        return Miss(reason="foreign")
    if renew:
        freshen(handle, found.st_mtime)
    return handle, found


def write_parts(place: Place, path: str, parts: Iterable[bytes | memoryview], size: int) -> bool | Bypass:
    """Publish ``parts``, ``size`` bytes in all, at ``path`` of the store; False when something is there.

    Returns a Bypass when nothing was written. Raises only what ``parts`` raises.
    """
    trouble = prepare(place) or lacks_space(place, size)
    if trouble is not None:
        return Bypass(reason=trouble.reason, message=trouble.message)
    try:
        return publish(
            path, parts, size=size, temporary=place.area(TEMPORARY), mode=place.file_mode, exact=place.policy.shared,
        )  # fmt: skip
    except WriteFailed as error:
        return Bypass(reason=_why(error.__cause__), message=error.message)


def _why(cause: BaseException | None) -> str:
    number = cause.errno if isinstance(cause, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "space"
    return "read-only" if number in (errno.EROFS, errno.EACCES, errno.EPERM) else "unwritable"


def set_aside(place: Place, path: str, reason: str) -> bool:
    """Move a damaged file out of the way, for a look later; return whether that was done. Never raises.

    So are a pipe, a link or a directory of this user's in a file's place (``foreign``).
    """
    if reason in _KEPT_AS_THEY_ARE and not (reason == "foreign" and _is_in_the_way(place, path)):
        return False
    aside = f"{place.area(QUARANTINE)}/{os.path.basename(path)}.{reason}.{os.urandom(4).hex()}"
    try:
        make_directory(place.area(QUARANTINE), mode=place.directory_mode)
        rename(path, aside)
    except WriteFailed:
        # A read-only store, or another process was quicker: the file is passed over each time.
        return False
    place.tally.add("store", "quarantined")
    return True


def _is_in_the_way(place: Place, path: str) -> bool:
    """Tell whether what stands in a file's place is this user's, and no file: nothing could ever be kept there."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return place.trouble is None and own and not stat.S_ISREG(found.st_mode)


def _compared(there: Candidate, slot: Slot, payload: bytes) -> Stored | Diverged | Bypass:
    if there.document != slot.document:
        return Bypass(reason="unwritable", message="another slot's entry stands under this key")
    digest = blake3_hex(payload)
    return Stored(new=False) if there.digest == digest else Diverged(first=there.digest, second=digest)
