"""Times of whole processes, run in turn in one go, so that a drift of the machine touches all alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence


def interleaved(
    commands: Mapping[str, Sequence[str]],
    *,
    runs: int,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    before: Callable[[str], None] | None = None,
    warm: int = 1,
    expect: tuple[int, ...] = (0,),
) -> dict[str, list[float]]:
    """Run each command ``warm + runs`` times, A B C A B C ...; return the seconds of the counted runs."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(warm + runs):
        for name, argv in commands.items():
            if before is not None:
                before(name)
            start = time.perf_counter()
            done = subprocess.run(
                argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
            )
            elapsed = time.perf_counter() - start
            if done.returncode not in expect:
                raise SystemExit(f"{name}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-600:]}")
            if turn >= warm:
                seconds[name].append(elapsed)
    return seconds


def median(values: Sequence[float]) -> float:
    """Return the median, in the unit of ``values``."""
    return statistics.median(values)


def ratio(seconds: Mapping[str, Sequence[float]], name: str, base: str) -> float:
    """Return the median over the turns of ``name`` divided by ``base`` in the same turn."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))
