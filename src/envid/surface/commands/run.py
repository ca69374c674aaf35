"""`envid run`."""

from __future__ import annotations

import argparse
import sys

from envid.app.outcome import Outcome
from envid.app.running.run import run
from envid.app.running.task import Order
from envid.app.workspace import Workspace, open_workspace
from envid.errors import UsageError
from envid.surface.session import late
from envid.values.progress import Progress

SUMMARY = "run a command when something that it depends on changed, and restore what it made otherwise"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--in", dest="inputs", metavar="GLOB", nargs="+", action="extend", default=[],
        help="what the command reads, below the project: `src/**/*.proto`, a file, a directory",
    )  # fmt: skip
    parser.add_argument(
        "--out", dest="outputs", metavar="PATH", nargs="+", action="extend", default=[],
        help="what the command makes: a file, or a directory (with a final slash it is made empty beforehand)",
    )  # fmt: skip
    parser.add_argument("--layer", metavar="L", help="the layer whose identity is part of the key (default: env)")
    parser.add_argument(
        "--env", metavar="NAME", action="append", default=[],
        help="pass this variable on; its value is part of the key",
    )  # fmt: skip
    parser.add_argument(
        "--env-pass", metavar="NAME", action="append", default=[],
        help="pass this variable on; its value is no part of the key (for secrets)",
    )  # fmt: skip
    parser.add_argument("--venv", metavar="PATH", help="the environment that the command runs in (default: .venv)")
    parser.add_argument("--name", metavar="LOCK", default="default", help="the lock (default: `default`)")
    parser.add_argument(
        "--wait", metavar="SECONDS", default="600",
        help="how long to wait for another run that makes the same (default: 600)",
    )  # fmt: skip
    parser.add_argument(
        "--clean", action="store_true",
        help="have output directories hold only what the command makes: files that no run made are removed",
    )  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="say why the command ran, or that it did not")
    parser.add_argument(
        "--strict", action="store_true", help="exit 1 when what the command made was not kept, or on any other warning"
    )
    parser.add_argument("words", metavar="CMD", nargs="*", help="the command and its arguments, after `--`")


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case; the command writes where we do."""
    try:
        wait = float(options.wait)
    except ValueError:
        wait = -1.0
    if not 0 <= wait < 10**9:
        raise UsageError(f"--wait {options.wait}: not a number of seconds")
    workspace = open_workspace(options.project, offline=options.offline)
    order = Order(
        argv=tuple(options.words), inputs=tuple(options.inputs), outputs=tuple(options.outputs), layer=options.layer,
        name=options.name, venv=options.venv, named=tuple(options.env), passed=tuple(options.env_pass), wait=wait,
        clean=options.clean,
    )  # fmt: skip
    sys.stdout.flush()
    sys.stderr.flush()
    return run(
        workspace, order, verify=_verify, check=_check, explain=options.explain, strict=options.strict,
        stdout=2 if options.json else None, progress=progress,
    )  # fmt: skip


def _verify(ws: Workspace, *, venv: str | None, name: str, progress: Progress) -> Outcome:
    # Loaded when a command has run: half of what envid is made of, and of no use to a run with nothing to do.
    verdict: Outcome = late("envid.app.verify").verify(ws, venv=venv, name=name, progress=progress)
    return verdict


def _check(ws: Workspace, *, name: str | None) -> Outcome:
    verdict: Outcome = late("envid.app.checking").check(ws, name=name)
    return verdict
