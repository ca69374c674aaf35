"""Keep an answer for ``app.recall``, or a run for ``app.rerun``."""

from __future__ import annotations

import os

from envid.app.outcome import Outcome
from envid.app.recall import ask
from envid.app.running import rerun
from envid.app.running.outputs import Row
from envid.errors import EnvidError, WriteFailed
from envid.store.sidecar import MAX_BYTES, encode
from envid.whole import make_directory, write


def remember(argv: list[str], outcome: Outcome, *, stdout: str) -> bool:
    """Keep what was printed for ``argv`` when ``outcome.memory`` allows it; return whether it was kept.

    Only an answer without findings is kept; notes are said once, not again with each repetition. The files are
    digested again here and must be those
    that the answer was made from, so that a file changed in between binds no answer to the wrong
    question. A cache that cannot be written costs time and nothing else: no error.
    """
    memory = outcome.memory
    # Findings of `verify` that are no errors stand in its standard output, and are said again with it.
    silent = outcome.findings and outcome.command != "verify"
    if memory is None or silent or outcome.exit_code or not stdout.isascii():
        return False
    question = ask(argv)
    if question is None or any(question.files.get(path) != digest for path, digest in memory.files.items()):
        return False
    data = encode(question.request, outcome.exit_code, stdout.encode(), memory.document)
    try:
        make_directory(question.directory, mode=0o700)
        write(os.path.join(question.directory, question.name), data, mode=0o600, durable=False)
    except WriteFailed:
        return False
    return True


def remember_run(words: rerun.Words, before: bytes | None, rows: dict[str, Row], *, said: str) -> bool:
    """Keep that the run of ``words``, bound to the digest ``before`` it was measured, made ``rows``; return whether."""
    try:
        bound = rerun.bind(words)
        # What changed since it was measured must not be bound to what was made before.
        if bound is None or bound.request != before:
            return False
        data = encode(bound.request, 0, said.encode("utf-8"), rerun.encoded(rows))
        if len(data) > MAX_BYTES:
            return False
        make_directory(bound.directory, mode=0o700)
        write(os.path.join(bound.directory, bound.name), data, mode=0o600, durable=False)
    except (EnvidError, OSError, ValueError):
        return False
    return True
