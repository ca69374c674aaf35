"""What the faults are done to: operations on a store, each with the state before it and what must hold after it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envid.errors import WriteFailed
from envid.gate import Absent, WritePass, confirm, decide
from envid.slot import Slot, narrow
from envid.store import blobs, cache, contents, entry
from envid.store.cache import Bypass, Diverged, Miss, Stored
from envid.store.place import BLOBS, ENTRIES, Place, Policy, open_place
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, WheelContents
from envid.values.digest import blake3_hex

LAYER: Final = "faults"
OLDER: Final = narrow(LAYER, {"name": "older"})
NEW: Final = narrow(LAYER, {"name": "new"})
LIMIT: Final = 1 << 24


def noise(size: int, seed: int) -> bytes:
    """Return ``size`` bytes that do not compress, the same for the same ``seed``."""
    return random.Random(seed).randbytes(size)


OLDER_PAYLOAD: Final = noise(3000, 1)
NEW_PAYLOAD: Final = noise(2500, 2) + b"squeezed well " * 2000
OLDER_BLOB: Final = noise(5000, 3)
NEW_BLOB: Final = noise(9000, 4) + bytes(40_000)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that envid does to files."""

    name: str
    prepare: Callable[[str], None]
    """Make the state before in an empty directory."""
    work: Callable[[str], str]
    """Do it there, and say how it ended in a word."""
    good: frozenset[str]
    """How it ends when nothing disturbs it."""
    fallback: Callable[[str], bool]
    """Whether it may end so when the operating system refuses something."""
    problems: Callable[[str], Iterable[str]]
    """What is wrong with the directory, whenever the operation was broken off."""
    complete: Callable[[str], Iterable[str]]
    """What is wrong with the directory after the operation has ended well."""
    after_power: Callable[[str], Iterable[str]]
    """What is wrong with the directory when the power went meanwhile: a torn file is none, it proves itself."""
    right: Callable[[str], Iterable[str]] | None = None
    """What is wrong after it has ended well although it was refused something; ``complete`` if that is None."""
    follow: bool = True
    long: bool = False
    """Whether it makes so many calls that the long form does not try every one of them in every way."""
    writes: bool = True
    proves: bool = True
    """Whether what it writes proves itself when it is read; what it lays for users does not."""


def place_of(root: str) -> Place:
    """Return the store of ``root``, as a new process finds it; no floor of free space."""
    return open_place(f"{root}/cache", Policy(min_free=0))


def leave_to_write(slot: Slot) -> WritePass:
    """Return what the gate gives for a slot that nothing is known of and that did not move."""
    decision = decide(None, slot)
    assert isinstance(decision, Absent)
    leave = confirm(decision.work, slot)
    assert isinstance(leave, WritePass)
    return leave


def in_a_word(outcome: Stored | Diverged | Bypass | Miss | blobs.Kept | bytes | None) -> str:
    """Return an outcome of the store in a word."""
    match outcome:
        case Stored(new=new) | blobs.Kept(new=new):
            return "stored" if new else "kept"
        case Diverged():
            return "diverged"
        case Bypass(reason=reason):
            return f"bypass {reason}"
        case Miss(reason=reason):
            return f"miss {reason}"
        case bytes():
            return "hit"
    return "done"


# --- what must hold -------------------------------------------------------------------------


def older_lost(root: str) -> Iterator[str]:
    """Say of the entry and the blob stored before whether they are still exact."""
    place = place_of(root)
    found = cache.get(place, OLDER)
    if found != OLDER_PAYLOAD:
        yield f"the older entry: {in_a_word(found) if isinstance(found, Miss) else 'WRONG BYTES'}"
    blob = blobs.load(place, blake3_hex(OLDER_BLOB), limit=LIMIT)
    if blob != OLDER_BLOB:
        yield f"the older blob: {in_a_word(blob) if isinstance(blob, Miss) else 'WRONG BYTES'}"


def wrong(root: str) -> Iterator[str]:
    """Say whether the new entry or the new blob are anything but exact or a miss."""
    place = place_of(root)
    found = cache.get(place, NEW)
    if not isinstance(found, Miss) and found != NEW_PAYLOAD:
        yield "the new entry: WRONG BYTES"
    blob = blobs.load(place, blake3_hex(NEW_BLOB), limit=LIMIT)
    if not isinstance(blob, Miss) and blob != NEW_BLOB:
        yield "the new blob: WRONG BYTES"


def torn(root: str) -> Iterator[str]:
    """Name each file of the store that has its name and not its bytes."""
    base = f"{root}/cache"
    for path in files_below(f"{base}/{ENTRIES}"):
        layer, _, name = os.path.relpath(path, f"{base}/{ENTRIES}").split("/")
        yield from _torn(path, f"envid1-{layer}-{name}")
    for path in files_below(f"{base}/{BLOBS}"):
        yield from _torn(path, f"envid1-blob-{os.path.basename(path)}")


def files_below(root: str) -> Iterator[str]:
    """Give every file below ``root``."""
    for directory, _, names in os.walk(root):
        for name in names:
            yield f"{directory}/{name}"


def _torn(path: str, key: str) -> Iterator[str]:
    try:
        entry.payload(entry.decode(Path(path).read_bytes(), key), limit=LIMIT)
    except entry.Damage as damage:
        yield f"{os.path.basename(path)[:8]} is torn: {damage.reason}"


def sound(root: str) -> Iterator[str]:
    """Say what is wrong after a process was killed or refused a call."""
    yield from torn(root)
    yield from older_lost(root)
    yield from wrong(root)


def unproved(root: str) -> Iterator[str]:
    """Say what is wrong after the power went: a torn file is not, as long as it is none when it is read."""
    yield from older_lost(root)
    yield from wrong(root)


# --- the operations -------------------------------------------------------------------------


def with_older(root: str) -> None:
    """Make a store with one entry and one blob."""
    place = place_of(root)
    assert in_a_word(cache.put(place, leave_to_write(OLDER), OLDER_PAYLOAD)) == "stored"
    assert in_a_word(blobs.keep_bytes(place, OLDER_BLOB)) == "stored"


def with_new(root: str) -> None:
    """Make a store that has the new entry and the new blob as well."""
    with_older(root)
    _put(root)
    _keep(root)


def with_damaged(root: str) -> None:
    """Make one in which both of the new are damaged."""
    with_new(root)
    for path in (place_of(root).entry_path(NEW), place_of(root).blob_path(blake3_hex(NEW_BLOB))):
        data = bytearray(Path(path).read_bytes())
        data[len(data) // 2] ^= 1
        os.chmod(path, 0o600)
        Path(path).write_bytes(data)
        os.chmod(path, 0o400)


def _with_file(root: str) -> None:
    with_older(root)
    Path(f"{root}/given").write_bytes(NEW_BLOB)


def _put(root: str) -> str:
    return in_a_word(cache.put(place_of(root), leave_to_write(NEW), NEW_PAYLOAD))


def _keep(root: str) -> str:
    return in_a_word(blobs.keep_bytes(place_of(root), NEW_BLOB))


def _keep_file(root: str) -> str:
    return in_a_word(blobs.keep_file(place_of(root), f"{root}/given"))


def _get(root: str) -> str:
    found = cache.get(place_of(root), NEW)
    return in_a_word(found) if isinstance(found, Miss) or found == NEW_PAYLOAD else "WRONG BYTES"


def _load(root: str) -> str:
    found = blobs.load(place_of(root), blake3_hex(NEW_BLOB), limit=LIMIT)
    return in_a_word(found) if isinstance(found, Miss) or found == NEW_BLOB else "WRONG BYTES"


def _lay(root: str) -> str:
    try:
        return in_a_word(blobs.lay(place_of(root), blake3_hex(NEW_BLOB), f"{root}/laid", mode=0o640))
    except WriteFailed:
        return "refused"


def _mend(root: str) -> str:
    """Read what is damaged, and store both again."""
    _get(root)
    return f"{_put(root)}, {_keep(root)}"


def entry_is_new(root: str) -> Iterator[str]:
    """Say when the new entry is not there."""
    if cache.get(place_of(root), NEW) != NEW_PAYLOAD:
        yield "the new entry is not there"


def blob_is_new(root: str) -> Iterator[str]:
    """Say when the new blob is not there."""
    if blobs.load(place_of(root), blake3_hex(NEW_BLOB), limit=LIMIT) != NEW_BLOB:
        yield "the new blob is not there"


def _both_are_new(root: str) -> Iterator[str]:
    yield from entry_is_new(root)
    yield from blob_is_new(root)


def _laid_or_not(root: str) -> Iterator[str]:
    yield from sound(root)
    path = Path(f"{root}/laid")
    if path.exists() and path.read_bytes() != NEW_BLOB:
        yield "what was laid is half"


def _is_laid(root: str) -> Iterator[str]:
    path = Path(f"{root}/laid")
    if not path.exists() or path.read_bytes() != NEW_BLOB or path.stat().st_mode & 0o7777 != 0o640:
        yield "it was not laid"


WHEEL: Final = WheelContents(
    sha256=Sha256("ab" * 32), name=NormalizedName("demo"), version="1.0", dist_info="demo-1.0.dist-info",
    entries=tuple(
        ContentEntry(
            scheme="purelib", path=f"demo/m{number:03}.py", sha256=Sha256(f"{number:064x}"), blake3=f"{number:064x}",
            size=number, executable=False, python_script=False,
        )
        for number in range(60)
    ),
    entry_points=(), digest="cd" * 32, notes=(),
)  # fmt: skip


def _save_contents(root: str) -> str:
    return in_a_word(contents.save(place_of(root), WHEEL))


def _contents_or_not(root: str) -> Iterator[str]:
    yield from sound(root)
    yield from _contents_exact_or_none(root)


def _contents_exact_or_none(root: str) -> Iterator[str]:
    yield from older_lost(root)
    found = contents.load(place_of(root), WHEEL.sha256)
    if found not in (None, WHEEL):
        yield "the contents of a wheel: WRONG"


def _contents_there(root: str) -> Iterator[str]:
    if contents.load(place_of(root), WHEEL.sha256) != WHEEL:
        yield "the contents of the wheel are not there"


def _nothing(root: str) -> None:
    return None


def _may_bypass(answer: str) -> bool:
    return all(word.startswith("bypass ") or word in ("stored", "kept") for word in answer.split(", "))


def _may_miss(answer: str) -> bool:
    return answer == "hit" or answer.startswith("miss ")


def _may_refuse(answer: str) -> bool:
    return answer in ("done", "refused") or answer.startswith("miss ")


_STORED: Final = frozenset({"stored", "kept"})
_MENDED: Final = frozenset(f"{one}, {other}" for one in _STORED for other in _STORED)

OPERATIONS: Final[dict[str, Operation]] = {
    operation.name: operation
    for operation in (
        Operation(
            name="put", prepare=with_older, work=_put, good=_STORED, fallback=_may_bypass, problems=sound,
            complete=entry_is_new, after_power=unproved,
        ),
        Operation(
            name="put-first", prepare=_nothing, work=_put, good=_STORED, fallback=_may_bypass,
            problems=lambda root: (*torn(root), *wrong(root)), complete=entry_is_new, after_power=wrong,
        ),
        Operation(
            name="keep", prepare=with_older, work=_keep, good=_STORED, fallback=_may_bypass, problems=sound,
            complete=blob_is_new, after_power=unproved,
        ),
        Operation(
            name="keep-file", prepare=_with_file, work=_keep_file, good=_STORED, fallback=_may_bypass, problems=sound,
            complete=blob_is_new, after_power=unproved,
        ),
        Operation(
            name="get", prepare=with_new, work=_get, good=frozenset({"hit"}), fallback=_may_miss, writes=False,
            problems=sound, complete=entry_is_new, after_power=unproved,
        ),
        Operation(
            name="load", prepare=with_new, work=_load, good=frozenset({"hit"}), fallback=_may_miss, writes=False,
            problems=sound, complete=blob_is_new, after_power=unproved,
        ),
        Operation(
            name="lay", prepare=with_new, work=_lay, good=frozenset({"done"}), fallback=_may_refuse,
            problems=_laid_or_not, complete=_is_laid, after_power=unproved, proves=False,
        ),
        Operation(
            name="mend", prepare=with_damaged, work=_mend, good=_MENDED, fallback=_may_bypass,
            problems=lambda root: (*older_lost(root), *wrong(root)), complete=_both_are_new,
            after_power=unproved,
        ),
        Operation(
            name="contents", prepare=with_older, work=_save_contents, good=_STORED, fallback=_may_bypass,
            problems=_contents_or_not, complete=_contents_there,
            after_power=_contents_exact_or_none,
        ),
    )
}  # fmt: skip


class Stage:
    """A directory in which an operation is prepared once and put back to that state before each trial."""

    def __init__(self, operation: Operation, directory: str) -> None:
        self.operation = operation
        self.directory = directory
        self.root = f"{directory}/root"
        self._before = f"{directory}/before"
        os.mkdir(self.root)
        operation.prepare(self.root)
        shutil.copytree(self.root, self._before, symlinks=True)

    def reset(self) -> None:
        """Put the state before back."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._before, self.root, symlinks=True)
