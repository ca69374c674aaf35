"""One claim, how often it was tried, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

SHOWN = 5
"""Failures of one claim that are printed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The outcome of one claim."""

    part: str
    name: str
    claim: str
    trials: int
    failures: tuple[str, ...] = ()
    skipped: str = ""
    """Why it was not tried here."""

    @property
    def line(self) -> str:
        """The row in words: ``0 failures in N``."""
        count = f"skipped: {self.skipped}" if self.skipped else f"{len(self.failures)} failures in {self.trials:,}"
        return f"{self.part:9} {self.name:10} {self.claim:74} {count}"


@dataclass(kw_only=True)
class Count:
    """Trials and failures while they are made."""

    trials: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, problems: Iterable[str], *, of: str = "") -> None:
        """Count one trial; it failed when there are ``problems``."""
        self.trials += 1
        text = "; ".join(problems)
        if text:
            self.failures.append(f"{of}: {text}" if of else text)

    def row(self, part: str, name: str, claim: str) -> Row:
        """Return the outcome."""
        return Row(part=part, name=name, claim=claim, trials=self.trials, failures=tuple(self.failures))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that can be tried at any scale."""

    part: str
    name: str
    text: str
    try_: Callable[[str, float], Count]
    """Takes an empty directory and the scale: 1.0 is the long form, the short form is a fraction of it."""
    unfit: Callable[[], str] = lambda: ""
    """Why it cannot be tried on this machine; empty when it can."""

    def tried(self, directory: str, scale: float) -> Row:
        """Try it."""
        why = self.unfit()
        if why:
            return Row(part=self.part, name=self.name, claim=self.text, trials=0, skipped=why)
        return self.try_(directory, scale).row(self.part, self.name, self.text)


T = TypeVar("T")


def thinned(things: Iterable[T], scale: float, *, least: int = 1) -> Iterator[T]:
    """Give every thing at scale 1 and above, else evenly spread ones, at least ``least``."""
    every = list(things)
    wanted = min(len(every), max(least, round(len(every) * scale)))
    for at in range(wanted):
        yield every[at * len(every) // wanted]
