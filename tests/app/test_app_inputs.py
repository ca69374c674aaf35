"""Inputs: which files a pattern means, and what is measured of them."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from envid.app.running.inputs import escaped, matches, measure
from envid.errors import InputRefused


def tree(root: Path, *paths: str) -> str:
    """Make files, each with its path as content; return the real path of ``root``."""
    for path in paths:
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(path)
    return os.path.realpath(root)


FILES = (
    "a.proto", "b.txt", ".hidden/c.proto", "proto/d.proto", "proto/deep/e.proto", "proto/deep/f.txt",
    ".git/g.proto", ".venv/lib/h.proto", "proto/__pycache__/i.proto", "gen/j.proto", "pages/[id].txt",
    "proto/.x.envid-aside",
)  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.proto", ["a.proto"]),
        ("./proto//d.proto", ["proto/d.proto"]),
        ("*.proto", ["a.proto"]),
        ("**/*.proto", [".hidden/c.proto", "a.proto", "proto/d.proto", "proto/deep/e.proto"]),
        ("proto/**/*.proto", ["proto/d.proto", "proto/deep/e.proto"]),
        ("proto", ["proto/d.proto", "proto/deep/e.proto", "proto/deep/f.txt"]),
        ("proto/", ["proto/d.proto", "proto/deep/e.proto", "proto/deep/f.txt"]),
        ("proto/**", ["proto/d.proto", "proto/deep/e.proto", "proto/deep/f.txt"]),
        ("pro*", ["proto/d.proto", "proto/deep/e.proto", "proto/deep/f.txt"]),
        ("*/d.proto", ["proto/d.proto"]),
        ("proto/*/f.t?t", ["proto/deep/f.txt"]),
        ("[!b].proto", ["a.proto"]),
        ("pages/[id].txt", ["pages/[id].txt"]),
        (".git/g.proto", [".git/g.proto"]),
        ("**/**/e.proto", ["proto/deep/e.proto"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    """Wildcards cross directories as `**` only, never see .git, .venv, __pycache__, outputs or envid's own files."""
    root = tree(tmp_path, *FILES)
    assert list(measure(root, [pattern], pruned=["gen"])) == found


def test_a_measure_is_the_executable_bit_and_the_content(tmp_path: Path) -> None:
    """The owner's right to execute and the bytes count; other bits, times and names of users do not."""
    root = tree(tmp_path, "a")
    digest = blake3(b"a").hexdigest()
    for mode, said in ((0o644, "100644"), (0o600, "100644"), (0o755, "100755"), (0o711, "100755")):
        (tmp_path / "a").chmod(mode)
        assert measure(root, ["a"], pruned=[]) == {"a": f"{said} {digest}"}


def test_links_count_as_text_and_as_what_they_lead_to(tmp_path: Path) -> None:
    """A link is measured as its text and the file or directory behind it; a dangling one as its text alone."""
    root = tree(tmp_path, "real/a", "real/b")
    (tmp_path / "file").symlink_to("real/a")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "gone").symlink_to("nowhere")
    rows = measure(root, ["file", "folder", "gone"], pruned=[])
    assert sorted(rows) == ["file", "folder", "folder/a", "folder/b", "gone"]
    text, digest = blake3(b"real/a").hexdigest(), blake3(b"real/a").hexdigest()
    assert rows["file"] == f"120000 {text} 100644 {digest}"
    (tmp_path / "real/a").write_text("changed")
    again = measure(root, ["file", "folder", "gone"], pruned=[])
    assert {name for name in rows if rows[name] != again[name]} == {"file", "folder/a"}


def test_wildcards_go_through_links_inside_the_project(tmp_path: Path) -> None:
    """Files behind a linked directory match like any; circles end, and what leads out of the project is named."""
    root = tree(tmp_path / "project", "real/deep/a.x", "other/b", ".venv/c.x", "out/d.x")
    project = tmp_path / "project"
    (project / "linked").symlink_to("real")
    (project / "real/deep/up").symlink_to("..")
    (project / "other/environment").symlink_to("../.venv")
    (project / "other/made").symlink_to("../out")
    assert sorted(measure(root, ["**/*.x"], pruned=["out"])) == ["linked/deep/a.x", "real/deep/a.x"]
    assert sorted(measure(root, ["l*/deep/*.x"], pruned=["out"])) == ["linked/deep/a.x"]
    (project / "far").symlink_to(tree(tmp_path / "outside", "e.x"))
    with pytest.raises(InputRefused, match="the input far leads out of the project"):
        measure(root, ["**/*.x"], pruned=["out"])


def test_a_link_into_the_environment_is_refused(tmp_path: Path) -> None:
    """What belongs to the environment is no input by way of a link either; a link to an output is its text."""
    root = tree(tmp_path, "env/lib/a", "gen/b", "src/c")
    (tmp_path / "src/file").symlink_to("../env/lib/a")
    (tmp_path / "folder").symlink_to("env/lib")
    (tmp_path / "made").symlink_to("gen/b")
    for pattern in ("src", "src/*", "src/file", "folder", "folder/a"):
        with pytest.raises(InputRefused, match="environment"):
            measure(root, [pattern], pruned=["gen", "env"], outputs=["gen"])
    assert measure(root, ["made"], pruned=["gen", "env"], outputs=["gen"])["made"].count(" ") == 1


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("../outside", "not a path or pattern below the project"),
        ("/etc/passwd", "not a path or pattern below the project"),
        ("", "not a path or pattern below the project"),
        ("a\0b", "not a path or pattern below the project"),
        ("proto/*.prot", "nothing in the project matches"),
        ("away", "leads out of the project"),
        ("far/secret", "leads out of the project"),
        ("round", "is a link to a directory that it lies in"),
        ("pipe", "is neither file, directory nor link"),
        ("gen/j.proto", "is an output"),
        ("gen", "is an output"),
    ],
)
def test_inputs_that_are_refused(tmp_path: Path, pattern: str, said: str) -> None:
    """What is outside, not there, no file, circular or an output is refused by name."""
    root = tree(tmp_path / "project", *FILES)
    tree(tmp_path / "outside", "secret")
    project = tmp_path / "project"
    (project / "away").symlink_to("../outside/secret")
    (project / "far").symlink_to("../outside")
    (project / "round").symlink_to(".")
    os.mkfifo(project / "pipe")
    with pytest.raises(InputRefused) as caught:
        measure(root, [pattern], pruned=["gen"])
    assert said in caught.value.message


def test_a_pattern_without_a_match_names_its_neighbours(tmp_path: Path) -> None:
    """The hint of a pattern that matches nothing has the nearest names of the directory that it meant."""
    root = tree(tmp_path, "proto/api.proto", "proto/zzz")
    with pytest.raises(InputRefused) as caught:
        measure(root, ["proto/apl.proto"], pruned=[])
    assert "proto/api.proto" in caught.value.hint


def test_names_that_are_no_text_are_told_apart(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, other normal forms, line feeds and backslashes each have a spelling of their own."""
    names = [b"caf\xc3\xa9", b"cafe\xcc\x81", b"caf\xe9", b"a\nb", b"a\\nb", b"a\\x0ab"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_text("x")
    rows = measure(os.path.realpath(tmp_path), ["*"], pruned=[])
    assert len(rows) == len(names)
    assert all(name.isascii() and name.isprintable() for name in rows)


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_escaped_is_injective(texts: list[str]) -> None:
    """No two texts have the same spelling in printable ASCII."""
    first, second = (text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for text in texts)
    if first != second:
        assert escaped(first) != escaped(second)


@given(st.text("ab[]!-*?^", max_size=8), st.text("ab[]!-*?^", max_size=8))
def test_matches_as_fnmatch_does(name: str, pattern: str) -> None:
    """Within one part of a path patterns mean what they mean in the standard library, classes with `^` aside."""
    if "[^" not in pattern and not any(f"{c}-" in pattern for c in "ab]!-*?^["):
        assert matches(name, pattern) is fnmatch.fnmatchcase(name, pattern)
