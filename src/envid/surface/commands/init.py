"""`envid init`."""

from __future__ import annotations

import argparse

from envid.app.init import init
from envid.app.outcome import Outcome
from envid.values.progress import Progress

SUMMARY = "write a commented [tool.envid] into pyproject.toml"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--target", metavar="T", action="append", default=[], help="declare this target (default: this host)"
    )
    parser.add_argument("--backend", metavar="NAME", help="configure this generator backend")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    return init(options.project, targets=tuple(options.target), backend=options.backend)
