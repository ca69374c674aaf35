"""What one command did with the store: how many hits, misses and bypasses, by layer and reason."""

from __future__ import annotations

from collections.abc import Iterator


class Tally:
    """Counts by (layer, event); an event is a name of ``values.reason``."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, layer: str, event: str, number: int = 1) -> None:
        """Count ``event`` for ``layer``."""
        self._counts[layer, event] = self._counts.get((layer, event), 0) + number

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """Go through (layer, event, number), sorted."""
        return iter(sorted((layer, event, number) for (layer, event), number in self._counts.items()))

    def take(self) -> list[tuple[str, str, int]]:
        """Return (layer, event, number), sorted, and begin anew."""
        taken = list(self)
        self._counts.clear()
        return taken
