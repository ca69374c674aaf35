"""The command line of `envid cache`: verbs, schemas, limits in words, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from envid.app.cache_gc import cache_gc
from envid.app.workspace import open_workspace
from envid.errors import NetworkFilesystem
from envid.store import filesystem
from filled import entry, place_of, slot_of
from projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose cache has one entry."""
    root = tmp_path / "project"
    root.mkdir()
    entry(place_of(tmp_path / "cache"), 1, age=-(10**8))
    return Project(root=root, cache=tmp_path / "cache").given('[project]\nname = "demo"\nversion = "1"\n')


@pytest.mark.parametrize("verb", ["stats", "verify", "repair", "gc"])
def test_each_verb_answers_in_words_and_in_its_own_schema(project: Project, verb: str) -> None:
    """Words for people, one document for machines, wherever `--json` stands; also outside of a project."""
    assert project.ok("cache", verb).stdout
    for words in (("cache", verb, "--json"), ("cache", "--json", verb), ("--json", "cache", verb)):
        document = project.ok(*words).json
        assert (document["schema"], document["ok"]) == (f"envid/cache-{verb}/1", True)
    (project.root / "pyproject.toml").unlink()
    assert project.ok("cache", verb).stdout


def test_an_entry_is_explained_by_its_key(project: Project) -> None:
    """The key of an entry gives its document; one that is not there is an error of the store."""
    found = project.ok("cache", "explain", slot_of(1).key, "--json").json
    assert found["data"]["document"]["components"] == {"number": "1"}
    missing = project.run("cache", "explain", slot_of(2).key, "--json")
    assert (missing.status, missing.json["schema"]) == (7, "envid/cache-explain/1")
    assert missing.json["error"]["slug"] == "store.no-entry"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gc", "--max-size", "ten"), "10 GB"), (("gc", "--max-age", "30"), "30 days"),
        (("verify", "--sample", "0"), "above 0%"), (("verify", "--sample", "many"), "such as 10%"),
        (("verify", "--sample", "101"), "at most 100%"), (("explain", "envid1-x"), "64 digits"), ((), "VERB"),
        (("polish",), "polish"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_a_usage_error(project: Project, words: tuple[str, ...], said: str) -> None:
    """Exit 2, with what would be right."""
    done = project.run("cache", *words)
    assert done.status == 2
    assert said in done.stderr


def test_limits_on_the_command_line_are_read_as_people_write_them(project: Project) -> None:
    """Sizes and ages with units; what they leave is said, and a dry run leaves everything."""
    limits = ("--max-size", "1 kB", "--max-age", "0 days")
    done = project.ok("cache", "gc", *limits, "--dry-run", "--json").json["data"]
    assert done["dry-run"] is True and done["renewed"] == 1
    assert project.ok("cache", "gc", *limits).stderr.startswith("1 file had a time in the future")


def test_a_damaged_entry_is_told_repaired_and_told_no_more(project: Project) -> None:
    """verify says no, repair says what it did, and then verify says yes."""
    path = next((project.cache / "entries-v1").rglob("[0-9a-f]" * 64))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    done = project.run("cache", "verify", "--json")
    assert (done.status, done.codes) == (1, {"cache.damaged"})
    assert "set 1 file aside" in project.ok("cache", "repair").stdout
    assert "nothing was to be repaired" in project.ok("cache", "repair").stdout
    assert project.ok("cache", "verify").stdout.startswith("yes")
    counted = project.ok("cache", "stats").stdout
    assert "quarantine-v1" in counted


def test_a_collection_on_a_filesystem_of_a_network_takes_force(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where other machines may write, gc is refused unless it is told that none does; a look is free."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(project.cache))
    ws = open_workspace(str(project.root))
    kind = filesystem.of(str(project.cache)).kind
    filesystem.judged.cache_clear()
    monkeypatch.setattr(filesystem, "NETWORK", frozenset({kind}))
    try:
        with pytest.raises(NetworkFilesystem, match=kind):
            cache_gc(ws)
        assert cache_gc(ws, dry_run=True).exit_code == 0
        assert cache_gc(ws, force=True).exit_code == 0
    finally:
        filesystem.judged.cache_clear()
