"""Documents, keys and differences: what holds for any identity."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import ConfigError, IdentityError, IdentityUnknown, UnsupportedSchema, UsageError
from envid.identity import (
    COMPONENTS,
    LAYERS,
    Change,
    Identity,
    ci_key,
    components_of,
    document,
    explain,
    identify,
    key,
    parse_document,
)
from envid.values.digest import JSONValue, NotCanonical
from identity_vectors import BASE, compute, sha, with_

LAYER_NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?", fullmatch=True)
WORDS = string.ascii_lowercase + string.digits + "_"
CI_PARTS = st.tuples(st.text(WORDS, min_size=1, max_size=8), st.text(WORDS, min_size=1, max_size=12), st.text(WORDS,
    min_size=1, max_size=10))  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(WORDS), inner, max_size=3),
    max_leaves=8,
)


def _identity(layer: str = "own", components: Mapping[str, JSONValue] | None = None) -> Identity:
    return Identity(layer=layer, components=components or {"salt": "x"})


@given(first=LAYER_NAMES, second=LAYER_NAMES, one=CI_PARTS, two=CI_PARTS)
def test_no_key_begins_another(first: str, second: str, one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    """Whatever the layers and platforms: short, of a fixed alphabet, and never a prefix of one another."""
    identities = (_identity(first), _identity(second))
    keys = {key(identities[0]), key(identities[1]), ci_key(identities[0], *one), ci_key(identities[1], *two)}
    for a in keys:
        assert len(a) <= 137
        assert set(a) <= set(WORDS + "-")
        assert not any(b != a and b.startswith(a) for b in keys)


@given(cut=st.integers(0, 63), tail=st.text("0123456789abcdef-", min_size=1, max_size=70))
def test_a_layer_cannot_be_named_like_the_rest_of_a_key(cut: int, tail: str) -> None:
    """A layer whose name holds another's digest, so that keys would nest, is too long to be declared."""
    name = f"a-{key(_identity('a'))[-64:]}-{tail}"[: 66 + cut]
    with pytest.raises(ConfigError):
        components_of(name, {name: ("salt",)})


@given(components=st.dictionaries(st.sampled_from(list(COMPONENTS)), VALUES, min_size=1))
def test_a_document_reads_back(components: dict[str, JSONValue]) -> None:
    """Any document of a project's own layer reads back to an equal identity and the same bytes."""
    identity = Identity(layer="own", components=components)
    data = document(identity)
    found = parse_document(data)
    assert found == identity
    assert document(found) == data
    assert explain(identity, found) == ()


@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    """Any other bytes are an identity error, and no other exception."""
    with pytest.raises(IdentityError):
        parse_document(data)


DOCUMENT = document(compute(BASE))
FORGED: dict[str, tuple[bytes, type[Exception]]] = {
    "no JSON": (b"{", NotCanonical),
    "an array": (b"[]", UnsupportedSchema),
    "no schema": (b'{"components":{"salt":""},"layer":"own"}', UnsupportedSchema),
    "another schema": (DOCUMENT.replace(b"identity/1", b"identity/2"), UnsupportedSchema),
    "a schema that is no text": (DOCUMENT.replace(b'"envid-identity/1"', b"1"), UnsupportedSchema),
    "white space": (DOCUMENT + b"\n", NotCanonical),
    "other order": (json.dumps(dict(reversed(json.loads(DOCUMENT).items())), separators=(",", ":")).encode(),
    NotCanonical),
    "duplicate key": (DOCUMENT.replace(b'"salt":""', b'"salt":"","salt":""'), NotCanonical),
    "a member too many": (DOCUMENT.replace(b',"schema"', b',"more":1,"schema"'), NotCanonical),
    "layer that is no text": (DOCUMENT.replace(b'"layer":"env"', b'"layer":1'), NotCanonical),
    "layer that is no name": (DOCUMENT.replace(b'"layer":"env"', b'"layer":"E N V"'), NotCanonical),
    "components that are no object": (b'{"components":[],"layer":"own","schema":"envid-identity/1"}', NotCanonical),
    "no components": (b'{"components":{},"layer":"own","schema":"envid-identity/1"}', NotCanonical),
    "unknown component": (b'{"components":{"sal":""},"layer":"own","schema":"envid-identity/1"}', NotCanonical),
    "a component too few": (DOCUMENT.replace(b',"salt":""', b""), NotCanonical),
    "components of another layer": (DOCUMENT.replace(b'"layer":"env"', b'"layer":"wheels"'), NotCanonical),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_document_is_refused(what: str) -> None:
    """Anything that envid would not have written is refused, as another schema or as not canonical."""
    data, error = FORGED[what]
    with pytest.raises(error):
        parse_document(data)


def test_a_missing_component_is_an_error() -> None:
    """An identity without one of its layer's components cannot be made."""
    with pytest.raises(IdentityUnknown, match="salt"):
        identify("wheels", LAYERS["wheels"], {"markers": {}, "selection": {}, "distributions": []})


@pytest.mark.parametrize(
    ("layer", "declared", "error", "says"),
    [
        ("whels", {}, UsageError, "wheels"),
        ("mine", {"mein": ("salt",)}, UsageError, "mein"),
        ("env", {"env": ("salt",)}, ConfigError, "another name"),
        ("mine", {"mine": ()}, ConfigError, "empty"),
        ("mine", {"mine": ("slat",)}, ConfigError, "slat"),
        ("x" * 33, {"x" * 33: ("salt",)}, ConfigError, "32"),
    ],
)
def test_an_impossible_layer_is_refused(
    layer: str, declared: dict[str, tuple[str, ...]], error: type[UsageError | ConfigError], says: str
) -> None:
    """An unknown layer names the nearest one; a declaration that cannot be is a configuration error."""
    with pytest.raises(error) as caught:
        components_of(layer, declared)
    assert says in f"{caught.value} {caught.value.hint}"


def test_a_layer_of_the_projects_own_is_in_table_order() -> None:
    """Order and repetition in the declaration do not matter."""
    assert components_of("mine", {"mine": ("salt", "python", "salt")}) == ("python", "salt")


@pytest.mark.parametrize("parts", [("linux", "x86_64", "CP312"), ("linux", "x" * 13, "cp312"), ("", "x86_64", "cp312")])
def test_a_ci_key_takes_only_its_alphabet(parts: tuple[str, str, str]) -> None:
    """A part of a CI key outside the alphabet or its length is refused."""
    with pytest.raises(IdentityUnknown):
        ci_key(_identity(), *parts)


def _rows(*rows: list[str | None]) -> JSONValue:
    return list(rows)


DIFFERENCES: list[tuple[str, dict[str, JSONValue], dict[str, JSONValue], Change, str]] = [
    (
        "added", {"distributions": _rows()}, {"distributions": _rows(["a", "1", "wheel", sha(1)])},
        Change(component="distributions", what="added", subject="a", new=f"1 wheel {sha(1)}"), "was added",
    ),
    (
        "removed", {"distributions": _rows(["a", "1", "wheel", sha(1)])}, {"distributions": _rows()},
        Change(component="distributions", what="removed", subject="a", old=f"1 wheel {sha(1)}"), "was removed",
    ),
    (
        "version", {"distributions": _rows(["a", "1", "wheel", sha(1)])},
        {"distributions": _rows(["a", "2", "wheel", sha(2)])},
        Change(component="distributions", what="version", subject="a", old="1", new="2"), "a went from 1 to 2",
    ),
    (
        "another kind", {"distributions": _rows(["a", "1", "wheel", sha(1)])},
        {"distributions": _rows(["a", "1", "sdist", sha(2)])},
        Change(
            component="distributions", what="artifact", subject="a", old=f"1 wheel {sha(1)}", new=f"1 sdist {sha(2)}"
        ),
        "another file of the same version",
    ),
    (
        "same version, other hash", {"distributions": _rows(["a", "1", "wheel", sha(1)])},
        {"distributions": _rows(["a", "1", "wheel", sha(2)])},
        Change(
            component="distributions", what="rehashed", subject="a", old=f"1 wheel {sha(1)}", new=f"1 wheel {sha(2)}"
        ),
        "same version and another hash",
    ),
    (
        "rows of another shape", {"distributions": [["a", "1"]]}, {"distributions": [["a", "2"]]},
        Change(component="distributions", what="changed", subject="a", old="1", new="2"), "was 1 and is 2",
    ),
    (
        "member", {"markers": {"os_name": "nt", "x": None}}, {"markers": {"os_name": "posix", "x": None}},
        Change(component="markers", what="changed", subject="os_name", old="nt", new="posix"),
            "markers: os_name was nt",
    ),
    (
        "one value", {"salt": ""}, {"salt": "b"},
        Change(component="salt", what="changed", subject="salt", old="", new="b"), "salt was  and is b",
    ),
    (
        "null", {"build": None}, {"build": {"compiler": None, "sources": []}},
        Change(component="build", what="changed", subject="build", old="nothing", new='{"compiler":null,"sources":[]}'),
        "build was nothing",
    ),
    (
        "list that is no table", {"facts": ["a", 1]}, {"facts": ["a", 2]},
        Change(component="facts", what="changed", subject="facts", old='["a",1]', new='["a",2]'), "facts was",
    ),
    (
        "component gone", {"salt": "", "facts": []}, {"salt": ""},
        Change(component="facts", what="removed", subject="facts", old="nothing"), "was removed",
    ),
    (
        "component new", {"salt": ""}, {"salt": "", "facts": [None]},
        Change(component="facts", what="added", subject="facts", new="nothing"), "was added",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "old", "new", "change", "words"), DIFFERENCES, ids=[row[0] for row in DIFFERENCES])
def test_a_difference_is_named(
    what: str, old: dict[str, JSONValue], new: dict[str, JSONValue], change: Change, words: str
) -> None:
    """Each kind of difference is one change, row by row, with a sentence that tells it."""
    found = explain(_identity("own", old), _identity("own", new))
    assert found == (change,)
    assert words in found[0].text


def test_another_hash_is_expected_on_another_platform() -> None:
    """When interpreter or platform changed too, another file of the same version is no alarm."""
    one, two = (
        _identity("own", {"python": {"abi": abi}, "distributions": _rows(["a", "1", "wheel", sha(number)])})
        for abi, number in (("cp312", 1), ("cp313", 2))
    )
    assert [change.what for change in explain(one, two)] == ["changed", "artifact"]


@pytest.mark.parametrize(("second", "what"), [("a.whl", "rehashed"), ("b.whl", "artifact")])
def test_file_names_tell_a_replaced_file_from_another_one(second: str, what: str) -> None:
    """With the locks at hand, the same file name with other bytes is the alarm, and another file is not."""
    one, two = (_identity("own", {"distributions": _rows(["a", "1", "wheel", sha(n)])}) for n in (1, 2))
    (change,) = explain(one, two, filenames={sha(1): "a.whl", sha(2): second})
    assert change.what == what


def test_another_layer_is_named_first() -> None:
    """Two documents of different layers differ in their layer, and in the components that only one has."""
    wheels, env = compute(with_({"layer": "wheels"})), compute(BASE)
    changes = explain(wheels, env)
    assert changes[0] == Change(component="layer", what="changed", subject="layer", old="wheels", new="env")
    assert {change.component for change in changes[1:]} == set(LAYERS["env"]) - set(LAYERS["wheels"])
