"""Whether a lock still answers what the project asks, told offline: fresh, stale or undecidable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from envid.values.artifact import Lock
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.requirement import Asked
from envid.values.target import Target

State = Literal["fresh", "stale", "undecidable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, and why."""

    state: State
    findings: tuple[Finding, ...] = ()


def judge(
    lock: Lock, data: bytes, *, inputs: Mapping[str, JSONValue], asked: Sequence[Asked], targets: Sequence[Target]
) -> Verdict:
    """Compare the inputs recorded in ``lock`` with ``inputs``, by the rule in docs/freshness.md."""
    raise NotImplementedError
