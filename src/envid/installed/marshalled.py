"""Compare a ``.pyc`` with its source, without loading it; imported by envid, or run by any Python >= 3.11 as a script.

Equal sources do not give equal bytes: ``marshal`` writes an object that is referred to twice once or
twice, depending on reference counts in the process that wrote. So the bytes are compared first, and then
the values, by a reader that builds no object of the file's choosing. ``marshal`` is here to write what
the source compiles to (``dumps``), never to load. It imports nothing of envid, so that any Python can run it.

As a script: JSON ``[[pyc, source], ...]`` on stdin, one line ``JUDGEMENT BINDING`` for each on stdout.
"""

from __future__ import annotations

import errno
import marshal
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable
from typing import BinaryIO

MAX_DEPTH = 300
"""Of nested code objects and tuples; CPython's compiler nests fewer than 200."""
MAX_BYTES = 64 * 1024 * 1024

_NAME = re.compile(r"(?P<module>[^/]+?)\.(?P<tag>[a-z]+-\d+[a-z]*)(?:\.opt-(?P<level>[12]))?\.pyc")
_NUMBERS_BEFORE, _NUMBERS_AFTER = 5, 1


class Malformed(Exception):
    """Bytes that ``marshal`` does not write for code."""


def judgement(pyc: bytes, source: bytes | None, *, mtime: int, name: str, filename: str) -> str:
    """Return the judgement (see ``bytecode.Judgement``) of this very Python on one file.

    ``mtime`` (whole seconds) is of the source, ``name`` the file name of the ``.pyc``, ``filename``
    the path of the source.
    """
    from importlib.util import MAGIC_NUMBER, source_hash

    level = level_of(name)
    if level is None or pyc[:4] != MAGIC_NUMBER:
        return "foreign"
    if source is None:
        return "orphan"
    if len(pyc) < 16:
        return "stale"
    flags = int.from_bytes(pyc[4:8], "little")
    if flags > 3 or flags == 2:
        return "stale"
    if flags == 0:
        if int.from_bytes(pyc[8:12], "little") != mtime & 0xFFFFFFFF:
            return "stale"
        if int.from_bytes(pyc[12:16], "little") != len(source) & 0xFFFFFFFF:
            return "stale"
    elif flags == 3 and pyc[8:16] != source_hash(source):
        return "stale"
    return "ok" if same_code(pyc[16:], source, filename=filename, level=level) else "forged"


def level_of(name: str) -> int | None:
    """Return the optimisation level that the file name tells; ``None`` when this Python would not load it."""
    found = _NAME.fullmatch(name)
    if found is not None and found["tag"] == sys.implementation.cache_tag:
        return int(found["level"] or 0)
    # Beside the source instead of in __pycache__: loaded only where there is no source, at any level.
    return 0 if found is None and "." not in name.removesuffix(".pyc") else None


def same_code(marshalled: bytes, source: bytes, *, filename: str, level: int) -> bool:
    """Tell whether ``marshalled`` is what ``source`` compiles to, whatever file name it carries."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, filename, "exec", dont_inherit=True, optimize=level)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    wanted = marshal.dumps(code)
    if wanted == marshalled:
        return True
    known: dict[object, int] = {}
    try:
        return normal(wanted, known) == normal(marshalled, known)
    except (Malformed, RecursionError, MemoryError):
        return False


def normal(data: bytes, known: dict[object, int]) -> int:
    """Return the number of the value in ``data``: equal values have equal numbers within one ``known``.

    Values are numbered instead of built, so that references to references cannot blow up. File names
    of code objects do not count. Raises Malformed.
    """
    reader = _Reader(data, known)
    number = reader.value(0)
    if reader.at != len(data):
        raise Malformed("bytes after the end")
    return number


class _Reader:
    def __init__(self, data: bytes, known: dict[object, int]) -> None:
        self.data = data
        self.at = 0
        self.known = known
        self.seen: list[int] = []
        self.texts: set[int] = set()

    def number(self, *key: object) -> int:
        return self.known.setdefault(key, len(self.known))

    def take(self, size: int) -> bytes:
        at = self.at
        if size < 0 or size > len(self.data) - at:
            raise Malformed("cut short")
        self.at = at + size
        return self.data[at : at + size]

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def value(self, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        first = self.take(1)[0]
        kind = first & 0x7F
        if kind in _CONSTANTS:
            return self.number(kind)
        if kind == 0x72:  # r: a reference
            index = self.int32()
            if not 0 <= index < len(self.seen) or self.seen[index] < 0:
                raise Malformed("a reference to nothing")
            return self.seen[index]
        place = -1
        if first & 0x80:
            place = len(self.seen)
            self.seen.append(-1)
        read = _READERS.get(kind)
        if read is None:
            raise Malformed(f"an object of type {kind}")
        number = read(self, depth)
        if place >= 0:
            self.seen[place] = number
        return number

    def text(self, size: int) -> int:
        return self.string(self.take(size))

    def ascii(self, size: int) -> int:
        # marshal does not check that these are ASCII: beyond it, it takes the bytes for Latin-1, not for UTF-8.
        data = self.take(size)
        return self.string(data if data.isascii() else data.decode("latin-1").encode())

    def string(self, data: bytes) -> int:
        number = self.number("s", data)
        self.texts.add(number)
        return number

    def values(self, count: int, depth: int) -> tuple[int, ...]:
        if count < 0 or count > len(self.data) - self.at:
            raise Malformed("cut short")
        return tuple([self.value(depth + 1) for _ in range(count)])

    def long(self) -> int:
        count = self.int32()
        digits = self.take(2 * abs(count))
        value = 0
        if count in range(-200, 200):
            for at in range(2 * abs(count) - 2, -2, -2):
                value = value << 15 | int.from_bytes(digits[at : at + 2], "little")
            return self.number("i", -value if count < 0 else value)
        return self.number("l", count < 0, digits)  # too long to shift through: equal digits are equal numbers

    def unordered(self, depth: int) -> int:
        numbers = self.values(self.int32(), depth)
        if len(set(numbers)) != len(numbers):
            raise Malformed("a set with an element twice")
        return self.number("f", tuple(sorted(numbers)))

    def code(self, depth: int) -> int:
        numbers = self.take(4 * _NUMBERS_BEFORE)
        # code, constants, names, names and kinds of local variables, file name, name, qualified name
        parts = self.values(5, depth)
        if self.value(depth + 1) not in self.texts:
            raise Malformed("a file name that is no text")
        names = self.values(2, depth)
        line = self.take(4 * _NUMBERS_AFTER)
        tables = self.values(2, depth)
        return self.number("c", numbers, parts, names, line, tables)


_CONSTANTS = frozenset(b"NFTS.")
_READERS: dict[int, Callable[[_Reader, int], int]] = {
    ord("i"): lambda r, _: r.number("i", r.int32()),
    ord("l"): lambda r, _: r.long(),
    ord("g"): lambda r, _: r.number("g", r.take(8)),
    ord("y"): lambda r, _: r.number("y", r.take(16)),
    ord("s"): lambda r, _: r.number("b", r.take(r.int32())),
    ord("u"): lambda r, _: r.text(r.int32()),
    ord("t"): lambda r, _: r.text(r.int32()),
    ord("a"): lambda r, _: r.ascii(r.int32()),
    ord("A"): lambda r, _: r.ascii(r.int32()),
    ord("z"): lambda r, _: r.ascii(r.take(1)[0]),
    ord("Z"): lambda r, _: r.ascii(r.take(1)[0]),
    ord("("): lambda r, depth: r.number("(", r.values(r.int32(), depth)),
    ord(")"): lambda r, depth: r.number("(", r.values(r.take(1)[0], depth)),
    ord(">"): lambda r, depth: r.unordered(depth),
    ord(":"): lambda r, depth: r.number(":", r.values(3, depth)),
    ord("c"): lambda r, depth: r.code(depth),
}


def read(pyc: str, source: str | None) -> tuple[bytes, bytes | None, int]:
    """Return the bytes of both files and the source's time (whole seconds); raise OSError for ``pyc`` alone."""
    with open(pyc, "rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if source is not None:
        try:
            with open(source, "rb") as stream:
                return data, stream.read(), int(os.fstat(stream.fileno()).st_mtime)
        except FileNotFoundError:
            pass
    return data, None, 0


def _open(path: str) -> BinaryIO:
    """Open a regular file; raise OSError for a pipe, say, which a plain ``open`` would wait for."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return open(handle, "rb")


def binding(pyc: bytes, source: bytes | None, *, mtime: int, name: str) -> str:
    """Return the digest of all that a judgement of one Python was made from: the arguments of ``judgement``."""
    from hashlib import blake2b

    digest = blake2b(f"{name}\0{mtime}\0{len(pyc)}\0{-1 if source is None else len(source)}\0".encode(), digest_size=32)
    digest.update(pyc)
    digest.update(source or b"")
    return digest.hexdigest()


def judge_files(pyc: str, source: str | None) -> str:
    """Return the judgement on the file ``pyc``, reading it and its source; a blank; the binding of what was read."""
    name = os.path.basename(pyc)
    try:
        data, body, mtime = read(pyc, source)
    except OSError:
        return "stale -"
    bound = binding(data, body, mtime=mtime, name=name)
    if len(data) > MAX_BYTES:
        return f"forged {bound}"
    return f"{judgement(data, body, mtime=mtime, name=name, filename=source or pyc)} {bound}"


def main() -> None:
    """Judge what stdin lists."""
    import json

    sys.setrecursionlimit(10_000)
    for pyc, source in json.load(sys.stdin):
        sys.stdout.write(judge_files(pyc, source) + "\n")
        # At once: when a source crashes the compiler, the line that is missing tells which.
        sys.stdout.flush()


if __name__ == "__main__":
    main()
