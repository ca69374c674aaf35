"""The pip-tools engine: its limits, its conversion, and that it agrees with uv."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envid.app.locking import lock as lock_project
from envid.app.workspace import open_workspace
from envid.errors import (
    ConfigError,
    DependencyRefused,
    EngineFailed,
    Offline,
    ResolutionFailed,
    SdistRefused,
    TargetNotCovered,
    ToolchainError,
    UnhashedArtifact,
)
from envid.lock.index import IndexFile
from envid.lock.piptools import (
    PipToolsResolver,
    check_request,
    check_targets,
    parse_requirements,
    running_environment,
)
from envid.lock.pylock import parse
from envid.lock.resolver import ResolveRequest
from envid.lock.select import select
from envid.values.artifact import NormalizedName
from envid.values.target import parse_target
from index_server import Behaviour, index_server
from wheels import make_wheel, sha256_of

HOST = f"cp{sys.version_info.major}{sys.version_info.minor}-manylinux_2_28_{platform.machine()}"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the host target below is a Linux one")


def request(root: Path, *requirements: str, **changes: Any) -> ResolveRequest:
    """Return a request for the running interpreter."""
    return ResolveRequest(root=root, lock_path=root / "lockfiles/pylock.toml", requirements=requirements, **changes)


def nothing(names: Iterable[NormalizedName]) -> Mapping[NormalizedName, tuple[IndexFile, ...]]:
    """List no file for any project."""
    return dict.fromkeys(names, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": ("a==1",)},
        {"sources": {"a": {"path": "a"}}},
        {"options": {"resolution": "lowest"}},
        {"indexes": ({"url": "https://index.example/", "explicit": True},)},
        {"requirements": ("a @ git+https://git.example/a",)},
        {"requirements": ("a @ file:///a-1-py3-none-any.whl",)},
        {"requirements": ("a @ https://files.example/a-1.tar.gz",)},
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Whatever pip-tools has no notion of is refused with the way out, never left out."""
    with pytest.raises(DependencyRefused) as caught:
        check_request(replace(request(tmp_path), **changes))
    assert 'resolver = "uv"' in caught.value.hint


def test_offline_is_refused(tmp_path: Path) -> None:
    """It needs the index every time."""
    with pytest.raises(Offline):
        check_request(request(tmp_path, offline=True))


def test_targets_must_be_the_running_interpreter() -> None:
    """Targets of another platform, Python or implementation are refused; none at all too; ours is taken."""
    here = {**running_environment(), "python_version": "3.12", "platform_machine": "x86_64", "sys_platform": "linux"}
    here |= {"os_name": "posix", "platform_system": "Linux", "implementation_name": "cpython"}
    here |= {"platform_python_implementation": "CPython", "python_full_version": "3.12.4"}
    check_targets((parse_target("cp312-manylinux_2_28_x86_64"), parse_target("cp3.12.4-manylinux_2_17_x86_64")), here)
    for other in (
        "cp313-manylinux_2_28_x86_64", "cp312-manylinux_2_28_aarch64", "cp312-win_amd64",
        "cp312-macosx_14_0_arm64", "cp3.12.5-manylinux_2_28_x86_64", "pp311-manylinux_2_28_x86_64",
    ):  # fmt: skip
        with pytest.raises(TargetNotCovered, match="another one"):
            check_targets((parse_target(other),), here)
    with pytest.raises(ConfigError, match="targets"):
        check_targets((), here)


def test_hashed_requirements_are_read() -> None:
    """Pins, markers, continuation lines and direct URLs of pip-tools' output give name, version and digests."""
    digests = ["a" * 64, "b" * 64]
    text = (
        f"Some_Name[x]==1.0 ; python_version > '3' \\\n    --hash=sha256:{digests[0]} \\\n"
        f"    --hash=sha256:{digests[1]}\n# a comment\n"
        f"other @ https://files.example/other-2-py3-none-any.whl \\\n    --hash=sha256:{digests[0]}\n"
    )
    first, second = parse_requirements(text)
    assert (first.name, first.version, first.hashes) == ("some-name", "1.0", frozenset(digests))
    assert (second.name, second.url) == ("other", "https://files.example/other-2-py3-none-any.whl")


def test_what_is_no_hashed_pin_is_refused() -> None:
    """A line without digest, or that is no pin, stops the conversion; a credential in it is not repeated."""
    with pytest.raises(UnhashedArtifact, match="one"):
        parse_requirements("one==1\n")
    with pytest.raises(EngineFailed) as caught:
        parse_requirements("-e git+https://u:s3cret@git.example/one\n")
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("/usr/bin/python: No module named piptools", ToolchainError, "not installed"),
        ("x\npip.DistributionNotFound: No matching distribution found for Some_Name", ResolutionFailed, "some-name"),
        (
            (
                "ResolutionImpossible: [RequirementInformation(requirement=SpecifierRequirement('b>=1'), "
                "parent=LinkCandidate('https://f.example/a-1-py3-none-any.whl (from x)'))]"
            ),
            ResolutionFailed, "a-1-py3-none-any.whl needs b>=1",
        ),
        ("boom https://u:s3cret@x.example/", EngineFailed, "boom"),
    ],
)  # fmt: skip
def test_failures_are_translated(tmp_path: Path, said: str, kind: type[Exception], words: str) -> None:
    """What pip-tools says when it fails becomes the error it is, without credentials."""
    error = PipToolsResolver(indexes=(), builtin=True, listing=nothing).failure(said, tmp_path)
    assert type(error) is kind
    assert words in error.message
    assert "s3cret" not in error.message


def project(root: Path, dependencies: str, *, resolver: str, indexes: str = "", more: str = "") -> Path:
    """Write a project that locks for the running interpreter."""
    root.mkdir()
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = {dependencies}\n'
        f'[tool.envid]\ntargets = ["{HOST}"]\n[tool.envid.lock]\nresolver = "{resolver}"\n{indexes}\n{more}\n'
    )
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep envid's cache out of the user's."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "envid-cache"))


def bodies(root: Path) -> bytes:
    """Return the lock of a project without envid's own tables."""
    return (root / "lockfiles" / "pylock.toml").read_bytes().partition(b"\n[tool.envid]")[0]


@ON_LINUX
def test_it_locks_from_the_configured_index(tmp_path: Path) -> None:
    """Both engines write the same entries for the same index; refused archives are named by both."""
    folder = tmp_path / "served"
    folder.mkdir()
    make_wheel(folder, "alpha", "1.0", requires=["beta>=1"])
    make_wheel(folder, "beta", "1.0")
    wheel = make_wheel(folder, "beta", "2.0")
    (folder / "onlysd-1.0.tar.gz").write_bytes(b"")
    with index_server(folder, Behaviour()) as server:
        indexes = f'indexes = ["{server.url}"]'
        made = []
        for resolver in ("pip-tools", "uv"):
            root = project(tmp_path / resolver, '["alpha"]', resolver=resolver, indexes=indexes)
            lock_project(open_workspace(str(root)))
            made.append(bodies(root))
        assert made[0] == made[1]
        assert sha256_of(wheel).encode() in made[0]
        root = project(tmp_path / "refused", '["onlysd"]', resolver="pip-tools", indexes=indexes)
        with pytest.raises(SdistRefused, match="onlysd"):
            lock_project(open_workspace(str(root)))


@ON_LINUX
@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    "dependencies",
    ['["requests", "rich>=13"]', '["httpx[http2]", "attrs", "numpy<2.5"]'],
)
def test_both_engines_select_the_same_set(tmp_path: Path, dependencies: str) -> None:
    """For real inputs both engines' locks install the same names, versions and files on the running interpreter."""
    chosen = []
    for resolver in ("pip-tools", "uv"):
        root = project(tmp_path / resolver, dependencies, resolver=resolver)
        lock_project(open_workspace(str(root)))
        made = parse((root / "lockfiles" / "pylock.toml").read_bytes(), path="pylock.toml")
        selected = select(made, parse_target(HOST)).selected
        chosen.append({(item.name, item.version, item.artifact and item.artifact.sha256) for item in selected})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) > 3
