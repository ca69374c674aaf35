"""Keep an answer for ``app.recall``."""

from __future__ import annotations

import os

from envid.app.outcome import Outcome
from envid.app.recall import ask
from envid.errors import WriteFailed
from envid.store.sidecar import encode
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
