"""Holders that are dead or stopped, or whose number is another's by now: every wait ends and says for whom it was."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from envid.errors import EnvidError, GuardTimeout
from envid.guard import hold
from envid.store import collection, flight
from envid.store.usage import using
from faults.operations import NEW, place_of, with_older
from faults.rows import Claim, Count

WAIT: Final = 0.3
"""Seconds that a waiter gives its holder here."""
_LATE: Final = 3.0
"""Seconds by which a wait may be longer on a machine that is busy."""


@contextmanager
def holder(enter: Callable[[], None]) -> Iterator[int]:
    """Have a process that calls ``enter`` and then does nothing; it is killed in the end."""
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            enter()
            os.write(say, b"h")
            signal.pause()
        finally:
            os._exit(0)
    os.close(say)
    try:
        if os.read(said, 1) != b"h":
            raise AssertionError("the holder does not hold")
        yield child
    finally:
        os.close(said)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


_KEPT: Final[list[AbstractContextManager[object]]] = []
T = TypeVar("T")


def _keep(block: AbstractContextManager[T]) -> T:
    """Enter a block that is left by nothing but the end of the process."""
    _KEPT.append(block)
    return block.__enter__()


def _entered(block: AbstractContextManager[object]) -> None:
    _keep(block)


def _holding(path: str, *, shared: bool = False) -> Callable[[], None]:
    def enter() -> None:
        _keep(hold(path, purpose="faults", shared=shared))

    return enter


def _waits(path: str, *wanted: str) -> Iterator[str]:
    """Wait for the guard, and say what is wrong when the wait is not bounded or names somebody else."""
    start = time.monotonic()
    try:
        with hold(path, timeout=WAIT):
            yield "the guard was had, although somebody holds it"
    except GuardTimeout as error:
        for word in wanted:
            if word not in error.message:
                yield f"`{word}` is not in: {error.message}"
    yield from _late(start, WAIT)


def _late(start: float, bound: float) -> Iterator[str]:
    took = time.monotonic() - start
    if took > bound + _LATE:
        yield f"the wait of {bound} s took {took:.1f} s"


def _living(path: str) -> Iterator[str]:
    with holder(_holding(path)) as process:
        yield from _waits(path, f"process {process} (faults)")


def _killed(path: str) -> Iterator[str]:
    with holder(_holding(path)):
        pass
    start = time.monotonic()
    with hold(path, timeout=WAIT):
        pass
    yield from _late(start, 0)


def _stopped(path: str) -> Iterator[str]:
    with holder(_holding(path)) as process:
        os.kill(process, signal.SIGSTOP)
        os.waitpid(process, os.WUNTRACED)
        yield from _waits(path, f"process {process}", "stopped")


def _sharing(path: str) -> Iterator[str]:
    with holder(_holding(path, shared=True)):
        yield from _waits(path, "is held by")
        with hold(path, timeout=WAIT, shared=True):
            pass


def _outlived(path: str, *, reaped: bool = True) -> Iterator[str]:
    """The holder is dead, and what it started has its descriptor."""

    def enter() -> None:
        held = _keep(hold(path, purpose="faults"))
        ready, go = os.pipe()
        if os.fork() == 0:
            os.set_inheritable(held.descriptor, True)
            os.write(go, b"h")
            signal.pause()
        os.read(ready, 1)

    with holder(enter) as process:
        child = _child_of(process)
        os.kill(process, signal.SIGKILL)
        _gone(process)
        if reaped:
            os.waitpid(process, 0)
        try:
            yield from _waits(path, f"a child of process {process}, which has ended")
        finally:
            os.kill(child, signal.SIGKILL)
            _gone(child)


def _unreaped(path: str) -> Iterator[str]:
    """The same, in a container whose first process waits for nobody: the dead one is still in the list."""
    yield from _outlived(path, reaped=False)


def _child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()[0])


def _gone(process: int) -> None:
    """Wait until a process runs no more; a zombie does not."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        if text.rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.005)


def _recycled(path: str) -> Iterator[str]:
    """The number in the guard file is by now that of a process which has nothing to do with it."""
    with holder(_holding(path)) as process:
        words = Path(path).read_text(encoding="utf-8").split()
        assert words[0] == str(process)
        words[0] = str(os.getpid())
        Path(path).write_text(" ".join(words), encoding="utf-8")
        yield from _waits(path, f"a child of process {os.getpid()}, which has ended")


def _elsewhere(path: str) -> Iterator[str]:
    with holder(_holding(path)):
        Path(path).write_text("1 1 another.example envid sync\n", encoding="utf-8")
        yield from _waits(path, "process 1 on another.example (envid sync)")


def _odd(path: str) -> Iterator[str]:
    with holder(_holding(path)):
        for text in (b"", b"\xff\xfe", b"1", b"-1 2 3", b"9" * 5000, b"1\n\n\n", b"\x00" * 600, "٣ 1 host".encode()):
            Path(path).write_bytes(text)
            yield from _waits(path, "is held by")


def _flight(path: str) -> Iterator[str]:
    """A flight goes on by itself when its wait is over, and says for whom it waited."""
    root = os.path.dirname(path)
    with_older(root)
    place = place_of(root)
    with holder(lambda: _entered(flight.single(place, NEW, wait=5, purpose="faults"))) as process:
        os.kill(process, signal.SIGSTOP)
        start = time.monotonic()
        with flight.single(place_of(root), NEW, wait=WAIT, purpose="faults") as found:
            if found.alone or not found.waited:
                yield f"not told that another one makes it: {found}"
            if str(process) not in found.note or "stopped" not in found.note:
                yield f"the holder is not named: {found.note}"
        yield from _late(start, WAIT)
        os.kill(process, signal.SIGCONT)
    start = time.monotonic()
    with flight.single(place_of(root), NEW, wait=WAIT, purpose="faults") as found:
        if not found.alone:
            yield f"a dead one is still waited for: {found}"
    yield from _late(start, 0)


def _collecting(path: str) -> Iterator[str]:
    """The collection does not wait for ever for a command that is stopped, and removes nothing then."""
    root = os.path.dirname(path)
    with_older(root)
    place = place_of(root)
    with holder(lambda: _entered(using(place, purpose="faults"))) as process:
        os.kill(process, signal.SIGSTOP)
        start = time.monotonic()
        try:
            collection.collect(place_of(root), max_size=0, max_age=0, now_ns=time.time_ns() + 10**15, wait=WAIT)
            yield "it collected beside a command that uses the store"
        except GuardTimeout as error:
            if "is held by" not in error.message:
                yield f"no holder is named: {error.message}"
        yield from _late(start, WAIT)
    collection.collect(place_of(root), max_size=0, max_age=0, now_ns=time.time_ns() + 10**15, wait=WAIT)


def _beside(path: str) -> Iterator[str]:
    """A command that uses the store does not wait for ever for a collection that is stopped."""
    root = os.path.dirname(path)
    with_older(root)
    place = place_of(root)
    with holder(_holding(f"{place.area('guards-v1')}/gc")) as process:
        os.kill(process, signal.SIGSTOP)
        start = time.monotonic()
        with using(place_of(root), wait=WAIT) as away:
            if away:
                yield "it was told that the collection is kept away"
        yield from _late(start, WAIT)


_SCENES: Final[dict[str, tuple[Callable[[str], Iterator[str]], str]]] = {
    "living": (_living, "a wait for a living holder is bounded and names it"),
    "killed": (_killed, "the guard of a holder that was killed is had at once"),
    "stopped": (_stopped, "a wait for a stopped holder is bounded and says that it is stopped"),
    "sharing": (_sharing, "a wait for those who share is bounded, and they let others share"),
    "outlived": (_outlived, "a wait for the child of a dead holder is bounded and says so"),
    "unreaped": (_unreaped, "a dead holder that nobody waited for is not said to hold"),
    "recycled": (_recycled, "a process with the number of a dead holder is not taken for it"),
    "elsewhere": (_elsewhere, "a holder on another host is named with its host"),
    "odd": (_odd, "whatever stands in a guard file, the wait is bounded and no error"),
    "flight": (_flight, "a flight goes on by itself after its wait, and names the holder"),
    "collecting": (_collecting, "the collection's wait for a stopped command is bounded"),
    "beside": (_beside, "a command's wait for a stopped collection is bounded"),
}


def _tried(scene: Callable[[str], Iterator[str]], directory: str, scale: float) -> Count:
    count = Count()
    for number in range(max(1, round(10 * scale))):
        own = f"{directory}/{number}"
        os.mkdir(own)
        try:
            count.add(scene(f"{own}/guard"))
        except EnvidError as error:
            count.add([f"raised {error!r}"])
    return count


CLAIMS: Final = tuple(
    Claim(part="waits", name=name, text=text, try_=partial(_tried, scene)) for name, (scene, text) in _SCENES.items()
)
