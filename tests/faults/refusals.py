"""The operating system refuses a call: the answer stays right, nothing half-written stays, the next one works."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from faults.every import EVERY
from faults.kills import again, calls_of
from faults.operations import Operation, Stage, torn
from faults.rows import Claim, Count, thinned
from faults.tracing import Call, Ended, trial, unfit

ERRORS: Final = ("ENOSPC", "EIO", "EMFILE", "EROFS", "EACCES", "EDQUOT")
_LEAST: Final = 8
"""Refusals of an operation that the short form, too, tries."""
_LEAST_LONG: Final = 5
"""The same of one that takes long."""
_EVERY: Final = 2.0
"""The scale from which on nothing is left out."""
_SIZES: Final = (1, 7, 512, 4096)
"""Bytes that a short write or read takes at most."""
_ENDS: Final = (1, 100, 512, 4096, 20_000)
"""Limits of a file's size, bytes."""


def _refusals(found: list[Call], *, each: bool) -> Iterator[tuple[str, str]]:
    """Give each refusal as strace wants it, with its name: one call, and all of its kind from that one on.

    Unless ``each``, a call has one of the errors, in turn.
    """
    last = {call.name: call.nth for call in found}
    for number, call in enumerate(found):
        for error in ERRORS if each else ERRORS[number % len(ERRORS) :][:1]:
            yield f"{call.name}:error={error}:when={call.nth}", f"{error} at {call.where}"
            if call.nth < last[call.name]:
                spell = f"{call.name}:error={error}:when={call.nth}..{last[call.name]}"
                yield spell, f"{error} from {call.where} on"


def judged(stage: Stage, ended: Ended) -> Iterator[str]:
    """Say what is wrong after a piece of work that was refused something."""
    operation = stage.operation
    if ended.hung:
        yield "hung"
    elif ended.answer is None:
        yield f"ended by signal {ended.signal}"
    elif ended.answer in operation.good:
        yield from (
            f"said {ended.answer}, but {problem}" for problem in (operation.right or operation.complete)(stage.root)
        )
    elif not operation.fallback(ended.answer):
        yield f"answered {ended.answer} {_last_lines(ended.output)}"
    if "Traceback" in ended.output and not (ended.answer or "").startswith("raised"):
        yield f"a traceback: {_last_lines(ended.output)}"
    yield from operation.problems(stage.root)
    yield from again(stage)


def _last_lines(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[-3:])


def _at_every_call(operation: Operation, directory: str, scale: float) -> Count:
    stage, count = Stage(operation, directory), Count()
    refusals = _refusals(calls_of(stage), each=scale >= _EVERY or not operation.long)
    for inject, name in thinned(refusals, scale, least=_LEAST_LONG if operation.long else _LEAST):
        stage.reset()
        ended = trial(lambda: operation.work(stage.root), directory, inject=inject, follow=operation.follow)
        count.add(judged(stage, ended), of=name)
    return count


def _lying(operation: Operation, directory: str, scale: float) -> Count:
    """Have writes say that they took bytes that they did not take."""
    stage, count = Stage(operation, directory), Count()
    writes = [call for call in calls_of(stage) if call.name == "write"]
    for call in writes:
        for size in thinned(_SIZES, scale, least=1):
            stage.reset()
            inject = f"write:retval={size}:when={call.nth}"
            ended = trial(lambda: operation.work(stage.root), directory, inject=inject, follow=operation.follow)
            problems = [f"ended as {ended.answer} {ended.output[-300:]}"] if ended.answer not in operation.good else []
            damaged = set(torn(stage.root))
            # The disk's lie shows when it is read, and then the thing is made again.
            problems += [problem for problem in operation.problems(stage.root) if problem not in damaged]
            count.add([*problems, *again(stage)], of=f"{call.where} takes nothing and says {size}")
    return count


def _short(size: int, work: Callable[[], str]) -> str:
    """Do ``work`` where no write and no read takes more than ``size`` bytes."""
    write, read = os.write, os.read
    os.write = lambda handle, data, /: write(handle, memoryview(data)[:size])
    os.read = lambda handle, length, /: read(handle, min(length, size))
    return work()


def _limited(kind: int, limit: int, work: Callable[[], str]) -> str:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, hard))
    try:
        return work()
    finally:
        resource.setrlimit(kind, (hard, hard))


def _untraced(operation: Operation, directory: str, scale: float) -> Count:
    """Have writes and reads be short, files limited in size, and descriptors few."""
    stage, count = Stage(operation, directory), Count()
    works: list[tuple[str, Callable[[Callable[[], str]], str]]] = []
    works += [(f"at most {size} bytes at once", partial(_short, size)) for size in _SIZES if size > 1 or scale >= 1]
    works += [(f"files of at most {size} bytes", partial(_limited, resource.RLIMIT_FSIZE, size)) for size in _ENDS]
    open_now = len(os.listdir("/proc/self/fd"))
    works += [
        (f"{more} more descriptors", partial(_limited, resource.RLIMIT_NOFILE, open_now + more)) for more in range(12)
    ]
    for name, limited in thinned(works, scale, least=_LEAST):
        stage.reset()
        ended = trial(partial(limited, partial(operation.work, stage.root)), directory)
        count.add(judged(stage, ended), of=name)
    return count


CLAIMS: Final = tuple(
    claim
    for name, operation in EVERY.items()
    for claim in (
        Claim(
            part="refusals", name=name, text=f"an error of {len(ERRORS)} kinds at each system call of {name}",
            try_=partial(_at_every_call, operation), unfit=unfit,
        ),
        *(
            Claim(
                part="lies", name=name, text=f"a write of {name} that takes less than it says",
                try_=partial(_lying, operation), unfit=unfit,
            ),
        )[: operation.writes and operation.proves],
        Claim(
            part="limits", name=name, text=f"{name} with short reads and writes, small files, few descriptors",
            try_=partial(_untraced, operation),
        ),
    )
)  # fmt: skip
