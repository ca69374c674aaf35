"""`envid vendor`."""

from __future__ import annotations

import argparse

from envid.app.makeshift import with_cache
from envid.app.outcome import Outcome
from envid.app.vendor import vendor
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "write a wheelhouse that plain pip and plain uv install with the network off"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("directory", metavar="DIR", help="the wheelhouse")
    parser.add_argument(
        "--target", metavar="T", action="append", default=[], help="a target to serve (default: all that are declared)"
    )
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return with_cache(workspace, lambda ws: vendor(
        ws, options.directory, targets=tuple(options.target), name=options.name, progress=progress,
    ))  # fmt: skip
