"""`envid adopt`."""

from __future__ import annotations

import argparse

from envid.app.adopt import adopt
from envid.app.makeshift import with_cache
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "take over an existing uv.lock, pylock.toml or hashed requirements.txt"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("file", metavar="FILE", help="the lock of another tool")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock to write (default: `default`)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return with_cache(workspace, lambda ws: adopt(ws, options.file, name=options.name, progress=progress))
