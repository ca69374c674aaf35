"""A process is killed at a call, at any one of them, and at any moment: nobody has to repair anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from typing import Final

from faults.operations import OPERATIONS, Operation, Stage
from faults.rows import Claim, Count, thinned
from faults.tracing import Call, calls, trial, unfit

_LEAST: Final = 30
"""Calls of an operation that the short form, too, tries."""
_ROUNDS: Final = 3
"""Plain runs before the list of calls is believed: the first may import."""


def calls_of(stage: Stage) -> list[Call]:
    """Return the calls that the operation makes on its own files."""
    log: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        stage.reset()
        ended = trial(
            lambda: stage.operation.work(stage.root), stage.directory, trace=True, follow=stage.operation.follow
        )
        if ended.answer not in stage.operation.good:
            raise AssertionError(f"{stage.operation.name} does not work: {ended.answer}\n{ended.output}")
        log = ended.log
    return calls(log, below=stage.root)


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
    for call in thinned(calls_of(stage), scale, least=_LEAST):
        stage.reset()
        ended = trial(
            lambda: operation.work(stage.root), directory, inject=f"{call.name}:signal=SIGKILL:when={call.nth}",
            follow=operation.follow,
        )  # fmt: skip
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
    for name, operation in OPERATIONS.items()
)  # fmt: skip
