"""Outputs: which paths may be declared, and what of a store's manifest is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands import Commands
from envid.app.running.outputs import beside, declared
from envid.app.running.products import rows_of
from envid.app.running.rerun import parse
from envid.app.running.task import Order, measure, task_of
from envid.errors import BadManifest, OutputRefused, UsageError
from envid.gate import Absent, WritePass, confirm, decide
from envid.manifest import Made, encode
from envid.store.blobs import Kept, keep_bytes
from envid.store.cache import Stored, put
from envid.store.place import open_place


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with two inputs, and a cache of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    return Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (("..",), "not a path below the project"),
        (("../other",), "not a path below the project"),
        (("a/../../b",), "not a path below the project"),
        (("/tmp/out",), "not a path below the project"),
        ((".",), "not a path below the project"),
        (("./",), "not a path below the project"),
        (("",), "not a path below the project"),
        (("a\0b",), "not a path below the project"),
        ((".git",), "would replace .git"),
        ((".git/hooks/pre-commit",), "would replace .git"),
        ((".venv/lib",), "would replace .venv"),
        (("pyproject.toml",), "would replace pyproject.toml"),
        (("pyproject.toml/x",), "would replace pyproject.toml"),
        (("lockfiles",), "would replace lockfiles"),
        (("lockfiles/pylock.toml",), "would replace lockfiles"),
        (("leads/out",), "a directory on the way to it is a link or a file"),
        (("inside/out",), "a directory on the way to it is a link or a file"),
        (("src/a.txt/out",), "a directory on the way to it is a link or a file"),
        (("gen", "gen/a"), "lies inside of the output gen"),
        (("gen", "gen/"), "is given twice"),
        ((".x.envid-aside",), "such names are envid's own"),
    ],
)
def test_outputs_that_are_refused(project: Commands, outputs: tuple[str, ...], said: str) -> None:
    """Paths outside, through links, over the project's own files or over one another are refused before anything."""
    (project.root / "leads").symlink_to(project.root.parent)
    (project.root / "inside").symlink_to("src")
    before = project.tree(".")
    with pytest.raises(OutputRefused) as caught:
        project.run("echo run > ran.txt", outputs=outputs)
    assert said in caught.value.message
    assert project.tree(".") == before


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(("src/a.txt",), ("src/a.txt",)), (("src",), ("src",)), (("src/a.txt",), ("src",)), (("src",), ("src/",))],
)
def test_an_output_is_no_input(project: Commands, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """A path that is read cannot be made as well, nor lie below one that is."""
    before = project.tree("src")
    with pytest.raises(UsageError):
        project.run("rm -r src", inputs=inputs, outputs=outputs)
    assert project.tree("src") == before


def test_an_output_below_a_directory_that_is_read_is_left_out(project: Commands) -> None:
    """A directory may be read and hold the output: what was made before is no input of the next run."""
    script = "cat src/*.txt > src/made"
    assert project.outcome(script, inputs=("src",), outputs=("src/made",)) == ("ran", "absent")
    assert project.outcome(script, inputs=("src",), outputs=("src/made",)) == ("hit", "hit")


def test_an_output_that_is_a_link_is_refused(project: Commands) -> None:
    """Where a link stands at the output's place, nothing runs or is restored: link and target are not touched."""
    outside = project.root.parent / "outside"
    outside.write_text("not ours")
    (project.root / "out.txt").symlink_to(outside)
    with pytest.raises(OutputRefused, match="is a symbolic link"):
        project.run("echo made > out.txt")
    (project.root / "out.txt").unlink()
    assert project.outcome("echo made > out.txt") == ("ran", "absent")
    (project.root / "out.txt").unlink()
    (project.root / "out.txt").symlink_to(outside)
    with pytest.raises(OutputRefused, match="is a symbolic link"):
        project.run("echo made > out.txt")
    assert (project.root / "out.txt").is_symlink()
    assert outside.read_text() == "not ours"


def test_a_link_in_the_place_of_a_directory_is_not_followed(project: Commands) -> None:
    """Where a directory of an output became a link, what it leads to keeps its files and modes."""
    script = "mkdir out/deep; echo made > out/deep/x; mkdir out/deep/inner"
    assert project.outcome(script, outputs=("out/",)) == ("ran", "absent")
    made = project.tree("out")
    outside = project.root.parent / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "x").write_text("not ours")
    (outside / "inner").chmod(0o500)
    (project.root / "out/deep/inner").rmdir()
    (project.root / "out/deep/x").unlink()
    (project.root / "out/deep").rmdir()
    (project.root / "out/deep").symlink_to(outside)
    assert project.outcome(script, outputs=("out/",)) == ("hit", "hit")
    assert project.tree("out") == made
    assert (outside / "x").read_text() == "not ours"
    assert (outside / "inner").stat().st_mode & 0o777 == 0o500


def planted(project: Commands, payload: bytes, order: Order) -> str:
    """Put ``payload`` under the key of ``order`` by way of the gate, as a poisoned cache would; return the key."""
    slot = measure(task_of(project.workspace, order)).slot
    decision = decide(None, slot)
    assert isinstance(decision, Absent)
    leave = confirm(decision.work, slot)
    assert isinstance(leave, WritePass)
    assert put(open_place(project.cache), leave, payload) == Stored(new=True)
    return slot.key


def test_an_entry_that_names_anything_else_is_refused(project: Commands) -> None:
    """An entry whose manifest has a path beside the outputs, or lacks one, is set aside, and the command runs."""
    kept = keep_bytes(open_place(project.cache), b"evil")
    assert isinstance(kept, Kept)
    evil = Made(path="pyproject.toml", kind="file", mode=0o644, size=4, digest=kept.digest)
    good = Made(path="out.txt", kind="file", mode=0o644, size=4, digest=kept.digest)
    hollow = Made(path="out.txt/deep/x", kind="file", mode=0o644, size=4, digest=kept.digest)
    before = (project.root / "pyproject.toml").read_bytes()
    for number, made in enumerate(([evil, good], [evil], [], [hollow])):
        script = f"echo {number} > out.txt"
        order = Order(argv=("sh", "-c", script), inputs=("src/*.txt",), outputs=("out.txt",), layer="plain")
        planted(project, encode(made), order)
        assert project.outcome(script) == ("ran", "damaged")
        assert (project.root / "pyproject.toml").read_bytes() == before
        assert (project.root / "out.txt").read_text() == f"{number}\n"
        assert project.outcome(script) == ("hit", "hit")


def test_a_payload_that_is_no_manifest_is_refused(project: Commands) -> None:
    """Hand-made manifests with `..` or absolute paths do not even parse; the command runs."""
    for number, line in enumerate(("file 0644 4 {} ../evil", "file 0644 4 {} /etc/evil", "link out.txt\t/etc/passwd")):
        script = f"echo {number} > out.txt"
        order = Order(argv=("sh", "-c", script), inputs=("src/*.txt",), outputs=("out.txt",), layer="plain")
        planted(project, f"envid-manifest 1\n{line.format('0' * 64)}\n".encode(), order)
        assert project.outcome(script) == ("ran", "damaged")
        assert (project.root / "out.txt").read_text() == f"{number}\n"


def test_rows_of_a_manifest(tmp_path: Path) -> None:
    """Every row lies at or below an output, every output has one, and every directory on the way is named."""
    file = Made(path="gen/a", kind="file", mode=0o644, size=0, digest="0" * 64)
    folder = Made(path="gen", kind="directory", mode=0o755, size=0, digest="")
    assert rows_of([folder, file], ["gen"]) == {
        "gen": ("directory", 0o755, 0, "", ""), "gen/a": ("file", 0o644, 0, "0" * 64, ""),
    }  # fmt: skip
    assert rows_of([file], ["gen"]) is None
    assert rows_of([folder, file], ["gen", "more"]) is None
    assert rows_of([folder, file], ["gen/a"]) is None
    with pytest.raises(BadManifest):
        encode([Made(path="gen/../../x", kind="file", mode=0o644, size=0, digest="0" * 64)])


def test_names_beside_an_output() -> None:
    """Names of envid's own files lie in the output's directory, and fit a filesystem for long names too."""
    assert beside("a/b/c.txt", "envid-aside") == "a/b/.c.txt.envid-aside"
    assert beside("c", "envid-old") == ".c.envid-old"
    long = beside("a/" + "x" * 255, "envid-aside")
    assert len(os.path.basename(long)) < 255 and long != beside("a/" + "x" * 254, "envid-aside")


def test_declared_outputs_are_normal() -> None:
    """Spelling of a path does not matter, a final slash asks for a directory, and the order is that of the paths."""
    assert declared(["./b//c", "a/"]) == [("a", True), ("b/c", False)]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--out", "a"], ["run", "--out", "--", "x"], ["run", "--out", "a", "--in", "--", "x"],
        ["run", "--out", "a", "--json", "--", "x"], ["run", "--out=a", "--", "x"], ["run", "--out", "a", "--"],
        ["run", "--in", "a", "--", "x"], ["run", "--out", "a", "--explain", "--", "x"],
        ["run", "--layer", "env", "--layer", "env", "--out", "a", "--", "x"], ["run", "a", "--", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_unusual_words_are_left_to_the_grammar(words: list[str]) -> None:
    """Whatever is not quite ordinary is not answered from memory."""
    assert parse(words) is None


def test_ordinary_words_are_read_as_the_grammar_reads_them() -> None:
    """Lists end with the next option, what stands after `--` is the command's whatever it is."""
    words = parse(
        ["run", "--in", "a", "b", "--env", "X", "--in", "c", "--out", "o/", "--wait", "3", "--", "x", "--", "--json"]
    )
    assert words is not None
    assert (words.inputs, words.outputs, words.named) == (["a", "b", "c"], ["o/"], ["X"])
    assert words.argv == ["x", "--", "--json"]
