"""Targets: grammar, marker environment, tags, fit."""

from __future__ import annotations

import dataclasses
import platform as host_platform

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import tags as packaging_tags

from envid.errors import InvalidTarget
from envid.values.interpreter import Interpreter
from envid.values.target import (
    Target,
    fits,
    host_target,
    marker_environment,
    parse_target,
    platform_tags,
    tags,
)

PLATFORMS = [
    "manylinux_2_17_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_36_aarch64",
    "manylinux_2_5_i686",
    "manylinux_2_17_s390x",
    "manylinux_2_28_ppc64le",
    "musllinux_1_2_x86_64",
    "musllinux_1_1_aarch64",
    "macosx_10_9_x86_64",
    "macosx_11_0_arm64",
    "macosx_13_0_x86_64",
    "macosx_14_5_arm64",
    "macosx_26_0_arm64",
    "win_amd64",
    "win32",
    "win_arm64",
]
PYTHONS = ["cp38", "cp311", "cp312", "cp312d", "cp313", "cp313t", "cp314td", "cp315t", "pp310", "pp311"]
LONG = ["cp3.12.7", "cp3.13.0rc1t", "pp3.11.13", "cp3.14.0"]


def interpreter(**changes: object) -> Interpreter:
    base = Interpreter(
        implementation="cpython",
        version="3.12.7",
        abi="cp312",
        soabi="cpython-312-x86_64-linux-gnu",
        free_threaded=False,
        debug=False,
        pointer_bits=64,
        byteorder="little",
        platform="manylinux_2_36_x86_64",
        executable="/python",
        markers={},
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS + LONG)
def test_the_name_of_a_target_reads_back_as_the_same_target(python: str, platform: str) -> None:
    """A target's name is one spelling of exactly that target."""
    target = parse_target(f"{python}-{platform}")
    assert parse_target(target.name) == target
    assert target.name == f"{python}-{platform}"


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("cp312-manylinux2014_x86_64", "cp312-manylinux_2_17_x86_64"),
        ("cp312-manylinux2010_i686", "cp312-manylinux_2_12_i686"),
        ("cp312-manylinux1_x86_64", "cp312-manylinux_2_5_x86_64"),
        ("cp312-manylinux_02_028_x86_64", "cp312-manylinux_2_28_x86_64"),
        ({"python": "3.12.7", "platform": "win_amd64"}, "cp3.12.7-win_amd64"),
        ({"python": "3.12", "platform": "win_amd64"}, "cp312-win_amd64"),
        ({"python": "pypy3.11", "platform": "win_amd64"}, "pp311-win_amd64"),
        ({"python": "3.13.1t", "platform": "macosx_14_0_arm64"}, "cp3.13.1t-macosx_14_0_arm64"),
    ],
)
def test_aliases_and_tables_have_one_normal_form(spelled: object, name: str) -> None:
    """However a target is spelled, its name is the normal form."""
    assert parse_target(spelled).name == name


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "host",
        "cp312",
        "cp312-",
        "-win_amd64",
        "cp212-win_amd64",
        "cp37-win_amd64",
        "cp312t-win_amd64",
        "pp311t-win_amd64",
        "pp311d-win_amd64",
        "cp3012-win_amd64",
        "cp308-win_amd64",
        "cp312-linux_x86_64",
        "cp312-win_x86",
        "cp312-macosx_14_0_universal2",
        "cp312-macosx_10_15_arm64",
        "cp312-macosx_9_0_x86_64",
        "cp312-manylinux_2_28_vax",
        "cp312-manylinux_3_1_x86_64",
        "cp312-manylinux_2_4_x86_64",
        "cp312-musllinux_1_2",
        "CP312-win_amd64",
        "cp312-win_amd64\n",
        "cp3١2-win_amd64",
        "cp3.12.7.1-win_amd64",
        "x" * 1_000_000,
        312,
        None,
        [],
        {},
        {"python": "3.12"},
        {"python": 3.12, "platform": "win_amd64"},
        {"python": "3.12", "platform": "win_amd64", "libc": "x"},
        {"python": "2.7", "platform": "win_amd64"},
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_no_target_is_refused_in_a_short_message(bad: object) -> None:
    """Bad targets raise InvalidTarget with a message fit for a terminal."""
    with pytest.raises(InvalidTarget) as caught:
        parse_target(bad)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert caught.value.hint


def test_plain_linux_is_refused_with_the_way_out() -> None:
    """linux_ARCH names no libc; the hint names the two families that do."""
    with pytest.raises(InvalidTarget) as caught:
        parse_target("cp312-linux_x86_64")
    assert "manylinux_" in caught.value.hint
    assert "musllinux_" in caught.value.hint


@given(st.text() | st.from_regex(r"(cp|pp)3[0-9.]{1,6}t?d?-[a-z0-9_]{3,30}", fullmatch=True))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, and what it accepts it names consistently."""
    try:
        target = parse_target(text)
    except InvalidTarget:
        return
    assert parse_target(target.name) == target
    assert tags(target)
    assert marker_environment(target)


def expected_tags(target: Target) -> list[str]:
    platforms = list(platform_tags(target))
    if target.implementation == "cpython":
        abis = [target.abi, target.abi.removesuffix("d")] if target.debug else [target.abi]
        found = [
            *packaging_tags.cpython_tags(target.python, abis=abis, platforms=platforms),
            *packaging_tags.compatible_tags(target.python, interpreter=target.python_tag, platforms=platforms),
        ]
    else:
        found = [
            *packaging_tags.generic_tags(target.python_tag, abis=[target.abi], platforms=platforms),
            *packaging_tags.compatible_tags(target.python, interpreter="pp3", platforms=platforms),
        ]
    return [str(tag) for tag in found]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_tags_are_those_of_packaging_in_the_same_order(python: str, platform: str) -> None:
    """For every target the tags equal packaging's for the same platform list, first occurrences in order."""
    target = parse_target(f"{python}-{platform}")
    assert list(tags(target)) == list(dict.fromkeys(expected_tags(target)))
    assert len({*tags(target)}) == len(tags(target))


@pytest.mark.parametrize("version", [(10, 9), (10, 15), (10, 16), (11, 0), (11, 4), (12, 3), (14, 0), (15, 6), (26, 1)])
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_macos_platforms_are_those_of_packaging(version: tuple[int, int], arch: str) -> None:
    """The macOS list is packaging's mac_platforms, but for releases below 10.4, for which no wheel was ever made."""
    if arch == "arm64":
        version = max(version, (11, 0))
    ours = platform_tags(parse_target(f"cp312-macosx_{version[0]}_{version[1]}_{arch}"))
    prehistoric = tuple(f"macosx_10_{minor}_" for minor in range(4))
    theirs = [tag for tag in packaging_tags.mac_platforms(version, arch) if not tag.startswith(prehistoric)]
    assert list(ours) == theirs


@pytest.mark.skipif(host_platform.libc_ver()[0] != "glibc", reason="packaging only lists manylinux on glibc")
def test_manylinux_platforms_are_those_of_packaging_on_this_host() -> None:
    """On a glibc host the list is the one packaging measures here, without the bare linux_ARCH tags."""
    major, minor = host_platform.libc_ver()[1].split(".")[:2]
    machine = host_platform.machine()
    target = parse_target(f"cp312-manylinux_{major}_{minor}_{machine}")
    theirs = [tag for tag in packaging_tags.platform_tags() if tag.startswith("manylinux") and tag.endswith(machine)]
    assert list(platform_tags(target)) == theirs


def test_legacy_aliases_follow_the_tag_they_name() -> None:
    """manylinux2014 stands right behind manylinux_2_17, and so on; musllinux goes down to its major release."""
    found = platform_tags(parse_target("cp312-manylinux_2_18_x86_64"))
    assert found[1:4] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64")
    assert found[-2:] == ("manylinux_2_5_x86_64", "manylinux1_x86_64")
    assert platform_tags(parse_target("cp312-manylinux_2_18_aarch64"))[-1] == "manylinux2014_aarch64"
    musl = platform_tags(parse_target("cp312-musllinux_1_2_x86_64"))
    assert musl == ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64", "musllinux_1_0_x86_64")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS + LONG)
def test_a_target_never_invents_a_marker_value(python: str, platform: str) -> None:
    """Host facts are absent, patch-dependent variables too unless the target has a patch release."""
    target = parse_target(f"{python}-{platform}")
    environment = marker_environment(target)
    assert not {"platform_release", "platform_version"} & environment.keys()
    assert ("python_full_version" in environment) == (target.patch is not None)
    long = target.patch is not None
    assert ("implementation_version" in environment) == (long and target.implementation == "cpython")


@pytest.mark.parametrize(
    ("platform", "values"),
    [
        ("manylinux_2_28_aarch64", ("posix", "linux", "Linux", "aarch64")),
        ("musllinux_1_2_x86_64", ("posix", "linux", "Linux", "x86_64")),
        ("macosx_14_0_arm64", ("posix", "darwin", "Darwin", "arm64")),
        ("win_amd64", ("nt", "win32", "Windows", "AMD64")),
        ("win_arm64", ("nt", "win32", "Windows", "ARM64")),
        ("win32", ("nt", "win32", "Windows", "x86")),
    ],
)
def test_platform_variables_are_those_python_reports_there(platform: str, values: tuple[str, ...]) -> None:
    """os_name, sys_platform, platform_system and platform_machine are spelled as on the platform itself."""
    environment = marker_environment(parse_target(f"cp312-{platform}"))
    names = ("os_name", "sys_platform", "platform_system", "platform_machine")
    assert tuple(environment[name] for name in names) == values


def test_a_host_fits_its_own_target_and_lower_ones() -> None:
    """The host fits the target measured from it, the short form, and a lower libc."""
    host = interpreter()
    assert host_target(host).name == "cp3.12.7-manylinux_2_36_x86_64"
    for name in (host_target(host).name, "cp312-manylinux_2_36_x86_64", "cp312-manylinux_2_17_x86_64"):
        assert fits(parse_target(name), host) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cp311-manylinux_2_28_x86_64", "CPython 3.11"),
        ("pp311-manylinux_2_28_x86_64", "PyPy 3.11"),
        ("cp312d-manylinux_2_28_x86_64", "ABI"),
        ("cp3.12.8-manylinux_2_28_x86_64", "exactly 3.12.8"),
        ("cp312-manylinux_2_39_x86_64", "glibc 2.39"),
        ("cp312-musllinux_1_2_x86_64", "musl"),
        ("cp312-manylinux_2_28_aarch64", "aarch64"),
        ("cp312-win_amd64", "windows"),
        ("cp312-macosx_14_0_x86_64", "macos"),
    ],
)
def test_a_host_that_does_not_fit_says_why(name: str, words: str) -> None:
    """Each single difference gives exactly one reason that names it."""
    reasons = fits(parse_target(name), interpreter())
    assert len(reasons) == 1
    assert words in reasons[0]


def test_a_musl_of_another_major_release_does_not_fit() -> None:
    """PEP 656: musl promises nothing across major releases, so a newer major is no better."""
    assert fits(parse_target("cp312-musllinux_1_2_x86_64"), interpreter(platform="musllinux_2_0_x86_64"))


def test_windows_fits_without_a_version() -> None:
    """Windows tags demand no version, so only interpreter and architecture can be wrong."""
    host = interpreter(platform="win_amd64")
    assert fits(parse_target("cp312-win_amd64"), host) == ()
    assert len(fits(parse_target("cp312-win_arm64"), host)) == 1


def test_an_unknown_interpreter_has_no_target() -> None:
    """Only CPython and PyPy have targets; another implementation is refused by name."""
    with pytest.raises(InvalidTarget, match="graalpy"):
        host_target(interpreter(implementation="graalpy"))


def test_a_development_build_has_the_full_version_packaging_gives_it() -> None:
    """3.14.0+ reads as a local version, as packaging has it."""
    target = host_target(interpreter(version="3.14.0+", abi="cp314"))
    assert target.patch == "3.14.0+"
    assert marker_environment(target)["python_full_version"] == "3.14.0+local"
