"""The journal: whatever point a change had reached, undoing it gives back every file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.errors import InvalidEnvironment, UnsafePath
from envid.installed import journal
from envid.installed.journal import Change
from locked import picture

SITE = "lib/python3.12/site-packages"


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment with one distribution, a link and a script."""
    root = tmp_path / "venv"
    for path, body in {
        f"{SITE}/alpha/__init__.py": "1", f"{SITE}/alpha/deep/x.py": "2", f"{SITE}/alpha-1.dist-info/RECORD": "",
        f"{SITE}/alpha/__pycache__/__init__.cpython-312.pyc": "3", f"{SITE}/beta.py": "b", "bin/alpha": "#!",
        "pyvenv.cfg": "",
    }.items():  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(body)
    (root / SITE / "link.py").symlink_to("beta.py")
    (root / "bin" / "alpha").chmod(0o755)
    return root


ROWS = ("alpha/__init__.py", "alpha/deep/x.py", "alpha-1.dist-info/RECORD", "../../../bin/alpha", "link.py")


def alpha(venv: Path) -> Change:
    taken = journal.files_of(venv, SITE, "alpha-1.dist-info", ROWS)
    return Change(
        taken=taken, overwritten=(f"{SITE}/beta.py",), created=(f"{SITE}/alpha/new.py", f"{SITE}/alpha/other/y.py"),
        created_trees=(f"{SITE}/alpha-2.dist-info",),
    )  # fmt: skip


def install(venv: Path) -> None:
    for path in ("alpha/new.py", "alpha/other/y.py", "alpha-2.dist-info/RECORD", "beta.py"):
        (venv / SITE / path).parent.mkdir(parents=True, exist_ok=True)
        (venv / SITE / path).write_text("new")
    (venv / SITE / "alpha" / "__pycache__").mkdir(exist_ok=True)


def test_a_change_takes_out_all_that_belongs_and_can_be_undone(venv: Path) -> None:
    """Files, bytecode, links and scripts go; undoing gives them back with mode, and takes the new ones away."""
    before = picture(venv)
    journal.begin(venv, alpha(venv))
    assert journal.pending(venv)
    assert not (venv / SITE / "alpha").exists()
    assert not os.path.lexists(venv / SITE / "link.py")
    assert not (venv / "bin" / "alpha").exists()
    install(venv)
    journal.roll_back(venv)
    assert picture(venv) == before
    assert not journal.pending(venv)


def test_a_finished_change_leaves_nothing_of_the_journal(venv: Path) -> None:
    """After finish only the new state is there, and undoing does nothing."""
    journal.begin(venv, alpha(venv))
    install(venv)
    journal.finish(venv)
    after = picture(venv)
    assert not any(".envid" in path for path in after)
    journal.roll_back(venv)
    assert picture(venv) == after


@settings(max_examples=40, deadline=None)
@given(moved=st.integers(0, 7), made=st.integers(0, 4), undone=st.integers(0, 12))
def test_undoing_works_from_any_point_and_after_being_stopped(
    tmp_path_factory: pytest.TempPathFactory, moved: int, made: int, undone: int
) -> None:
    """A crash after any number of moves, files written and steps of a first undoing is mended by the next undoing."""
    root = tmp_path_factory.mktemp("env") / "venv"
    for path in (*ROWS[:3], "beta.py", "alpha/__pycache__/x.pyc"):
        (root / SITE / path).parent.mkdir(parents=True, exist_ok=True)
        (root / SITE / path).write_text(path)
    before = picture(root)
    journal.begin(root, alpha(root))
    document = json.loads((root / journal.MARKER).read_text())
    for path, number in document["moved"][moved:]:
        # As if these moves had not happened yet.
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / journal.SNAPSHOT / number).rename(root / path)
    for path in ("beta.py", "alpha/new.py", "alpha/other/y.py", "alpha-2.dist-info/RECORD")[:made]:
        (root / SITE / path).parent.mkdir(parents=True, exist_ok=True)
        (root / SITE / path).write_text("new")
    marker = (root / journal.MARKER).read_bytes()
    for path, number in [*document["moved"], *document["copied"]][:undone]:
        # As if a first undoing had come so far.
        kept = root / journal.SNAPSHOT / number
        if kept.exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            kept.replace(root / path)
    assert (root / journal.MARKER).read_bytes() == marker
    journal.roll_back(root)
    assert picture(root) == before


def test_a_fresh_environment_is_removed_whole(tmp_path: Path) -> None:
    """Undoing the making of an environment leaves no directory."""
    root = tmp_path / "venv"
    journal.begin_fresh(root)
    (root / "lib" / "deep").mkdir(parents=True)
    (root / "lib64").symlink_to("lib")
    journal.roll_back(root)
    assert not root.exists()


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "", "a/../../b", "out/file", f"{journal.SNAPSHOT}/m0", "a\0b"]
)
def test_no_path_leads_out_of_the_environment(venv: Path, tmp_path: Path, path: str) -> None:
    """Climbing, absolute and linked paths are UnsafePath, in a change and in a journal of foreign making."""
    (tmp_path / "elsewhere").mkdir()
    (venv / "out").symlink_to(tmp_path / "elsewhere")
    before = picture(venv)
    for change in (Change(taken=(path,)), Change(created=(path,)), Change(overwritten=(path,))):
        with pytest.raises(UnsafePath):
            journal.begin(venv, change)
    assert picture(venv) == before
    for key in ("created", "trees", "directories"):
        (venv / journal.MARKER).write_text(json.dumps({"schema": journal.SCHEMA, "fresh": False, key: [path]}))
        with pytest.raises(UnsafePath):
            journal.roll_back(venv)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"schema": "other/1"}'])
def test_a_marker_of_foreign_making_is_refused(venv: Path, body: bytes) -> None:
    """A file in the marker's place that envid did not write is InvalidEnvironment, and nothing is changed."""
    (venv / journal.MARKER).write_bytes(body)
    before = picture(venv)
    with pytest.raises(InvalidEnvironment):
        journal.roll_back(venv)
    assert picture(venv) == before


def test_rows_of_a_foreign_record_are_not_followed(venv: Path, tmp_path: Path) -> None:
    """RECORD rows that climb out, or go through a link that leads out, belong to nobody."""
    (tmp_path / "precious").write_text("1")
    (venv / SITE / "out").symlink_to(tmp_path)
    rows = ("../../../../precious", "/etc/passwd", "out/precious", "../../..", "alpha/__init__.py")
    assert journal.files_of(venv, SITE, "alpha-1.dist-info", rows) == (
        f"{SITE}/alpha-1.dist-info",
        f"{SITE}/alpha/__init__.py",
        f"{SITE}/alpha/__pycache__/__init__.cpython-312.pyc",
    )


def test_what_an_interrupted_removal_left_goes_with_the_next_undoing(venv: Path) -> None:
    """A tree that was moved aside because somebody wrote in it, and then stayed, is removed, and nothing else is."""
    aside = venv / f"{journal.SNAPSHOT}.0123456789ab"
    (aside / "unpacked").mkdir(parents=True)
    (venv / f"{journal.SNAPSHOT}.mine").mkdir()
    journal.roll_back(venv)
    assert not aside.exists()
    assert (venv / f"{journal.SNAPSHOT}.mine").exists()
