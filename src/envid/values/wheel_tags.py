"""File names of artifacts: whose they are, which tags a wheel carries, how it ranks, how low a platform it runs on."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import Final

from envid.values.artifact import Artifact, NormalizedName, Resolution
from envid.values.frozen import dataclass
from envid.values.target import Target, platform_tags, tag_parts

_WHEEL: Final = (
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-(?P<version>[A-Za-z0-9._+!]+)(?:-(?P<build>[0-9][^-/\\]*))?"
    r"-(?P<python>[A-Za-z0-9_.]+)-(?P<abi>[A-Za-z0-9_.]+)-(?P<platform>[A-Za-z0-9_.]+)\.whl"
)
# Text, as the pattern above: a key of a lock in envid's own layout needs none of them.
_RUNS: Final = r"[-_.]+"
_RELEASE: Final = r"\d+(?:\.\d+)*"
_SDIST_ENDS: Final = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
MAX_NAME: Final = 255
"""Bytes of a file name that any file system takes."""
Ranks = tuple[dict[str, int], dict[str, int], dict[str, int]]
"""Of interpreter and ABI; of the platform, to be added to the first; of whole tags with the platform ``any``."""

MAX_TAGS: Final = 1024
"""A compressed tag set beyond this is no honest file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name (binary distribution format, "File name convention")."""

    name: NormalizedName
    version: str
    """As spelled."""
    build: tuple[int, str]
    """``(0, "")`` without a build number, which sorts first."""
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple("-".join(parts) for parts in product(self.pythons, self.abis, self.platforms))


def normalize_name(text: str) -> NormalizedName:
    """Return ``text`` in the normal form of PEP 503."""
    return NormalizedName(re.sub(_RUNS, "-", text).lower())


@lru_cache(maxsize=8192)
def parse_wheel_name(filename: str) -> WheelName | None:
    """Return the parts of ``filename``, or None when it is not the name of a wheel."""
    found = re.fullmatch(_WHEEL, filename)
    if found is None or len(filename) > MAX_NAME:
        return None
    build = (0, "")
    if text := found["build"]:
        digits = re.match(r"[0-9]+", text)
        end = digits.end() if digits else 0
        build = (int(text[:end][:18]), text[end:])
    pythons, abis, platforms = (tuple(found[part].lower().split(".")) for part in ("python", "abi", "platform"))
    if "" in (*pythons, *abis, *platforms) or len(pythons) * len(abis) * len(platforms) > MAX_TAGS:
        return None
    return WheelName(
        name=normalize_name(found["name"]), version=found["version"], build=build,
        pythons=pythons, abis=abis, platforms=platforms,
    )  # fmt: skip


def same_version(one: str, other: str) -> bool:
    """Return whether two spellings are one version (``1.0`` and ``1.0.0``); False when either is none."""
    if one == other:
        return True
    if re.fullmatch(_RELEASE, one) and re.fullmatch(_RELEASE, other):
        return _release(one) == _release(other)
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def _release(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def wheel_belongs(filename: str, name: str, version: str | None) -> bool:
    """Return whether ``filename`` is a wheel of that distribution (any spelling of name and version)."""
    parsed = parse_wheel_name(filename)
    return parsed is not None and parsed.name == name and (version is None or same_version(parsed.version, version))


def sdist_belongs(filename: str, name: str, version: str | None) -> bool:
    """Return whether ``filename`` is a source archive of that distribution."""
    end = next((end for end in _SDIST_ENDS if filename.endswith(end)), None)
    if end is None or len(filename) > MAX_NAME:
        return False
    stem = filename[: -len(end)]
    for dash in re.finditer("-", stem):
        if normalize_name(stem[: dash.start()]) == name:
            rest = stem[dash.end() :]
            if rest and (version is None or same_version(rest, version)):
                return True
    return False


def rank(filename: str, target: Target) -> int | None:
    """Return the best position among the target's tags that a wheel's tags have; None: it cannot be used."""
    if not filename.endswith(".whl") or filename.count("-") < 4:
        return None
    text = "-".join(filename[:-4].rsplit("-", 3)[1:])
    known, ranks = set_ranks(target)
    if text not in known:
        known[text] = rank_of_set(text, ranks)
    return known[text]


@lru_cache(maxsize=64)
def set_ranks(target: Target) -> tuple[dict[str, int | None], Ranks]:
    """Return the memory of ``rank`` and its ranks: two thousand wheels have some three hundred sets of tags."""
    heads, platforms, anywhere = tag_parts(target)
    last = len(heads) * len(platforms)
    return {}, (
        {head: at * len(platforms) for at, head in enumerate(heads)},
        {platform: at for at, platform in enumerate(platforms)},
        {tag: last + at for at, tag in enumerate(anywhere)},
    )


def rank_of_set(text: str, ranks: Ranks) -> int | None:
    """Return the best position in ``ranks`` of a compressed tag set such as ``py2.py3-none-any``; None: it has none."""
    text = text.lower()
    heads, platforms, anywhere = ranks
    if text in anywhere:
        return anywhere[text]
    own, _, where = text.rpartition("-")
    if own not in heads and "." not in own and "any" not in where.split("."):
        # Most wheels are for another Python.
        return None
    parts = [part.split(".") for part in text.split("-")]
    if len(parts) != 3 or len(parts[0]) * len(parts[1]) * len(parts[2]) > MAX_TAGS:
        return None
    pairs = [f"{python}-{abi}" for python in parts[0] for abi in parts[1]]
    head = min((heads[pair] for pair in pairs if pair in heads), default=None)
    platform = min((platforms[one] for one in parts[2] if one in platforms), default=None)
    if head is not None and platform is not None:
        return head + platform
    if "any" not in parts[2]:
        return None
    return min((anywhere[tag] for pair in pairs if (tag := f"{pair}-any") in anywhere), default=None)


def best_wheel(filenames: list[str], target: Target) -> str | None:
    """Return the wheel that ``target`` takes: the best tag, then the highest build number, then the first name."""
    usable = [(position, filename) for filename in filenames if (position := rank(filename, target)) is not None]
    if not usable:
        return None
    best = min(position for position, _ in usable)
    equal = sorted(filename for position, filename in usable if position == best)
    if len(equal) == 1:
        return equal[0]
    highest = max(_build(filename) for filename in equal)
    return next(filename for filename in equal if _build(filename) == highest)


def _build(filename: str) -> tuple[int, str]:
    parsed = parse_wheel_name(filename)
    return parsed.build if parsed else (0, "")


def is_wheel(artifact: Artifact) -> bool:
    """Return whether ``artifact`` is a wheel, listed as one or named by URL."""
    return artifact.kind == "wheel" or (artifact.kind == "archive" and artifact.filename.endswith(".whl"))


def is_pure(filename: str) -> bool:
    """Return whether a wheel runs on every platform."""
    return filename.endswith("-any.whl")


def is_stable_abi(filename: str, target: Target) -> bool:
    """Return whether ``target`` takes this wheel by a stable ABI (``abi3``, ``abi3t``) and not by its own."""
    parsed = parse_wheel_name(filename)
    return parsed is not None and target.abi not in parsed.abis and bool({"abi3", "abi3t"} & {*parsed.abis})


def platform_floor(resolution: Resolution, target: Target) -> dict[str, str | None] | None:
    """Return the lowest platform on which every selected wheel runs, for the ``platform`` component.

    ``{"family": "glibc"|"musl"|"macos"|"windows", "version": "2.17"|None}`` (Windows wheels name no
    version); None when every selected wheel is pure. Sdists and sources are not looked at: what
    is built here runs on the exact host version, which only the caller knows.
    """
    artifacts = [selected.artifact for selected in resolution.selected]
    return wheels_floor([found.filename for found in artifacts if found and is_wheel(found)], target)


def wheels_floor(filenames: list[str], target: Target) -> dict[str, str | None] | None:
    """Return ``platform_floor`` of the wheels ``filenames``, all of which ``target`` can use."""
    usable = {*platform_tags(target)}
    # What a target can use has the name of a wheel, whose last part is the platforms.
    native = {filename[:-4].rpartition("-")[2].lower() for filename in filenames if not is_pure(filename)}
    if not native:
        return None
    if target.libc_version is None:
        return {"family": target.libc, "version": None}
    floors = [min(_version(tag, target) for tag in tags) for wheel in native if (tags := usable & {*wheel.split(".")})]
    if not floors:
        return None
    major, minor = max(floors)
    return {"family": target.libc, "version": f"{major}.{minor}"}


_LEGACY: Final = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}


def _version(tag: str, target: Target) -> tuple[int, int]:
    head, _, rest = tag.partition("_")
    if head in _LEGACY:
        return _LEGACY[head]
    major, minor = rest.split("_", 2)[:2]
    version = (int(major), int(minor))
    # The arm64 half of a universal2 wheel runs from 11.0 on, whatever its x86_64 half is tagged with.
    return max(version, (11, 0)) if target.libc == "macos" and target.arch == "aarch64" else version
