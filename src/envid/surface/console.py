"""Outcomes and errors for people: data on stdout, the rest on stderr, no meaning in colour alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from io import StringIO
from typing import Final, TextIO

from envid.app.outcome import Outcome
from envid.errors import EnvidError
from envid.values.finding import Finding
from envid.values.progress import Progress, Silent

MAX_SHOWN: Final = 20
"""Findings of one code that are shown before the rest is counted; --json has them all."""

DELAY: Final = 1.0
"""Seconds that a stage takes before a progress bar appears."""

_STYLES: Final = {"error": "1;31", "warning": "1;33", "info": "1;36", "hint": "2"}


def show(outcome: Outcome, *, quiet: bool) -> None:
    """Print the answer and the findings on stdout, the notes on stderr."""
    out = sys.stdout
    # The standard output of `run` is that of the user's own command.
    where = sys.stderr if outcome.command == "run" else out
    _write(where, page(outcome, colour=_colour(where)))
    if not quiet:
        for note in outcome.notes:
            _write(sys.stderr, f"{note}\n")


def page(outcome: Outcome, *, colour: bool) -> str:
    """Return what belongs on stdout: the answer, then the findings."""
    answer = outcome.answer if not outcome.answer or outcome.answer.endswith("\n") else f"{outcome.answer}\n"
    return answer + "".join(f"{line}\n" for line in _findings(outcome.findings, colour=colour))


def complain(error: EnvidError) -> None:
    """Print an error and its hint on stderr."""
    colour = _colour(sys.stderr)
    _write(sys.stderr, f"{_paint('error', 'error', colour)}: {_printable(error.message)} [{error.slug}]\n")
    if error.hint:
        _write(sys.stderr, f"{_paint('hint', 'hint', colour)}: {_printable(error.hint)}\n")


def _findings(findings: Iterable[Finding], *, colour: bool) -> Iterable[str]:
    grouped: dict[tuple[str, str], list[Finding]] = {}
    for item in findings:
        grouped.setdefault((item.severity, item.code), []).append(item)
    for severity in ("error", "warning", "info"):
        for (level, code), items in grouped.items():
            if level != severity:
                continue
            for item in items[:MAX_SHOWN]:
                yield f"{_paint(severity, severity, colour)} {code}: {_sentence(item)}"
            if len(items) > MAX_SHOWN:
                yield f"{_paint(severity, severity, colour)} {code}: and {len(items) - MAX_SHOWN} more (see --json)"
            for hint in dict.fromkeys(item.hint for item in items if item.hint):
                yield f"  {_paint('hint', 'hint', colour)}: {hint}"


def _sentence(item: Finding) -> str:
    subject, path = item.subject, item.path or ""
    # Of the cache the subject is the area that the path begins with.
    if subject == path or (item.code.startswith("cache.") and path.startswith(f"{subject}/")):
        subject = ""
    where = [part for part in (subject, path) if part]
    lead = ", ".join(part for part in where if part not in item.message)
    return _printable(f"{lead}: {item.message}" if lead else item.message).replace("\n", "\\x0a")


def _printable(text: str) -> str:
    # File names come from strangers: an escape sequence must not reach the terminal.
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(text: str, style: str, colour: bool) -> str:
    return f"\033[{_STYLES[style]}m{text}\033[0m" if colour else text


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError:
        if stream is not sys.stderr:
            raise
        # Nobody can be told, and the status says it; Python would try again while it ends.
        sys.stderr = StringIO()


def progress(*, wanted: bool) -> Progress:
    """Return a progress bar on stderr when that is a terminal, and silence otherwise."""
    if not wanted or not sys.stderr.isatty():
        return Silent()
    return Bar()


class Bar:
    """A rich progress bar that appears with a stage that takes longer than a moment, and goes with it."""

    def __init__(self, delay: float = DELAY) -> None:
        from threading import Event, Lock, Timer

        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, FileSizeColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.progress import TimeRemainingColumn as Left

        console = Console(stderr=True)
        start = (TextColumn("{task.description}"), BarColumn())
        # Of an unknown total nothing is said, only what is done, where that says something.
        columns = {
            "bytes": (DownloadColumn(), Left()), "": (MofNCompleteColumn(), Left()), "bytes?": (FileSizeColumn(),),
            "files?": (TextColumn("{task.completed:.0f} files"),), "?": (),
        }  # fmt: skip
        self._kinds = {
            kind: RichProgress(*start, *more, console=console, transient=True) for kind, more in columns.items()
        }
        self.appeared = Event()
        """Set once there was a bar."""
        self._delay = delay
        """Seconds."""
        self._turn = Lock()
        self._running: RichProgress | None = None
        self._timer: Timer | None = None
        self._done = 0

    def begin(self, label: str, total: int | None, unit: str) -> None:
        """Show a bar of ``total`` units once the stage has taken a moment: most are over before anybody could read."""
        from threading import Timer

        self.end()
        self._done = 0
        self._timer = Timer(self._delay, self._appear, (label, total, unit))
        self._timer.daemon = True
        self._timer.start()

    def _appear(self, label: str, total: int | None, unit: str) -> None:
        from threading import current_thread

        with self._turn:
            # The stage may have ended, or the next begun, while this thread waited for its turn.
            if self._timer is not current_thread():
                return
            kind = unit if total is not None else f"{unit}?"
            self._running = self._kinds.get(kind, self._kinds["?" if total is None else ""])
            self._running.start()
            self._running.add_task(label, total=total, completed=self._done)
            self.appeared.set()

    def advance(self, amount: int) -> None:
        """Move the bar on."""
        with self._turn:
            self._done += amount
            if self._running is not None:
                self._running.advance(self._running.task_ids[-1], amount)

    def end(self) -> None:
        """Take the bar away."""
        with self._turn:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._running is not None:
                self._running.stop()
                self._running.remove_task(self._running.task_ids[-1])
                self._running = None
