"""Where the store is, whose it is, and whether it may be read and written.

Opening never fails: a place that cannot be used says why (``values.reason.BYPASSES``), and envid goes on
without it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Final

from envid.atomic import discard, make_directories
from envid.errors import StoreError, WriteFailed
from envid.slot import Slot
from envid.store.tally import Tally
from envid.values.amount import show_limit, show_size
from envid.values.frozen import dataclass, field
from envid.whole import Name, make_directory, set_mode, write

ENTRIES: Final = "entries-v1"
"""``entries-v1/LAYER/<2 hex>/<64 hex>``: what was made under a key."""
BLOBS: Final = "blobs-v1"
"""``blobs-v1/<2 hex>/<64 hex>``: bytes under their own digest."""
TEMPORARY: Final = "tmp-v1"
GUARDS: Final = "guards-v1"
QUARANTINE: Final = "quarantine-v1"
ROOTS: Final = "roots-v1"
STATS: Final = "stats-v1"

MIN_FREE: Final = 128 * 1024 * 1024
"""Bytes that stay free beside the cache unless the project says otherwise."""

_HINT: Final = "set ENVID_CACHE_DIR to a directory of your own"
PRIVATE: Final = 0o700
GROUP: Final = 0o2770
"""Directories of a shared store: setgid, so that whatever is made below belongs to the group as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a place is not used."""

    reason: str
    """One of ``values.reason.BYPASSES``."""
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What ``[tool.envid.cache]`` says."""

    shared: bool = False
    """Whether the group of the directory may read and write."""
    min_free: int = MIN_FREE
    """Bytes."""
    max_size: int = 10 * 1024**3
    """Bytes that ``gc`` leaves at most."""
    max_age: int = 30 * 24 * 3600
    """Seconds since the last use after which ``gc`` removes what no root protects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cache directory as it was found."""

    root: str
    policy: Policy
    trouble: Trouble | None
    """Why nothing is read here; None for a sound place, also for one that does not exist yet."""
    tally: Tally = field(default_factory=Tally)
    """What this command did with it."""

    @property
    def directory_mode(self) -> int:
        """The mode of every directory in it."""
        return GROUP if self.policy.shared else PRIVATE

    @property
    def file_mode(self) -> int:
        """The mode of every entry: written once, and then read."""
        return 0o440 if self.policy.shared else 0o400

    @property
    def changing_mode(self) -> int:
        """The mode of what is written again and again: guards, counts, roots."""
        return 0o660 if self.policy.shared else 0o600

    def entry_path(self, slot: Slot) -> str:
        """Return where the entry of ``slot`` is or would be."""
        digest = slot.digest
        return f"{self.root}/{ENTRIES}/{slot.layer}/{digest[:2]}/{digest}"

    def blob_path(self, digest: str) -> str:
        """Return where the blob of the BLAKE3 ``digest`` is or would be."""
        return f"{self.root}/{BLOBS}/{digest[:2]}/{digest}"

    def area(self, name: str) -> str:
        """Return the directory of one area, ``ENTRIES`` and so on."""
        return f"{self.root}/{name}"

    def sound(self) -> None:
        """Raise StoreError when this place is not to be believed; another trouble is none for a reader."""
        if self.trouble is not None and self.trouble.reason == "untrusted":
            raise StoreError(self.trouble.message, hint=self.trouble.hint, path=self.root)


def open_place(root: Name, policy: Policy | None = None) -> Place:
    """Return the place ``root`` (absolute) as it is now; nothing is made. Never raises."""
    policy = policy or Policy()
    text = os.fspath(root)
    trouble = _judged(text, policy, stat.S_ISVTX)
    for area in (ENTRIES, BLOBS):
        # Nobody is to write in these, not even beside us: a sticky bit protects what is there, not what is not yet.
        trouble = trouble or _judged(f"{text}/{area}", policy, 0, followed=False)
    return Place(root=text, policy=policy, trouble=trouble)


def prepare(place: Place) -> Trouble | None:
    """Make the directories that a write needs; return why that is not possible, or None."""
    if place.trouble is not None:
        return place.trouble
    area = place.area(TEMPORARY)
    try:
        found = os.lstat(area)
    except OSError:
        try:
            # This one is made last: where it is, the others were.
            for name in (ENTRIES, BLOBS, TEMPORARY):
                make_below(place, place.area(name))
            return None
        except WriteFailed as error:
            reason = "read-only" if os.path.isdir(place.root) else "no-directory"
            return Trouble(reason=reason, message=error.message, hint=_HINT)
    # What others can write is known of the places that are read since `open_place`; here it is about writing.
    return _opinion(area, found, place.policy, 0)


def try_out(place: Place) -> Trouble | None:
    """Return why nothing can be written here, found by writing: modes do not tell of a filesystem that is read-only."""
    trouble = prepare(place)
    if trouble is not None:
        return trouble
    path = f"{place.area(TEMPORARY)}/{os.urandom(8).hex()}.part"
    try:
        write(path, b"", durable=False)
        discard(path)
    except WriteFailed as error:
        return Trouble(reason="read-only", message=error.message, hint=_HINT)
    return None


def nearest(place: Place) -> str:
    """Return the cache directory, or what there is of the way to it."""
    path = place.root
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def hindrance(place: Place) -> Trouble | None:
    """Return why nothing is written here, also where nothing is yet; a full disk is no hindrance to making room."""
    if place.trouble is not None:
        return place.trouble
    there = nearest(place)
    if not os.path.isdir(there):
        return Trouble(
            reason="no-directory", message=f"{place.root} cannot be made: {there} is no directory", hint=_HINT
        )  # fmt: skip
    areas = (there, *(place.area(name) for name in (ENTRIES, BLOBS, TEMPORARY, GUARDS) if there == place.root))
    for path in areas:
        if os.path.lexists(path) and not (os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)):
            return Trouble(reason="read-only", message=f"{path} cannot be written", hint=_HINT)
    if there == place.root:
        return None
    # Some filesystems (proc, sysfs) let the rights look well, and take nothing.
    trial = f"{there}/.envid-{os.urandom(8).hex()}.part"
    try:
        write(trial, b"", durable=False)
    except WriteFailed:
        return Trouble(
            reason="no-directory", message=f"{place.root} cannot be made: {there} takes no files", hint=_HINT
        )  # fmt: skip
    discard(trial)
    return None


def insist_on_writing(place: Place) -> None:
    """Raise StoreError, which says why and what to do, where nothing can be written."""
    trouble = hindrance(place)
    if trouble is not None:
        raise StoreError(f"the cache is not used: {trouble.message}", hint=trouble.hint, path=place.root)


def make_below(place: Place, path: str) -> None:
    """Make the directory ``path`` of this place with all above it, each with the place's mode; raise WriteFailed."""
    if os.path.isdir(path):
        return
    if not os.path.isdir(place.root):
        make_directory(place.root, mode=place.directory_mode)
        # The umask had its say when it was made; a shared store must not depend on each member's.
        set_mode(place.root, place.directory_mode)
        with contextlib.suppress(WriteFailed):
            _tag(place.root)
    make_directories(path, mode=place.directory_mode)


def free_bytes(path: str) -> int | None:
    """Return how many bytes this user may still write beside ``path``; None where nobody tells."""
    try:
        found = os.statvfs(path)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def lacks_space(place: Place, size: int) -> Trouble | None:
    """Return the trouble of writing ``size`` bytes here, when it would leave less than the policy's floor."""
    free = free_bytes(place.root)
    if free is None or free - size >= place.policy.min_free:
        return None
    return Trouble(
        reason="space",
        message=f"{place.root} has {show_size(free)} free, and {show_limit(place.policy.min_free)} are to stay so",
        hint="free some space, run `envid cache gc`, or set min-free in [tool.envid.cache]",
    )  # fmt: skip


def is_trusted(found: os.stat_result, policy: Policy) -> bool:
    """Return whether only this user, root, or the group of a shared store could have written a file."""
    return not found.st_mode & stat.S_IWOTH and _is_owned(found, policy)


def _is_owned(found: os.stat_result, policy: Policy) -> bool:
    if not hasattr(os, "getuid") or found.st_uid in (os.getuid(), 0):
        return True
    return policy.shared and found.st_gid in (os.getgid(), *os.getgroups())


def _judged(path: str, policy: Policy, sticky: int, *, followed: bool = True) -> Trouble | None:
    try:
        found = os.stat(path) if followed else os.lstat(path)
    except OSError:
        # Not there yet, or out of reach: a reader misses, and a writer is told by `prepare`.
        return None
    return _opinion(path, found, policy, sticky)


def _opinion(path: str, found: os.stat_result, policy: Policy, sticky: int) -> Trouble | None:
    hint = _HINT
    if not stat.S_ISDIR(found.st_mode):
        # In the place of the whole there is then no cache; in that of an area, something was put in the way.
        reason = "no-directory" if sticky else "untrusted"
        return Trouble(reason=reason, message=f"{path} is not a directory", hint=hint)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & sticky:
        return Trouble(
            reason="untrusted",
            message=f"{path} can be written by every user",
            hint=f"run `chmod o-w {path}`, or {hint}",
        )
    if not _is_owned(found, policy):
        return Trouble(
            reason="untrusted", message=f"{path} belongs to another user (uid {found.st_uid})", hint=hint
        )  # fmt: skip
    return None


def _tag(root: str) -> None:
    write(f"{root}/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# made by envid\n", durable=False)
