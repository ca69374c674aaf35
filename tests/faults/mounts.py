"""The store on a real filesystem that is full, nearly full, or read-only, in a mount namespace of its own."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final

from faults.every import EVERY
from faults.operations import Operation, Stage
from faults.refusals import judged
from faults.rows import Claim, Count, thinned
from faults.tracing import trial

_NEWNS: Final = 0x00020000
_NEWUSER: Final = 0x10000000
_PRIVATE: Final = 0x40000 | 0x4000
_RDONLY, _REMOUNT, _BIND = 1, 32, 4096
_SIZE: Final = 1024 * 1024
_PAGE: Final = 4096
_FREE: Final = (*range(32), *range(32, 128, 4), 160, 200)
"""Pages that are free when the operation begins."""


def enter() -> None:
    """Give this process mounts of its own; raise OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEWNS) != 0:
        # Without privileges, in a user namespace in which this user is root.
        _done(libc.unshare(_NEWUSER | _NEWNS))
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    _mount("none", "/", None, _PRIVATE, "")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    named = kind.encode() if kind is not None else None
    _done(libc.mount(source.encode(), target.encode(), named, ctypes.c_ulong(flags), options.encode()))


def _unmount(target: str) -> None:
    _done(ctypes.CDLL(None, use_errno=True).umount2(target.encode(), 2))


def _done(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def within(work: Callable[[], Count]) -> Count:
    """Do ``work`` in a child that has mounts of its own, and return its count."""
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(said)
            try:
                enter()
                count = work()
            except BaseException as error:  # noqa: BLE001 - whatever it raises is a failure
                count = Count(trials=1, failures=[f"raised {error!r}"])
            with os.fdopen(say, "w", encoding="utf-8") as stream:
                json.dump([count.trials, count.failures], stream)
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(said, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    trials, failures = json.loads(text) if text else (1, ["said nothing"])
    return Count(trials=trials, failures=failures)


@cache
def unfit() -> str:
    """Return why mounts cannot be tried here; empty when they can."""
    tried = within(Count)
    return "no mount namespace is allowed here" if tried.failures else ""


class Mounted:
    """A stage whose cache directory is a filesystem of its own."""

    def __init__(self, operation: Operation, directory: str) -> None:
        self.stage = Stage(operation, directory)
        self.cache = f"{self.stage.root}/cache"

    def put(self, options: str) -> None:
        """Mount an empty filesystem in the cache's place, with what was in it."""
        self.stage.reset()
        os.makedirs(self.cache, mode=0o700, exist_ok=True)
        aside = f"{self.stage.directory}/aside"
        shutil.move(self.cache, aside)
        os.mkdir(self.cache)
        _mount("none", self.cache, "tmpfs", 0, options)
        shutil.copytree(aside, self.cache, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(aside)

    def fill(self, pages: int) -> None:
        """Leave so many pages free."""
        path = f"{self.cache}/filler"
        with open(path, "wb", buffering=0) as stream:
            while True:
                try:
                    stream.write(bytes(_PAGE))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
            stream.truncate(max(0, stream.tell() - pages * _PAGE))

    def work(self) -> Iterator[str]:
        """Do the operation, and say what is wrong; the second try has a filesystem that is as it should be."""
        ended = trial(lambda: self.stage.operation.work(self.stage.root), self.stage.directory)
        Path(f"{self.cache}/filler").unlink(missing_ok=True)
        yield from judged(self.stage, ended)


def _full(operation: Operation, directory: str, scale: float) -> Count:
    def work() -> Count:
        mounted, count = Mounted(operation, directory), Count()
        for pages in thinned(_FREE, scale, least=2):
            mounted.put(f"size={_SIZE},mode=0700")
            mounted.fill(pages)
            count.add(mounted.work(), of=f"{pages * _PAGE} bytes free")
            _unmount(mounted.cache)
        return count

    return within(work)


def _few_inodes(operation: Operation, directory: str, scale: float) -> Count:
    def work() -> Count:
        mounted, count = Mounted(operation, directory), Count()
        there = sum(len(files) + len(folders) for _, folders, files in os.walk(f"{directory}/before/cache")) + 1
        for more in thinned(range(12), scale, least=2):
            mounted.put(f"size={_SIZE * 4},mode=0700,nr_inodes={there + more + 1}")
            ended = trial(lambda: operation.work(mounted.stage.root), directory)
            _mount("none", mounted.cache, "tmpfs", _REMOUNT, f"size={_SIZE * 4},mode=0700,nr_inodes=1000")
            count.add(judged(mounted.stage, ended), of=f"{more} more inodes")
            _unmount(mounted.cache)
        return count

    return within(work)


def _read_only(operation: Operation, directory: str, scale: float) -> Count:
    def work() -> Count:
        mounted, count = Mounted(operation, directory), Count()
        mounted.put(f"size={_SIZE * 4},mode=0700")
        _mount("none", mounted.cache, "tmpfs", _REMOUNT | _RDONLY, "")
        ended = trial(lambda: operation.work(mounted.stage.root), directory)
        _mount("none", mounted.cache, "tmpfs", _REMOUNT, "")
        count.add(judged(mounted.stage, ended))
        _unmount(mounted.cache)
        return count

    return within(work)


CLAIMS: Final = tuple(
    claim
    for name, operation in EVERY.items()
    for claim in (
        Claim(
            part="full", name=name, text=f"{name} with the store on a 1 MiB tmpfs that is nearly full",
            try_=partial(_full, operation), unfit=unfit,
        ),
        Claim(
            part="inodes", name=name, text=f"{name} with the store on a tmpfs with few inodes left",
            try_=partial(_few_inodes, operation), unfit=unfit,
        ),
        Claim(
            part="read-only", name=name, text=f"{name} with the store on a filesystem mounted read-only",
            try_=partial(_read_only, operation), unfit=unfit,
        ),
    )
)  # fmt: skip
