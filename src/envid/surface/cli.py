"""From a command line to an exit status.

Hot answers come first, from ``app.recall``, before anything else is imported: ``envid key`` and
``envid lock --check`` run in every CI job, and an argument parser alone would double their time.
Everything else is loaded late through one table, which is the project's only late import of itself.
"""

from __future__ import annotations

import sys
from importlib import import_module

from envid.app.recall import recall
from envid.errors import BUG, INTERRUPTED, EnvidError

COMMANDS = {
    "init": "envid.surface.commands.init",
    "lock": "envid.surface.commands.lock",
    "adopt": "envid.surface.commands.adopt",
    "sync": "envid.surface.commands.sync",
    "vendor": "envid.surface.commands.vendor",
    "verify": "envid.surface.commands.verify",
    "key": "envid.surface.commands.key",
    "identity": "envid.surface.commands.identity",
    "matrix": "envid.surface.commands.matrix",
    "explain": "envid.surface.commands.explain",
    "diff": "envid.surface.commands.diff",
    "doctor": "envid.surface.commands.doctor",
}
"""Command to the module that declares its options (``declare``) and calls its use case (``answer``)."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status (docs/exit-codes.md)."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        remembered = recall(arguments)
        if remembered is not None:
            sys.stdout.write(remembered[0])
            sys.stdout.flush()
            return remembered[1]
        return int(import_module("envid.surface.session").run(arguments, COMMANDS))
    except KeyboardInterrupt:
        sys.stderr.write("envid: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`envid diff | head`); Python would complain again while it closes stdout.
        sys.stdout = sys.__stderr__
        return 141
    except EnvidError as error:
        return int(import_module("envid.surface.session").complain(error, arguments))
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit 70
        return int(import_module("envid.surface.session").confess(error, arguments, BUG))
