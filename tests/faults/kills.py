"""A process is killed at a call, at any one of them, and at any moment: nobody has to repair anything."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Final

from faults.every import EVERY
from faults.operations import Operation, Stage
from faults.rows import Claim, Count, thinned
from faults.tracing import Call, calls, trial, unfit

_LEAST: Final = 12
"""Calls of an operation that the short form, too, tries."""
_LEAST_LONG: Final = 6
"""The same of one that takes long."""
_EVERY: Final = 2.0
"""The scale from which on nothing is left out."""


def warm(stage: Stage) -> None:
    """Import what the operation imports late: a trial is about the work, not about imports."""

    def names() -> str:
        stage.operation.work(stage.root)
        return "\n".join(sys.modules)

    stage.reset()
    for name in (trial(names, stage.directory).answer or "").splitlines():
        with contextlib.suppress(ImportError):
            import_module(name)


def calls_of(stage: Stage) -> list[Call]:
    """Return the calls that the operation makes on its own files."""
    warm(stage)
    stage.reset()
    ended = trial(lambda: stage.operation.work(stage.root), stage.directory, trace=True, follow=stage.operation.follow)
    if ended.answer not in stage.operation.good:
        raise AssertionError(f"{stage.operation.name} does not work: {ended.answer}\n{ended.output}")
    return calls(ended.log, below=stage.root)


def again(stage: Stage) -> Iterator[str]:
    """Do the operation again, undisturbed, and say what is wrong then."""
    ended = trial(lambda: stage.operation.work(stage.root), stage.directory)
    if ended.hung:
        yield "the next one hung"
    elif ended.answer not in stage.operation.good:
        yield f"the next one: {ended.answer} {ended.output[-300:]}"
    else:
        yield from stage.operation.complete(stage.root)


def _at_every_call(operation: Operation, directory: str, scale: float) -> Count:
    stage, count = Stage(operation, directory), Count()
    found = calls_of(stage)
    if operation.long and scale < _EVERY:
        # Killed at a call that only reads, it leaves what it leaves when it is killed at the next one that changes.
        found = [call for call in found if call.changes]
    for call in thinned(found, scale, least=_LEAST_LONG if operation.long else _LEAST):
        stage.reset()
        ended = trial(
            lambda: operation.work(stage.root), directory, inject=f"{call.name}:signal=SIGKILL:when={call.nth}",
            follow=operation.follow,
        )  # fmt: skip
        if ended.signal != signal.SIGKILL and ended.answer in operation.good:
            # This time it made fewer such calls: nothing was tried.
            continue
        if ended.signal != signal.SIGKILL:
            count.add([f"was not killed: {ended.answer} {ended.output[-300:]}"], of=call.where)
            continue
        count.add([*operation.problems(stage.root), *again(stage)], of=call.where)
    return count


CLAIMS: Final = tuple(
    Claim(
        part="kills", name=name, text=f"SIGKILL at each system call of {name}: no repair needed, nothing lost",
        try_=partial(_at_every_call, operation), unfit=unfit,
    )
    for name, operation in EVERY.items()
)  # fmt: skip
