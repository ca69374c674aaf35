"""A piece of work in a child process under strace: its calls counted, and at one of them a signal or an error.

The child is forked from a process that has everything imported, so that what is traced is the work and not the
start of an interpreter; a trial takes some 10 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

END: Final = "/envid-faults-end"
"""A name that is asked for when the work is done: what follows in the log is the harness's own."""
DEADLINE: Final = 30.0
"""Seconds for one piece of work; beyond it, it hangs."""

CHANGING: Final = (
    "open", "openat", "creat", "write", "writev", "pwrite64", "fsync", "fdatasync", "ftruncate", "truncate",
    "fallocate", "link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir",
    "mkdirat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat", "symlink", "symlinkat",
    "copy_file_range", "sendfile", "close",
)  # fmt: skip
READING: Final = (
    "read", "readv", "pread64", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "flock", "lseek", "ioctl",
)  # fmt: skip
_SET_PTRACER: Final = 0x59616D61
_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True, kw_only=True)
class Call:
    """One system call of the work."""

    name: str
    nth: int
    """Counted among those of the same name, from 1: how strace names it."""
    text: str
    """The line of the log."""

    @property
    def changes(self) -> bool:
        """Whether files may be others after it than before."""
        if self.name in ("open", "openat"):
            return "O_CREAT" in self.text or "O_TRUNC" in self.text
        return self.name in CHANGING and self.name != "close"

    @property
    def where(self) -> str:
        """The call in words, without what differs from trial to trial."""
        return f"{self.name} #{self.nth}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a piece of work ended."""

    answer: str | None
    """What it returned; None when it was killed before."""
    signal: int
    hung: bool
    output: str
    """Standard output and standard error; of an exception, its traceback."""
    log: tuple[str, ...]


@cache
def unfit() -> str:
    """Return why nothing can be traced here; empty when it can."""
    if sys.platform != "linux":
        return "strace is Linux's"
    if shutil.which("strace") is None:
        return "no strace"
    with tempfile.TemporaryDirectory() as directory:
        try:
            ended = trial(lambda: "well", directory, trace=True)
            if ended.answer != "well" or not any(END in line for line in ended.log):
                return "strace sees nothing here"
            ended = trial(lambda: str(os.path.exists("/")), directory, inject="?newfstatat,?stat:error=EIO")
        except OSError as error:
            return str(error).splitlines()[0]
        return "" if ended.answer == "False" else "this strace cannot inject"


def trial(
    work: Callable[[], str], directory: str, *, inject: str = "", trace: bool = False, whole: bool = False,
    follow: bool = True, deadline: float = DEADLINE,
) -> Ended:  # fmt: skip
    """Do ``work`` in a child, under strace when something is to be injected or traced.

    ``directory`` takes the log and the output. ``whole`` has the log hold all bytes, in hexadecimal.
    ``follow`` traces threads and children as well.
    """
    _reap_orphans()
    log, output = f"{directory}/strace.log", f"{directory}/output"
    gate, go = os.pipe()
    # Not a pipe: sending is not among the calls that are refused.
    said, say = socket.socketpair()
    child = os.fork()
    if child == 0:
        _be_child(work, gate, say, output)
    os.close(gate)
    say.close()
    tracer = None
    # Only from here on does the child make no call that is counted.
    assert said.recv(1) == b"r"
    if inject or trace:
        tracer = _attach(child, log, inject, whole, follow)
    os.write(go, b"g")
    os.close(go)
    answer, hung = _wait(child, said, deadline)
    _, status = os.waitpid(child, 0)
    _end_group(child, at_once=hung)
    if tracer is not None:
        tracer.wait()
        assert tracer.stderr is not None
        tracer.stderr.close()
    answer, _, raised = answer.partition("\0")
    with open(output, encoding="utf-8", errors="replace") as stream:
        text = stream.read() + raised
    lines: tuple[str, ...] = ()
    if trace:
        with open(log, encoding="utf-8", errors="replace") as stream:
            lines = tuple(stream.read().splitlines())
    return Ended(
        answer=answer or None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        hung=hung,
        output=text,
        log=lines,
    )


def _be_child(work: Callable[[], str], gate: int, say: socket.socket, output: str) -> None:
    """Wait for the tracer, work, answer, end; does not return."""
    try:
        os.setsid()
        # Where only parents may trace (Yama), let everybody.
        ctypes.CDLL(None).prctl(_SET_PTRACER, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        waiting = select.poll()
        waiting.register(gate, select.POLLIN)
        say.send(b"r")
        waiting.poll()
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 - whatever it raises is the answer
            answer = f"raised {type(error).__name__}\0{traceback.format_exc()}"
        os.access(END, os.F_OK)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        say.send(answer.encode())
    finally:
        os._exit(0)


def _attach(child: int, log: str, inject: str, whole: bool, follow: bool) -> subprocess.Popen[bytes]:
    traced = ",".join(f"?{name}" for name in (*CHANGING, *READING))
    command = ["strace", "-p", str(child), "-o", log, "-y", "-e", f"trace={traced}", "-e", "signal=none"]
    command += ["-xx", "-s", "100000000"] if whole else ["-s", "0"]
    if follow:
        command.append("-f")
    if inject:
        command += ["-e", f"inject={inject}"]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    # Only now are the calls counted.
    line = tracer.stderr.readline()
    if b"attached" not in line:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise OSError(f"strace: {line.decode(errors='replace')}{tracer.stderr.read().decode(errors='replace')}")
    return tracer


def _wait(child: int, said: socket.socket, deadline: float) -> tuple[str, bool]:
    """Return what the child said, and whether it had to be killed."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle], [], [], deadline)
        if not ready:
            os.killpg(child, signal.SIGKILL)
            select.select([handle], [], [], 10)
        said.setblocking(False)
        try:
            answer = said.recv(65536)
        except BlockingIOError:
            answer = b""
        return answer.decode(), not ready
    finally:
        os.close(handle)
        said.close()


@cache
def _reap_orphans() -> None:
    """Have what a killed child leaves running become this process's, which waits for it."""
    ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_group(group: int, *, at_once: bool) -> None:
    """Wait for all that the child ``group`` started and left behind; kill it when it takes long."""
    end = time.monotonic() + (0 if at_once else 10)
    with contextlib.suppress(ChildProcessError):
        while True:
            found, _ = os.waitpid(-group, os.WNOHANG)
            if not found:
                if time.monotonic() > end:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(group, signal.SIGKILL)
                time.sleep(0.002)


def calls(log: Iterable[str], *, below: str) -> list[Call]:
    """Return the calls of ``log`` on files below the directory ``below``, up to the end of the work."""
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log:
        match = re.match(r"(?:(\d+) +)?(\w+)\(", line)
        if match is None:
            continue
        if END in line:
            break
        who, name = match[1] or "", match[2]
        counts[who, name] += 1
        if below in line:
            found.append(Call(name=name, nth=counts[who, name], text=line))
    return found
