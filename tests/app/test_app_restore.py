"""``restore``: a tree is used under its own key only, whole, or not at all; and nothing else is ever removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envid.app.ci import export
from envid.app.outcome import Outcome
from envid.app.restore import check, seal
from envid.errors import EnvironmentNotFound, IdentityMoved, UnsafePath, UsageError
from envid.installed.note import NAME as NOTE
from envid.store.seal import NAME
from keyed import Keyed, Package, keyed
from locked import picture

OWN = '[tool.envid.layers.gen]\ncomponents = ["distributions", "salt"]'
IDNA = Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),))


@pytest.fixture
def project(tmp_path: Path) -> Keyed:
    """A project with a layer of its own and two trees in it."""
    made = keyed(tmp_path).given(IDNA, envid=f'salt = ""\n{OWN}')
    for name in ("gen", "other/deep"):
        tree = made.root / name
        (tree / "sub").mkdir(parents=True)
        (tree / "a.ex").write_bytes(b"a\n")
        (tree / "sub" / "b.beam").write_bytes(bytes(range(256)))
        (tree / "tool").write_bytes(b"#!/bin/sh\n")
        (tree / "tool").chmod(0o755)
    return made


def paths(project: Keyed) -> list[str]:
    return [str(project.root / "gen"), str(project.root / "other" / "deep")]


def sealed(project: Keyed) -> str:
    """Seal both trees and return the key."""
    return str(seal(project.workspace, layer="gen", paths=paths(project)).data["key"])


def checked(project: Keyed, matched: str | None, **more: Any) -> Outcome:
    return check(project.workspace, layer="gen", matched=matched, paths=paths(project), **more)


def gone(outcome: Outcome) -> list[bool]:
    """Of each tree whether it was removed."""
    rows: Any = outcome.data["trees"]
    return [row["removed"] for row in rows]


def codes(outcome: Outcome) -> set[str]:
    return {finding.code for finding in outcome.findings}


def test_what_was_sealed_is_restored(project: Keyed) -> None:
    """A tree as it was sealed, under the key that the cache names or names none, is accepted and left as it is."""
    key = sealed(project)
    before = picture(project.root)
    for matched in (key, None):
        outcome = checked(project, matched)
        assert (outcome.data["restored"], outcome.data["reason"], outcome.findings) == (True, "exact", ())
        assert outcome.data["key"] == key
    assert picture(project.root) == before


def _relock(project: Keyed) -> None:
    project.given(IDNA, envid=f'salt = "another"\n{OWN}')


def _swap(project: Keyed) -> None:
    one, two = (Path(path) for path in paths(project))
    one.rename(project.root / "aside")
    two.rename(one)
    (project.root / "aside").rename(two)


def _flatten(tree: Path) -> None:
    shutil.rmtree(tree)
    tree.write_text("x")


def _edit_seal(old: bytes, new: bytes) -> Callable[[Keyed], None]:
    def edit(project: Keyed) -> None:
        path = project.root / "gen" / NAME
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))

    return edit


BROKEN: dict[str, tuple[Callable[[Keyed], object], str]] = {
    "a byte": (lambda p: (p.root / "gen/a.ex").write_bytes(b"b\n"), "torn"),
    "a missing file": (lambda p: (p.root / "gen/sub/b.beam").unlink(), "torn"),
    "a truncated file": (lambda p: (p.root / "gen/sub/b.beam").write_bytes(b""), "torn"),
    "a surplus file": (lambda p: (p.root / "gen/sub/left-over").write_bytes(b""), "torn"),
    "a mode": (lambda p: (p.root / "gen/tool").chmod(0o644), "torn"),
    "a pipe": (lambda p: os.mkfifo(p.root / "gen/pipe"), "torn"),
    "a missing tree": (lambda p: shutil.rmtree(p.root / "gen"), "torn"),
    "a file in its place": (lambda p: _flatten(p.root / "gen"), "torn"),
    "no seal": (lambda p: (p.root / "gen" / NAME).unlink(), "unsealed"),
    "a seal cut short": (lambda p: os.truncate(p.root / "gen" / NAME, 40), "unsealed"),
    "a seal of another form": (_edit_seal(b"envid-seal/1", b"envid-seal/9"), "unsealed"),
    "a seal of another key": (_edit_seal(b'"key":"envid1-gen', b'"key":"envid1-gem'), "identity"),
    "a seal with another count": (_edit_seal(b'"entries":4', b'"entries":5'), "torn"),
    "another identity now": (_relock, "identity"),
    "trees swapped": (_swap, "identity"),
}  # fmt: skip


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_whatever_differs_is_removed_before_use(damage: tuple[Callable[[Keyed], object], str], project: Keyed) -> None:
    """A tree that is torn, altered, unsealed, misplaced or of another identity is gone, and the sound one with it."""
    key = sealed(project)
    damage[0](project)
    # The key that the cache names is the one asked for, as if the key had been moved on with the identity.
    now = str(check(project.workspace, layer="gen", paths=[str(project.root / "none")]).data["key"])
    outcome = checked(project, now)
    assert (key == now) is (damage[0] is not _relock)
    assert (outcome.data["restored"], outcome.data["reason"], outcome.exit_code) == (False, damage[1], 0)
    assert f"restore.{damage[1]}" in codes(outcome)
    assert not any(os.path.lexists(path) for path in paths(project))
    assert sorted(path.name for path in project.root.iterdir()) == ["lockfiles", "other", "pyproject.toml"]


@pytest.mark.parametrize("odd", ["upper", "extended", "cut", "other"])
def test_the_matched_key_is_compared_byte_for_byte(odd: str, project: Keyed) -> None:
    """A key that differs in case, goes on, or is another is no match, however whole the tree is."""
    key = sealed(project)
    matched = {"upper": key.upper(), "extended": f"{key}-x", "cut": key[:-1], "other": f"{key[:-64]}{'0' * 64}"}[odd]
    outcome = checked(project, matched)
    assert (outcome.data["restored"], outcome.data["reason"]) == (False, "key")
    assert codes(outcome) == {"restore.key"}
    assert not any(os.path.lexists(path) for path in paths(project))


def test_a_miss_uses_nothing_and_says_nothing(project: Keyed) -> None:
    """Where the cache had nothing, there is no finding; what stands there unsealed is not envid's to remove."""
    before = picture(project.root)
    outcome = checked(project, "")
    assert (outcome.data["restored"], outcome.data["reason"], outcome.findings) == (False, "miss", ())
    assert picture(project.root) == before
    # A seal says that a cache brought it: an archive that was not unpacked to its end.
    sealed(project)
    outcome = checked(project, "")
    assert (outcome.data["restored"], outcome.data["reason"]) == (False, "miss")
    assert codes(outcome) == {"restore.miss"}
    assert not any(os.path.lexists(path) for path in paths(project))
    assert checked(project, "").findings == ()


def test_what_no_cache_brought_is_left_alone(project: Keyed) -> None:
    """A directory that a caller names by mistake, unsealed, with no key told, is refused and stays."""
    before = picture(project.root)
    outcome = checked(project, None)
    assert (outcome.data["restored"], outcome.data["reason"]) == (False, "unsealed")
    assert "left alone" in outcome.findings[0].message
    assert picture(project.root) == before


def test_strict_makes_it_a_no(project: Keyed) -> None:
    """The exit status is 0 whatever is found, because a job goes on without its cache; with --strict it is 1."""
    assert checked(project, "").exit_code == 0
    assert checked(project, "", strict=True).exit_code == 1
    key = sealed(project)
    assert checked(project, key, strict=True).exit_code == 0
    assert checked(project, key.upper()).exit_code == 0
    assert checked(project, key, strict=True).exit_code == 1


def test_a_link_is_removed_and_not_what_it_leads_to(project: Keyed, tmp_path: Path) -> None:
    """A restored tree that is a link to somewhere else is refused; the link goes, its target stays."""
    key = sealed(project)
    outside = tmp_path / "precious"
    (project.root / "gen").rename(outside)
    (project.root / "gen").symlink_to(outside)
    before = picture(outside)
    outcome = checked(project, key)
    assert (outcome.data["restored"], outcome.data["reason"]) == (False, "torn")
    assert not os.path.lexists(project.root / "gen")
    assert picture(outside) == before
    (project.root / "gen").symlink_to(outside)
    with pytest.raises(UnsafePath, match="is a link"):
        seal(project.workspace, layer="gen", paths=[str(project.root / "gen")])


def test_a_link_inside_a_tree_is_not_followed(project: Keyed, tmp_path: Path) -> None:
    """Removing a tree removes links in it, never what they lead to."""
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "x").write_text("x")
    (project.root / "gen" / "link").symlink_to(outside)
    key = sealed(project)
    (project.root / "gen" / "a.ex").write_text("other")
    assert checked(project, key).data["restored"] is False
    assert (outside / "x").read_text() == "x"


def test_nothing_outside_the_project_is_touched(project: Keyed, tmp_path: Path) -> None:
    """Trees elsewhere, through links too, the project itself, its locks and checkouts are refused before any look."""
    outside = tmp_path / "outside"
    (outside / "gen").mkdir(parents=True)
    (project.root / "way").symlink_to(outside)
    (project.root / "repository" / ".git").mkdir(parents=True)
    # What a filesystem without case makes of `LOCKFILES`: another name of the same thing.
    os.link(project.root / "pyproject.toml", project.root / "PYPROJECT.toml")
    before = picture(tmp_path)
    for path in (
        outside / "gen", project.root / "way" / "gen", project.root, project.root / "..",
        project.root / "gen" / ".." / "..", project.root / "lockfiles", project.root / ".git",
        project.root / "pyproject.toml", project.root / "PYPROJECT.toml", project.root / "repository",
    ):  # fmt: skip
        for verb in (seal, check):
            with pytest.raises(UnsafePath):
                verb(project.workspace, layer="gen", paths=[str(path)])
        with pytest.raises(UnsafePath):
            check(project.workspace, layer="venv", venv=str(path), matched="x")
    assert picture(tmp_path) == before


def test_which_trees_are_meant_is_never_guessed(project: Keyed) -> None:
    """A layer of the project's own needs its trees named, a layer with a place takes none, no tree holds another."""
    ws = project.workspace
    for verb in (seal, check):
        with pytest.raises(UsageError, match="which trees"):
            verb(ws, layer="gen")
        with pytest.raises(UsageError, match="takes no PATH"):
            verb(ws, layer="venv", paths=["gen"])
        with pytest.raises(UsageError, match="one seal would break the other"):
            verb(ws, layer="gen", paths=[str(project.root / "gen"), str(project.root / "gen" / "sub")])
    with pytest.raises(EnvironmentNotFound):
        seal(ws, layer="gen", paths=[str(project.root / "nowhere")])


class Moving:
    """A project whose lock is made again while something else reads its trees."""

    def __init__(self, project: Keyed) -> None:
        self.project = project
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.project.workspace, name)

    def read_lock(self, name: str = "default") -> bytes:
        """Return another lock each time."""
        self.reads += 1
        return self.project.lock_file(name).read_bytes().replace(b"3.10", f"3.{self.reads}".encode())


def test_nothing_is_sealed_while_the_identity_moves(project: Keyed) -> None:
    """The identity is measured again after the trees were read; if it moved, there is no seal, not even an old one."""
    sealed(project)
    with pytest.raises(IdentityMoved, match="idna"):
        seal(Moving(project), layer="gen", paths=paths(project))  # type: ignore[arg-type]
    assert not list(project.root.rglob(NAME))


LADDER = {
    "exact": "exact",
    "prefix": "prefix",
    "empty": "miss",
    "none": "unknown",
    "upper": "key",
    "rung": "key",
    "longer": "key",
}


@pytest.mark.parametrize("layer", ["wheels", "store"])
@pytest.mark.parametrize("told", LADDER)
def test_a_ladder_accepts_its_prefixes(told: str, layer: str, project: Keyed) -> None:
    """Wheels and the store may come from another key of the ladder; their content is held to hashes when it is used."""
    place = project.cache / "wheels-v1" if layer == "wheels" else project.root / ".envid" / "store.tar"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"whatever it is, it is not looked at here")
    _, values = export(project.workspace, layer=layer)
    key, rung = values["key"], values["restore-keys"]
    matched = {
        "exact": key, "prefix": f"{rung}{'0' * 64}", "empty": "", "none": None, "upper": key.upper(), "rung": rung,
        "longer": f"{rung}{'0' * 64}-x",
    }[told]  # fmt: skip
    outcome = check(project.workspace, layer=layer, matched=matched)
    reason = LADDER[told]
    restored = reason in ("exact", "prefix", "unknown")
    assert (outcome.data["restored"], outcome.data["reason"]) == (restored, reason)
    # The store of wheels is shared with other projects; the archive is this project's.
    assert place.exists() is (restored or layer == "wheels")
    assert seal(project.workspace, layer=layer).data["key"] == key
    assert not list(project.root.rglob(NAME))


def venv_project(tmp_path: Path) -> tuple[Keyed, Path]:
    made = keyed(tmp_path).given(IDNA)
    venv = made.root / ".venv"
    return made, venv


def make_venv(path: Path) -> None:
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    subprocess.run([python, "-m", "venv", "--without-pip", str(path)], check=True)


def test_an_environment_has_one_key_before_and_after(tmp_path: Path) -> None:
    """The key asked for when there is no environment is the one that it is sealed and checked under."""
    project, venv = venv_project(tmp_path)
    _, asked = export(project.workspace)
    make_venv(venv)
    outcome = seal(project.workspace, asked=asked["key"])
    assert (outcome.data["key"], outcome.findings) == (asked["key"], ())
    outcome = check(project.workspace, matched=asked["key"])
    assert outcome.data["restored"] is True
    # Named and not there: as it will be made.
    _, named = export(project.workspace, venv=str(project.root / "build" / "venv"))
    make_venv(project.root / "build" / "venv")
    outcome = seal(project.workspace, venv=str(project.root / "build" / "venv"), asked=named["key"])
    assert (outcome.data["key"], outcome.findings) == (named["key"], ())
    assert seal(project.workspace, asked="envid1-other").findings[0].code == "restore.key"


def test_nothing_of_a_restored_environment_runs_before_it_is_judged(tmp_path: Path) -> None:
    """An interpreter planted in the environment is not started, and the environment is gone after the check."""
    project, venv = venv_project(tmp_path)
    make_venv(venv)
    key = str(seal(project.workspace).data["key"])
    planted = tmp_path / "it ran"
    for python in (venv / "bin").glob("python*"):
        python.unlink()
        python.write_text(f"#!/bin/sh\ntouch '{planted}'\n")
        python.chmod(0o755)
    (venv / "pyvenv.cfg").write_text(f"home = {venv / 'bin'}\nversion = 3.99\n")
    outcome = check(project.workspace, matched=key)
    assert (outcome.data["restored"], outcome.data["reason"]) == (False, "torn")
    assert not planted.exists()
    assert not venv.exists()


@pytest.mark.parametrize("matched", ["", None])
def test_an_environment_of_envids_without_a_seal_is_made_anew(matched: str | None, tmp_path: Path) -> None:
    """An environment with envid's note that no seal vouches for is removed: making it again costs less than doubt."""
    project, venv = venv_project(tmp_path)
    make_venv(venv)
    (venv / NOTE).write_text("{}")
    assert check(project.workspace, matched=matched).data["restored"] is False
    assert not venv.exists()


@pytest.mark.parametrize("matched", ["", None])
def test_an_environment_that_somebody_made_is_left_alone(matched: str | None, tmp_path: Path) -> None:
    """Without seal, note, or a key that the cache gave, nothing says that a cache brought it; it is not restored."""
    project, venv = venv_project(tmp_path)
    make_venv(venv)
    before = picture(venv)
    outcome = check(project.workspace, matched=matched)
    assert (outcome.data["restored"], gone(outcome)) == (False, [False])
    assert picture(venv) == before


@pytest.mark.parametrize("matched", ["", None, "envid1-another"])
def test_what_is_named_as_an_environment_and_is_none_is_left_alone(matched: str | None, tmp_path: Path) -> None:
    """A directory named with --venv that has no pyvenv.cfg and no seal stays, whatever key the cache told."""
    project, _ = venv_project(tmp_path)
    mine = project.root / "mydata"
    mine.mkdir()
    (mine / "precious").write_text("mine")
    outcome = check(project.workspace, matched=matched, venv=str(mine))
    assert outcome.data["restored"] is False and (mine / "precious").read_text() == "mine"


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
@pytest.mark.parametrize("is_sealed", [True, False])
def test_what_git_tracks_is_never_removed(project: Keyed, is_sealed: bool) -> None:
    """Trees with files of the checkout are refused and stay, whatever the cache says, sealed or not; others go."""
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    subprocess.run(["git", "add", "gen/sub/b.beam"], cwd=project.root, check=True)
    if is_sealed:
        sealed(project)
    outcome = checked(project, "envid1-another")
    assert outcome.data["restored"] is False
    assert gone(outcome) == [False, True]
    assert (project.root / "gen" / "sub" / "b.beam").exists() and not (project.root / "other" / "deep").exists()


def test_a_tree_deeper_than_the_stack_is_judged(project: Keyed) -> None:
    """A restored tree of 1,500 directories, one in the other, is refused and removed."""
    sealed(project)
    top = os.open(project.root / "gen", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=top)
        below = os.open("deep", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    outcome = checked(project, None)
    assert outcome.data["restored"] is False and outcome.data["reason"] == "torn"
    assert not (project.root / "gen").exists()


def test_a_directory_that_is_no_environment_is_not_sealed(tmp_path: Path) -> None:
    """`seal` says so when there is no environment where one should be."""
    project, venv = venv_project(tmp_path)
    with pytest.raises(EnvironmentNotFound):
        seal(project.workspace)
    venv.mkdir()
    with pytest.raises(EnvironmentNotFound, match="no virtual environment"):
        seal(project.workspace)


def test_what_a_killed_run_left_is_swept(project: Keyed) -> None:
    """A tree that lost its name and was not yet gone when the run ended goes with the next check; others stay."""
    left, mine = project.root / "gen.0123456789ab.refused", project.root / "gen.old.refused"
    for path in (left, mine):
        (path / "deep").mkdir(parents=True)
    sealed(project)
    assert checked(project, None).data["restored"] is True
    assert not left.exists()
    assert mine.exists()
