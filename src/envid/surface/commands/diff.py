"""`envid diff`."""

from __future__ import annotations

import argparse

from envid.app.diff import diff
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "compare two locks; the same file with another hash is an alert"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("old", metavar="OLD", help="a lock file, the name of a lock, or rev:REVISION")
    parser.add_argument("new", metavar="NEW", help="the same")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return diff(workspace, options.old, options.new)
