"""File names of artifacts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from envid.values.artifact import Artifact, NormalizedName, Resolution, Selected, Sha256
from envid.values.target import Target, parse_target, tags
from envid.values.wheel_tags import (
    best_wheel,
    is_pure,
    is_stable_abi,
    is_wheel,
    normalize_name,
    parse_wheel_name,
    platform_floor,
    rank,
    same_version,
    sdist_belongs,
    wheel_belongs,
    wheels_floor,
)

LINUX = parse_target("cp312-manylinux_2_28_x86_64")
MAC = parse_target("cp312-macosx_14_0_arm64")
WINDOWS = parse_target("cp312-win_amd64")

GOOD = [
    "foo-1.0-py3-none-any.whl",
    "Foo.Bar_baz-1.0.post1-py2.py3-none-any.whl",
    "foo-1.0+cpu-cp312-cp312-win_amd64.whl",
    "foo-1.0-1-py3-none-any.whl",
    "foo-1.0-12build-py3-none-any.whl",
    "f-1!2.0rc1-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
]
BAD = [
    "",
    ".whl",
    "foo.whl",
    "foo-1.0.whl",
    "foo-1.0-py3-none.whl",
    "foo-1.0-py3-none-any.zip",
    "foo-1.0-x-py3-none-any.whl",
    "-1.0-py3-none-any.whl",
    "foo-1.0-py3-none-any-x-y.whl",
    "foo-1.0-py3..py2-none-any.whl",
    "foo bar-1.0-py3-none-any.whl",
    "foo/bar-1.0-py3-none-any.whl",
    "foo-1.0-py3-none-any.whl\n",
    "foo-1.0-" + ".".join(f"py{n}" for n in range(2000)) + "-none-any.whl",
]


@pytest.mark.parametrize("filename", GOOD)
def test_wheel_names_are_read_as_packaging_reads_them(filename: str) -> None:
    """Name, build number and tags of a good name are packaging's."""
    parsed = parse_wheel_name(filename)
    name, version, build, tags = parse_wheel_filename(filename)
    assert parsed is not None
    assert (str(parsed.name), {*parsed.tags}) == (str(name), {str(tag) for tag in tags})
    assert parsed.build == (build or (0, ""))
    assert wheel_belongs(filename, name, str(version))
    assert not wheel_belongs(filename, name, "99")
    assert not wheel_belongs(filename, "other", str(version))


@pytest.mark.parametrize("filename", BAD, ids=lambda name: ascii(name)[:30])
def test_what_is_no_wheel_name_is_none(filename: str) -> None:
    """Malformed names are told apart, without an exception."""
    assert parse_wheel_name(filename) is None
    assert not wheel_belongs(filename, "foo", None)


WHEEL_LIKE = (
    r"[A-Za-z0-9._]{1,6}-[0-9a-z.+!]{1,6}(-[0-9][a-z0-9]{0,2})?-[a-z0-9.]{1,5}-[a-z0-9.]{1,5}-[a-z0-9._]{1,8}\.whl"
)


@given(st.from_regex(WHEEL_LIKE, fullmatch=True))
def test_a_name_read_by_both_is_read_alike(filename: str) -> None:
    """For any text that packaging and we both take for a wheel, the parts are the same."""
    parsed = parse_wheel_name(filename)
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return
    if parsed is not None:
        assert (str(parsed.name), {*parsed.tags}) == (str(name), {str(tag) for tag in tags})
        assert same_version(parsed.version, str(version))


@pytest.mark.parametrize(
    ("filename", "name", "version"),
    [
        ("foo-1.0.tar.gz", "foo", "1.0"),
        ("Foo_Bar-1.0.zip", "foo-bar", "1.0.0"),
        ("foo-bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("foo-2-1.0.tar.gz", "foo-2", "1.0"),
        ("foo-1.0.tar.bz2", "foo", None),
    ],
)
def test_source_archives_belong_by_any_spelling(filename: str, name: str, version: str | None) -> None:
    """An sdist's name may be old-style or normalised; the version may have another number of zeros."""
    assert sdist_belongs(filename, name, version)
    if filename.endswith((".tar.gz", ".zip")):
        parse_sdist_filename(filename)


@pytest.mark.parametrize("filename", ["foo-1.0.exe", "foo.tar.gz", "foo-.tar.gz", "bar-1.0.tar.gz", "foo-1.1.tar.gz"])
def test_source_archives_of_others_do_not_belong(filename: str) -> None:
    """Another project's, another version's or no archive at all is not taken."""
    assert not sdist_belongs(filename, "foo", "1.0")
    try:
        name, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return
    assert (name, str(version)) != ("foo", "1.0")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0", True),
        ("1.0", "1.0.0", True),
        ("1.00", "1.0", True),
        ("1.0", "1.0.1", False),
        ("1.0rc1", "1.0RC1", True),
        ("1.0+cpu", "1.0+CPU", True),
        ("1.0", "1.0.post1", False),
        ("x", "x", True),
        ("x", "1", False),
        ("0", "0.0", True),
    ],
)
def test_versions_are_compared_by_meaning(one: str, other: str, same: bool) -> None:
    """Spellings of one version are equal, different versions are not, and no text raises."""
    assert same_version(one, other) is same
    assert same_version(other, one) is same


@pytest.mark.parametrize("filename", GOOD)
@pytest.mark.parametrize("target", [LINUX, MAC, WINDOWS], ids=lambda target: target.name)
def test_the_rank_is_the_best_of_the_tags(filename: str, target: Target) -> None:
    """A wheel's rank is the lowest position among the target's tags of any tag it has."""
    ranks = {tag: position for position, tag in enumerate(tags(target))}
    _, _, _, carried = parse_wheel_filename(filename)
    assert rank(filename, target) == min((ranks[str(tag)] for tag in carried if str(tag) in ranks), default=None)


def test_the_best_wheel_is_by_tag_then_build_then_name() -> None:
    """The most specific tag wins; of equal tags the higher build number; never the order of the file."""
    native, stable = "foo-1-cp312-cp312-manylinux_2_17_x86_64.whl", "foo-1-cp38-abi3-manylinux_2_17_x86_64.whl"
    pure = "foo-1-py3-none-any.whl"
    newer = "foo-1-cp312-cp312-manylinux_2_28_x86_64.whl"
    for names in ([native, stable, pure], [pure, stable, native]):
        assert best_wheel(names, LINUX) == native
    assert best_wheel([native, newer], LINUX) == newer
    assert best_wheel([pure, stable], LINUX) == stable
    assert best_wheel([stable, native], MAC) is None
    builds = ["foo-1-2-py3-none-any.whl", "foo-1-10-py3-none-any.whl", "foo-1-py3-none-any.whl"]
    assert best_wheel(builds, LINUX) == best_wheel(builds[::-1], LINUX) == "foo-1-10-py3-none-any.whl"
    assert best_wheel([], LINUX) is None
    assert rank("foo.tar.gz", LINUX) is None


def test_kinds_of_wheels_are_told_apart() -> None:
    """Pure, stable ABI and native wheels; a wheel named by URL is a wheel."""
    assert is_pure("foo-1-py3-none-any.whl")
    assert not is_pure("foo-1-py3-none-win_amd64.whl")
    assert is_stable_abi("foo-1-cp38-abi3-win_amd64.whl", WINDOWS)
    assert not is_stable_abi("foo-1-cp312-cp312.abi3-win_amd64.whl", WINDOWS)
    assert not is_stable_abi("foo-1-cp312-cp312-win_amd64.whl", WINDOWS)
    artifact = Artifact(kind="archive", filename="foo-1-py3-none-any.whl", sha256=Sha256("0" * 64))
    assert is_wheel(artifact)
    assert not is_wheel(Artifact(kind="archive", filename="foo.zip", sha256=Sha256("0" * 64)))


@pytest.mark.parametrize(
    ("target", "filenames", "floor"),
    [
        (LINUX, [], None),
        (LINUX, ["a-1-py3-none-any.whl", "b-1-cp312-none-any.whl"], None),
        (LINUX, ["a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"], "2.17"),
        (LINUX, ["a-1-cp312-cp312-manylinux1_x86_64.whl", "b-1-cp312-cp312-manylinux2010_x86_64.whl"], "2.12"),
        (LINUX, ["a-1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "b-1-py3-none-any.whl"], "2.27"),
        (MAC, ["a-1-cp312-cp312-macosx_10_9_universal2.whl"], "11.0"),
        (MAC, ["a-1-cp312-cp312-macosx_10_9_x86_64.macosx_12_0_arm64.whl"], "12.0"),
        (parse_target("cp312-macosx_14_0_x86_64"), ["a-1-cp312-cp312-macosx_10_9_universal2.whl"], "10.9"),
        (parse_target("cp312-musllinux_1_2_x86_64"), ["a-1-cp312-cp312-musllinux_1_1_x86_64.whl"], "1.1"),
    ],
)
def test_the_floor_is_what_every_wheel_runs_on(target: Target, filenames: list[str], floor: str | None) -> None:
    """The highest of what each native wheel needs at least; null when all are pure."""
    found = wheels_floor(filenames, target)
    assert (found or {}).get("version") == floor
    assert (found is None) == (floor is None)


def test_windows_wheels_name_no_version() -> None:
    """A native wheel on Windows makes a floor without a version, and no wheels make none."""
    assert wheels_floor(["a-1-cp312-cp312-win_amd64.whl"], WINDOWS) == {"family": "windows", "version": None}
    assert wheels_floor(["a-1-py3-none-any.whl"], WINDOWS) is None


def test_the_floor_of_a_resolution_looks_at_wheels_only() -> None:
    """Sdists and source trees say nothing about the platform; wheels named by URL do."""
    sdist = Artifact(kind="sdist", filename="a-1.tar.gz", sha256=Sha256("0" * 64))
    archive = Artifact(kind="archive", filename="b-1-cp312-cp312-manylinux_2_17_x86_64.whl", sha256=Sha256("0" * 64))
    chosen = [
        Selected(name=NormalizedName("a"), version="1", artifact=sdist),
        Selected(name=NormalizedName("b"), version="1", artifact=archive),
    ]
    assert platform_floor(Resolution(selected=tuple(chosen)), LINUX) == {"family": "glibc", "version": "2.17"}
    assert platform_floor(Resolution(selected=(chosen[0],)), LINUX) is None


def test_a_tag_set_beyond_reason_is_no_wheel() -> None:
    """A compressed set that would expand to millions of tags is not expanded."""
    many = ".".join(f"py{n}" for n in range(200))
    assert rank(f"foo-1-{many}-{many}-{many}.whl", LINUX) is None


def test_a_floor_needs_a_wheel_the_target_can_use() -> None:
    """Wheels of other platforms set no floor."""
    assert wheels_floor(["a-1-cp312-cp312-win_amd64.whl"], LINUX) is None


def test_names_have_one_normal_form() -> None:
    """PEP 503: runs of - _ . become one -, lower case."""
    assert normalize_name("Foo__Bar.-baz") == "foo-bar-baz"
