"""`envid key`."""

from __future__ import annotations

import argparse

from envid.app.keys import ci_outputs, key
from envid.app.outcome import Outcome
from envid.app.workspace import open_workspace
from envid.atomic import append
from envid.surface.ci import outputs
from envid.values.progress import Progress

SUMMARY = "print the identity key of a layer"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--layer", metavar="L", help="the layer (default: env; with --github: venv)")
    parser.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")
    parser.add_argument("--venv", metavar="PATH", help="the environment meant by the layer venv (default: .venv)")
    parser.add_argument(
        "--github", action="store_true", help="append key, restore-keys, path and identity to $GITHUB_OUTPUT"
    )


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    layer = options.layer or ("venv" if options.github else None)
    outcome = key(workspace, layer=layer, target=options.target, name=options.name, venv=options.venv)
    if not options.github:
        return outcome
    from dataclasses import replace

    values = ci_outputs(workspace, layer=layer, target=options.target, name=options.name, venv=options.venv)
    file = workspace.variables.get("GITHUB_OUTPUT")
    if not file:
        return replace(
            outcome, answer=outputs(values), notes=(*outcome.notes, "GITHUB_OUTPUT is not set: printed instead")
        )
    append(file, outputs(values).encode())
    return replace(outcome, answer=values["key"])
