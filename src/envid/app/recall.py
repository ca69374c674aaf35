"""Hot answers: what the same question was answered before, given again without importing anything.

Imports nothing but sys, os, blake3 and envid's light modules: every import here is paid by every CI job.
"""


def recall(argv):  # type: ignore[no-untyped-def]
    """Return ``(stdout, exit status, stderr)`` of an answer that still holds, or None: compute it."""
    return None
