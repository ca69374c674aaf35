"""`envid restore`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

from envid.app.outcome import Outcome
from envid.app.restore import check, seal
from envid.app.workspace import Workspace, open_workspace
from envid.atomic import append
from envid.surface.exporters import SYSTEMS
from envid.surface.options import verbs
from envid.values.progress import Progress

SUMMARY = "seal what a CI cache saves, and judge what it restored"

_VERBS = {
    "seal": "write into a tree what it was made as, right before a cache saves it",
    "check": "remove what a cache restored unless it is whole and was sealed under the current key",
}


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    made = verbs(parser, _VERBS)
    for one in made.values():
        one.add_argument("paths", metavar="PATH", nargs="*", help="the trees of a layer of the project's own")
        one.add_argument("--layer", metavar="L", help="the layer (default: venv)")
        one.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
        one.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")
        one.add_argument("--venv", metavar="PATH", help="the environment of the layer venv (default: .venv)")
    made["seal"].add_argument("--asked", metavar="KEY", help="the key that the cache was asked for")
    made["check"].add_argument(
        "--matched",
        metavar="KEY",
        help="the key that the cache restored from; empty: none; leave out where it is not told",
    )
    made["check"].add_argument(
        "--strict", action="store_true", help="exit 1 when nothing was restored that may be used"
    )


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case; what the next steps of a GitHub job need goes to ``$GITHUB_OUTPUT``."""
    workspace = open_workspace(options.project, offline=options.offline)
    asked = {name: getattr(options, name) for name in ("layer", "target", "name", "venv", "paths")}
    if options.verb == "seal":
        outcome = seal(workspace, asked=options.asked, **asked)
        return _told(workspace, outcome, {"key": str(outcome.data["key"])})
    outcome = check(workspace, matched=options.matched, strict=options.strict, **asked)
    restored = "true" if outcome.data["restored"] else "false"
    return _told(workspace, outcome, {"restored": restored, "reason": str(outcome.data["reason"])})


def _told(workspace: Workspace, outcome: Outcome, values: Mapping[str, str]) -> Outcome:
    system = SYSTEMS["github"]
    file = workspace.variables.get(system.file or "")
    if not file:
        return outcome
    append(file, system.render(values).encode())
    return replace(outcome, notes=(*outcome.notes, f"{', '.join(values)}: appended to ${system.file}"))
