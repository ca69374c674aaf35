"""`envid matrix`."""

from __future__ import annotations

import argparse

from envid.app.matrix import matrix
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "keys of all declared targets, and which package has which kind of artifact there"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--layer", metavar="L", default="wheels", help="the layer (default: wheels)")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return matrix(workspace, layer=options.layer, name=options.name)
