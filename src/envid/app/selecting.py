"""From the name of a lock and the text of a target to what that target takes."""

from __future__ import annotations

from envid.app.workspace import Workspace
from envid.values.artifact import Lock, Resolution
from envid.values.target import Target


def select_for(ws: Workspace, name: str, target_text: str | None) -> tuple[Lock, Target, Resolution]:
    """Return the lock ``name``, the target, and what it takes.

    ``target_text``: None or ``host`` for the running interpreter. Raises LockNotFound, InvalidLock,
    InvalidTarget, TargetNotCovered (with the nearest declared targets), NoCompatibleArtifact, IdentityUnknown.
    """
    raise NotImplementedError


def target_for(target_text: str | None) -> Target:
    """Return the target meant: parsed, or that of the running interpreter; raise InvalidTarget, IdentityUnknown."""
    raise NotImplementedError
