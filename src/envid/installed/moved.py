"""What follows from an environment that was moved or copied: scripts that are right, but for where they were made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from envid.installed.expected import Expected
from envid.installed.files import is_installers
from envid.installed.interpreter import Environment
from envid.installed.launcher import python_paths
from envid.values.finding import Finding

TAMPERED = "env.tampered"


def folded(environment: Environment, former: str, found: Sequence[Finding], expected: Expected) -> list[Finding]:
    """Return ``found`` without each script that is as an installer made it in ``former``: those are counted in one.

    A script that differs in more than that stays a finding of its own.
    """
    scripts = os.path.relpath(environment.scripts, environment.root)
    pythons = python_paths(environment, os.path.join(former, scripts))
    follows = [
        one for one in found
        if one.code == TAMPERED and one.path is not None and os.path.dirname(one.path) == scripts
        and is_installers(str(environment.root), one.path, expected, pythons)
    ]  # fmt: skip
    if not follows:
        return list(found)
    gone = {id(one) for one in follows}
    count = "1 script starts" if len(follows) == 1 else f"{len(follows)} scripts start"
    return [
        replace(one, message=f"{one.message}; {count} the Python there") if _tells(one, former) else one
        for one in found if id(one) not in gone
    ]  # fmt: skip


def _tells(finding: Finding, former: str) -> bool:
    return finding.code == "env.config" and finding.path == "pyvenv.cfg" and finding.actual == former
