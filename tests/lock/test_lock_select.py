"""What a target takes from a lock, held against packaging's own selection."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.pylock import PackageDirectory, PackageVcs, Pylock, PylockSelectError
from packaging.tags import Tag

from envid.errors import EnvidError, IdentityUnknown, InvalidLock, NoCompatibleArtifact, TargetNotCovered
from envid.lock.pylock import parse
from envid.lock.select import resolve_quick, select
from envid.lock.write import write
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.target import Target, marker_environment, parse_target, tags

VALID = sorted((Path(__file__).parents[2] / "fixtures" / "pylock" / "valid").glob("*.toml"))
NAMES = [
    "cp3.11.4-manylinux_2_28_x86_64",
    "cp3.12.7-manylinux_2_28_x86_64",
    "cp3.12.7-manylinux_2_17_aarch64",
    "cp3.13.1-manylinux_2_28_aarch64",
    "cp3.13.1t-manylinux_2_39_x86_64",
    "cp3.12.0-macosx_13_0_arm64",
    "cp3.12.0-macosx_10_15_x86_64",
    "cp3.12.9-win_amd64",
    "cp3.11.9-win_arm64",
    "cp3.12.9-win32",
    "cp3.12.7-musllinux_1_2_x86_64",
    "cp3.14.0-manylinux_2_28_x86_64",
    "cp3.10.0-manylinux_2_28_x86_64",
]
H = "0123456789abcdef" * 4


@cache
def packaging_tags(target: Target) -> tuple[Tag, ...]:
    return tuple(Tag(*text.split("-")) for text in tags(target))


def by_packaging(data: bytes, target: Target) -> list[tuple[str, str | None]] | None:
    """Return (name, sha256 of the artifact) as packaging selects them; None when it refuses."""
    environment = {"platform_release": "", "platform_version": "", **marker_environment(target)}
    chosen = []
    try:
        lock = Pylock.from_dict(tomllib.loads(data.decode()))
        for package, found in lock.select(environment=environment, tags=packaging_tags(target)):  # type: ignore[arg-type]
            # Source trees have no digest in the lock; both sides show them as None.
            digest = None if isinstance(found, (PackageDirectory, PackageVcs)) else found.hashes["sha256"]
            chosen.append((str(package.name), digest))
    except PylockSelectError:
        return None
    return sorted(chosen)


def by_us(data: bytes, target: Target) -> list[tuple[str, str | None]] | None:
    try:
        resolution = resolve_quick(data, target, path="p")
    except (TargetNotCovered, NoCompatibleArtifact, InvalidLock):
        return None
    return [(item.name, item.artifact.sha256 if item.artifact else None) for item in resolution.selected]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_real_locks_are_selected_from_as_packaging_selects(path: Path, name: str) -> None:
    """For every real lock and target the same artifacts, or a refusal by both."""
    data, target = path.read_bytes(), parse_target(name)
    assert by_us(data, target) == by_packaging(data, target)


def test_some_of_the_real_selections_are_refusals_and_most_are_not() -> None:
    """The differential test above compares something: guards refuse some targets, open locks few."""
    answers = {(path.name, name): by_us(path.read_bytes(), parse_target(name)) for path in VALID for name in NAMES}
    assert answers["pylock.targets.toml", "cp3.14.0-manylinux_2_28_x86_64"] is None
    assert answers["pylock.uv.toml", "cp3.10.0-manylinux_2_28_x86_64"] is None
    assert sum(answer is not None for answer in answers.values()) > 20


MARKERS = [
    None,
    "sys_platform == 'linux'",
    "sys_platform != 'linux'",
    "python_version < '3.12'",
    "python_version >= '3.12'",
    "platform_machine == 'x86_64' or os_name == 'nt'",
    "python_full_version >= '3.12.5'",
    "'x' in extras",
]
TAGS = [
    "py3-none-any",
    "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "cp312-cp312-manylinux_2_28_x86_64",
    "cp38-abi3-win_amd64",
    "cp312-cp312-musllinux_1_2_x86_64",
    "cp311-cp311-macosx_10_9_universal2",
    "cp313-cp313t-manylinux_2_28_x86_64",
    "cp38-abi3-manylinux_2_17_aarch64",
    "py2.py3-none-any",
    "cp312-none-any",
    "py3-none-win32",
    "cp312-cp312-macosx_11_0_arm64",
]


@st.composite
def entries(draw: st.DrawFn) -> LockedDistribution:
    name = draw(st.sampled_from(["foo", "bar", "baz"]))
    version = draw(st.sampled_from(["1.0", "2.0"]))
    found = draw(st.lists(st.sampled_from(TAGS), max_size=5, unique=True))
    digest = st.text("0123456789abcdef", min_size=64, max_size=64).map(Sha256)
    wheels = [
        Artifact(
            kind="wheel",
            filename=f"{name}-{version}-{tag}.whl",
            sha256=draw(digest),
            url=f"https://index.example/{name}-{version}-{tag}.whl",
        )
        for tag in found
    ]
    archive = f"{name}-{version}.tar.gz"
    sdist = None
    if not wheels or draw(st.booleans()):
        sdist = Artifact(kind="sdist", filename=archive, sha256=draw(digest), url=f"https://index.example/{archive}")
    return LockedDistribution(
        name=NormalizedName(name),
        version=version,
        marker=draw(st.sampled_from(MARKERS)),
        wheels=tuple(wheels),
        sdist=sdist,
        requires_python=draw(st.sampled_from([None, None, ">=3.8", "<3.13"])),
    )


@settings(max_examples=250, deadline=None)
@given(
    st.lists(entries(), max_size=5, unique_by=lambda entry: (entry.name, entry.version, entry.marker)),
    st.sampled_from(NAMES),
    st.sampled_from([(), ("sys_platform == 'linux'",), ("python_version == '3.12'", "os_name == 'nt'")]),
    st.sampled_from([None, ">=3.11", ">=3.12.5,<4"]),
)
def test_made_locks_are_selected_from_as_packaging_selects(
    made: list[LockedDistribution], name: str, environments: tuple[str, ...], requires_python: str | None
) -> None:
    """Overlapping markers, missing wheels, guards and Python bounds: same artifacts, or a refusal by both."""
    lock = Lock(created_by="x", distributions=tuple(made), environments=environments, requires_python=requires_python)
    data = write(lock, targets=())
    assert by_us(data, parse_target(name)) == by_packaging(data, parse_target(name))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(entries(), min_size=1, max_size=4, unique_by=lambda entry: (entry.name, entry.version, entry.marker)),
    st.sampled_from(NAMES),
)
def test_both_readers_lead_to_one_selection(made: list[LockedDistribution], name: str) -> None:
    """Selecting quickly from bytes and selecting from the parsed lock agree, errors and their words included."""
    data = write(Lock(created_by="x", distributions=tuple(made)), targets=())
    target = parse_target(name)
    try:
        expected: object = select(parse(data, path="p"), target)
    except EnvidError as error:
        expected = (error.slug, error.message, error.hint)
    try:
        found: object = resolve_quick(data, target, path="p")
    except EnvidError as error:
        found = (error.slug, error.message, error.hint)
    assert found == expected


def entry(name: str, *filenames: str, **changes: object) -> LockedDistribution:
    wheels = tuple(
        Artifact(kind="wheel", filename=one, sha256=Sha256(H), url=f"https://index.example/{one}") for one in filenames
    )
    made = LockedDistribution(name=NormalizedName(name), version="1.0", wheels=wheels)
    return replace(made, **changes)  # type: ignore[arg-type]


LINUX = parse_target("cp312-manylinux_2_28_x86_64")


def test_a_package_without_artifact_is_named_with_what_there_is() -> None:
    """The error says which distribution, for which target, and lists what exists."""
    lock = Lock(created_by="x", distributions=(entry("foo", "foo-1.0-cp312-cp312-win_amd64.whl"),))
    with pytest.raises(NoCompatibleArtifact) as caught:
        select(lock, LINUX)
    assert "foo 1.0" in caught.value.message
    assert LINUX.name in caught.value.message
    assert "foo-1.0-cp312-cp312-win_amd64.whl" in caught.value.hint


def test_two_entries_that_both_apply_are_refused() -> None:
    """PEP 751: at most one entry per name may be left; which one is not for us to choose."""
    lock = Lock(
        created_by="x",
        distributions=(
            entry("foo", "foo-1.0-py3-none-any.whl"),
            entry("foo", "foo-1.0-py3-none-any.whl", marker="os_name == 'posix'"),
        ),
    )
    with pytest.raises(InvalidLock, match="two entries"):
        select(lock, LINUX)


def test_a_target_outside_the_guard_is_not_covered() -> None:
    """No environment matches: TargetNotCovered, which names the target; an open one asks for the long form."""
    guarded = Lock(created_by="x", distributions=(), environments=("sys_platform == 'win32'",))
    with pytest.raises(TargetNotCovered, match=LINUX.name):
        select(guarded, LINUX)
    with pytest.raises(IdentityUnknown):
        select(replace(guarded, environments=("python_full_version >= '3.12.4'",)), LINUX)
    with pytest.raises(TargetNotCovered, match=r"3\.13"):
        select(Lock(created_by="x", distributions=(), requires_python=">=3.13"), LINUX)
    with pytest.raises(IdentityUnknown):
        select(Lock(created_by="x", distributions=(), requires_python=">=3.12.4"), LINUX)


def test_a_wheel_named_by_url_must_suit_the_target() -> None:
    """An archive that is a wheel of another platform is refused here, not by the installer halfway."""
    archive = Artifact(
        kind="archive", filename="foo-1.0-cp312-cp312-win_amd64.whl", sha256=Sha256(H), url="https://index.example/x"
    )
    lock = Lock(created_by="x", distributions=(entry("foo", archive=archive),))
    with pytest.raises(NoCompatibleArtifact):
        select(lock, LINUX)
    assert select(lock, parse_target("cp312-win_amd64")).selected[0].artifact == archive


def test_default_groups_are_active_and_extras_are_not() -> None:
    """Of a lock of another tool the default groups are installed, other groups and extras are not."""
    found = Lock(
        created_by="x",
        default_groups=("dev",),
        dependency_groups=("dev", "docs"),
        distributions=(
            entry("a", "a-1.0-py3-none-any.whl", marker="'dev' in dependency_groups"),
            entry("b", "b-1.0-py3-none-any.whl", marker="'docs' in dependency_groups"),
            entry("c", "c-1.0-py3-none-any.whl", marker="'x' in extras"),
        ),
    )
    resolution = select(found, LINUX)
    assert [item.name for item in resolution.selected] == ["a"]
    assert resolution.consulted == ("dependency_groups", "extras")
