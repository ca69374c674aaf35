"""``envid explain``: which components differ between two identities."""

from __future__ import annotations

from envid.app.outcome import Outcome
from envid.app.workspace import Workspace


def explain(
    ws: Workspace,
    old: str | None = None,
    new: str | None = None,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
) -> Outcome:
    """Answer with the differences; one error finding ``identity.changed`` a changed component.

    ``old`` and ``new``: an identity document, a lock file, or ``rev:GITREV``; default: what was
    recorded last against the current state. Raises IdentityUnknown when nothing is recorded.
    """
    raise NotImplementedError
