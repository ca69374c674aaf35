"""The command line's grammar: argparse, told to raise instead of to exit."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn

from envid import __version__
from envid.errors import UsageError

DESCRIPTION = (
    "Exact identity for Python environments: hash-verified locks, keys that cannot lie, contents verified offline."
)


def parse(arguments: list[str], commands: Mapping[str, str]) -> argparse.Namespace:
    """Return the parsed command line; raise UsageError, or SystemExit(0) after ``--help`` or ``--version``."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # The value of --project is no command, even where a directory is called `run`.
    words = [word for before, word in zip(["", *own], own, strict=False) if before != "--project"]
    parser = build(commands, only=_command(arguments, commands))
    if "--" in arguments and next((word for word in words if word in commands), None) == "run":
        # A user's command may have any words; which of them argparse takes for its own differs between its versions.
        parsed = parser.parse_args(own)
        parsed.words = arguments[len(own) + 1 :]
        return parsed
    return parser.parse_args(arguments)


def _command(arguments: list[str], commands: Mapping[str, str]) -> str | None:
    """Return the command in ``arguments`` when there is no doubt, so that the other parsers need not be built."""
    for argument in arguments:
        if argument in commands:
            return argument
        if not argument.startswith("-"):
            return None
    return None


def build(commands: Mapping[str, str], *, only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of ``only``, or of every command (for ``--help`` and the documentation)."""
    common = _common()
    parser = _parser(prog="envid", description=DESCRIPTION, parents=[common])
    parser.add_argument("--version", action="version", version=f"envid {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_parser)  # type: ignore[call-overload]
    for name in [only] if only else commands:
        module = import_module(commands[name])
        summary = str(module.SUMMARY)
        description = f"{summary[0].upper()}{summary[1:]}."
        module.declare(subparsers.add_parser(name, help=summary, description=description, parents=[common]))
    return parser


def verbs(parser: argparse.ArgumentParser, summaries: Mapping[str, str]) -> Mapping[str, argparse.ArgumentParser]:
    """Give a command sub-commands, each with the common options, chosen as ``verb``; return their parsers."""
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_parser)  # type: ignore[call-overload]
    made = {}
    for name, summary in summaries.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        made[name] = subparsers.add_parser(name, help=summary, description=description, parents=[_common()])
    return made


def _common() -> argparse.ArgumentParser:
    common = _parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument("--project", metavar="DIR", help="the project (default: nearest parent with a pyproject.toml)")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else there")
    group.add_argument("--quiet", action="store_true", help="no notes and no progress")
    group.add_argument("--offline", action="store_true", help="open no connection")
    return common


def _parser(**settings: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, **settings)  # type: ignore[arg-type]
    # argparse would print and exit; a usage error must reach --json like any other.
    setattr(parser, "error", _refuse)  # noqa: B010 - a method of the instance, on purpose
    return parser


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)
