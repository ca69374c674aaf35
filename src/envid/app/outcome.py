"""What a use case answers; the surfaces render it for people, for machines and for CI."""

from __future__ import annotations

from collections.abc import Mapping

from envid.errors import FINDINGS
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """That an answer may be given again unasked: it is a function of these files, of envid's code and of this host."""

    files: Mapping[str, str]
    """Absolute path to BLAKE3 of the bytes that the answer was made from."""
    document: bytes = b""
    """The identity document behind a key; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer of one command."""

    command: str
    answer: str = ""
    """For stdout when a person reads: the key, the document, a table; plain text without colour."""
    notes: tuple[str, ...] = ()
    """For stderr: one sentence each, what was done or left."""
    data: Mapping[str, JSONValue] = field(default_factory=dict)
    """``data`` of the JSON envelope."""
    findings: tuple[Finding, ...] = ()
    memory: Memory | None = None
    """None: the answer depends on more than files that can be named, and is never remembered."""

    status: int = 0
    """Exit status of the user's own command, where envid ran one."""

    @property
    def exit_code(self) -> int:
        """The command's status; else 0, or 1 when a finding is an error: the answer is no."""
        if self.status:
            return self.status
        return FINDINGS if any(finding.severity == "error" for finding in self.findings) else 0


def count(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``: a number with its noun, for answers and notes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
