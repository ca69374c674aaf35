"""One run of one command: parse, call, render."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Final

from envid import __version__
from envid.app.outcome import Outcome
from envid.errors import EnvidError, SystemRefused, UsageError
from envid.surface import console

USAGE: Final = "usage"
"""What stands for the command in the schema of a document that belongs to none."""
VERBS: Final[Mapping[str, frozenset[str]]] = {
    "cache": frozenset({"stats", "verify", "repair", "gc", "explain", "export", "import"}),
    "restore": frozenset({"seal", "check"}),
}
"""Commands whose verbs answer with other data each, and have schemas of their own."""


def late(name: str) -> ModuleType:
    """Return the module ``name``, imported now; not by importlib, whose own imports cost a first key something."""
    __import__(name)
    return sys.modules[name]


def run(arguments: list[str], commands: Mapping[str, str]) -> int:
    """Run the command line and return its exit status; EnvidError is the caller's to render."""
    if arguments[:1] in (["key"], ["identity"]):
        ordinary = late("envid.surface.ordinary").answer(arguments)
        if ordinary is not None:
            return _render(arguments, *ordinary)
    if _wants_json(arguments) and _asks_version(arguments):
        said = Outcome(command="version", answer=f"envid {__version__}", data={"version": __version__})
        return _render(arguments, said, True, True)
    options = late("envid.surface.options").parse(arguments, commands)
    # Every option that argparse leaves out when it is not given.
    for name, default in (("project", None), ("json", False), ("quiet", False), ("offline", False)):
        if not hasattr(options, name):
            setattr(options, name, default)
    progress = console.progress(wanted=not (options.quiet or options.json))
    outcome = late(commands[options.command]).answer(options, progress)
    return _render(arguments, outcome, options.json, options.quiet)


def _render(arguments: list[str], outcome: Outcome, json: bool, quiet: bool) -> int:
    if json:
        text = late("envid.surface.wire").success(outcome)
        sys.stdout.write(text)
    else:
        text = console.page(outcome, colour=False)
        console.show(outcome, quiet=quiet)
    sys.stdout.flush()
    if outcome.memory is not None:
        late("envid.app.remember").remember(arguments, outcome, stdout=text)
    return int(outcome.exit_code)


def complain(error: EnvidError, arguments: list[str], commands: Mapping[str, str]) -> int:
    """Render an expected failure; return its exit code."""
    command = _command(arguments, commands)
    if isinstance(error, UsageError) and error.hint == UsageError.hint and command != USAGE:
        error.hint = f"see `envid {command.replace('-', ' ', 1)} --help`"
    if _wants_json(arguments):
        sys.stdout.write(late("envid.surface.wire").failure(error, command=command))
    else:
        console.complain(error)
    return error.exit_code


def refusal(error: Exception) -> EnvidError | None:
    """Return the error that says what the operating system refused; None where it did not speak for the machine."""
    import errno

    machine = {
        errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.ENOMEM,
        errno.ENOSPC, errno.ENXIO, errno.EPERM, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT,
    }  # fmt: skip
    if not isinstance(error, OSError) or error.errno not in machine:
        return None
    name = error.filename
    where = os.fsdecode(name) if isinstance(name, (str, bytes)) else None
    return SystemRefused(f"{error.strerror}: {where}" if where else f"the system refused: {error.strerror}", path=where)


def confess(error: Exception, arguments: list[str], commands: Mapping[str, str], status: int) -> int:
    """Render a failure that nobody foresaw, with its traceback; return ``status``."""
    import traceback

    sys.stderr.write("".join(traceback.format_exception(error)))
    message = f"internal error: {type(error).__name__}: {error}"
    if _wants_json(arguments):
        bug = EnvidError(message, hint="this is a bug in envid; please report it with the traceback on stderr")
        bug.slug = "bug"
        sys.stdout.write(late("envid.surface.wire").failure(bug, command=_command(arguments, commands)))
    else:
        sys.stderr.write(f"envid: {message}\nhint: this is a bug in envid; please report it with the traceback above\n")
    return status


def _wants_json(arguments: list[str]) -> bool:
    # What stands after `--` are the words of a user's own command.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _asks_version(arguments: list[str]) -> bool:
    """Tell whether ``--version`` stands where it is an option of envid itself: before any command."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        if word == "--version":
            return True
        if word[:1] != "-" and before != "--project":
            break
    return False


def _command(arguments: list[str], commands: Mapping[str, str]) -> str:
    # The value of an option is no command, even where a directory is called `lock`.
    words = [word for before, word in zip(["", *arguments], arguments, strict=False) if before != "--project"]
    at = next((at for at, word in enumerate(words) if word[:1] != "-"), len(words))
    command = words[at] if at < len(words) and words[at] in commands else USAGE
    if command not in VERBS:
        return command
    verb = next((word for word in words[at + 1 :] if word[:1] != "-"), "")
    return f"{command}-{verb}" if verb in VERBS[command] else USAGE
