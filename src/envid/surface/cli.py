"""From a command line to an exit status.

Hot answers come first, from ``app.recall``, before anything else is imported: ``envid key`` and
``envid lock --check`` run in every CI job, and an argument parser alone would double their time.
Everything else is loaded late through one table, which is the project's only late import of itself.
"""

import sys
from io import StringIO

from envid.app.recall import recall

INTERRUPTED = 130

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
    "run": "envid.surface.commands.run",
    "restore": "envid.surface.commands.restore",
    "cache": "envid.surface.commands.cache",
    "doctor": "envid.surface.commands.doctor",
}
"""Command to the module that declares its options (``declare``) and calls its use case (``answer``)."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status (docs/exit-codes.md)."""
    arguments = sys.argv[1:] if argv is None else argv
    # `envid ... >&-`: Python has no stream then. `KEY=$(envid key >&-)` must not go on with an empty key.
    shut = sys.stdout is None
    sys.stdout = sys.stdout or StringIO()
    sys.stderr = sys.stderr or StringIO()
    status = _answered(arguments)
    # What failed has said so by its status already.
    if shut and not status and isinstance(sys.stdout, StringIO) and sys.stdout.tell():
        return _unheard()
    return status


def _answered(arguments: list[str]) -> int:
    try:
        _listen()
        if arguments[:1] == ["run"] and (said := _unchanged(arguments)) is not None:
            sys.stderr.write("" if "--quiet" in arguments[: arguments.index("--")] else said)
            return 0
        remembered = _still(arguments) if arguments[:1] == ["verify"] else recall(arguments)
        if remembered is None:
            return _cold(arguments)
        sys.stdout.write(remembered[0])
        sys.stdout.flush()
        return remembered[1]
    except KeyboardInterrupt:
        _listen(deaf=True)
        sys.stderr.write("envid: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`envid diff | head`); Python would complain again while it closes stdout.
        sys.stdout = sys.__stderr__
        return 141
    except OSError as error:
        # Standard output, which is on a full disk, say; Python would try again, and complain, while it ends.
        sys.stdout = StringIO()
        return _failed(error, [])


def _unheard() -> int:
    errors = __import__("envid.errors").errors
    session = __import__("envid.surface.session").surface.session
    error = errors.WriteFailed("the answer could not be written: standard output is closed", hint="open it")
    return int(session.complain(error, [], COMMANDS))


def _listen(*, deaf: bool = False) -> None:
    """Make SIGTERM and SIGHUP interrupt as SIGINT does, or none of them any more; what the caller ignores stays so."""
    # Not `signal`: its enumerations cost a hot answer something.
    signal = __import__("_signal")
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if deaf else ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        try:
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_IGN if deaf else signal.default_int_handler)
        except ValueError:  # not the main thread: signals arrive elsewhere
            return


def _still(arguments: list[str]) -> tuple[str, int] | None:
    # Late as well: `envid key` should not pay for the walk through an environment.
    remembered: tuple[str, int] | None = __import__("envid.app.still").app.still.still(arguments)
    return remembered


def _unchanged(arguments: list[str]) -> str | None:
    said: str | None = __import__("envid.app.running.rerun").app.running.rerun.unchanged(arguments)
    return said


def _failed(error: Exception, arguments: list[str]) -> int:
    """Say what no command foresaw: a refusal of the operating system, or else a bug."""
    errors = __import__("envid.errors").errors
    session = __import__("envid.surface.session").surface.session
    sys.stdout.flush()
    refusal = session.refusal(error)
    if refusal is not None:
        return int(session.complain(refusal, arguments, COMMANDS))
    return int(session.confess(error, arguments, COMMANDS, errors.BUG))


def _cold(arguments: list[str]) -> int:
    import gc

    # A key allocates ten thousand small things and no cycle worth collecting before the process ends.
    brief = arguments[:1] in (["key"], ["identity"]) and gc.isenabled()
    if brief:
        gc.disable()
    # Not at the top: the fifty classes of envid.errors cost as much as a whole hot answer.
    # Not by importlib either, whose own imports cost a first key something.
    errors = __import__("envid.errors").errors
    session = __import__("envid.surface.session").surface.session
    try:
        return int(session.run(arguments, COMMANDS))
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except errors.EnvidError as error:
        return int(session.complain(error, arguments, COMMANDS))
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit 70
        return _failed(error, arguments)
    finally:
        if brief:
            gc.enable()
