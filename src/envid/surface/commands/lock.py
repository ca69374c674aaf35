"""`envid lock`."""

from __future__ import annotations

import argparse
from importlib import import_module

from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.errors import UsageError
from envid.values.progress import Progress

SUMMARY = "resolve the dependencies and write the lock, or check that it is current"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--check", action="store_true", help="offline verdict: fresh, stale or undecidable; writes nothing"
    )
    parser.add_argument("--upgrade", action="store_true", help="forget the locked versions")
    parser.add_argument(
        "--upgrade-package", metavar="NAME", action="append", default=[], help="forget this one; all else stays put"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="the lock (default: `default`; with --check: all that are declared)"
    )
    parser.add_argument("--all", action="store_true", help="every declared lock, one after the other")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case: late, because a verdict needs neither the engines nor the network that a new lock needs."""
    if options.check and (options.upgrade or options.upgrade_package):
        raise UsageError("--check changes nothing, so it goes with neither --upgrade nor --upgrade-package")
    if options.all and (options.check or options.name):
        raise UsageError(
            "--all goes with neither --name nor --check",
            hint="--check alone looks at every lock that there is" if options.check else "leave out one of the two",
        )
    workspace = open_workspace(options.project, offline=options.offline)
    if options.check:
        verdict: Outcome = import_module("envid.app.checking").check(workspace, name=options.name)
        return verdict
    locking, makeshift = import_module("envid.app.locking"), import_module("envid.app.makeshift")
    changes = {"upgrade": options.upgrade, "upgrade_packages": tuple(options.upgrade_package), "progress": progress}
    made: Outcome = makeshift.with_cache(
        workspace,
        lambda ws: (
            locking.lock_all(ws, **changes)
            if options.all
            else locking.lock(ws, name=options.name or "default", **changes)
        ),
    )
    return made
