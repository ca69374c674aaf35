"""`envid explain`."""

from __future__ import annotations

import argparse

from envid.app.explain import explain
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "say which components of an identity differ"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    what = "an identity document, a lock, or a git revision (rev:main~3)"
    parser.add_argument("old", metavar="OLD", nargs="?", help=f"{what} (default: what was recorded last)")
    parser.add_argument("new", metavar="NEW", nargs="?", help="the same (default: the current state)")
    parser.add_argument("--layer", metavar="L", help="the layer (default: env)")
    parser.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return explain(workspace, options.old, options.new, layer=options.layer, target=options.target, name=options.name)
