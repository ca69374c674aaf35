"""Files that nobody asked to have removed: what stays in an output directory, and what no output may be."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from commands import Commands
from envid.app.running.performing import unmounted
from envid.errors import OutputRefused, WriteFailed

MAKE = "cp src/a.txt gen/a"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with two inputs, and a cache of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    return Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()


@pytest.mark.parametrize("name", ["gen/", "gen"])
def test_a_hand_written_file_is_put_back(project: Commands, name: str) -> None:
    """A file that was there and that the command did not make is where it was, nothing is kept, and it is named."""
    project.write("gen/__init__.py", "mine").chmod(0o640)
    project.write("gen/deep/er/mine", "mine too")
    (project.root / "gen/link").symlink_to("deep")
    before = project.tree("gen")
    for _ in range(2):
        outcome = project.run(MAKE, outputs=(name,))
        assert (outcome.data["outcome"], outcome.data["reason"], outcome.exit_code) == ("unkept", "foreign-files", 0)
        (finding,) = outcome.findings
        assert finding.code == "run.foreign-files" and finding.severity == "warning"
        for one in ("gen/__init__.py", "gen/deep/er/mine", "gen/link"):
            assert one in finding.message
        assert "--clean" in str(finding.hint)
        found = project.tree("gen")
        assert found.pop("gen/a")[2] == b"alpha\n"
        assert found == before
    assert project.run(MAKE, outputs=(name,), strict=True).exit_code == 1
    assert project.leftovers() == []


def test_clean_removes_and_counts(project: Commands) -> None:
    """With --clean an output directory holds what the command makes, ran or restored, and the count is said."""
    project.write("gen/__init__.py", "mine")
    project.write("gen/other", "mine")
    outcome = project.run(MAKE, outputs=("gen/",), clean=True)
    assert outcome.data["outcome"] == "ran" and "--clean removed 2 files" in outcome.notes[0]
    assert sorted(project.tree("gen")) == ["gen", "gen/a"]
    project.write("gen/deep/__init__.py", "mine")
    outcome = project.run(MAKE, outputs=("gen/",), clean=True)
    assert outcome.data["outcome"] == "hit" and "--clean removed 1 file " in outcome.notes[0]
    assert sorted(project.tree("gen")) == ["gen", "gen/a"]


def test_what_a_run_made_goes_when_it_is_made_no_more(project: Commands) -> None:
    """Files of an earlier run, kept or not, that the command makes no more go; one that was edited stays."""
    project.run("touch gen/a gen/b gen/c; mkdir gen/d; echo > gen/d/e", outputs=("gen/",))
    assert project.outcome("touch gen/a gen/b; echo > stray", outputs=("gen/",)) == ("unkept", "wrote-outside")
    assert sorted(project.tree("gen")) == ["gen", "gen/a", "gen/b"]
    project.write("gen/b", "edited")
    assert project.outcome("touch gen/a", outputs=("gen/",)) == ("unkept", "foreign-files")
    assert sorted(project.tree("gen")) == ["gen", "gen/a", "gen/b"]
    (project.root / "gen/b").unlink()
    assert project.outcome("touch gen/a", outputs=("gen/",)) == ("ran", "absent")


def test_without_the_record_nothing_is_known(project: Commands) -> None:
    """Where the record of earlier runs is lost or damaged their files are taken for somebody's own."""
    for harm in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])):
        project.run("touch gen/a gen/b", outputs=("gen/",), clean=True)
        for path in (project.cache / "answers-v1").iterdir():
            harm(path)
        assert project.outcome("touch gen/b", outputs=("gen/",)) == ("unkept", "foreign-files")
        assert sorted(project.tree("gen")) == ["gen", "gen/a", "gen/b"]


def test_a_restore_leaves_them_as_well(project: Commands) -> None:
    """Files that no run made stay where outputs are restored, with a warning; what another run made goes."""
    project.run(MAKE, outputs=("gen/",))
    project.write("src/a.txt", "other")
    project.run("cp src/a.txt gen/a; cp src/a.txt gen/b", outputs=("gen/",))
    project.write("src/a.txt", "alpha\n")
    project.write("gen/mine/x", "mine")
    outcome = project.run(MAKE, outputs=("gen/",))
    assert (outcome.data["outcome"], outcome.exit_code) == ("hit", 0)
    assert [(one.code, one.severity) for one in outcome.findings] == [("run.foreign-files", "warning")]
    assert "gen/mine/x" in outcome.findings[0].message
    assert sorted(project.tree("gen")) == ["gen", "gen/a", "gen/mine", "gen/mine/x"]
    assert (project.root / "gen/a").read_text() == "alpha\n"
    assert project.run(MAKE, outputs=("gen/",), strict=True).exit_code == 1


def test_where_no_place_is_left_all_is_put_back(project: Commands) -> None:
    """A command that makes a file where a directory with somebody's files was: that output is as it was before."""
    project.write("gen/x/mine", "mine")
    before = project.tree("gen")
    assert project.outcome("touch gen/x", outputs=("gen/",)) == ("unkept", "foreign-files")
    assert project.tree("gen") == before
    assert project.outcome("rmdir gen; touch gen", outputs=("gen",)) == ("unkept", "foreign-files")
    assert project.tree("gen") == before
    other = project.copy("other")
    assert project.outcome("touch gen/x", outputs=("gen/",), clean=True) == ("ran", "absent")
    with pytest.raises(OutputRefused, match="in the way"):
        other.run("touch gen/x", outputs=("gen/",))
    assert other.tree("gen") == before
    assert project.leftovers() == [] and other.leftovers() == []


def test_a_command_that_fails_leaves_them(project: Commands) -> None:
    """A command that fails, with --clean or without, removes nothing."""
    project.write("gen/mine", "mine")
    for clean in (False, True):
        assert project.run("exit 3", outputs=("gen/",), clean=clean).exit_code == 3
        assert project.tree("gen")["gen/mine"][2] == b"mine"


@pytest.mark.parametrize("clean", [False, True])
def test_what_no_output_may_be(project: Commands, clean: bool) -> None:
    """A link, an environment, a repository, another project and a file in a directory's place are refused untouched."""
    project.write("real/x", "mine")
    (project.root / "link").symlink_to("real")
    project.write("env/pyvenv.cfg", "home = x\n")
    project.write("sub/pyproject.toml", "")
    project.write("repo/.git/HEAD", "")
    project.write("locks/lockfiles/pylock.toml", "")
    project.write("file", "mine")
    names = ("real", "link", "env", "sub", "repo", "locks", "file")
    before = project.tree(*names)
    for name in ("link", "link/", "env", "env/", "sub/", "repo", "locks/", "file/", ".git/hooks", ".envid/x", ".envid"):
        with pytest.raises(OutputRefused, match="--out "):
            project.run("true", outputs=(name,), clean=clean)
    assert project.tree(*names) == before


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY, errno.ENOSPC])
def test_a_mount_point_is_named(number: int) -> None:
    """A rename that fails because something is mounted there names the output; other failures stay what they are."""
    error = WriteFailed("cannot rename", path="/srv/project/deep/.gen.envid-aside")
    wanted = WriteFailed if number == errno.ENOSPC else OutputRefused
    with pytest.raises(wanted) as caught, unmounted(["a", "deep/gen"]):
        raise error from OSError(number, "refused")
    if wanted is OutputRefused:
        assert "--out deep/gen is a mount point" in caught.value.message and "deep/gen/NAME" in caught.value.hint


def test_a_link_that_a_run_made_is_an_output(project: Commands) -> None:
    """A link that the command itself makes is made again, and restored."""
    script = "ln -s src/$(head -c 1 src/a.txt).txt out.txt"
    assert project.outcome(script) == ("ran", "absent")
    project.write("src/a.txt", "b")
    assert project.outcome(script) == ("ran", "absent")
    project.write("src/a.txt", "alpha\n")
    assert project.outcome(script) == ("hit", "hit")
