"""Slots: a key that follows from a document, and what is said of two documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import UnsupportedSchema
from envid.identity import Identity
from envid.slot import changes, key_of, narrow, of_identity
from envid.values.digest import NotCanonical

HERE = narrow("run", {"command": ["make"], "inputs": {"a": "1", "b": "2", "d": "0"}, "python": {"version": "3.12"}})


@pytest.mark.parametrize("layer", ["", "-", "a-", "_a", "A", "a b", "a/b", "..", "ä", "a" * 33])
def test_a_layer_has_a_plain_name(layer: str) -> None:
    """A name that could be a path, or be taken for another in some case, is refused."""
    with pytest.raises(NotCanonical, match="name of a layer"):
        narrow(layer, {})


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"components":{},"layer":"a","more":1,"schema":"envid-slot/1"}',
     b'{"components":{},"layer":"a"}', b'{"components":[],"layer":"a","schema":"envid-slot/1"}',
     b'{"components":{},"layer":"A","schema":"envid-slot/1"}', b'{"components":{},"layer":1,"schema":"envid-slot/1"}',
     b'{"components":{}, "layer":"a","schema":"envid-slot/1"}'],
)  # fmt: skip
def test_what_is_no_document_has_no_key(document: bytes) -> None:
    """Only canonical JSON with exactly schema, layer and components names a slot."""
    with pytest.raises(NotCanonical):
        key_of(document)


def test_another_schema_is_told() -> None:
    """A document of a schema that this envid does not know is refused as such."""
    with pytest.raises(UnsupportedSchema, match="envid-slot/1"):
        key_of(b'{"components":{},"layer":"a","schema":"envid-slot/2"}')


def test_the_schema_and_the_layer_are_part_of_the_key() -> None:
    """Equal components in another layer, or as an identity, are another slot."""
    keys = {narrow("store", {}).digest, narrow("run", {}).digest}
    keys.add(of_identity(Identity(layer="store", components={})).digest)
    assert len(keys) == 3


def test_members_are_compared_one_by_one() -> None:
    """A component that is an object is compared by its members: added, removed and changed."""
    there = narrow(
        "run", {"command": ["make"], "inputs": {"b": "3", "c": "4", "d": "0"}, "python": {"version": "3.12"}}
    )
    told = [(one.component, one.what, one.subject, one.old, one.new) for one in changes(HERE.document, there.document)]
    assert told == [
        ("inputs", "removed", "a", "1", None), ("inputs", "changed", "b", "2", "3"),
        ("inputs", "added", "c", None, "4"),
    ]  # fmt: skip
    assert changes(HERE.document, HERE.document) == ()


def test_a_component_that_is_no_object_is_compared_as_a_whole() -> None:
    """A list, or one that is there on one side only, is shown as canonical JSON, and cut where it is long."""
    there = narrow("run", {"command": ["x" * 300], "inputs": {"a": "1", "b": "2", "d": "0"}})
    told = {one.component: (one.old, one.new) for one in changes(HERE.document, there.document)}
    assert told["command"][0] == '["make"]'
    assert (told["command"][1] or "").endswith("...")
    assert "python" in told


@pytest.mark.parametrize("other", [b"", b"x", b'{"components":{},"layer":"a","schema":"envid-slot/9"}'])
def test_a_document_that_cannot_be_read_differs_as_a_whole(other: bytes) -> None:
    """What is no document differs from one, and not from itself."""
    (whole,) = changes(other, HERE.document)
    assert whole.component == "document"
    assert changes(other, other) == ()


def test_two_layers_differ_as_a_whole() -> None:
    """Slots of two layers are not compared component by component; both are named."""
    (whole,) = changes(HERE.document, narrow("other", {}).document)
    assert (whole.old, whole.new) == ("envid-slot/1 run", "envid-slot/1 other")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_comparing_never_raises(old: bytes, new: bytes) -> None:
    """Any two pieces of bytes are compared: nothing is told of equal ones, and something of others."""
    assert bool(changes(old, new)) is (old != new)
