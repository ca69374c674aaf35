"""Turns: one run at a time writes in a project, whatever caches there are, and one inside of it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envid.app.running.turns import VARIABLE, prepare, turn
from envid.errors import GuardTimeout, WriteFailed


def test_one_run_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    """A second turn waits for the first, whatever it makes; who waits in vain is told the holder and the output."""
    root = str(tmp_path)
    with (
        turn(root, ["held"], wait=1, purpose="the holder", variables={}),
        pytest.raises(
            GuardTimeout, match=f"turn to make wanted in .* is held by process {os.getpid()} .making held: the"
        ),
        turn(root, ["wanted"], wait=0, purpose="", variables={}),
    ):
        pass
    with turn(root, ["wanted"], wait=0, purpose="", variables={}):
        pass


def test_a_run_inside_of_another_goes_on_and_its_neighbour_waits(tmp_path: Path) -> None:
    """A run that an ancestor's command starts takes the next guard; two of those take turns between themselves."""
    root = str(tmp_path)
    with (
        turn(root, ["outer"], wait=1, purpose="", variables={}) as outer,
        turn(root, ["inner"], wait=0, purpose="", variables={VARIABLE: outer.told}) as inner,
    ):
        assert inner.guard == f"{outer.guard}.1"
        with pytest.raises(GuardTimeout), turn(root, ["x"], wait=0, purpose="", variables={VARIABLE: outer.told}):
            pass
        with turn(root, ["deep"], wait=0, purpose="", variables={VARIABLE: inner.told}) as deep:
            assert deep.guard == f"{outer.guard}.2"


def test_the_variable_is_believed_of_a_guard_that_is_held_alone(tmp_path: Path) -> None:
    """Where nobody holds the guard that the variable names, the turn is taken as if there were no variable."""
    root = str(tmp_path)
    with turn(root, ["x"], wait=0, purpose="", variables={}) as first:
        told = first.told
    with turn(root, ["x"], wait=0, purpose="", variables={VARIABLE: told}) as second:
        assert second.guard == first.guard
        with turn(root, ["y"], wait=0, purpose="", variables={VARIABLE: "/elsewhere\n" + second.told}):
            pass
        with pytest.raises(GuardTimeout), turn(root, ["y"], wait=0, purpose="", variables={VARIABLE: "/elsewhere"}):
            pass


def test_what_envid_makes_in_the_project_is_ignored_by_version_control(tmp_path: Path) -> None:
    """The project's own directory holds a .gitignore for everything in it."""
    prepare(str(tmp_path))
    assert (tmp_path / ".envid/.gitignore").read_text() == "*\n"


@pytest.mark.parametrize("obstacle", ["link", "file", "guards"])
def test_a_project_without_room_for_guards_is_a_clear_error(tmp_path: Path, obstacle: str) -> None:
    """Where the directory of guards is a link or a file, no turn is had, and nothing is written behind a link."""
    root = tmp_path / "project"
    outside = tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    if obstacle == "link":
        (root / ".envid").symlink_to(outside)
    elif obstacle == "file":
        (root / ".envid").write_text("")
    else:
        (root / ".envid").mkdir()
        (root / ".envid/guards").symlink_to(outside)
    with (
        pytest.raises(WriteFailed, match="cannot take turns"),
        turn(str(root), ["x"], wait=0, purpose="", variables={}),
    ):
        pass
    assert list(outside.iterdir()) == []
