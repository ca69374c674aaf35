"""`envid verify`."""

from __future__ import annotations

import argparse
from dataclasses import replace

from envid.app.outcome import Outcome
from envid.app.verify import verify
from envid.app.workspace import open_workspace
from envid.surface.ci import annotate
from envid.values.progress import Progress

SUMMARY = "check the locks and every installed file, offline"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="the set of distributions and their RECORDs only")
    depth.add_argument("--full", action="store_true", help="read every byte, trust no stat index")
    parser.add_argument("--venv", metavar="PATH", help="the virtual environment (default: .venv of the project)")
    parser.add_argument("--target", metavar="T", help="the target to select for (default: that of the environment)")
    parser.add_argument(
        "--name", metavar="NAME", default="default", help="the lock installed there (default: `default`)"
    )
    parser.add_argument("--wheelhouse", metavar="DIR", help="check this wheelhouse against the lock, too")
    parser.add_argument("--github", action="store_true", help="print the findings as GitHub annotations")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    outcome = verify(
        workspace,
        venv=options.venv,
        depth="full" if options.full else "quick" if options.quick else "default",
        name=options.name,
        target=options.target,
        wheelhouse=options.wheelhouse,
        progress=progress,
    )
    if options.github and not options.json:
        marked = annotate(outcome.findings, file="pyproject.toml")
        return replace(outcome, answer=f"{marked}{outcome.answer}")
    return outcome
