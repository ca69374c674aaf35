"""One spelling for markers that mean the same."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import Marker

from envid.lock.canonical import environments_for, marker_over, tidy
from envid.values.marker import parse_marker, truth
from envid.values.target import parse_target

NAMES = [
    f"{python}-{platform}"
    for python in ("cp311", "cp312", "cp313", "pp311")
    for platform in (
        "manylinux_2_28_x86_64",
        "manylinux_2_28_aarch64",
        "macosx_13_0_arm64",
        "win_amd64",
        "musllinux_1_2_x86_64",
    )
]
ATOMS = [
    "sys_platform == 'linux'",
    "sys_platform != 'win32'",
    "os_name == 'nt'",
    "platform_machine == 'x86_64'",
    "'arm' in platform_machine",
    "python_version >= '3.12'",
    "python_full_version < '3.13'",
    "implementation_name == 'cpython'",
    "platform_python_implementation != 'PyPy'",
    "platform_system == 'Darwin'",
    "python_version == '3.11'",
]
MARKERS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.builds("({}) and ({})".format, inner, inner) | st.builds("({}) or ({})".format, inner, inner),
    max_leaves=7,
)


@settings(max_examples=150, deadline=None)
@given(MARKERS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=12, unique=True))
def test_a_simplified_marker_has_the_same_truth_on_every_target(marker: str, names: list[str]) -> None:
    """Over the declared targets the canonical marker agrees with the original, whatever order they are declared in."""
    targets = [parse_target(name) for name in names]
    wanted, simple = marker_over(marker, targets)
    for target in targets:
        kept = wanted and (simple is None or truth(simple, target))
        assert kept is truth(marker, target)
    if simple is not None:
        Marker(simple)
    assert marker_over(marker, sorted(targets, key=lambda target: target.name[::-1])) == (wanted, simple)


@settings(max_examples=100, deadline=None)
@given(MARKERS, MARKERS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True))
def test_markers_of_equal_truth_have_equal_text(one: str, other: str, names: list[str]) -> None:
    """Two markers that agree on all targets are written alike: the engine's spelling cannot show."""
    targets = [parse_target(name) for name in names]
    if all(truth(one, target) == truth(other, target) for target in targets):
        assert marker_over(one, targets) == marker_over(other, targets)
    assert marker_over(f"({one}) or (({one}) and ({other}))", targets) == marker_over(one, targets)


@pytest.mark.parametrize(
    ("marker", "names", "text"),
    [
        ("os_name == 'nt'", ["cp312-win_amd64", "cp312-manylinux_2_28_x86_64"], "sys_platform == 'win32'"),
        ("platform_machine == 'AMD64'", ["cp312-win_amd64", "cp312-manylinux_2_28_x86_64"], "sys_platform == 'win32'"),
        (
            "sys_platform != 'win32'",
            ["cp312-win_amd64", "cp312-manylinux_2_28_x86_64", "cp312-macosx_13_0_arm64"],
            "sys_platform != 'win32'",
        ),
        (
            "python_full_version < '3.12'",
            ["cp311-win_amd64", "cp312-win_amd64", "cp313-win_amd64"],
            "python_version == '3.11'",
        ),
        (
            "python_version >= '3.12'",
            ["cp311-win_amd64", "cp312-win_amd64", "cp313-win_amd64"],
            "python_version != '3.11'",
        ),
        (
            "python_version >= '3.12'",
            ["cp310-win_amd64", "cp311-win_amd64", "cp312-win_amd64", "cp313-win_amd64"],
            "python_version == '3.12' or python_version == '3.13'",
        ),
        (
            "sys_platform == 'linux' and platform_machine == 'x86_64'",
            ["cp312-manylinux_2_28_x86_64", "cp312-manylinux_2_28_aarch64", "cp312-macosx_13_0_x86_64"],
            "platform_machine == 'x86_64' and sys_platform == 'linux'",
        ),
        ("sys_platform == 'linux'", ["cp312-manylinux_2_28_x86_64", "cp312-musllinux_1_2_x86_64"], None),
    ],
)
def test_the_smallest_expression_is_written(marker: str, names: list[str], text: str | None) -> None:
    """Golden simplifications: one comparison where one tells the targets apart."""
    for order in permutations(names):
        assert marker_over(marker, [parse_target(name) for name in order]) == (True, text)


def test_a_marker_no_target_satisfies_is_not_wanted() -> None:
    """An entry for nobody is told apart from an entry for all."""
    targets = [parse_target("cp312-win_amd64")]
    assert marker_over("sys_platform == 'linux'", targets) == (False, None)
    assert marker_over(None, targets) == (True, None)


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("python_full_version >= '3.11'", None),
        ("python_version >= '3.9'", None),
        ("python_full_version >= '3.11' and sys_platform == 'win32'", "sys_platform == 'win32'"),
        ("python_full_version >= '3.11' or sys_platform == 'win32'", None),
        ("python_full_version >= '3.12'", "python_full_version >= '3.12'"),
        ("python_full_version >= '3.11.1'", "python_full_version >= '3.11.1'"),
        ("python_full_version < '3.11'", "python_full_version < '3.11'"),
        (
            'os_name=="posix"  and(sys_platform=="linux"and os_name == "posix")',
            "os_name == 'posix' and sys_platform == 'linux'",
        ),
        ("os_name == 'b' or os_name == 'a'", "os_name == 'a' or os_name == 'b'"),
        (
            "os_name == 'c' and (os_name == 'b' or os_name == 'a')",
            "(os_name == 'a' or os_name == 'b') and os_name == 'c'",
        ),
        ("os_name == 'a' or os_name == 'b' and os_name == 'c'", "os_name == 'a' or os_name == 'b' and os_name == 'c'"),
    ],
)
def test_without_targets_a_marker_is_tidied(marker: str, text: str | None) -> None:
    """Parts are sorted, flattened and free of what requires-python >=3.11 implies."""
    assert tidy(marker, requires_python=">=3.11") == text


@settings(max_examples=100, deadline=None)
@given(MARKERS, st.sampled_from(NAMES))
def test_tidying_keeps_the_truth_and_is_stable(marker: str, name: str) -> None:
    """A tidied marker has the same truth on every target with an allowed Python, and tidies to itself."""
    text = tidy(marker, requires_python=">=3.11")
    assert truth(marker, parse_target(name)) is (True if text is None else truth(text, parse_target(name)))
    if text is not None:
        assert tidy(text, requires_python=">=3.11") == text
        parse_marker(text)


def test_a_marker_of_nothing_but_implied_bounds_goes() -> None:
    """Conjunctions and disjunctions of what requires-python implies are always true; odd literals are left alone."""
    implied = "python_full_version >= '3.11' and python_version >= '3.10'"
    assert tidy(implied, requires_python=">=3.11, <4") is None
    assert tidy(f"{implied} or os_name == 'nt'", requires_python=">=3.11") is None
    assert tidy("python_version >= '3.11rc1'", requires_python=">=3.12") == "python_version >= '3.11rc1'"
    assert tidy(implied) is not None


def test_the_guard_has_one_marker_for_each_distinct_combination() -> None:
    """Targets that no marker can tell apart share a line; the lines are sorted; each target satisfies exactly one."""
    targets = [parse_target(name) for name in NAMES]
    guard = environments_for(targets)
    assert len(guard) == len(NAMES) * 4 // 5
    assert list(guard) == sorted(guard)
    for target in targets:
        assert sum(truth(marker, target) is True for marker in guard) == 1
    assert environments_for([]) == ()
    assert environments_for([parse_target("cp3.12.7-manylinux_2_28_x86_64")]) == (
        (
            "implementation_name == 'cpython' and platform_machine == 'x86_64' "
            "and python_version == '3.12' and sys_platform == 'linux'"
        ),
    )
