"""`envid sync`."""

from __future__ import annotations

import argparse

from envid.app.makeshift import with_cache
from envid.app.outcome import Outcome
from envid.app.sync import sync
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "install exactly the locked set, every byte held to its hash"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--venv", metavar="PATH", help="the virtual environment (default: .venv of the project)")
    parser.add_argument("--target", metavar="T", help="the target to select for (default: this interpreter and host)")
    parser.add_argument(
        "--python", metavar="PYTHON", help="path or version of the Python to make a new environment with"
    )
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return with_cache(workspace, lambda ws: sync(
        ws, venv=options.venv, target=options.target, name=options.name, python=options.python, progress=progress,
    ))  # fmt: skip
