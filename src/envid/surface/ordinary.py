"""The ordinary forms of ``key`` and ``identity``, parsed by hand.

An argument parser costs a first key a tenth of its time. Whatever is not quite ordinary, every
mistake among it, is left to the real grammar in ``surface.options``.
"""

from __future__ import annotations

from envid.app.keys import identity, key
from envid.app.outcome import Outcome
from envid.app.project import open_project
from envid.app.recall import parse

_USES = {"key": key, "identity": identity}
_LAYERS = {"env", "wheels"}
"""Other layers may have to look at an environment, at programs or at a backend."""
_KNOWN = {"", "--layer", "--target", "--name", "--project", "--json", "--quiet", "--offline"}


def answer(arguments: list[str]) -> tuple[Outcome, bool, bool] | None:
    """Return (outcome, whether JSON is wanted, whether notes are not), or None: not an ordinary form."""
    said = parse(arguments)
    if said is None or said[""] not in _USES or not said.keys() <= _KNOWN:
        return None
    if said.get("--layer", "env") not in _LAYERS:
        return None
    project = open_project(said.get("--project"), offline="--offline" in said)
    outcome = _USES[said[""]](
        project,
        layer=said.get("--layer"),
        target=said.get("--target"),
        name=said.get("--name", "default"),
    )
    return outcome, "--json" in said, "--quiet" in said
