"""The power goes: every state that a disk may then be in, made from the calls of an operation, is read again.

What counts as safe is only what was synced: the bytes of a file that nobody synced may be lost, cut or zero, in part
or as a whole, and the names in a directory that nobody synced may be there or not, in any mixture. A name that was
replaced is the old one or the new one. What was there before the operation is taken to be synced.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final

from faults.commands import COMMANDS
from faults.every import EVERY
from faults.kills import again, warm
from faults.operations import Operation, Stage
from faults.rows import Claim, Count, thinned
from faults.tracing import END, READING, trial, unfit

_STATES: Final = 5000
"""States of one operation, about, at scale 1; what is more is drawn by lot, as many of each moment."""
_STATES_LONG: Final = 800
"""The same of a whole command."""
_FEWEST: Final = 3
"""States of one moment that the short form, too, looks at."""
_MOMENTS: Final = 4
"""Moments of an operation that takes long, in the short form."""
_CUTS: Final = 128
"""Places where the bytes of a file are cut, at scale 1."""
_UMASK: Final = os.umask(0o022)
os.umask(_UMASK)


class Node:
    """A file, a link or a directory, with what is safe of it and what is not."""

    __slots__ = ("entries", "mode", "now", "safe", "target", "time")

    def __init__(self, *, mode: int, directory: bool = False, data: bytes = b"", target: str | None = None) -> None:
        self.mode = mode
        self.time: int | None = None
        """When it was changed last, in nanoseconds; None for what is changed now."""
        self.entries: dict[str, list[Node | None]] | None = {} if directory else None
        """Name to what it has meant since the last sync of the directory, the first being safe."""
        self.safe = data
        self.now = bytearray(data)
        self.target = target

    def sync(self) -> None:
        """Make safe what is now."""
        if self.entries is None:
            self.safe = bytes(self.now)
        else:
            self.entries = {name: history[-1:] for name, history in self.entries.items() if history[-1] is not None}

    def variants(self, cuts: int) -> list[bytes]:
        """Return what may be read after the power came back."""
        now = bytes(self.now)
        if now == self.safe:
            return [now]
        # What was appended to safe bytes leaves those alone.
        start = len(self.safe) if now.startswith(self.safe) else 0
        size = len(now)
        places = {start, start + 1, start + 13, size - 1, size - 32, size - 33}
        places |= {start + (size - start) * part // cuts for part in range(cuts)}
        found = dict.fromkeys((self.safe, now))
        for place in sorted(place for place in places if start <= place < size):
            found[now[:place]] = None
            found[now[:place] + bytes(size - place)] = None
            found[now[:start] + bytes(place - start) + now[place:]] = None
            found[now[:place] + bytes(min(512, size - place)) + now[place + 512 :]] = None
        return list(found)


def node_of(path: str) -> Node:
    """Return the tree at ``path``, all of it safe."""
    mode = os.lstat(path).st_mode & 0o7777
    if os.path.islink(path):
        return Node(mode=mode, target=os.readlink(path))
    if not os.path.isdir(path):
        node = Node(mode=mode, data=Path(path).read_bytes())
        node.time = os.lstat(path).st_mtime_ns
        return node
    node = Node(mode=mode, directory=True)
    assert node.entries is not None
    for name in os.listdir(path):
        node.entries[name] = [node_of(f"{path}/{name}")]
    return node


class Disk:
    """A directory tree that changes call by call."""

    def __init__(self, root: str, tree: Node) -> None:
        self.root = root
        self.tree = tree
        self._open: dict[tuple[str, int], tuple[Node, int, bool]] = {}
        """Process and descriptor to node, position, and whether it appends."""
        self._process = ""
        self._result = 0

    def step(self, line: str) -> bool:
        """Do one call of a log as ``tracing.trial`` makes it; return whether it may have changed something."""
        match = re.match(r"(?:(\d+) +)?(\w+)\((.*)\) += (-?\d+)", line)
        if match is None or match[4].startswith("-"):
            return False
        self._process, name, self._result = match[1] or "", match[2], int(match[4])
        arguments = [_decoded(argument) for argument in _split(match[3])]
        done = getattr(self, f"_{name}", None)
        if done is None:
            if self._concerns(line) and name not in _HARMLESS:
                raise NotImplementedError(f"no model of the call {name}: {line[:200]}")
            return False
        return bool(done(arguments))

    def _concerns(self, line: str) -> bool:
        return self.root in line or _in_hexadecimal(self.root) in line

    def _file(self, given: object) -> tuple[Node, int, bool] | None:
        """Return what a descriptor stands for: opened here, or inherited, which then writes at the end."""
        held = self._open.get((self._process, _number(given)))
        if held is None and isinstance(given, tuple):
            node = self.find(str(given[1]))
            return (node, len(node.now), True) if node is not None and node.entries is None else None
        return held

    def _keep(self, given: object, position: int) -> None:
        key = (self._process, _number(given))
        if key in self._open:
            node, _, appends = self._open[key]
            self._open[key] = (node, position, appends)

    def find(self, path: str) -> Node | None:
        """Return what ``path`` means now."""
        if path == self.root:
            return self.tree
        if not path.startswith(f"{self.root}/"):
            return None
        node: Node | None = self.tree
        for part in path[len(self.root) + 1 :].split("/"):
            if node is None or node.entries is None:
                return None
            node = node.entries.get(part, [None])[-1]
        return node

    def _name(self, path: str, node: Node | None) -> bool:
        parent = self.find(os.path.dirname(path))
        if parent is None or parent.entries is None:
            return False
        parent.entries.setdefault(os.path.basename(path), [None]).append(node)
        return True

    # --- the calls: descriptor arguments as (number, path), paths as str

    def _openat(self, given: list[object]) -> bool:
        path = self._at(given[0], given[1])
        self._open.pop((self._process, self._result), None)
        if not (path == self.root or path.startswith(f"{self.root}/")):
            return False
        flags, node = str(given[2]), self.find(path)
        changed = False
        if node is None:
            assert "O_CREAT" in flags, path
            node = Node(mode=int(str(given[3]), 8) & ~_UMASK)
            changed = self._name(path, node)
        if "O_TRUNC" in flags:
            node.now, changed = bytearray(), True
        self._open[self._process, self._result] = (node, 0, "O_APPEND" in flags)
        return changed

    def _close(self, given: list[object]) -> bool:
        self._open.pop((self._process, _number(given[0])), None)
        return False

    def _read(self, given: list[object]) -> bool:
        held = self._file(given[0])
        if held is not None:
            self._keep(given[0], held[1] + self._result)
        return False

    def _lseek(self, given: list[object]) -> bool:
        self._keep(given[0], self._result)
        return False

    def _write(self, given: list[object]) -> bool:
        held = self._file(given[0])
        if held is None:
            return False
        node, position, appends = held
        if appends:
            position = len(node.now)
        self._keep(given[0], position + self._result)
        return _put(node, position, given[1], self._result)

    def _copy_file_range(self, given: list[object]) -> bool:
        source, target = self._file(given[0]), self._file(given[2])
        if source is None or target is None:
            return False
        start, end = source[1], len(target[0].now) if target[2] else target[1]
        self._keep(given[0], start + self._result)
        self._keep(given[2], end + self._result)
        return _put(target[0], end, os.fsdecode(bytes(source[0].now[start : start + self._result])), self._result)

    def _pwrite64(self, given: list[object]) -> bool:
        held = self._file(given[0])
        return held is not None and _put(held[0], int(str(given[3])), given[1], self._result)

    def _ftruncate(self, given: list[object]) -> bool:
        held = self._file(given[0])
        if held is None:
            return False
        node, size = held[0], int(str(given[1]))
        node.now = node.now[:size] + bytes(max(0, size - len(node.now)))
        return True

    def _fallocate(self, given: list[object]) -> bool:
        held = self._file(given[0])
        if held is None:
            return False
        node, size = held[0], int(str(given[2])) + int(str(given[3]))
        node.now += bytes(max(0, size - len(node.now)))
        return True

    def _fsync(self, given: list[object]) -> bool:
        held = self._open.get((self._process, _number(given[0])))
        if held is None:
            return False
        held[0].sync()
        return True

    _fdatasync = _fsync

    def _fchmod(self, given: list[object]) -> bool:
        held = self._open.get((self._process, _number(given[0])))
        if held is not None:
            held[0].mode = int(str(given[1]), 8)
        return False

    def _chmod(self, given: list[object]) -> bool:
        node = self.find(self._at(None, given[0]))
        if node is not None:
            node.mode = int(str(given[1]), 8)
        return False

    def _fchmodat(self, given: list[object]) -> bool:
        return self._chmod([self._at(given[0], given[1]), given[2]])

    def _mkdir(self, given: list[object]) -> bool:
        return self._name(self._at(None, given[0]), Node(mode=int(str(given[1]), 8) & ~_UMASK, directory=True))

    def _mkdirat(self, given: list[object]) -> bool:
        return self._mkdir([self._at(given[0], given[1]), given[2]])

    def _symlink(self, given: list[object]) -> bool:
        return self._name(self._at(None, given[1]), Node(mode=0o777, target=str(given[0])))

    def _symlinkat(self, given: list[object]) -> bool:
        return self._symlink([given[0], self._at(given[1], given[2])])

    def _unlink(self, given: list[object]) -> bool:
        return self._name(self._at(None, given[0]), None)

    _rmdir = _unlink

    def _unlinkat(self, given: list[object]) -> bool:
        return self._name(self._at(given[0], given[1]), None)

    def _link(self, given: list[object]) -> bool:
        return self._name(self._at(None, given[1]), self.find(self._at(None, given[0])))

    def _linkat(self, given: list[object]) -> bool:
        return self._name(self._at(given[2], given[3]), self.find(self._at(given[0], given[1])))

    def _rename(self, given: list[object]) -> bool:
        old, new = self._at(None, given[0]), self._at(None, given[1])
        return self._name(new, self.find(old)) | self._name(old, None)

    def _renameat(self, given: list[object]) -> bool:
        return self._rename([self._at(given[0], given[1]), self._at(given[2], given[3])])

    _renameat2 = _renameat

    def _at(self, where: object, name: object) -> str:
        """Return the absolute path that a call means; commands work in the project."""
        base = str(where[1]) if isinstance(where, tuple) else f"{self.root}/project"
        return os.path.normpath(os.path.join(base, str(name)))


_HARMLESS: Final = frozenset((*READING, "utimensat"))


def joined(log: Iterable[str]) -> Iterator[str]:
    """Give the lines of a log with each call that another process's interrupted in one piece, where it ended."""
    begun: dict[str, str] = {}
    for line in log:
        process, _, rest = line.partition(" ")
        if line.endswith("<unfinished ...>"):
            begun[process] = line.removesuffix("<unfinished ...>")
        elif "resumed>" in line and process in begun:
            yield begun.pop(process) + rest.partition("resumed>")[2]
        else:
            yield line


def _split(text: str) -> list[str]:
    """Return the arguments of a call; strings are hexadecimal and hold no comma."""
    return [part.strip() for part in text.split(",")]


def _decoded(argument: str) -> object:
    if argument.startswith('"'):
        return os.fsdecode(_bytes(argument.strip('".')))
    match = re.fullmatch(r"(-?\d+|AT_FDCWD)<(.*)>(?:\(deleted\))?", argument)
    if match is not None:
        return -100 if match[1] == "AT_FDCWD" else int(match[1]), os.fsdecode(_bytes(match[2]))
    return argument


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


def _number(given: object) -> int:
    return int(given[0]) if isinstance(given, tuple) else int(str(given))


def _put(node: Node, position: int, data: object, size: int) -> bool:
    written = os.fsencode(str(data))[:size]
    node.now += bytes(max(0, position - len(node.now)))
    node.time = None
    node.now[position : position + len(written)] = written
    return True


# --- the states -----------------------------------------------------------------------------

State = tuple[tuple[str, int, bytes | str | None, int | None], ...]
"""Path, mode, bytes of a file (target of a link, None for a directory), time; parents before what is in them."""


def states(tree: Node, *, limit: int, cuts: int, seed: int) -> Iterator[State]:
    """Give every state that may be found when the power goes now, or ``limit`` of them by lot."""
    pending: list[list[Node | None]] = []
    files: list[Node] = []
    for node in _every(tree):
        if node.entries is None:
            files += [node] if bytes(node.now) != node.safe else []
        else:
            pending += [history for history in node.entries.values() if len(history) > 1]
    named = [list(dict.fromkeys(history)) for history in pending]
    held = [node.variants(cuts) for node in files]
    sizes = [*map(len, named), *map(len, held)]
    total = 1
    for size in sizes:
        total *= size
    drawn: Iterator[tuple[int, ...]] = itertools.product(*(range(size) for size in sizes))
    if total > limit:
        lot = random.Random(seed)
        drawn = (tuple(lot.randrange(size) for size in sizes) for _ in range(limit))
    for numbers in drawn:
        names = {id(history): named[at][numbers[at]] for at, history in enumerate(pending)}
        data = {id(node): held[at][numbers[len(named) + at]] for at, node in enumerate(files)}
        yield tuple(_flat(tree, "", names, data))


def _every(tree: Node) -> list[Node]:
    """Return every node that has or had a name, once."""
    found: dict[int, Node] = {}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        if node.entries is not None:
            waiting += [one for history in node.entries.values() for one in history if one is not None]
    return list(found.values())


def _flat(
    node: Node, path: str, names: dict[int, Node | None], data: dict[int, bytes]
) -> Iterator[tuple[str, int, bytes | str | None, int | None]]:
    if node.entries is None:
        yield path, node.mode, node.target if node.target is not None else data.get(id(node), node.safe), node.time
        return
    yield path, node.mode, None, None
    for name, history in sorted(node.entries.items()):
        found = names[id(history)] if id(history) in names else history[-1]
        if found is not None:
            yield from _flat(found, f"{path}/{name}", names, data)


def materialise(state: State, root: str) -> None:
    """Make ``state`` at ``root``."""
    shutil.rmtree(root, ignore_errors=True)
    for path, mode, what, time in state:
        if what is None:
            os.mkdir(root + path)
            os.chmod(root + path, mode | 0o700)
        elif isinstance(what, str):
            os.symlink(what, root + path)
        else:
            handle = os.open(root + path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            os.fchmod(handle, mode)
            os.write(handle, what)
            os.close(handle)
            if time is not None:
                os.utime(root + path, ns=(time, time))


def _lost(operation: Operation, directory: str, scale: float) -> Count:
    stage, count = Stage(operation, directory), Count()
    warm(stage)
    stage.reset()
    ended = trial(lambda: operation.work(stage.root), directory, trace=True, whole=True)
    assert ended.answer in operation.good, ended
    stage.reset()
    disk = Disk(stage.root, node_of(stage.root))
    seen: set[State] = set()
    log = list(itertools.takewhile(_is_before_the_end, joined(ended.log)))
    moments = _moments(stage, log)
    chosen = set(thinned(moments, scale, least=_MOMENTS)) if operation.long else set(moments)
    most = _STATES_LONG if operation.name in COMMANDS else _STATES
    limit, cuts = max(_FEWEST, round(most / len(moments) * scale)), max(2, round(_CUTS * scale))
    for moment, line in enumerate(log):
        if not disk.step(line) or moment not in chosen:
            continue
        for state in states(disk.tree, limit=limit, cuts=cuts, seed=moment):
            if state not in seen:
                seen.add(state)
                materialise(state, stage.root)
                count.add([*operation.after_power(stage.root), *again(stage)], of=f"moment {moment}")
    return count


def _is_before_the_end(line: str) -> bool:
    return END not in line and _in_hexadecimal(END) not in line


def _moments(stage: Stage, log: list[str]) -> list[int]:
    """Return the moments after which the disk is another."""
    disk = Disk(stage.root, node_of(stage.root))
    return [moment for moment, line in enumerate(log) if disk.step(line)]


@cache
def _in_hexadecimal(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


CLAIMS: Final = tuple(
    Claim(
        part="power", name=name, text=f"the power goes during {name}: states of the disk that are legal then",
        try_=partial(_lost, operation), unfit=unfit,
    )
    for name, operation in EVERY.items()
    if operation.writes
)  # fmt: skip
