"""The gate: an answer for everything, and passes that nobody else can make, keep or alter."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.gate import Absent, Fresh, Moved, ReadPass, Stale, WorkPass, WritePass, confirm, decide
from envid.identity import COMPONENTS, Identity
from envid.slot import Slot, key_of, narrow, of_identity
from envid.store.cache import Candidate, Miss, find, put
from envid.store.place import open_place

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text("abc é", max_size=4)
components = st.dictionaries(
    st.text("abcdefgh-", min_size=1, max_size=6) | st.sampled_from(sorted(COMPONENTS)),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz"), inner, max_size=3)
    ),
    max_size=4,
)  # fmt: skip
slots = st.builds(narrow, st.sampled_from(["contents", "run", "a-b_c"]), components)

HERE = narrow("contents", {"wheel": "ab" * 32, "epoch": 1})
THERE = narrow("contents", {"wheel": "cd" * 32, "epoch": 1})


def passes() -> list[ReadPass | WorkPass | WritePass]:
    fresh, absent = decide(HERE.document, HERE), decide(None, HERE)
    assert isinstance(fresh, Fresh)
    assert isinstance(absent, Absent)
    leave = confirm(absent.work, HERE)
    assert isinstance(leave, WritePass)
    return [fresh.read, absent.work, leave]


@settings(deadline=None)
@given(st.none() | st.binary(max_size=200) | slots.map(lambda slot: slot.document), slots)
def test_decide_is_total_and_pure(recorded: bytes | None, current: Slot) -> None:
    """For any bytes at all there is one of three answers, the same each time, and it is the one that the bytes mean."""
    verdict, again = decide(recorded, current), decide(recorded, current)
    assert type(verdict) is type(again)
    if recorded is None:
        assert isinstance(verdict, Absent)
        assert verdict.work.slot == current
    elif recorded == current.document:
        assert isinstance(verdict, Fresh)
        assert verdict.read.slot == current
    else:
        assert isinstance(verdict, Stale)
        assert isinstance(again, Stale)
        assert verdict.changes
        assert verdict.changes == again.changes


@given(slots, slots)
def test_a_stale_slot_has_its_changes_told(old: Slot, new: Slot) -> None:
    """Between two documents that differ something is told, and equal documents have equal keys."""
    verdict = decide(old.document, new)
    assert isinstance(verdict, Fresh) is (old.document == new.document) is (old.key == new.key)
    if isinstance(verdict, Stale):
        assert all(change.component and change.what for change in verdict.changes)


@given(slots)
def test_the_key_follows_from_the_document(slot: Slot) -> None:
    """Whoever has the document can compute the key."""
    assert key_of(slot.document) == slot.key
    assert len(slot.digest) == 64


def test_a_change_names_its_component() -> None:
    """What differs between two slots is told by component, with both values."""
    verdict = decide(HERE.document, THERE)
    assert isinstance(verdict, Stale)
    (change,) = verdict.changes
    assert (change.component, change.what, change.old, change.new) == ("wheel", "changed", "ab" * 32, "cd" * 32)


@given(slots, slots)
def test_confirm_takes_the_same_slot_only(first: Slot, measured: Slot) -> None:
    """What was made for one slot is never written into another: the identity moved, and what moved is told."""
    absent = decide(None, first)
    assert isinstance(absent, Absent)
    leave = confirm(absent.work, measured)
    if measured == first:
        assert isinstance(leave, WritePass)
        assert leave.slot == first
    else:
        assert isinstance(leave, Moved)
        assert leave.changes


def test_confirm_is_not_deceived_by_one_half_of_a_slot() -> None:
    """A slot with the right key and another document, or the other way round, is another slot."""
    absent = decide(None, HERE)
    assert isinstance(absent, Absent)
    for forged in (
        Slot(layer=HERE.layer, key=HERE.key, document=THERE.document),
        Slot(layer=HERE.layer, key=THERE.key, document=HERE.document),
    ):
        assert isinstance(confirm(absent.work, forged), Moved)


@pytest.mark.parametrize("kind", [ReadPass, WorkPass, WritePass])
def test_only_the_gate_makes_a_pass(kind: type) -> None:
    """A pass made by anybody else, with whatever for a mint, is refused."""
    for mint in (None, object(), HERE, True):
        with pytest.raises(TypeError, match="only the gate"):
            kind(HERE, mint)
    with pytest.raises(TypeError):
        kind(HERE)


@pytest.mark.parametrize("number", range(3))
def test_a_pass_is_not_copied_and_does_not_leave(number: int) -> None:
    """Copying and pickling a pass is refused: what is read later is decided later."""
    leave = passes()[number]
    attempts: list[Callable[[object], object]] = [copy.copy, copy.deepcopy]
    attempts += [partial(pickle.dumps, protocol=protocol) for protocol in range(6)]
    for attempt in attempts:
        with pytest.raises(TypeError, match="not copied"):
            attempt(leave)


@pytest.mark.parametrize("number", range(3))
def test_a_pass_is_bound_to_its_slot(number: int) -> None:
    """The slot of a pass is not exchanged, nor is anything added."""
    leave = passes()[number]
    for name in ("slot", "other"):
        with pytest.raises(AttributeError):
            setattr(leave, name, THERE)
    with pytest.raises(AttributeError):
        del leave.slot
    assert leave.slot is HERE


@pytest.mark.parametrize("kind", [ReadPass, WorkPass, WritePass])
def test_a_pass_has_no_kinds(kind: type) -> None:
    """Nobody makes a pass of his own by making a class of it."""
    with pytest.raises(TypeError, match="only the gate"):
        type("Mine", (kind,), {})


def test_the_store_takes_nothing_but_passes(tmp_path: Path) -> None:
    """What only looks like a pass, or is a pass for something else, opens nothing."""
    place = open_place(tmp_path / "cache")
    reading, working, writing = passes()
    assert isinstance(writing, WritePass)
    for forged in (SimpleNamespace(slot=HERE), reading, working, None):
        with pytest.raises(TypeError, match="WritePass"):
            put(place, forged, b"x")  # type: ignore[arg-type]
    put(place, writing, b"x")
    found = find(place, HERE)
    assert isinstance(found, Candidate)
    for forged in (SimpleNamespace(slot=HERE), working, writing, None):
        with pytest.raises(TypeError, match="ReadPass"):
            found.payload(forged)  # type: ignore[arg-type]
    other = decide(THERE.document, THERE)
    assert isinstance(other, Fresh)
    assert found.payload(other.read) == Miss(reason="misnamed")


def test_an_identity_has_a_slot() -> None:
    """The slot of a layer's identity is named by the identity's own key."""
    identity = Identity(layer="store", components={})
    slot = of_identity(identity)
    assert slot.layer == "store"
    assert key_of(slot.document) == slot.key
