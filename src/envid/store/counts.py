"""Counts over all commands: every tally is one line in ``stats-v1``, folded into a total when there are many."""

from __future__ import annotations

from envid.store.place import Place


def flush(place: Place) -> None:
    """Write down what this command did with the store; nothing where nothing was counted. Never raises.

    Call it once, when the command is done: the tally is empty afterwards.
    """
    raise NotImplementedError
