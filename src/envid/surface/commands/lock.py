"""`envid lock`."""

from __future__ import annotations

import argparse

from envid.app.checking import check
from envid.app.locking import lock
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


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    if not options.check:
        return lock(
            workspace,
            name=options.name or "default",
            upgrade=options.upgrade,
            upgrade_packages=tuple(options.upgrade_package),
            progress=progress,
        )
    if options.upgrade or options.upgrade_package:
        raise UsageError("--check changes nothing, so it goes with neither --upgrade nor --upgrade-package")
    return check(workspace, name=options.name)
