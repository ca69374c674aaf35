"""Component values: one spelling for each, and an error for what is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version

import second_identity
from envid.errors import CredentialInConfig, IdentityUnknown
from envid.values import component
from envid.values.digest import JSONValue

HEX = "0" * 64

NUMBER = st.integers(0, 300).map(str)
VERSIONS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "", "v", "1!", "0!"]),
        st.lists(NUMBER | st.just("0"), min_size=1, max_size=5).map(".".join),
        st.sampled_from(["", "", "a1", "b2", "rc3", ".RC4", "-alpha", "_pre.5"]),
        st.sampled_from(["", "", ".post1", "-7", "rev2", ".r"]),
        st.sampled_from(["", "", ".dev1", "dev"]),
        st.sampled_from(["", "", "+cu121", "+1.0", "+A-b_0.0"]),
    ),
)


@given(VERSIONS)
def test_a_version_has_one_spelling(text: str) -> None:
    """The normal version is packaging's canonical one, for every spelling; normalising twice changes nothing."""
    normal = component.normal_version(text)
    assert normal == canonicalize_version(text) == canonicalize_version(Version(text))
    assert component.normal_version(normal) == normal
    assert second_identity.normal_version(text) == normal


@given(VERSIONS, VERSIONS)
def test_equal_versions_and_only_those_have_equal_spellings(one: str, other: str) -> None:
    """Two versions are equal by PEP 440 exactly when their normal versions are."""
    assert (Version(one) == Version(other)) is (component.normal_version(one) == component.normal_version(other))


@given(st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True))
def test_a_name_has_one_spelling(text: str) -> None:
    """The normal name is that of packaging."""
    normal: str = component.normal_name(text)
    assert normal == second_identity.normal_name(text)
    assert normal == str(canonicalize_name(text))


@pytest.mark.parametrize("text", ["", "-", "a b", "é", "a/b", "x" * 3 + "\n", "1.0", "..", "-a"])
def test_text_that_is_no_name_or_version_is_refused(text: str) -> None:
    """What is neither a name nor a version is an identity error, whichever it should have been."""
    if text != "1.0":
        with pytest.raises(IdentityUnknown):
            component.normal_version(text)
    if text != "1.0":
        with pytest.raises(IdentityUnknown):
            component.normal_name(text)


def test_a_version_without_end_is_refused_or_kept() -> None:
    """A version with thousands of digits raises nothing but an identity error."""
    assert component.normal_version("1" * 5000) == "1" * 5000
    with pytest.raises(IdentityUnknown):
        component.normal_version("v" + "1" * 5000)


BUILD = {
    "version": "3.12.7", "soabi": "cpython-312", "free_threaded": False, "debug": False, "pointer_bits": 64,
    "byteorder": "little",
}  # fmt: skip

WRONG: dict[str, Callable[[], JSONValue]] = {
    "no ABI": lambda: component.python(implementation="cpython", version=(3, 12), abi=""),
    "no implementation": lambda: component.python(implementation="", version=(3, 12), abi="cp312"),
    "no patch release": lambda: component.python_build(**{**BUILD, "version": "3.12"}),  # type: ignore[arg-type]
    "no pointer size": lambda: component.python_build(**{**BUILD, "pointer_bits": 0}),  # type: ignore[arg-type]
    "no byte order": lambda: component.python_build(**{**BUILD, "byteorder": ""}),  # type: ignore[arg-type]
    "SOABI that is no text": lambda: component.python_build(**{**BUILD, "soabi": "\udc80"}),  # type: ignore[arg-type]
    "no OS": lambda: component.platform(os="", arch="x86_64", libc="glibc", floor=None),
    "no libc": lambda: component.platform(os="linux", arch="x86_64", libc="", floor=None),
    "no architecture": lambda: component.platform(os="linux", arch="", libc="glibc", floor=None),
    "floor that is no version": lambda: component.platform(os="linux", arch="x", libc="glibc", floor="old"),
    "host version that is none": lambda: component.platform(os="linux", arch="x", libc="glibc", floor=None, exact=""),
    "unknown marker variable": lambda: component.markers({"extra": "x"}),
    "marker value that is no text": lambda: component.markers({"os_name": "\ud800"}),
    "lock name that is no text": lambda: component.selection(lock="\ud800", extras=(), groups=()),
    "extra that is no name": lambda: component.selection(lock="default", extras=("a b",), groups=()),
    "no sha256": lambda: component.distributions([("a", "1", "wheel", None)]),
    "short sha256": lambda: component.distributions([("a", "1", "wheel", "ab")]),
    "upper-case sha256": lambda: component.distributions([("a", "1", "wheel", "A" * 64)]),
    "sha256 of a directory": lambda: component.distributions([("a", "1", "directory", HEX)]),
    "unknown kind": lambda: component.distributions([("a", "1", "egg", None)]),
    "wheel without version": lambda: component.distributions([("a", None, "wheel", HEX)]),
    "selected twice": lambda: component.distributions([("a", "1", "wheel", HEX), ("A", "1", "wheel", HEX)]),
    "branch instead of commit": lambda: component.local([("a", "vcs", "main", "")]),
    "local of a wheel": lambda: component.local([("a", "wheel", HEX, "")]),
    "local twice": lambda: component.local([("a", "directory", HEX, ""), ("A", "directory", HEX, "")]),
    "source without digest": lambda: component.build(sources=[("a", "sdist", "")], compiler=None),
    "source of an unknown kind": lambda: component.build(sources=[("a", "egg", HEX)], compiler=None),
    "prefix that is no text": lambda: component.prefix(interpreter="/a\udcff", environment="/b"),
    "backend without code": lambda: component.generator(backend="x", protocol=1, code="", options={}),
    "fact of two sources": lambda: component.facts({"a": {"value": "x", "file": HEX}}),
    "fact of an unknown source": lambda: component.facts({"a": {"url": "x"}}),
    "fact of a file without digest": lambda: component.facts({"a": {"file": "x"}}),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_known_is_an_error(what: str) -> None:
    """Each missing or malformed fact raises IdentityUnknown; none becomes a placeholder."""
    with pytest.raises(IdentityUnknown):
        WRONG[what]()


def test_options_with_a_credential_are_refused() -> None:
    """The component of a generator does not take an option that is named like a credential."""
    with pytest.raises(CredentialInConfig):
        component.generator(backend="x", protocol=1, code=HEX, options={"token": "x"})


def test_sets_are_sorted_and_hold_each_once() -> None:
    """Extras, groups, rows come sorted, whatever their order was."""
    found = component.selection(lock="default", extras=["b", "A", "a"], groups=["z", "y"])
    assert found == {"extras": ["a", "b"], "groups": ["y", "z"], "lock": "default"}
    rows = component.distributions([("b", "1.0", "wheel", HEX), ("A_x", None, "vcs", None)])
    assert rows == [["a-x", None, "vcs", None], ["b", "1", "wheel", HEX]]


def test_nothing_built_is_null() -> None:
    """Where every artifact is a wheel, there is no compiler to tell."""
    assert component.build(sources=[], compiler="gcc") is None


def test_an_exact_platform_has_no_floor() -> None:
    """What was built on a host runs on that libc version; the wheels' floor no longer matters."""
    assert component.platform(os="linux", arch="x86_64", libc="glibc", floor="2.17", exact="2.36") == {
        "arch": "x86_64", "exact": "2.36", "libc": "glibc", "os": "linux",
    }  # fmt: skip
