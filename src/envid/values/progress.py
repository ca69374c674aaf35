"""How long work tells that it goes on; silence by default, so that no use case knows of a terminal."""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """An observer. Calls come from one thread at a time; none of them may fail or block."""

    def begin(self, label: str, total: int | None, unit: str) -> None:
        """A stage begins: ``total`` in ``unit`` (``"bytes"``, ``"files"``, ...), ``None`` when unknown."""

    def advance(self, amount: int) -> None:
        """``amount`` more units of the current stage are done."""

    def end(self) -> None:
        """The current stage is over, well or not."""


class Silent:
    """The observer that says nothing."""

    def begin(self, label: str, total: int | None, unit: str) -> None:
        """Say nothing."""

    def advance(self, amount: int) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


SILENT: Final = Silent()
"""The default observer of every use case."""
