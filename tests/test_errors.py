"""Errors: each one a fact with a slug, a documented exit code, and a way across processes."""

from __future__ import annotations

import pickle

import pytest

from envid import errors
from envid.errors import DigestMismatch, EnvidError, UsageError

CLASSES = [
    c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, EnvidError) and c is not EnvidError
]


def test_slugs_are_unique() -> None:
    """No two errors share a slug."""
    slugs = [kind.slug for kind in CLASSES]
    assert len(slugs) == len(set(slugs))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_documented_exit_code_and_meaning(kind: type[EnvidError]) -> None:
    """Each class has an exit code from 2 to 10 and a docstring, which becomes the documentation."""
    assert 2 <= kind.exit_code <= 10
    assert (kind.__doc__ or "").strip()


def test_an_error_crosses_processes_whole() -> None:
    """Pickling keeps class, message, hint and context."""
    error = DigestMismatch("wrong", hint="look", package="six", path=None)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.hint, again.context) == (
        DigestMismatch,
        "wrong",
        "look",
        {"package": "six"},
    )


def test_the_hint_of_the_class_is_the_default() -> None:
    """Without a hint of its own an error shows that of its class."""
    assert UsageError("what").hint == UsageError.hint
