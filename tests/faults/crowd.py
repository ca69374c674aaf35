"""Many processes at a time on one store, and processes that are killed at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from envid.guard import hold
from faults.mixed import GENTLE, HARSH, Worker, problems
from faults.operations import older_lost, torn, with_older
from faults.rows import Claim, Count
from faults.tracing import trial

PROCESSES: Final = 8
OPERATIONS: Final = 500
KILLS: Final = 3000
"""Kills at a random moment, in the long form."""
_SERIES: Final = 60
"""Kills after which a store is looked at as a whole and begun anew."""
_LATEST: Final = 0.04
"""Seconds into its work, at most, that a worker is killed."""
HOLDERS: Final = 4
HOLDS: Final = 100
_DEADLINE: Final = 300.0
"""Seconds after which a crowd hangs."""


class Crowd:
    """Processes that work at the same time, each with a file for what it has to say."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.members: dict[int, str] = {}
        self._number = 0

    def start(self, work: Callable[[], str]) -> int:
        """Start one; what it returns or raises is what it says."""
        self._number += 1
        said = f"{self.directory}/said-{self._number}"
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                try:
                    answer = work()
                except BaseException as error:  # noqa: BLE001 - whatever it raises is the answer
                    answer = f"raised {type(error).__name__}: {error}"
                Path(said).write_text(answer, encoding="utf-8")
            finally:
                os._exit(0)
        self.members[child] = said
        return child

    def wait(self, deadline: float) -> list[str]:
        """Return what each said; who does not end in time is killed, and said to hang."""
        answers, end = [], time.monotonic() + deadline
        for child, said in self.members.items():
            handle = os.pidfd_open(child)
            try:
                if not _ends(handle, end):
                    os.kill(child, signal.SIGKILL)
                    answers.append("hung")
                    os.waitpid(child, 0)
                    continue
                os.waitpid(child, 0)
            finally:
                os.close(handle)
            answers.append(Path(said).read_text(encoding="utf-8") if os.path.exists(said) else "said nothing")
        self.members.clear()
        return answers


def _ends(handle: int, end: float) -> bool:
    import select

    return bool(select.select([handle], [], [], max(0.0, end - time.monotonic()))[0])


def _mixed(kinds: tuple[str, ...], directory: str, scale: float) -> Count:
    count, operations = Count(), max(25, round(OPERATIONS * scale))
    root = f"{directory}/root"
    os.mkdir(root)
    with_older(root)
    processes = PROCESSES if scale >= 1 else PROCESSES // 2
    crowd = Crowd(directory)
    for seed in range(processes):
        crowd.start(lambda seed=seed: Worker(root, seed, kinds=kinds).work(operations))  # type: ignore[misc]
    for answer in crowd.wait(_DEADLINE):
        count.add([] if answer == "well" else [answer])
    count.trials = processes * operations
    after = [*problems(root, lost=kinds == GENTLE)]
    if kinds == GENTLE:
        after += [*torn(root), *older_lost(root)]
    count.failures += after
    return count


def _killed(kinds: tuple[str, ...], directory: str, scale: float) -> Count:
    count, kills = Count(), max(_SERIES // 2, round(KILLS * scale))
    lot, root = random.Random(11), f"{directory}/root"
    for number in range(kills):
        if number % _SERIES == 0:
            shutil.rmtree(root, ignore_errors=True)
            os.mkdir(root)
            with_older(root)
        crowd = Crowd(directory)
        child = crowd.start(lambda: Worker(root, number, kinds=kinds).work(10**6))  # noqa: B023 - ends before
        time.sleep(lot.random() * _LATEST)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        said = crowd.wait(30)
        found = [one for one in said if one != "said nothing"]
        if kinds == GENTLE:
            found += [*torn(root), *older_lost(root)]
        found += problems(root, lost=kinds == GENTLE)
        if number % _SERIES == _SERIES - 1 or number == kills - 1:
            ended = trial(lambda: Worker(root, number, kinds=kinds).work(30), directory)  # noqa: B023
            found += [] if ended.answer == "well" else [f"the next one: {ended.answer} {ended.output[-300:]}"]
        count.add(found, of=f"kill {number}")
    return count


def _held(directory: str, scale: float) -> Count:
    """Have processes hold one guard alone and together; no two intervals overlap that must not."""
    count, holds = Count(), max(20, round(HOLDS * scale))
    path = f"{directory}/guard"
    crowd = Crowd(directory)
    for seed in range(HOLDERS):
        crowd.start(lambda seed=seed: _hold_often(path, seed, holds))  # type: ignore[misc]
    intervals: list[tuple[int, int, bool]] = []
    for answer in crowd.wait(_DEADLINE):
        if not answer.startswith("held"):
            count.add([answer])
            continue
        for word in answer.split()[1:]:
            times = [int(number) for number in word.split(",")]
            intervals.append((times[0], times[1], bool(times[2])))
            count.trials += 1
    intervals.sort()
    latest = (0, True)
    for start, end, shared in intervals:
        # All before began earlier: an overlap with any is one with the one that ends last, or with an exclusive one.
        if start < latest[0] and not (shared and latest[1]):
            count.failures.append(f"two holds overlap by {latest[0] - start} ns")
        if end > latest[0] or not shared:
            latest = (max(end, latest[0]), shared)
    return count


def _hold_often(path: str, seed: int, holds: int) -> str:
    lot, said = random.Random(seed), ["held"]
    for _ in range(holds):
        # One in five together with others; the holder alone takes the file away at times, as `flight` does.
        shared = lot.random() < 0.2
        with hold(path, timeout=60, shared=shared, purpose="faults"):
            start = time.monotonic_ns()
            time.sleep(lot.random() * 0.002)
            if not shared and lot.random() < 0.3:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            end = time.monotonic_ns()
        said.append(f"{start},{end},{shared:d}")
    return " ".join(said)


CLAIMS: Final = (
    Claim(
        part="crowd", name="gentle", text="processes on one store: all that is read is exact, nothing is lost",
        try_=partial(_mixed, GENTLE),
    ),
    Claim(
        part="crowd", name="harsh", text="the same with damage and eviction: all that is read is exact",
        try_=partial(_mixed, HARSH),
    ),
    Claim(part="crowd", name="holds", text="holds of one guard, alone and shared: none overlaps", try_=_held),
    Claim(
        part="random", name="gentle", text="SIGKILL at a random moment: no repair needed, nothing lost",
        try_=partial(_killed, GENTLE),
    ),
    Claim(
        part="random", name="harsh", text="the same with damage and eviction: all that is read is exact",
        try_=partial(_killed, HARSH),
    ),
)  # fmt: skip
