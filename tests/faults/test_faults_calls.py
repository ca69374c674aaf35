"""Processes that are killed and calls that are refused: the short forms (docs/faults.md)."""

from __future__ import annotations

import pytest

from faults.counted import check, claims


@pytest.mark.parametrize(("part", "name"), claims("kills"))
def test_a_kill_at_any_call_needs_no_repair(part: str, name: str) -> None:
    """Killed at any system call, an operation leaves nothing torn, loses nothing, and works the next time."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("random"))
def test_a_kill_at_any_moment_needs_no_repair(part: str, name: str) -> None:
    """Killed at any moment, a worker leaves a store in which all that is read is exact."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("refusals", "lies", "limits"))
def test_a_refused_call_makes_nothing_wrong(part: str, name: str) -> None:
    """Refused any call, an operation gives the right answer or says with an exit code of its own that it cannot."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("full", "inodes", "read-only"))
def test_a_filesystem_that_takes_nothing_makes_nothing_wrong(part: str, name: str) -> None:
    """On a filesystem that is full or read-only, an operation gives the right answer, and works when it is not."""
    check(part, name)
