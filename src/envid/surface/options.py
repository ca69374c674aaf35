"""The command line's grammar: argparse, told to raise instead of to exit."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import NoReturn

from envid import __version__
from envid.errors import UsageError
from envid.values.nearest import nearest

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
        parsed = _parsed(parser, own)
        parsed.words = arguments[len(own) + 1 :]
        return parsed
    return _parsed(parser, arguments)


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    parsed, unknown = parser.parse_known_args(arguments)
    if not unknown:
        return parsed
    leaf = parser
    for word in (parsed.command, getattr(parsed, "verb", None)):
        leaf = children(leaf).get(word or "", leaf)
    known = [name for action in leaf._actions for name in action.option_strings]
    near = [nearest(word.partition("=")[0], known, cutoff=0.6) for word in unknown if word.startswith("--")]
    meant = f"did you mean {' or '.join(f'`{word}`' for word in near if word)}? " if any(near) else ""
    raise UsageError(f"unrecognized arguments: {' '.join(unknown)}", hint=f"{meant}see `{leaf.prog} --help`")


def children(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the commands, or verbs, of ``parser``."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


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
    setattr(parser, "error", partial(_refuse, parser.prog))  # noqa: B010 - a method of the instance, on purpose
    return parser


def _refuse(prog: str, message: str) -> NoReturn:
    meant = ""
    # Of Python 3.11 the choices are quoted, of 3.12 and later perhaps not.
    if found := re.fullmatch(r"argument \S+: invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
        near = nearest(found[1], re.findall(r"[\w-]+", found[2]), cutoff=0.5)
        meant = f"did you mean `{near}`? " if near else ""
        message = message[: found.start(2)].removesuffix(" (choose from ")
    raise UsageError(message, hint=f"{meant}see `{prog} --help`")
