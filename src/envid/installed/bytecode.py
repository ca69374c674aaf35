"""Does a ``.pyc`` belong to its source? Judged without unmarshalling or running it.

Python runs a ``.pyc`` in place of a source whose time and size it names (PEP 552), and it checks nothing
else: whoever writes one runs code in an environment whose every source is intact.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast, get_args

from envid import process
from envid.errors import EngineFailed, InterpreterNotFound
from envid.installed import marshalled
from envid.installed.judged import evidence, measured, recall, remember
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter

Judgement = Literal["ok", "foreign", "stale", "forged", "orphan"]
"""``foreign``: of another Python, never loaded by this one. ``stale``: Python would compile anew.
``forged``: Python would run it, and it is not what the source compiles to. ``orphan``: no source."""

MAGIC: Final = {"3.11": 3495, "3.12": 3531, "3.13": 3571}
"""Magic numbers of released CPythons, which do not change within a minor release."""

BATCH: Final = 200
"""Files for each run of the interpreter."""
WORTH_SHARING: Final = 100
"""Fewer files than this are compiled sooner than a second interpreter starts."""
TIMEOUT: Final = 120.0
"""Seconds for a batch; 200 large modules take about 10."""

_KNOWN: Final = frozenset(get_args(Judgement))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A ``.pyc`` and the source that it claims to be compiled from."""

    pyc: str
    """Absolute path."""
    source: str | None
    """Absolute path of the source, whose bytes are already proven; ``None`` when there is none."""


def judge_header(head: bytes, *, mtime: int, size: int, interpreter: Interpreter) -> Judgement:
    """Judge by the first 16 bytes alone: ``mtime`` (whole seconds) and ``size`` (bytes) are of the source.

    ``ok`` means only that Python would load it.
    """
    magic = MAGIC.get(interpreter.markers["python_version"]) if interpreter.implementation == "cpython" else None
    if magic is not None and head[:4] != magic.to_bytes(2, "little") + b"\r\n":
        return "foreign"
    flags = int.from_bytes(head[4:8], "little")
    if len(head) < 16 or flags > 3 or flags == 2:
        return "stale"
    named = (int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little"))
    if flags == 0 and named != (mtime & 0xFFFFFFFF, size & 0xFFFFFFFF):
        return "stale"
    return "ok"


def judge(
    pyc: bytes, source: bytes | None, *, mtime: int, interpreter: Interpreter, name: str, filename: str = ""
) -> Judgement:
    """Judge one whole file in this process; raise EngineFailed unless it runs the Python that ``interpreter`` is.

    ``name`` is the file name of the ``.pyc`` (it tells the optimisation level), ``filename`` the
    path of the source.
    """
    running = "{}.{}.{}".format(*sys.version_info[:3])
    if (interpreter.implementation, interpreter.version) != (sys.implementation.name, running):
        raise EngineFailed(f"Python {running} cannot judge the bytecode of Python {interpreter.version}")
    answer = marshalled.judgement(pyc, source, mtime=mtime, name=name, filename=filename)
    return cast(Judgement, answer)


def judge_many(
    suspects: Sequence[Suspect], *, python: Path, interpreter: Interpreter, cache: Path | None = None
) -> tuple[Judgement, ...]:
    """Judge whole files in isolated runs of ``python``; answers in the order of ``suspects``.

    With ``cache`` (envid's cache directory), what is ``ok`` is remembered, and not compiled again
    while nothing of it has changed: a second run takes a fiftieth of the time of the first.

    A file over which the interpreter crashes or does not come to an end is ``forged``: no honest
    one does that. Raises InterpreterNotFound when ``python`` cannot be started or is another
    version than ``interpreter``.
    """
    if not suspects:
        return ()
    if interpreter.implementation == "cpython" and interpreter.markers["python_version"] < "3.11":
        raise InterpreterNotFound(f"the bytecode of Python {interpreter.version} cannot be judged", path=str(python))
    if cache is None:
        return tuple(answer for answer, _ in _judge_all(suspects, python))
    known = recall(cache, interpreter)
    remembered = [measured(suspect.pyc, suspect.source, interpreter) in known for suspect in suspects] if known else []
    unknown = [one for one, before in zip(suspects, remembered, strict=True) if not before] if known else suspects
    judged = _judge_all(unknown, python)
    # What the judge says it has read, not what was read here before: in between, the file may have been exchanged.
    remember(cache, interpreter, known, {evidence(bound, interpreter) for answer, bound in judged if answer == "ok"})
    fresh = iter(judged)
    if not known:
        return tuple(answer for answer, _ in fresh)
    return tuple("ok" if before else next(fresh)[0] for before in remembered)


def _judge_all(suspects: Sequence[Suspect], python: Path) -> list[tuple[Judgement, str]]:
    """Return judgement and binding of each, from as many runs of ``python`` at once as there are processors."""
    if not suspects:
        return []
    from concurrent.futures import ThreadPoolExecutor

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = BATCH if len(suspects) < WORTH_SHARING else min(BATCH, -(-len(suspects) // workers))
    batches = [suspects[at : at + size] for at in range(0, len(suspects), size)]
    with ThreadPoolExecutor(max_workers=min(len(batches), workers)) as pool:
        answers = pool.map(lambda batch: _judge_batch(batch, python), batches)
        return [answer for batch in answers for answer in batch]


def _judge_batch(suspects: Sequence[Suspect], python: Path) -> list[tuple[Judgement, str]]:
    import json

    script = Path(__file__).with_name("marshalled.py")
    answers: list[tuple[Judgement, str]] = []
    while len(answers) < len(suspects):
        rest = suspects[len(answers) :]
        try:
            done = process.run(
                [str(python), "-I", "-S", "-X", "utf8", str(script)],
                env=process.environment(),
                stdin=json.dumps([[suspect.pyc, suspect.source] for suspect in rest]),
                timeout=TIMEOUT,
            )
        except EngineFailed:
            if len(rest) == 1:
                return [*answers, ("forged", "")]
            half = len(rest) // 2
            return [*answers, *_judge_batch(rest[:half], python), *_judge_batch(rest[half:], python)]
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        told = {judgement for judgement, _, _ in lines}
        if len(lines) > len(rest) or not told <= _KNOWN or (done.status > 0 and not lines):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
            raise InterpreterNotFound(f"{python} does not answer as a Python does: {last}", path=str(python))
        answers += [(cast(Judgement, judgement), bound) for judgement, _, bound in lines]
        if len(lines) < len(rest):
            answers.append(("forged", ""))
    return answers
