"""``envid matrix``: keys and wheel coverage of all declared targets."""

from __future__ import annotations

from envid.app.outcome import Outcome
from envid.app.workspace import Workspace


def matrix(ws: Workspace, *, layer: str = "wheels", name: str = "default") -> Outcome:
    """Answer for every declared target, or for the host when none is declared.

    ``data``: ``{"layer", "keys": {target: key}, "coverage": {target: {"packages": {name: kind}, "floor", "missing"}}}``.
    """
    raise NotImplementedError
