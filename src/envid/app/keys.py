"""``envid key``, ``envid identity``: the identity of a layer for a target, and its key."""

from __future__ import annotations

from collections.abc import Mapping

from envid.app.outcome import Outcome
from envid.app.workspace import Workspace
from envid.identity import Identity

DEFAULT_LAYER = "env"


def identify_for(
    ws: Workspace, *, layer: str | None = None, target: str | None = None, name: str = "default", venv: str | None = None
) -> Identity:
    """Return the identity of ``layer``; raise UsageError, IdentityUnknown, and what ``select_for`` raises."""
    raise NotImplementedError


def layer_key(
    ws: Workspace, *, layer: str, target: str, lock: object = None, name: str = "default", venv: str | None = None
) -> str:
    """Return the key of ``layer`` for ``target``; ``lock`` spares reading it again (an ``artifact.Lock``)."""
    raise NotImplementedError


def key(
    ws: Workspace, *, layer: str | None = None, target: str | None = None, name: str = "default", venv: str | None = None
) -> Outcome:
    """Answer with the key; data ``{"keys": {layer: {target: key}}}``."""
    raise NotImplementedError


def identity(
    ws: Workspace, *, layer: str | None = None, target: str | None = None, name: str = "default", venv: str | None = None
) -> Outcome:
    """Answer with the identity document; data is the document and its key."""
    raise NotImplementedError


def ci_outputs(
    ws: Workspace, *, layer: str | None = None, target: str | None = None, name: str = "default", venv: str | None = None
) -> Mapping[str, str]:
    """Return ``key``, ``restore-keys``, ``path`` and ``identity`` for a CI cache step; multi-line values use LF."""
    raise NotImplementedError
