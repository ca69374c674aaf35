"""Canonical JSON: one spelling a value, and no value that another language would spell otherwise."""

from __future__ import annotations

import json
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.values.digest import MAX_DEPTH, MAX_INTEGER, NotCanonical, blake3_hex, canonical, derive_hex, parse_canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: normalize("NFC", text))
KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_parsing_what_was_encoded_gives_the_value_back(value: object) -> None:
    """canonical and parse_canonical are inverse on every value that canonical takes."""
    assert parse_canonical(canonical(value)) == value  # type: ignore[arg-type]


@given(VALUES)
def test_the_encoder_agrees_with_the_standard_library(value: object) -> None:
    """For these values canonical JSON is what json.dumps writes with sorted keys and no white space."""
    wanted = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert canonical(value).decode() == wanted  # type: ignore[arg-type]


@given(st.dictionaries(KEYS, st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, int], random: object) -> None:
    """Two orders of one object encode to the same bytes."""
    items = list(value.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert canonical(dict(items)) == canonical(value)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        {"é": 1},
        {1: 2},
        "e\u0301",
        "\ud800",
        b"bytes",
        {"a": {"b": object()}},
        {1, 2},
    ],
)
def test_values_that_languages_spell_differently_are_refused(value: object) -> None:
    """Floats, wide integers, non-ASCII keys, unnormalised text, lone surrogates and foreign types are refused."""
    with pytest.raises(NotCanonical):
        canonical(value)  # type: ignore[arg-type]


def test_bottomless_nesting_is_refused() -> None:
    """Nesting beyond the limit is an error, not a crash."""
    value: object = 0
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(NotCanonical):
        canonical(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b"1.0",
        b"1e3",
        b"NaN",
        b'"\\u0041"',
        b"\xff",
        b"",
        b"[" * 100_000,
        b"9007199254740992",
        '{"é":1}'.encode(),
    ],
)
def test_bytes_in_another_spelling_are_refused(data: bytes) -> None:
    """Duplicate keys, other order, white space, escapes that need not be, floats and broken text are refused."""
    with pytest.raises(NotCanonical):
        parse_canonical(data)


def test_contexts_separate_domains() -> None:
    """The same bytes have different digests under different contexts, and under none."""
    assert len({blake3_hex(b"x"), derive_hex("a", b"x"), derive_hex("b", b"x")}) == 3


def test_a_tuple_is_an_array() -> None:
    """Any sequence but text and bytes is an array, spelled as a list is."""
    assert canonical(("a", ("b",))) == canonical(["a", ["b"]]) == b'["a",["b"]]'
