"""Which artifacts a lock has for a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from envid.errors import TargetNotCovered
from envid.lock.coverage import coverage
from envid.lock.pylock import parse
from envid.lock.select import select
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.target import parse_target
from envid.values.wheel_tags import platform_floor

VALID = Path(__file__).parents[2] / "fixtures" / "pylock" / "valid"
LINUX = parse_target("cp312-manylinux_2_28_x86_64")


def entry(name: str, *tags: str, sdist: bool = False, marker: str | None = None) -> LockedDistribution:
    files = [f"{name}-1.0-{tag}.whl" for tag in tags]
    wheels = tuple(Artifact(kind="wheel", filename=one, sha256=Sha256("a" * 64), path=one) for one in files)
    archive = Artifact(kind="sdist", filename=f"{name}-1.0.tar.gz", sha256=Sha256("b" * 64), path=f"{name}-1.0.tar.gz")
    return LockedDistribution(
        name=NormalizedName(name), version="1.0", marker=marker, wheels=wheels, sdist=archive if sdist else None
    )


def test_each_kind_is_told_apart_and_planted_gaps_are_found() -> None:
    """Native, stable ABI, pure, source archive, source tree and nothing: one of each, named as such."""
    tree = LocalSource(kind="directory", path=".", editable=True)
    made = Lock(
        created_by="x",
        distributions=(
            entry("native", "cp312-cp312-manylinux_2_17_x86_64", "py3-none-any"),
            entry("stable", "cp38-abi3-manylinux_2_12_x86_64.manylinux2010_x86_64"),
            entry("pure", "py3-none-any"),
            entry("built", "cp312-cp312-win_amd64", sdist=True),
            entry("gap", "cp312-cp312-manylinux_2_34_x86_64"),
            entry("elsewhere", "cp312-cp312-win_amd64", marker="sys_platform == 'win32'"),
            LockedDistribution(name=NormalizedName("tree"), version=None, source=tree),
        ),
    )
    found = coverage(made, LINUX)
    assert dict(found.packages) == {
        "built": "sdist",
        "gap": "nothing",
        "native": "wheel",
        "pure": "pure",
        "stable": "abi3",
        "tree": "source",
    }
    assert list(found.packages) == sorted(found.packages)
    assert found.missing == ("gap",)
    assert found.floor == {"family": "glibc", "version": "2.17"}


def test_the_floor_is_that_of_the_resolution() -> None:
    """Coverage and identity get one floor: that of the wheels the target selects."""
    lock = parse((VALID / "pylock.targets.toml").read_bytes(), path="p")
    for name in ("cp312-manylinux_2_28_x86_64", "cp312-macosx_13_0_arm64", "cp312-win_amd64"):
        target = parse_target(name)
        assert coverage(lock, target).floor == platform_floor(select(lock, target), target)


def test_an_uncovered_target_has_no_coverage() -> None:
    """Outside the guard there is nothing to list: the error of selection stands."""
    with pytest.raises(TargetNotCovered):
        coverage(parse((VALID / "pylock.targets.toml").read_bytes(), path="p"), parse_target("cp310-win32"))
