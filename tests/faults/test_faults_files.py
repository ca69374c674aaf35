"""Damaged files, lost power, crowds, waits: the short forms (docs/faults.md)."""

from __future__ import annotations

import pytest

from faults.counted import check, claims


@pytest.mark.parametrize(("part", "name"), claims("bits"))
def test_other_bytes_are_a_miss(part: str, name: str) -> None:
    """Whatever stands in the place of an entry or a blob, a read gives the exact bytes or a miss, and never raises."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("power"))
def test_lost_power_loses_nothing_that_was_safe(part: str, name: str) -> None:
    """In every state that a disk may be in afterwards, reads are exact or miss, and the next operation works."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("crowd"))
def test_many_processes_read_what_was_written(part: str, name: str) -> None:
    """Processes that read, write, run, export and collect at a time read exact bytes, and no two holds overlap."""
    check(part, name)


@pytest.mark.parametrize(("part", "name"), claims("waits"))
def test_every_wait_ends_and_names_the_holder(part: str, name: str) -> None:
    """A wait for a guard is bounded, whoever holds it, and says who that is."""
    check(part, name)
