"""Markers, decided for a target."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envid.errors import IdentityUnknown, InvalidLock
from envid.values.marker import check_specifiers, evaluate, parse_marker, satisfies, truth, variables
from envid.values.target import Target, marker_environment, parse_target

SHORT = parse_target("cp312-manylinux_2_28_x86_64")
LONG = parse_target("cp3.12.7-manylinux_2_28_x86_64")
TARGETS = [
    parse_target(name)
    for name in (
        "cp3.12.7-manylinux_2_28_x86_64",
        "cp3.11.0-macosx_14_0_arm64",
        "cp3.13.0rc1-win_amd64",
        "cp3.9.2-musllinux_1_2_aarch64",
        "pp3.11.13-manylinux_2_17_x86_64",
        "cp3.13.1t-win_arm64",
        "cp3.10.10-win32",
    )
]

STRING_LITERALS = [
    "linux",
    "win32",
    "darwin",
    "posix",
    "nt",
    "x86_64",
    "arm64",
    "AMD64",
    "Linux",
    "CPython",
    "cpython",
    "PyPy",
    "linux win32",
    "x86",
    "",
    "Foo.Bar",
]
VERSION_LITERALS = [
    "3",
    "3.9",
    "3.11",
    "3.12",
    "3.12.0",
    "3.12.7",
    "3.12.10",
    "3.13",
    "3.13.0",
    "4",
    "3.12.*",
    "3.*",
    "3.9.2",
    "3.13.0rc1",
    "3.12.7.0",
    "3.012",
    "3.12.dev1",
    "not-a-version",
    "3.11 3.12",
    "3.12.7+local",
    "v3.12",
    " 3.12",
    "1!3.12",
    "3.13.0.post1",
    "03",
]
STRING_VARIABLES = [
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_system",
    "implementation_name",
    "python_implementation",
    "os.name",
    "sys.platform",
]
VERSION_VARIABLES = ["python_version", "python_full_version", "implementation_version"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "~=", "===", "in", "not in"]


def quoted(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from([f"'{text}'", f'"{text}"'])


def comparisons() -> st.SearchStrategy[str]:
    strings = st.tuples(
        st.sampled_from(STRING_VARIABLES), st.sampled_from(OPERATORS), st.sampled_from(STRING_LITERALS).flatmap(quoted)
    )
    versions = st.tuples(
        st.sampled_from(VERSION_VARIABLES),
        st.sampled_from(OPERATORS),
        st.sampled_from(VERSION_LITERALS).flatmap(quoted),
    )
    sets = st.tuples(
        st.sampled_from(["'foo'", "'Foo_Bar'"]),
        st.sampled_from(["in", "not in"]),
        st.sampled_from(["extras", "dependency_groups"]),
    )
    either = st.one_of(strings, versions)
    spaced = st.sampled_from([" ", "  ", "\t"])
    return st.one_of(
        st.builds(lambda parts, space: space.join(parts), either, spaced),
        st.builds(lambda parts: " ".join(reversed(parts)), either),
        sets.map(" ".join),
    )


def markers() -> st.SearchStrategy[str]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.builds("{} and {}".format, inner, inner),
            st.builds("{} or {}".format, inner, inner),
            inner.map("({})".format),
            inner.map("( {} )".format),
        ),
        max_leaves=8,
    )


def by_packaging(marker: str, target: Target) -> bool | None:
    """Return packaging's answer; None where it has none."""
    environment = {"implementation_version": "7.3.17", **marker_environment(target)}
    full = {**environment, "platform_release": "", "platform_version": ""}
    try:
        return Marker(marker).evaluate(full, context="lock_file")
    except (InvalidMarker, UndefinedComparison, ValueError, KeyError):
        return None


@settings(max_examples=600)
@given(markers(), st.sampled_from([target for target in TARGETS if target.implementation == "cpython"]))
@example("'3.12' <= python_version", LONG)
@example("python_full_version >= '3.13'", parse_target("cp3.13.0rc1-win_amd64"))
@example("python_full_version < '3.13'", parse_target("cp3.13.0rc1-win_amd64"))
def test_markers_are_decided_as_packaging_decides_them(marker: str, target: Target) -> None:
    """For a target with a patch release our answer is packaging's, wherever packaging has one."""
    expected = by_packaging(marker, target)
    if expected is None:
        # `or` and `and` need not look at a part without meaning; packaging always does.
        return
    assert evaluate(marker, target) is expected


@settings(max_examples=300)
@given(markers())
def test_a_short_target_answers_only_what_every_patch_release_answers(marker: str) -> None:
    """A definite answer is the one at each patch release; without one, two of them differ or text was searched."""
    try:
        answer = truth(marker, SHORT)
    except InvalidLock:
        return
    each = {
        by_packaging(marker, parse_target(f"cp3.12.{patch}-manylinux_2_28_x86_64"))
        for patch in (0, 1, 2, 6, 7, 8, 9, 10, 11, 40)
    }
    if answer is not None:
        assert each <= {answer, None}
    else:
        assert len(each) > 1 or re.search(r"\bin\b", marker)


@pytest.mark.parametrize(
    ("marker", "answer"),
    [
        ("python_full_version >= '3.12'", True),
        ("python_full_version < '3.13'", True),
        ("python_full_version == '3.12.*'", True),
        ("python_full_version ~= '3.12.0'", True),
        ("python_full_version >= '3.11.9'", True),
        ("python_full_version > '3.12'", None),
        ("python_full_version == '3.12'", None),
        ("python_full_version >= '3.12.4'", None),
        ("implementation_version < '3.12.4'", None),
        ("python_full_version >= '3.12.4' or sys_platform == 'linux'", True),
        ("python_full_version >= '3.12.4' and sys_platform == 'win32'", False),
        ("python_full_version >= '3.12.4' or python_full_version < '3.12.4'", True),
        ("python_full_version >= '3.12.4' and python_full_version < '3.12.3'", False),
        ("platform_release >= '5'", None),
        ("platform_version == '#1'", None),
        ("platform_release >= '5' or os_name == 'posix'", True),
        ("platform_release >= '5' and os_name == 'nt'", False),
        ("'3.12' in python_full_version", None),
    ],
)
def test_what_the_target_leaves_open_counts_only_where_it_decides(marker: str, answer: bool | None) -> None:
    """An open variable makes an answer undetermined exactly when the rest does not settle it."""
    assert truth(marker, SHORT) is answer


@pytest.mark.parametrize("marker", ["python_full_version >= '3.12.4'", "implementation_version == '3.12.0'"])
def test_an_open_patch_release_asks_for_the_long_form(marker: str) -> None:
    """The error names the marker and shows the table that settles it."""
    with pytest.raises(IdentityUnknown) as caught:
        evaluate(marker, SHORT)
    assert marker in caught.value.message
    assert 'python = "3.12.N"' in caught.value.hint
    assert isinstance(evaluate(marker, LONG), bool)


def test_the_kernel_is_never_guessed() -> None:
    """platform_release stays open in the long form too, and the hint does not promise otherwise."""
    with pytest.raises(IdentityUnknown) as caught:
        evaluate("platform_release >= '5'", LONG)
    assert "kernel" in caught.value.hint


def test_the_version_of_pypy_itself_is_open() -> None:
    """PyPy numbers itself, so its implementation_version follows from no Python version."""
    target = parse_target("pp3.11.13-manylinux_2_28_x86_64")
    assert truth("implementation_version >= '7.3.17'", target) is None
    assert truth("implementation_name == 'pypy'", target) is True


def test_sets_are_those_given_and_extras_always_empty() -> None:
    """No extra is ever active; dependency groups are those the caller names, in any spelling."""
    assert not evaluate("'foo' in extras", LONG)
    assert evaluate("'foo' not in extras", LONG)
    assert not evaluate("'foo' in dependency_groups", LONG)
    assert evaluate("'Foo_Bar' in dependency_groups", LONG, groups=["foo-bar"])
    assert not evaluate("extra == 'foo'", LONG)
    assert evaluate("extra != 'foo'", LONG)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "linux",
        "sys_platform",
        "sys_platform ==",
        "sys_platform == linux",
        "sys_platform == 'linux' and",
        "(sys_platform == 'linux'",
        "sys_platform == 'linux')",
        "nonsense == 'x'",
        "sys_platform = 'x'",
        "'a' == 'b'",
        "python_version >= '3' xor os_name == 'nt'",
        "sys_platform == 'a\nb'",
        "sys_platform == 'a' os_name == 'b'",
        "extras == 'x'",
        "extras in 'x'",
        "extra >= 'x'",
        "os_name ~= 'x'",
        "(" * 10_000,
        "os_name == 'nt' or " * 9_000,
        "(" * 200 + "os_name == 'nt'" + ")" * 200,
        "os_name == os_name",
        "os_name not == 'nt'",
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_text_without_meaning_is_refused(bad: str) -> None:
    """What is no marker raises InvalidLock with a short printable message, however long or deep it is."""
    with pytest.raises(InvalidLock) as caught:
        evaluate(bad, LONG)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@given(st.text(alphabet="abcdeopstyn_'\"()=<>!~ .0123456789in\\\t\n", max_size=60))
def test_any_text_is_a_marker_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, and it takes nothing that packaging refuses."""
    try:
        parse_marker(text)
    except InvalidLock:
        return
    Marker(text)


def test_a_string_that_needs_python_to_read_is_read_as_packaging_reads_it() -> None:
    """Escapes in a literal are outside the quick subset and go the long way to the same answer."""
    assert evaluate(r"sys_platform == '\x6cinux'", LONG)


@pytest.mark.parametrize(
    ("marker", "names"),
    [
        ("os.name == 'nt' and python_implementation == 'CPython'", {"os_name", "platform_python_implementation"}),
        (
            "('x' in extras or python_version > '3') and 'linux' in sys_platform",
            {"extras", "python_version", "sys_platform"},
        ),
    ],
)
def test_variables_are_named_once_in_their_modern_spelling(marker: str, names: set[str]) -> None:
    """variables() gives every variable a marker mentions, aliases resolved."""
    assert variables(marker) == names


@given(
    st.lists(
        st.tuples(
            st.sampled_from(OPERATORS[:7]),
            st.sampled_from(["3.9", "3.12", "3.12.4", "3.12.7", "3.13", "4", "3.12.10rc1"]),
        ).map("".join),
        max_size=3,
    ),
    st.sampled_from(TARGETS),
)
def test_version_sets_are_decided_as_packaging_decides_them(clauses: list[str], target: Target) -> None:
    """A requires-python of a long target is decided as SpecifierSet does, pre-releases of Python allowed."""
    text = ",".join(clauses)
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier:
        with pytest.raises(InvalidLock):
            satisfies(text, target)
        return
    version = marker_environment(target)["python_full_version"]
    assert satisfies(text, target) is specifiers.contains(version, prereleases=True)


@pytest.mark.parametrize("bad", ["3.11", ">=", ">=x", "=>3", ">=3.11;", "!", ">=3.11 <4", "~=3"])
def test_what_is_no_version_set_is_refused(bad: str) -> None:
    """A malformed requires-python raises InvalidLock."""
    with pytest.raises(InvalidLock):
        satisfies(bad, LONG)


def test_an_open_version_set_is_undetermined() -> None:
    """A bound on the patch release leaves a short target open."""
    assert satisfies(">=3.12.4", SHORT) is None
    assert satisfies(">=3.11,<4", SHORT) is True
    assert satisfies("<3.12", SHORT) is False


def test_the_ordinary_subset_does_not_import_packaging() -> None:
    """What real locks contain is decided without the import that costs more than a key."""
    program = (
        "import sys; from envid.values.marker import truth; from envid.values.target import parse_target;"
        "t = parse_target('cp312-manylinux_2_28_x86_64');"
        "[truth(m, t) for m in ('python_full_version >= \"3.12\" and sys_platform != \\'win32\\'',"
        " \"('linux' in sys_platform or os_name == 'nt') and python_version ~= '3.8'\")];"
        "sys.exit('packaging' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("specifiers", ["===1.0", ">=3.11,!=3.12.0rc1"])
def test_specifiers_beyond_the_quick_subset_are_the_librarys_to_judge(specifiers: str) -> None:
    """What the quick evaluator does not know is asked of packaging, and accepted where packaging accepts it."""
    check_specifiers(specifiers)
