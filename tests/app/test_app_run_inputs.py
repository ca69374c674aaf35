"""Inputs that were other ones while a command ran, and are again what they were; outputs that are inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Commands
from envid.app.running.performing import perform
from envid.app.running.task import Order, measure, task_of
from envid.app.running.turns import turn
from envid.app.storing import opened
from envid.gate import Absent, decide


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with two inputs, and a cache of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    return Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda one: one.write("src/a.txt", "other\n"), lambda one: one.write("src/a.txt", "alpha\n")),
        (lambda one: one.write("src/c.txt", "new\n"), lambda one: (one.root / "src/c.txt").unlink()),
    ],
    ids=["edited", "added"],
)
def test_an_input_that_was_put_back_is_seen(
    project: Commands, change: Callable[[Commands], object], back: Callable[[Commands], object]
) -> None:
    """An input changed between measuring and the command's start, and put back before it is measured again."""
    order = Order(
        argv=("sh", "-c", "cat src/*.txt > out.txt"), inputs=("src/*.txt",), outputs=("out.txt",), layer="plain"
    )
    ws = project.workspace
    task = task_of(ws, order)
    with opened(ws) as place, turn(task.root, task.paths, wait=1, purpose="", variables={}) as mine:
        measured = measure(task)
        decision = decide(None, measured.slot)
        assert isinstance(decision, Absent)
        change(project)

        def undone() -> None:
            back(project)

        # The environment is asked about after the project was looked at, and before the inputs are measured again.
        done = perform(
            task, measured, decision, place, mine, stdout=None, drift=undone, known={},
            lost=None,
        )  # fmt: skip
    assert done.refused is not None and done.refused.reason == "inputs-changed"


def test_an_output_that_is_an_input_under_another_name_is_odd(project: Commands) -> None:
    """A hard link to an input is refused by name; letting go of it later is no change of the input."""
    outcome = project.run("ln src/a.txt out.txt")
    assert (outcome.data["outcome"], outcome.data["reason"]) == ("unkept", "odd-output")
    assert "out.txt is the same file as the input src/a.txt (a hard link)" in outcome.findings[0].message
    assert project.outcome("cat src/a.txt > out.txt") == ("ran", "absent")
    assert (project.root / "src/a.txt").read_text() == "alpha\n"
