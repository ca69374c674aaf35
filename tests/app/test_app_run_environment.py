"""A command in an environment: whose programs it finds, and what is made of an environment that is not as locked."""

from __future__ import annotations

import os
import shutil
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commands import Commands
from envid.app.outcome import Outcome
from envid.app.running.rerun import Words, request_of
from envid.app.running.run import run
from envid.app.running.task import Order
from envid.app.workspace import Workspace
from envid.errors import EnvironmentNotFound
from envid.values.finding import Finding
from envid.values.progress import Progress

LOG = Finding(code="lock.stale", severity="error", subject="lock", message="stale")
DRIFT = Finding(code="env.tampered", severity="error", subject="idna", message="tampered")


class Verdict:
    """Stands for ``app.verify.verify``: says what it is told, and remembers what it was asked."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        self.asked: list[str | None] = []

    def __call__(self, ws: Workspace, *, venv: str | None, name: str, progress: Progress) -> Outcome:  # noqa: ARG002
        """Return the verdict."""
        self.asked.append(venv)
        return Outcome(command="verify", findings=self.findings)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with an environment that has a program of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    made = Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()
    venv.create(made.root / ".venv", symlinks=True, with_pip=False)
    tool = made.write(".venv/bin/tool", "#!/bin/sh\necho $VIRTUAL_ENV > out.txt\n")
    tool.chmod(0o755)
    return made


def outcome(project: Commands, verdict: Verdict, *argv: str, **more: str) -> tuple[str, str]:
    """Run and return outcome and reason."""
    order = Order(argv=argv, inputs=("src",), outputs=("out.txt",), **more)  # type: ignore[arg-type]
    data = run(project.workspace, order, verify=verdict).data
    return str(data["outcome"]), str(data["reason"])


def test_the_environments_programs_come_first(project: Commands) -> None:
    """A command is found in the environment, which is verified after it ran and before anything is kept."""
    verdict = Verdict()
    assert outcome(project, verdict, "tool") == ("ran", "absent")
    assert verdict.asked == [str(project.root / ".venv")]
    assert (project.root / "out.txt").read_text() == f"{project.root}/.venv\n"
    assert outcome(project, verdict, "tool") == ("hit", "hit")
    assert len(verdict.asked) == 1


def test_what_a_drifted_environment_made_is_not_kept(project: Commands) -> None:
    """Where the environment is not what the lock says nothing is kept; whether the lock is current has no say."""
    assert outcome(project, Verdict(LOG, DRIFT), "tool") == ("unkept", "drifted")
    assert outcome(project, Verdict(LOG), "tool") == ("ran", "absent")


def test_an_environment_that_changed_meanwhile_is_not_believed(project: Commands) -> None:
    """A file of the environment that was altered and put back while the command ran: what it made is not kept."""
    script = 'f=.venv/bin/tool; cp -p $f "$TMPDIR/t"; echo altered > $f; cp -p "$TMPDIR/t" $f; echo x > out.txt'
    before = (project.root / ".venv/bin/tool").stat()
    verdict = Verdict()
    assert outcome(project, verdict, "sh", "-c", script) == ("unkept", "moved")
    after = (project.root / ".venv/bin/tool").stat()
    assert (before.st_size, before.st_mtime_ns, before.st_mode) == (after.st_size, after.st_mtime_ns, after.st_mode)
    assert verdict.asked == []


def test_with_and_without_an_environment_are_two_keys(project: Commands) -> None:
    """What was made without an environment is not what is made with one, even by the same program."""
    verdict = Verdict()
    argv = ("sh", "-c", "echo x > out.txt")
    assert outcome(project, verdict, *argv, layer="plain") == ("ran", "absent")
    (project.root / ".venv").rename(project.root.parent / "env")
    assert outcome(project, verdict, *argv, layer="plain") == ("ran", "absent")
    assert outcome(project, verdict, *argv, layer="plain", venv=str(project.root.parent / "env")) == ("hit", "hit")


def test_without_the_environment_that_the_lock_asks_for_nothing_runs(project: Commands) -> None:
    """Where the layer depends on distributions and no environment has them, no other Python is taken instead."""
    (project.root / ".venv").rename(project.root.parent / "env")
    with pytest.raises(EnvironmentNotFound, match="no environment") as caught:
        outcome(project, Verdict(), "sh", "-c", "echo x > out.txt")
    assert caught.value.exit_code == 8 and "envid sync" in caught.value.hint
    assert not (project.root / "out.txt").exists()
    project.write("lockfiles/pylock.toml", 'lock-version = "1.0"\ncreated-by = "envid"\npackages = []\n')
    assert outcome(project, Verdict(), "sh", "-c", "echo x > out.txt") == ("ran", "absent")


def test_a_dependency_that_was_bumped_is_named(project: Commands) -> None:
    """Another version in the lock makes a command of the default layer run, and the line says which."""
    argv = ("sh", "-c", "echo x > out.txt")
    assert outcome(project, Verdict(), *argv) == ("ran", "absent")
    project.lock("3.11")
    order = Order(argv=argv, inputs=("src",), outputs=("out.txt",))
    said = run(project.workspace, order, verify=Verdict(), explain=True).data["explain"]
    assert said == ["it ran: since it last ran in this project, distributions: idna went from 3.10 to 3.11"]


def test_a_stale_lock_is_noted_when_the_command_runs(project: Commands) -> None:
    """A lock that does not answer pyproject.toml is noted on a run, and not on a hit."""
    order = Order(argv=("sh", "-c", "echo x > out.txt"), inputs=("src",), outputs=("out.txt",))
    asked: list[str | None] = []

    def check(ws: Workspace, *, name: str | None) -> Outcome:
        asked.append(name)
        return Outcome(command="lock", findings=(LOG,))

    notes = run(project.workspace, order, verify=Verdict(), check=check).notes
    assert asked == ["default"] and "does not answer pyproject.toml" in notes[0]
    assert "pyproject.toml" not in str(run(project.workspace, order, verify=Verdict(), check=check).notes)
    assert asked == ["default"]


def test_a_layer_that_does_not_depend_on_distributions_asks_no_verdict(project: Commands) -> None:
    """A layer of the project's own without distributions: another lock is a hit, and nothing is verified."""
    verdict = Verdict(DRIFT)
    argv = ("sh", "-c", "echo x > out.txt")
    assert outcome(project, verdict, *argv, layer="plain") == ("ran", "absent")
    project.lock("3.11")
    assert outcome(project, verdict, *argv, layer="plain") == ("hit", "hit")
    assert outcome(replace(project), verdict, *argv) == ("unkept", "drifted")
    assert verdict.asked == [os.path.join(project.root, ".venv")]


def test_what_a_remembered_run_is_bound_to(project: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, interpreter, project, lock, program, inputs, words and values: each of them unbinds it."""
    monkeypatch.chdir(project.root)
    root = project.root

    def words(**more: object) -> Words:
        given = {"argv": ["tool"], "inputs": ["src"], "outputs": ["out.txt"], "named": ["FLAVOUR"], **more}
        return Words(**given)  # type: ignore[arg-type]

    def relink() -> None:
        link = root / ".venv/bin/python"
        target = os.path.realpath(link)
        link.unlink()
        shutil.copy2(target, link)

    changes: list[Callable[[], object]] = [
        lambda: project.write(".venv/pyvenv.cfg", (root / ".venv/pyvenv.cfg").read_text() + "extra = 1\n"),
        relink,
        lambda: project.write("pyproject.toml", (root / "pyproject.toml").read_text() + "\n"),
        lambda: project.lock("3.11"),
        lambda: project.write(".venv/bin/tool", "#!/bin/sh\necho other > out.txt\n"),
        lambda: project.write("src/a.txt", "other"),
        lambda: monkeypatch.setenv("FLAVOUR", ""),
        lambda: monkeypatch.setenv("FLAVOUR", "two"),
    ]
    seen = [request_of(words())]
    for change in changes:
        assert request_of(words()) == seen[-1]
        change()
        seen.append(request_of(words()))
    others: list[dict[str, object]] = [
        {"argv": ["tool", "x"]}, {"outputs": ["else.txt"]}, {"inputs": ["src/a.txt"]}, {"named": []},
        {"layer": "wheels"}, {"argv": ["sh"]},
    ]  # fmt: skip
    seen += [request_of(words(**other)) for other in others]
    (root / ".venv").rename(root / "env")
    seen += [request_of(words(argv=["sh"])), request_of(words(argv=["sh"], venv=str(root / "env")))]
    assert request_of(words()) is None
    assert None not in seen
    assert len(set(seen)) == len(seen)
