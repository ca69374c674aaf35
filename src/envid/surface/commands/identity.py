"""`envid identity`."""

from __future__ import annotations

import argparse

from envid.app.keys import identity
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "print the identity document (canonical JSON) of a layer"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--layer", metavar="L", help="the layer (default: env)")
    parser.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")
    parser.add_argument("--venv", metavar="PATH", help="the environment meant by the layer venv (default: .venv)")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    return identity(workspace, layer=options.layer, target=options.target, name=options.name, venv=options.venv)
