"""What somebody meant who wrote a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.0) -> str:
    """Return the one of ``known`` that is most like ``word``; empty where none is, by ``cutoff`` from 0 to 1."""
    from difflib import get_close_matches

    # A long word costs its square, and nobody means anything by it.
    return next(iter(get_close_matches(word[:80], sorted(known), n=1, cutoff=cutoff)), "")


def quoted(word: str) -> str:
    """Return a word of a stranger's for a message: ASCII, at most 80 characters of it, in backquotes."""
    return f"`{ascii(word[:80])[1:-1]}`"
