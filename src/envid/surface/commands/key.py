"""`envid key`."""

from __future__ import annotations

import argparse
from dataclasses import replace

from envid.app.ci import export
from envid.app.keys import key
from envid.app.outcome import Outcome
from envid.app.workspace import Workspace, open_workspace
from envid.atomic import append
from envid.surface.exporters import SYSTEMS, System
from envid.values.progress import Progress

SUMMARY = "print the identity key of a layer, or tell it to a CI system"

_HELP = {
    "github": "append key, restore-keys, path and identity to $GITHUB_OUTPUT",
    "gitlab": "print a dotenv report (ENVID_KEY, ENVID_PATH) for artifacts:reports:dotenv",
    "circleci": "append exports to $BASH_ENV",
    "buildkite": "print JSON for `buildkite-agent env set --input-format=json -`",
    "azure": "print logging commands that set variables of the job",
    "docker": "print a --build-arg of `docker build`",
    "dotenv": "print ENVID_KEY and the others for a POSIX shell",
}
"""What each option does; a test holds it to the table of systems."""


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--layer", metavar="L", help="the layer (default: env; for a CI system: venv)")
    parser.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
    parser.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")
    parser.add_argument("--venv", metavar="PATH", help="the environment meant by the layer venv (default: .venv)")
    systems = parser.add_argument_group("CI systems (docs/ci.md)").add_mutually_exclusive_group()
    for name in SYSTEMS:
        systems.add_argument(f"--{name}", dest="system", action="store_const", const=name, help=_HELP[name])


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case."""
    workspace = open_workspace(options.project, offline=options.offline)
    asked = {"layer": options.layer, "target": options.target, "name": options.name, "venv": options.venv}
    if options.system is None:
        return key(workspace, **asked)
    system = SYSTEMS[options.system]
    base = workspace.variables.get(system.base) if system.base else None
    outcome, values = export(workspace, base=base, **asked)
    return tell(workspace, outcome, system, {name: values[name] for name in system.takes})


def tell(workspace: Workspace, outcome: Outcome, system: System, values: dict[str, str]) -> Outcome:
    """Append ``values`` to the file that the system names and return ``outcome``, or answer with them instead."""
    text = system.render(values)
    file = workspace.variables.get(system.file) if system.file else None
    if file:
        append(file, text.encode("utf-8"))
        return outcome
    note = (f"{system.file} is not set: printed instead",) if system.file else ()
    return replace(outcome, answer=text, notes=(*outcome.notes, *note))
