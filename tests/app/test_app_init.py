"""`init` adds a table and changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.app.init import init
from envid.errors import ConfigError, InvalidTarget
from envid.values.intent import parse_intent


def test_a_new_file_is_a_whole_project(tmp_path: Path) -> None:
    """Without a pyproject.toml one is made, with the directory's name and the targets asked for."""
    root = tmp_path / "My Project!"
    root.mkdir()
    outcome = init(str(root), targets=("cp313-musllinux_1_2_x86_64", "cp312-manylinux_2_28_x86_64"))
    intent = parse_intent((root / "pyproject.toml").read_bytes())
    assert intent.name == "my-project"
    assert intent.requires_python == ">=3.12"
    assert [target.name for target in intent.settings.targets] == outcome.data["targets"]
    assert outcome.data["created"] is True


def test_without_a_target_the_host_is_declared_portably(tmp_path: Path) -> None:
    """The suggested target is this host's, without its patch release and with a libc that others have, too."""
    targets = init(str(tmp_path)).data["targets"]
    assert isinstance(targets, list)
    assert len(targets) == 1
    assert str(targets[0]).startswith("cp3")
    intent = parse_intent((tmp_path / "pyproject.toml").read_bytes())
    assert intent.settings.targets[0].patch is None


@given(st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["", "# end", "[tool.other]\nx = 1"]))
@settings(max_examples=12)
def test_what_was_there_stays_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, newline: str, closed: bool, tail: str
) -> None:
    """The old bytes are a prefix of the new file, whatever its line ends and whether it ends with one."""
    root = tmp_path_factory.mktemp("project")
    text = f"[project]\nname = 'x'\n{tail}" + ("\n" if closed else "")
    before = text.replace("\n", newline).encode()
    (root / "pyproject.toml").write_bytes(before)
    init(str(root), backend="elixir")
    after = (root / "pyproject.toml").read_bytes()
    assert after.startswith(before)
    assert parse_intent(after).settings.backend == "elixir"
    assert (b"\r\n" in after[len(before) :]) == (b"\r\n" in before)


def test_a_table_that_is_there_is_not_touched(tmp_path: Path) -> None:
    """A second init is refused and leaves the file as it was."""
    init(str(tmp_path))
    before = (tmp_path / "pyproject.toml").read_bytes()
    with pytest.raises(ConfigError, match="already"):
        init(str(tmp_path))
    assert (tmp_path / "pyproject.toml").read_bytes() == before


@pytest.mark.parametrize("broken", [b"[project\n", b"\xff"])
def test_a_broken_file_is_refused_and_left(tmp_path: Path, broken: bytes) -> None:
    """A pyproject.toml that cannot be read is an error, and is not written to."""
    (tmp_path / "pyproject.toml").write_bytes(broken)
    with pytest.raises(ConfigError):
        init(str(tmp_path))
    assert (tmp_path / "pyproject.toml").read_bytes() == broken


def test_a_bad_target_writes_nothing(tmp_path: Path) -> None:
    """An invalid target is an error before anything is written."""
    with pytest.raises(InvalidTarget):
        init(str(tmp_path), targets=("linux",))
    assert not (tmp_path / "pyproject.toml").exists()
