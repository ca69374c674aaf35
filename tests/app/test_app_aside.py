"""What was there before a command: killed runs, planted files, parents that became links."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from commands import Commands
from envid.app.running import aside
from envid.app.running.turns import turn
from envid.errors import OutputRefused, WriteFailed


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with two inputs, and a cache of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    return Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()


def begun(project: Commands, *outputs: str) -> None:
    """Put outputs aside, as a run does that is killed then."""
    root = str(project.root)
    with turn(root, outputs, wait=1, purpose="", variables={}) as mine:
        aside.begin(root, [(output, False) for output in outputs], mine.journal)


def test_what_a_killed_run_left_is_put_right(project: Commands) -> None:
    """Previous outputs that a killed run put aside come back, and its parts go."""
    project.write("a.txt", "before")
    begun(project, "a.txt", "b")
    project.write("a.txt", "torn")
    project.write("b/torn", "torn")
    project.write(".b.envid-new/0", "part")
    project.write(".a.txt.envid-torn/x", "part")
    outcome = project.run("exit 1", outputs=("a.txt", "b"))
    assert outcome.notes[0] == "put right what an interrupted run left of a.txt, b"
    assert (project.root / "a.txt").read_text() == "before"
    assert not (project.root / "b").exists()
    assert project.leftovers() == []


def test_a_killed_run_that_had_succeeded_stays_so(project: Commands) -> None:
    """Once one output of a run is let go of, all that it made stays, whichever output the next run makes."""
    project.write("a.txt", "before")
    project.write("b/old", "before")
    begun(project, "a.txt", "b")
    project.write("a.txt", "after")
    project.write("b/whole", "after")
    (project.root / ".a.txt.envid-aside").rename(project.root / ".a.txt.envid-old")
    project.run("exit 1", outputs=("b",))
    assert (project.root / "a.txt").read_text() == "after"
    assert sorted(project.tree("b")) == ["b", "b/whole"]
    assert project.leftovers() == []


def test_outputs_of_one_run_go_back_together(project: Commands) -> None:
    """After two kills, a failing run of one output leaves every output of the killed run as it was before that."""
    project.write("a.txt", "before")
    project.write("b.txt", "before")
    begun(project, "a.txt", "b.txt")
    project.write("a.txt", "torn")
    project.run("exit 1", outputs=("b.txt",))
    assert [(project.root / name).read_text() for name in ("a.txt", "b.txt")] == ["before", "before"]
    begun(project, "a.txt")
    project.run("exit 1", outputs=("b.txt",))
    assert [(project.root / name).read_text() for name in ("a.txt", "b.txt")] == ["before", "before"]
    assert project.leftovers() == []


@pytest.mark.parametrize("what", ["aside", "old", "absent"])
def test_a_planted_file_replaces_nothing(project: Commands, what: str) -> None:
    """A file of envid's own beside an output that came with the project is in the way: the user's file stays."""
    project.write("out.txt", "mine")
    planted = project.write(f".out.txt.envid-{what}", "planted")
    with pytest.raises(OutputRefused, match=f"envid-{what} is in the way"):
        project.run("exit 1")
    assert (project.root / "out.txt").read_text() == "mine"
    assert planted.read_text() == "planted"


def test_a_journal_that_came_with_the_project_is_not_believed(project: Commands) -> None:
    """A copy of a project with a killed run's journal does not have it obeyed: inodes are others."""
    project.write("out.txt", "planted")
    begun(project, "out.txt")
    other = project.root.parent / "other"
    shutil.copytree(project.root, other)
    shutil.rmtree(project.root)
    other.rename(project.root)
    project.write("out.txt", "mine")
    with pytest.raises(OutputRefused, match="is in the way"):
        project.run("exit 1")
    assert (project.root / "out.txt").read_text() == "mine"


def test_a_parent_that_became_a_link_is_not_followed(project: Commands, tmp_path: Path) -> None:
    """Where a command puts a link in the place of an output's directory, nothing behind that link is touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("theirs")
    project.write("made/x", "before")
    with pytest.raises(WriteFailed, match="became a link"):
        project.run(f"mv made moved; ln -s {outside} made; exit 1", outputs=("made/x",))
    assert (outside / "x").read_text() == "theirs"
    assert [path.name for path in outside.iterdir()] == ["x"]
    (project.root / "made").unlink()
    (project.root / "moved").rename(project.root / "made")
    project.run("exit 1", outputs=("made/x",))
    assert (project.root / "made/x").read_text() == "before"
    assert project.leftovers() == []


def test_an_output_of_any_depth_is_removed_and_put_back(project: Commands) -> None:
    """An output of 1500 directories inside of each other is put aside, disposed of, and no trouble for the next run."""
    path = "gen" + "/d" * 1500
    script = f"mkdir -p {path}; cat src/a.txt > gen/a"
    assert project.outcome(script, outputs=("gen/",)) == ("ran", "absent")
    assert project.outcome(f"{script}; true", outputs=("gen/",)) == ("ran", "absent")
    aside.dispose(str(project.root / "gen"))
    assert project.outcome(script, outputs=("gen/",)) == ("hit", "hit")
    assert (project.root / path).is_dir()
    aside.dispose(str(project.root / "gen"))


def test_an_output_too_deep_for_a_name_is_odd(project: Commands) -> None:
    """What lies deeper than a path can say is not kept, is a clear error for the next run, and can be removed."""
    code = "import os; os.chdir('gen'); [(os.mkdir('d' * 200), os.chdir('d' * 200)) for _ in range(30)]"
    assert project.outcome("", argv=(sys.executable, "-c", code), outputs=("gen/",)) == ("unkept", "odd-output")
    with pytest.raises(OutputRefused, match="deeper than a path can say"):
        project.run("echo x > gen/x", outputs=("gen/",))
    aside.dispose(str(project.root / "gen"))
    project.run("echo x > gen/x", outputs=("gen/",))
    assert sorted(project.tree("gen")) == ["gen", "gen/x"]
    assert project.leftovers() == []
