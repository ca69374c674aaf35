"""Keep an answer for ``app.recall``, and the last identity of each layer for ``app.explain``."""

from __future__ import annotations

from envid.app.outcome import Outcome


def remember(argv: list[str], outcome: Outcome, *, stdout: str, stderr: str) -> None:
    """Keep what was printed for ``argv``, when the outcome says that it may be kept (``Outcome.memory``)."""
    raise NotImplementedError
