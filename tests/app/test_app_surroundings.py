"""Surroundings: what in a project changed, and what of that another run was making."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envid.app.running.surroundings import differing, look, output_at, own, touched
from envid.app.running.turns import turn
from envid.errors import GuardTimeout
from envid.store.place import Place, open_place


def wrote(path: Path, text: str = "x") -> Path:
    """Write a file and what is above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_change_is_seen_whatever_its_times(tmp_path: Path) -> None:
    """New, gone, edited in place with its old times, replaced, another mode or target differ; reading does not."""
    for name in ("same", "gone", "edited", "replaced", "mode", "sub/deep", ".git/x", "a/__pycache__/x", "left/x"):
        wrote(tmp_path / name)
    (tmp_path / "link").symlink_to("same")
    before = look(str(tmp_path), without=["left"])
    (tmp_path / "same").read_text()
    (tmp_path / "gone").unlink()
    found = (tmp_path / "edited").stat()
    (tmp_path / "edited").write_text("y")
    os.utime(tmp_path / "edited", ns=(found.st_atime_ns, found.st_mtime_ns))
    wrote(tmp_path / "other").rename(tmp_path / "replaced")
    (tmp_path / "mode").chmod(0o600)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "new").mkdir()
    (tmp_path / "sub").chmod(0o700)
    for name in (".git/y", "a/__pycache__/y", "left/y", "left/x"):
        wrote(tmp_path / name, "more")
    after = look(str(tmp_path), without=["left"])
    assert differing(before, after) == ("edited", "gone", "link", "mode", "new", "replaced", "sub")


def test_names_beside_an_output_belong_to_it() -> None:
    """What envid puts beside an output, and all below that, counts as the output."""
    assert output_at("a/.gen.envid-aside/deep/x") == "a/gen"
    assert output_at(".out.txt.envid-absent") == "out.txt"
    assert output_at("a/gen/x") == "a/gen/x"


def test_a_directory_that_holds_nothing_but_anothers_output_is_anothers() -> None:
    """A new directory above another run's output is excused; one with anything else in it, or an old one, is not."""

    def is_others(path: str) -> bool:
        return path.startswith("new/out")

    assert own(("new", "new/out", "new/out/x"), {}, is_others) == ()
    assert own(("new", "new/out", "new/mine"), {}, is_others) == ("new", "new/mine")
    assert own(("new", "new/out"), {"new": (1,)}, is_others) == ("new",)
    assert own(("empty",), {}, is_others) == ("empty",)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A cache."""
    return open_place(tmp_path / "cache")


def test_whose_output_it_is_is_told_by_guards(place: Place, tmp_path: Path) -> None:
    """Of others is what a run was making while ours did: begun before and still held, ended since, or begun since."""
    root = str(tmp_path)
    with turn(place, root, ["early"], wait=1, purpose="early"):
        pass
    with turn(place, root, ["long"], wait=1, purpose="long"):
        ended = turn(place, root, ["ended"], wait=1, purpose="ended")
        ended.__enter__()
        with turn(place, root, ["mine"], wait=1, purpose="mine") as ours:
            ended.__exit__(None, None, None)
            with turn(place, root, ["deep/late"], wait=1, purpose="late"):
                pass
            said = {
                path: ours.is_others(path)
                for path in ("early", "long", "long/x", "ended", "deep/late", "deep/other", "deep", "mine", "never")
            }
    assert said == {
        "early": False, "long": True, "long/x": True, "ended": True, "deep/late": True, "deep/other": False,
        "deep": False, "mine": False, "never": False,
    }  # fmt: skip


def test_turns_of_a_directory_and_of_what_is_in_it_exclude_each_other(place: Place, tmp_path: Path) -> None:
    """Who makes a directory keeps out who makes a file in it, and the other way round; two files in it do not."""
    root = str(tmp_path)
    with (
        turn(place, root, ["gen"], wait=1, purpose="the holder"),
        pytest.raises(GuardTimeout, match="the holder"),
        turn(place, root, ["gen/a"], wait=0, purpose=""),
    ):
        pass
    with turn(place, root, ["gen/a"], wait=1, purpose="the holder"):
        with pytest.raises(GuardTimeout), turn(place, root, ["gen"], wait=0, purpose=""):
            pass
        with turn(place, root, ["gen/b"], wait=0, purpose=""):
            pass


def test_a_cache_without_guards_does_not_let_runs_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot hold guards, a private directory for temporary things does."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    broken = wrote(tmp_path / "cache")
    place = open_place(broken)
    with (
        turn(place, str(tmp_path), ["gen"], wait=1, purpose="the holder"),
        pytest.raises(GuardTimeout, match="the holder"),
        turn(place, str(tmp_path), ["gen"], wait=0, purpose=""),
    ):
        pass


def test_what_was_touched_since(tmp_path: Path) -> None:
    """A file whose status changed is found whatever its times say; bytecode caches are passed over."""
    folder = tmp_path / "env"
    inside = wrote(folder / "lib/module.py")
    wrote(folder / "lib/__pycache__/module.pyc")
    since = wrote(tmp_path / "stamp").stat().st_ctime_ns
    newest = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    assert touched(str(folder), max(since, newest + 1)) is None
    os.utime(inside, ns=(0, 0))
    assert touched(str(folder), inside.stat().st_ctime_ns) == str(inside)
