"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.values.amount import MOST, UNITS, parse_age, parse_size, show_age, show_limit, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10 GB", 10**10), ("512 MiB", 512 * 2**20), ("1.5 kB", 1500), ("0 B", 0), ("7", 7), (7, 7), ("1gib", 2**30),
        ("0.125 KiB", 128),
    ],
)  # fmt: skip
def test_a_size_is_bytes_or_a_text_with_a_unit(text: object, size: int) -> None:
    """Decimal and binary units, with and without a space, in any case, and plain bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1 GB", "10 GiBs", "1e9", "10  GB", "1.2345 GB", True, -1, 1.5, None, [], "٣ GB", "2000 TiB"]
)
def test_what_is_no_size_is_refused_in_words(text: object) -> None:
    """Anything else is a ValueError that says what a size looks like."""
    with pytest.raises(ValueError, match="must be a number of bytes"):
        parse_size(text)


@given(number=st.integers(0, 10**6), unit=st.sampled_from(sorted(UNITS)))
def test_a_whole_number_of_units_is_exact(number: int, unit: str) -> None:
    """No size is rounded; one beyond the bound is refused."""
    wanted = number * UNITS[unit]
    if wanted <= MOST:
        assert parse_size(f"{number} {unit}") == wanted
    else:
        with pytest.raises(ValueError):
            parse_size(f"{number} {unit}")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 days", 2592000), ("1 day", 86400), ("12 hours", 43200), ("2 weeks", 1209600)]
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Minutes, hours, days and weeks."""
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", [30, "30", "30d", "-1 days", "1 month", None, "", "1.5 days"])
def test_what_is_no_age_is_refused_in_words(text: object) -> None:
    """A number without a unit is no age: of what would it be?"""
    with pytest.raises(ValueError, match="30 days"):
        parse_age(text)


@given(number=st.integers(1, 900), unit=st.sampled_from(["kB", "MB", "GB", "KiB", "MiB", "GiB"]))
def test_a_limit_is_shown_as_it_was_written(number: int, unit: str) -> None:
    """What is shown of a whole number of units is the same size again, in no more characters."""
    size = parse_size(f"{number} {unit}")
    shown = show_limit(size)
    assert parse_size(shown) == size
    assert len(shown) <= len(f"{number} {unit}") + 1
    assert [show_limit(parse_size(text)) for text in ("10 GiB", "128 MiB", "5 GB")] == ["10 GiB", "128 MiB", "5 GB"]


def test_amounts_are_shown_as_people_read_them() -> None:
    """One digit after the point, the largest unit that gives one before it."""
    assert [show_size(size) for size in (0, 999, 1000, 1_500_000_000)] == ["0 B", "999 B", "1.0 kB", "1.5 GB"]
    assert [show_age(age) for age in (5, 60, 7200, 86400, 3 * 604800)] == [
        "less than a minute", "1 minute", "2 hours", "1 day", "21 days",
    ]  # fmt: skip
