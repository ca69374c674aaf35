"""Everything that is on disk below a few directories, packed so tightly that one comparison of bytes says "unchanged".

No object per file: an environment has tens of thousands, and a warm check has a tenth of a second.
A packed walk is a row of packed directories, in the order the filesystem gives them (``listing`` reads it).
Imported before any answer is known to hold: no dataclass, no typing.
"""

import os
from array import array
from collections.abc import Callable
from struct import Struct

FIELDS = 5
"""Integers for each name: mode, size in bytes, mtime in ns, inode, ctime in ns."""

HEAD = Struct("<IIIIB3x")
"""Directory mode, then byte lengths of path, names and stats, then 1 for a directory that was read whole."""
_MASK = (1 << 63) - 1
_WORTH_FORKING = 24
"""Fewer subdirectories than this are walked faster than a process is forked."""


def walk(root: str, tops: list[str], singles: list[str], *, parallel: bool = True) -> bytes:
    """Return the packed walk of the directories ``tops`` below ``root``, and of the single files ``singles``.

    Both are POSIX paths relative to ``root``; a single file may also be named absolutely. No link is
    followed, nothing is opened but directories. A directory that cannot be read has mode 0 and no names.
    """
    parts: list[bytes] = []
    below: list[str] = []
    for top in tops:
        parts.append(directory(root, top, below, status_of))
    mine, other = halves(below)
    if parallel and len(below) >= _WORTH_FORKING and processors() > 1 and hasattr(os, "fork"):
        parts.extend(_forked(root, mine, other))
    else:
        parts.append(_trees(root, mine + other))
    parts.extend(_singles(root, singles))
    return b"".join(parts)


def halves(below: list[str]) -> tuple[list[str], list[str]]:
    """Return the directories below the tops in two halves; a walk has the first half, then the second."""
    # Every second one: the filesystem's order is that of a hash, so both weigh about the same.
    return below[0::2], below[1::2]


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _forked(root: str, mine: list[str], other: list[str]) -> list[bytes]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            view = memoryview(_trees(root, other))
            while view:
                view = view[os.write(writing, view) :]
            status = 0
        finally:
            # Not sys.exit: the parent's buffers and exit handlers are not the child's to run.
            os._exit(status)
    os.close(writing)
    try:
        first = _trees(root, mine)
        chunks = []
        while chunk := os.read(reading, 1 << 20):
            chunks.append(chunk)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    return [first, b"".join(chunks) if status == 0 else _trees(root, other)]


def _trees(root: str, tops: list[str]) -> bytes:
    parts = []
    stack = tops[::-1]
    while stack:
        parts.append(directory(root, stack.pop(), stack, status_of))
    return b"".join(parts)


Look = Callable[[os.DirEntry[str], int], os.stat_result]


def status_of(entry: os.DirEntry[str], handle: int) -> os.stat_result:
    """Return the metadata of one entry of the open directory ``handle``; raise OSError."""
    return os.stat(entry.name, dir_fd=handle, follow_symlinks=False)


def directory(root: str, path: str, below: list[str], look: Look) -> bytes:
    """Return the packed listing of one directory, adding its subdirectories to ``below``.

    ``look`` is called once for each name that the listing then has, in that order (``status_of``, or what also
    reads the file), and raises FileNotFoundError for one that is gone.
    """
    names: list[str] = []
    numbers: list[int] = []
    full = f"{root}/{path}" if path else root
    try:
        handle = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return pack(path, 0, b"", b"", whole=True)
    try:
        mode = os.fstat(handle).st_mode
        with os.scandir(handle) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{path}/{entry.name}" if path else entry.name)
                    continue
                try:
                    status = look(entry, handle)
                except FileNotFoundError:
                    # An interpreter renames its new .pyc into place while we read.
                    continue
                names.append(entry.name)
                numbers += (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    except OSError:
        # Gone or changed under our feet: what was read is not the whole, and mode 0 says so.
        return pack(path, 0, b"", b"", whole=True)
    finally:
        os.close(handle)
    return pack(path, mode, os.fsencode("\0".join(names)), _packed(numbers), whole=True)


def _packed(numbers: list[int]) -> bytes:
    try:
        return array("q", numbers).tobytes()
    except OverflowError:
        return array("q", [number & _MASK for number in numbers]).tobytes()


def _singles(root: str, paths: list[str]) -> list[bytes]:
    parts = []
    grouped: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        grouped.setdefault(directory, []).append(name)
    for directory in sorted(grouped):
        numbers: list[int] = []
        names = sorted(grouped[directory])
        for name in names:
            try:
                status = os.lstat(os.path.join(root, directory, name))
            except (OSError, ValueError):
                numbers += (0,) * FIELDS
            else:
                numbers += (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
        parts.append(pack(directory, 0, os.fsencode("\0".join(names)), _packed(numbers), whole=False))
    return parts


def pack(path: str, mode: int, names: bytes, stats: bytes, *, whole: bool) -> bytes:
    """Return the bytes of one directory."""
    encoded = os.fsencode(path)
    return b"".join((HEAD.pack(mode, len(encoded), len(names), len(stats), whole), encoded, names, stats))


def names_in(packed: bytes) -> int:
    """Return the number of names in the bytes of one directory."""
    stats: int = HEAD.unpack_from(packed)[3]
    return stats // (8 * FIELDS)
