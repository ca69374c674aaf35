"""The hot answer of ``envid verify``: what it said last, when nothing that it looked at has changed since.

Imports as little as ``app.recall``, of which it is the other half: beside the files of the project
it has the environment measured again and compared with the witness of the pass.
"""

import os

from blake3 import blake3

from envid.app.recall import Question, ask
from envid.installed import witness
from envid.store import sidecar


def still(argv: list[str]) -> tuple[str, int] | None:
    """Return ``(stdout, exit status)`` of a pass that still holds, or None: verify."""
    question = ask(argv)
    if question is None or question.verb != "verify":
        return None
    data = sidecar.read_private(question.directory, question.name)
    answer = None if data is None else sidecar.decode(question.request, data)
    if answer is None:
        return None
    status, stdout, seen = answer
    if status != 0 or not witness.holds(seen):
        return None
    _renew(question)
    try:
        return stdout.decode("ascii"), status
    except UnicodeDecodeError:
        return None


def _renew(question: Question) -> None:
    """Have the root of the project be of now (store/roots.py): what is only ever answered hot is in use as well."""
    project = os.path.dirname(next(iter(question.files)))
    name = blake3(os.fsencode(project), derive_key_context="envid-root/1").hexdigest()
    try:
        # At every time, not once a day: asking for the clock and the file's time costs more than setting it.
        os.utime(os.path.join(os.path.dirname(question.directory), "roots-v1", name))
    except OSError:
        return
