"""`envid doctor`."""

from __future__ import annotations

import argparse

from envid.app.doctor import doctor
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.values.progress import Progress

SUMMARY = "say what is wrong with this machine or project, each with its fix"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    return doctor(open_workspace(options.project, offline=options.offline))
