"""The generated project: all that was asked, and nothing of the user's that would change the answer."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import ConfigError, DependencyRefused
from envid.lock.resolver import ResolveRequest
from envid.lock.scratch import transport_variables, write_inputs, write_pins, write_settings
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution, NormalizedName, Sha256

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)


def request(root: Path, **changes: Any) -> ResolveRequest:
    """Return a request for a project in ``root``."""
    given = {"requirements": (), "minimum_python": "3.11", **changes}
    return ResolveRequest(root=root, lock_path=root / "lockfiles" / "pylock.toml", **given)


@given(TEXT, TEXT)
def test_any_text_passes_through_toml(name: str, value: str) -> None:
    """Whatever text a setting holds, uv reads the same text."""
    settings = {"index": [{"name": name, "url": value}]}
    assert tomllib.loads(write_settings(settings)) == settings


def test_everything_asked_is_there(tmp_path: Path) -> None:
    """Requirements, constraints, overrides, environments, indexes and options are passed on as they stand."""
    text = write_inputs(
        request(
            tmp_path,
            requirements=('one>=1; sys_platform == "win32"',), constraints=("two<3",), overrides=("three==1",),
            environments=("sys_platform == 'linux'",), indexes=({"url": "https://index.example/simple", "name": "x"},),
            options={"prerelease": "allow"},
        ),
        constraints=["four!=2"],
    )  # fmt: skip
    document = tomllib.loads(text)
    uv = document["tool"]["uv"]
    assert document["project"]["dependencies"] == ['one>=1; sys_platform == "win32"']
    assert document["project"]["requires-python"] == ">=3.11"
    assert uv["constraint-dependencies"] == ["two<3", "four!=2"]
    assert uv["override-dependencies"] == ["three==1"]
    assert uv["environments"] == uv["required-environments"] == ["sys_platform == 'linux'"]
    assert uv["index"] == [{"url": "https://index.example/simple", "name": "x"}]
    assert uv["prerelease"] == "allow"
    assert uv["workspace"] == {"members": []}


def test_paths_become_absolute(tmp_path: Path) -> None:
    """What the project names relative to itself is found from the generated project too."""
    (tmp_path / "libs" / "one").mkdir(parents=True)
    text = write_inputs(
        request(
            tmp_path,
            sources={"one": [{"path": "libs/one", "extra": "x"}, {"git": "https://git.example/one", "group": "y"}]},
            indexes=({"url": "./wheels", "format": "flat"},),
            requirements=(f"one @ file://{tmp_path}/libs/one ; python_version > '3'",),
        )
    )
    uv = tomllib.loads(text)["tool"]["uv"]
    assert uv["sources"]["one"] == [{"path": f"{tmp_path}/libs/one"}, {"git": "https://git.example/one"}]
    assert uv["index"][0]["url"] == (tmp_path / "wheels").as_uri()
    assert str(tmp_path / "libs" / "one") in tomllib.loads(text)["project"]["dependencies"][0]


@pytest.mark.parametrize("given_source", [3, "x", [3]])
def test_sources_of_a_wrong_shape_are_refused(tmp_path: Path, given_source: object) -> None:
    """A source that is no table is a configuration error."""
    with pytest.raises(ConfigError, match=r"sources\.one"):
        write_inputs(request(tmp_path, sources={"one": given_source}))


def test_missing_paths_are_refused(tmp_path: Path) -> None:
    """A relative path to nothing is refused with the name of the dependency."""
    with pytest.raises(DependencyRefused, match="one is to come from"):
        write_inputs(request(tmp_path, requirements=("one @ ./gone.whl",)))


def test_only_transport_settings_are_kept() -> None:
    """Of a user's uv.toml nothing is passed on that changes what is resolved."""
    user = {
        "index-url": "https://mirror.example/simple", "resolution": "lowest", "prerelease": "allow", "no-build": False,
        "pip": {"index-url": "https://pip.example/simple", "no-deps": True}, "exclude-newer": "2020-01-01",
        "index-strategy": "unsafe-best-match", "keyring-provider": "subprocess",
    }  # fmt: skip
    assert tomllib.loads(write_settings(user)) == {
        "index-url": "https://mirror.example/simple",
        "keyring-provider": "subprocess",
        "pip": {"index-url": "https://pip.example/simple"},
    }


def test_only_transport_variables_are_kept() -> None:
    """Of uv's variables only those pass that reach an index; UV_INDEX_STRATEGY looks like one and is not."""
    kept = {"UV_INDEX_URL": "a", "UV_INDEX_PRIVATE_PASSWORD": "b", "UV_CACHE_DIR": "c", "UV_DEFAULT_INDEX": "d"}
    dropped = {"UV_INDEX_STRATEGY": "x", "UV_RESOLUTION": "y", "UV_EXCLUDE_NEWER": "z", "PATH": "/bin"}
    assert transport_variables({**kept, **dropped}) == kept


def locked(name: str, version: str | None = "1", **changes: Any) -> LockedDistribution:
    """Return an entry with one wheel, unless told otherwise."""
    filename = f"{name}-1-py3-none-any.whl"
    wheel = Artifact(kind="wheel", filename=filename, sha256=Sha256("0" * 64), url=f"https://files.example/{filename}")
    given = {"wheels": (wheel,), **changes}
    return LockedDistribution(name=NormalizedName(name), version=version, **given)


def test_pins(tmp_path: Path) -> None:
    """Versions, markers and commits of the previous lock are preferences; local directories have none."""
    vcs = LocalSource(kind="vcs", vcs="git", url="https://git.example/r", commit="0" * 40)
    previous = Lock(
        created_by="envid",
        distributions=(
            locked("one", marker="sys_platform == 'linux'"),
            locked("two", wheels=(), source=vcs),
            locked("three", None, wheels=(), source=LocalSource(kind="directory", path="../three")),
            locked("four"),
        ),
    )
    text = write_pins(request(tmp_path, previous=previous, upgrade_packages=("four",)))
    assert text is not None
    assert tomllib.loads(text)["packages"] == [
        {"name": "one", "version": "1", "marker": "sys_platform == 'linux'"},
        {"name": "two", "version": "1", "vcs": {"type": "git", "url": "https://git.example/r", "commit-id": "0" * 40}},
    ]
    assert write_pins(request(tmp_path, previous=previous, upgrade=True)) is None
    assert write_pins(request(tmp_path)) is None
