"""Start a program: the only module that does.

The child sees a chosen environment, never the caller's whole one; its output is captured, its
group dies with the caller's interest in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from envid.errors import CommandNotStarted, EngineFailed, InterpreterNotFound
from envid.values.frozen import dataclass

PASSED_ON: Final = (
    "PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "TMPDIR", "LOCALAPPDATA", "APPDATA",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NETRC", "XDG_CACHE_HOME", "XDG_DATA_HOME", "SSH_AUTH_SOCK",
)  # fmt: skip
"""Variables of the caller that every child may see: where things are, how to reach the network."""

PINNED: Final = {"LC_ALL": "C.UTF-8", "LANGUAGE": "", "TZ": "UTC", "PYTHONHASHSEED": "0", "NO_COLOR": "1"}
"""Forced instead of hashed: what could change a child's output and has no business to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished child: exit status and captured streams, decoded as UTF-8 with replacement."""

    status: int
    stdout: str
    stderr: str


def environment(*, passed: Sequence[str] = (), extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: ``PASSED_ON`` and ``passed`` from ours, ``PINNED``, then ``extra``.

    A name in ``passed`` that ends with ``*`` stands for every variable with that prefix.
    """
    names = {name for name in (*PASSED_ON, *passed) if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in passed if name.endswith("*"))
    chosen = {k: v for k, v in os.environ.items() if k in names or (prefixes and k.startswith(prefixes))}
    return {**chosen, **PINNED, **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    held: int | None = None,
) -> Completed:
    """Run ``argv`` to its end and return what it printed; a non-zero status is the caller's to judge.

    ``timeout`` is in seconds. ``held`` is the descriptor of a guard (``guard.hold``) that the child holds with us,
    so that it stays held when we are killed and the child works on. Raises InterpreterNotFound when there is no such
    program and EngineFailed when it had to be stopped. On any exception here, Ctrl-C too, the child's whole
    process group is gone before the exception goes on.
    """
    # Not at the top: `envid key` and `envid verify` load this module and start no process.
    import subprocess

    child: subprocess.Popen[bytes] | None = None
    try:
        # A signal between the start of the child and our knowing of it would leave it to itself.
        with uninterrupted():
            child = subprocess.Popen(  # noqa: S603 - the one door; argv is never a shell string
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=os.name == "posix",
                pass_fds=() if held is None else (held,),
            )
        out, err = child.communicate(stdin.encode() if stdin is not None else None, timeout=timeout)
    except BaseException as error:
        if child is not None:
            _end(child.pid)
            child.communicate()
        elif isinstance(error, OSError):
            raise InterpreterNotFound(f"cannot start {argv[0]}: {error.strerror}", path=str(argv[0])) from error
        if isinstance(error, subprocess.TimeoutExpired):
            raise EngineFailed(f"{os.path.basename(argv[0])} did not finish within {timeout:g} s") from error
        raise
    return Completed(
        status=child.returncode, stdout=out.decode("utf-8", "replace"), stderr=err.decode("utf-8", "replace")
    )


def attend(
    argv: Sequence[str],
    *,
    program: str,
    env: Mapping[str, str],
    cwd: str,
    stdout: int | None = None,
    held: Sequence[int] = (),
) -> int:
    """Run a user's command ``argv`` (the file ``program``) and return its status, as a shell has it: 128 + signal.

    It has our standard output (or the descriptor ``stdout``) and error, nothing to read, the usual umask, a process
    group of its own, and the descriptors ``held`` of guards. Whatever of the group is left is ended when the command
    has ended. On an exception here, Ctrl-C too, the group is interrupted (SIGINT), ``_GRACE`` later asked to end
    (SIGTERM), and ``_GRACE`` later made to; a second Ctrl-C makes it end at once. Raises CommandNotStarted.
    """
    import subprocess

    child: subprocess.Popen[bytes] | None = None
    try:
        with uninterrupted():
            child = subprocess.Popen(  # noqa: S603 - the user's own command; never a shell string
                list(argv), executable=program, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout,
                start_new_session=True, pass_fds=tuple(held), umask=0o022,
            )  # fmt: skip
        if hasattr(os, "waitid"):
            # Not reaped yet: until then no other process gets its number, which is that of the group.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        else:  # macOS before Python 3.13
            child.wait()
    except BaseException as error:
        if child is not None:
            for number in ("SIGINT", "SIGTERM"):
                _ask(child.pid, number)
                try:
                    child.wait(timeout=_GRACE)
                    break
                except subprocess.TimeoutExpired:
                    continue
        elif isinstance(error, (OSError, ValueError)):
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise CommandNotStarted(f"cannot start {ascii(argv[0])[1:-1]}: {said}", path=program) from error
        raise
    finally:
        if child is not None:
            _end(child.pid)
            child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


_GRACE: Final = 3.0
"""Seconds between interrupting a command, asking it to end, and ending it."""


def _ask(child: int, number: str) -> None:
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, getattr(signal, number))


def _end(child: int) -> None:
    import signal

    # The group, not the child: an engine starts builds of its own, which would go on writing.
    if os.name == "posix":
        # macOS: not permitted, where only ended processes are left in the group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    else:
        os.kill(child, signal.SIGTERM)  # Windows ends the process for any signal but Ctrl-C


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as SIGINT does, so that work is undone.

    A signal that the caller ignores (``nohup``) stays ignored. Outside the main thread signals arrive elsewhere; the
    block then runs as it is.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _handling(("SIGTERM", "SIGHUP"), interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block has ended: an undoing must not be undone half way."""
    waiting: list[int] = []
    with _handling(("SIGINT", "SIGTERM", "SIGHUP"), lambda number, _frame: waiting.append(number)):
        yield
    if waiting:
        raise KeyboardInterrupt


@contextmanager
def _handling(names: Sequence[str], handler: Callable[[int, object], None]) -> Iterator[None]:
    import signal

    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before: dict[int, object] = {}
    try:
        try:
            for number in numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread
            pass
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)  # type: ignore[arg-type]
