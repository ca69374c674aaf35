"""A command behind the gate: when it runs, what is kept, what comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands import Commands
from envid.errors import CommandNotStarted, CredentialInConfig, UsageError

JOIN = "cat src/*.txt > out.txt"
TREE = (
    "mkdir -p gen/deep gen/empty; printf x > gen/deep/x; cp src/a.txt gen/a; chmod 755 gen/a; chmod 600 gen/deep/x; "
    "ln -s deep/x gen/link; ln -s deep gen/folder; chmod 711 gen/deep; chmod 500 gen/empty"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A project with two inputs, and a cache of its own."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    return Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()


def test_a_command_runs_once_for_the_same_inputs(project: Commands, tmp_path: Path) -> None:
    """The second run of the same command is a hit that starts nothing and touches nothing."""
    log = tmp_path / "log"
    project.variables["LOG"] = str(log)
    script = f'echo ran >> "$LOG"; {JOIN}'
    assert project.outcome(script, passed=("LOG",)) == ("ran", "absent")
    before = (project.root / "out.txt").stat()
    assert project.outcome(script, passed=("LOG",)) == ("hit", "hit")
    after = (project.root / "out.txt").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert log.read_text() == "ran\n"
    assert (project.root / "out.txt").read_text() == "alpha\nbeta\n"


def test_outputs_come_back_byte_for_byte(project: Commands) -> None:
    """Files, modes, empty directories and links that were deleted or altered are restored exactly, extras removed."""
    assert project.outcome(TREE, outputs=("gen/",)) == ("ran", "absent")
    made = project.tree("gen")
    (project.root / "gen/deep/x").write_bytes(b"altered")
    (project.root / "gen/a").chmod(0o640)
    (project.root / "gen/link").unlink()
    (project.root / "gen/empty").chmod(0o755)
    (project.root / "gen/empty/stray").write_text("stray")
    (project.root / "gen/folder").unlink()
    (project.root / "gen/folder").mkdir()
    assert project.tree("gen") != made
    assert project.outcome(TREE, outputs=("gen/",), clean=True) == ("hit", "hit")
    assert project.tree("gen") == made
    assert project.leftovers() == []
    other = project.copy("other")
    for path in (other.root / "gen").iterdir():
        path.chmod(0o755) if path.is_dir() and not path.is_symlink() else None
    (other.root / "gen" / "deep" / "x").unlink()
    assert other.outcome(TREE, outputs=("gen/",)) == ("hit", "hit")
    assert other.tree("gen") == made


def test_bytecode_of_what_was_generated_is_no_output(project: Commands) -> None:
    """Bytecode beside a generated module does no harm to a hit, is not kept, and goes when its source is restored."""
    script = "mkdir gen/__pycache__ gen/deep; touch gen/__pycache__/m.pyc gen/deep/n.py; cp src/a.txt gen/m.py"
    assert project.run(script, outputs=("gen/",)).data["outputs"] == ["gen/", "gen/deep/", "gen/deep/n.py", "gen/m.py"]
    project.write("gen/deep/__pycache__/n.pyc", "compiled")
    assert project.run(script, outputs=("gen/",)).notes[0].startswith("run: up to date")
    assert (project.root / "gen/__pycache__/m.pyc").exists()
    project.write("gen/m.py", "altered")
    assert project.outcome(script, outputs=("gen/",)) == ("hit", "hit")
    assert not (project.root / "gen/__pycache__").exists()
    assert (project.root / "gen/deep/__pycache__/n.pyc").exists()


@pytest.mark.parametrize(
    ("change", "component"),
    [
        (lambda one: one.write("src/a.txt", "changed\n"), "inputs: src/a.txt was"),
        (lambda one: one.write("src/c.txt", "new\n"), "inputs: src/c.txt was added"),
        (lambda one: (one.root / "src/b.txt").unlink(), "inputs: src/b.txt was removed"),
        (lambda one: (one.root / "src/b.txt").chmod(0o755), "inputs: src/b.txt was 100644"),
        (lambda one: one.variables.update(FLAVOUR="two"), "environment: FLAVOUR was"),
    ],
    ids=["changed", "added", "removed", "mode", "variable"],
)
def test_what_it_depends_on_makes_it_run_and_is_named(project: Commands, change: object, component: str) -> None:
    """A changed, new or missing input, an executable bit, a variable: it runs again and says which."""
    project.variables["FLAVOUR"] = "one"
    assert project.outcome(JOIN, named=("FLAVOUR",)) == ("ran", "absent")
    change(project)  # type: ignore[operator]
    outcome = project.run(JOIN, named=("FLAVOUR",), explain=True)
    assert outcome.data["outcome"] == "ran"
    lines = list(outcome.data["explain"])  # type: ignore[arg-type]
    assert len(lines) == 1 and component in str(lines[0]), lines


def test_going_back_is_a_hit(project: Commands) -> None:
    """An input that is as it was before gives the output of then, without the command."""
    project.run(JOIN)
    project.write("src/a.txt", "changed\n")
    assert project.outcome(JOIN) == ("ran", "absent")
    project.write("src/a.txt", "alpha\n")
    outcome = project.run(JOIN, explain=True)
    assert outcome.data["outcome"] == "hit"
    assert outcome.data["explain"] == ["it did not run: it ran with exactly this before"]
    assert (project.root / "out.txt").read_text() == "alpha\nbeta\n"


def test_the_nearest_entry_explains_a_first_run(project: Commands) -> None:
    """A copy of the project in which the command never ran is compared with the nearest run in the cache."""
    project.run(JOIN)
    other = project.copy("other")
    other.write("src/a.txt", "changed\n")
    lines = other.run(JOIN, explain=True).data["explain"]
    assert isinstance(lines, list) and len(lines) == 1
    assert str(lines[0]).startswith("it ran: compared with the nearest run in the cache, inputs: src/a.txt was")


def test_other_words_for_the_same_outputs_are_explained(project: Commands) -> None:
    """A command line that was edited is compared with the one before it, and the words are shown."""
    project.run(JOIN)
    lines = project.run(f"{JOIN}; true", explain=True).data["explain"]
    assert isinstance(lines, list) and len(lines) == 1
    assert "command was" in str(lines[0]) and f"{JOIN}; true" in str(lines[0])
    other = project.run("cat src/*.txt > else.txt", outputs=("else.txt",), explain=True).data["explain"]
    assert other == ["it ran: no run of this command for these outputs is known"]


def test_a_command_that_fails_leaves_its_outputs_as_they_were(project: Commands) -> None:
    """Status and signal are the command's own; the outputs of before are back, and nothing is kept."""
    project.run(TREE, outputs=("gen",))
    made = project.tree("gen")
    for script, status in (("rm -r gen; mkdir gen; echo torn > gen/torn; exit 3", 3), ("kill -9 $$", 137)):
        outcome = project.run(script, outputs=("gen",))
        assert (outcome.exit_code, outcome.data["outcome"]) == (status, "failed")
        assert project.tree("gen") == made
        assert project.run(script, outputs=("gen",)).exit_code == status
    assert project.leftovers() == []


def test_an_output_that_was_not_there_is_not_there_after_a_failure(project: Commands) -> None:
    """What a failed command wrote at a new output is removed; its other output is as it was."""
    project.write("kept.txt", "before")
    outcome = project.run("echo a > new.txt; echo b > kept.txt; false", outputs=("new.txt", "kept.txt"))
    assert outcome.exit_code == 1
    assert not (project.root / "new.txt").exists()
    assert (project.root / "kept.txt").read_text() == "before"
    assert project.leftovers() == []


def test_the_command_sees_no_output_of_before(project: Commands) -> None:
    """Files that are outputs are absent when the command starts, directories empty: nothing of an older run stays."""
    project.write("gen/old.txt", "old")
    project.write("out.txt", "old")
    script = 'test ! -e out.txt && test -d gen && test -z "$(ls gen)" && touch gen/new out.txt'
    assert project.outcome(script, outputs=("gen", "out.txt"), clean=True) == ("ran", "absent")
    assert sorted(project.tree("gen")) == ["gen", "gen/new"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"{JOIN}; echo more >> src/a.txt", "inputs-changed"),
        (f"{JOIN}; touch src/a.txt", "inputs-changed"),
        (f"{JOIN}; echo x > stray.txt", "wrote-outside"),
        (f"{JOIN}; rm notes.txt", "wrote-outside"),
        (f"{JOIN}; echo x > notes.txt", "wrote-outside"),
        (f"{JOIN}; chmod 600 notes.txt", "wrote-outside"),
        (f"{JOIN}; mkdir strange", "wrote-outside"),
        (f"{JOIN}; echo >> pyproject.toml", "moved"),
        (f"{JOIN}; touch lockfiles/pylock.toml", "moved"),
        ("true", "no-output"),
        ("mkfifo out.txt", "odd-output"),
        ("ln -s /etc/passwd out.txt", "odd-output"),
        ("ln -s ../outside out.txt", "odd-output"),
        ("mkdir out.txt; ln -s ../../outside out.txt/link", "odd-output"),
        ("echo > out.txt; chmod 4755 out.txt", "odd-output"),
        ("mkdir out.txt; printf x > 'out.txt/a\nb'", "odd-output"),
    ],
)
def test_what_must_not_be_kept_is_not(project: Commands, script: str, reason: str) -> None:
    """Each refusal has its reason and a hint, exits 0 with the command's outputs in place, and 1 under strict."""
    project.write("notes.txt", "notes")
    outcome = project.run(script)
    assert (outcome.data["outcome"], outcome.data["reason"]) == ("unkept", reason)
    assert outcome.exit_code == 0
    (finding,) = outcome.findings
    assert (finding.code, finding.severity) == (f"run.{reason}", "warning")
    assert finding.message.startswith("nothing was kept: ") and finding.hint
    assert not list((project.cache / "entries-v1").rglob("*")) or not any(
        path.is_file() for path in (project.cache / "entries-v1").rglob("*")
    )
    assert project.leftovers() == []


def test_strict_makes_a_refusal_a_finding(project: Commands) -> None:
    """Under --strict a command whose outputs were not kept gives exit 1 and a finding with the reason."""
    outcome = project.run(f"{JOIN}; echo x > stray.txt", strict=True)
    assert outcome.exit_code == 1
    assert [(one.code, one.severity) for one in outcome.findings] == [("run.wrote-outside", "error")]
    assert "stray.txt" in outcome.findings[0].message


def test_a_missing_output_leaves_the_one_of_before(project: Commands) -> None:
    """A command that ends well without one of its outputs: what it made stays, what it did not make is as before."""
    project.write("b.txt", "before")
    project.write("a.txt", "before")
    outcome = project.run("echo after > a.txt", outputs=("a.txt", "b.txt"))
    assert (outcome.data["reason"], outcome.exit_code) == ("no-output", 0)
    assert (project.root / "a.txt").read_text() == "after\n"
    assert (project.root / "b.txt").read_text() == "before"


def test_other_bytes_under_the_same_key_are_told(project: Commands) -> None:
    """A command that is not deterministic: the first bytes are kept, the second reported, and fail under strict."""
    script = "head -c 16 /dev/urandom > out.txt"
    assert project.outcome(script) == ("ran", "absent")
    first = (project.root / "out.txt").read_bytes()
    entry = next(path for path in (project.cache / "entries-v1/run").rglob("*") if path.is_file())
    aside = entry.rename(project.root.parent / "aside")
    assert project.outcome(script) == ("ran", "absent")
    second = next(path for path in (project.cache / "entries-v1/run").rglob("*") if path.is_file())
    assert second == entry
    aside.rename(entry)
    assert project.outcome(script) == ("hit", "hit")
    assert (project.root / "out.txt").read_bytes() == first


def test_a_lost_or_damaged_blob_is_a_miss(project: Commands) -> None:
    """Where the bytes of an output are gone or altered the command runs, says so, and the entry is whole again."""
    project.run(JOIN)
    for harm in (Path.unlink, lambda path: (path.chmod(0o600), path.write_bytes(b"\0" * 99))):
        (project.root / "out.txt").unlink()
        for blob in [path for path in (project.cache / "blobs-v1").rglob("*") if path.is_file()]:
            harm(blob)
        outcome = project.run(JOIN, explain=True)
        assert (outcome.data["outcome"], outcome.data["reason"]) == ("ran", "incomplete")
        assert "a file that the entry names is missing or damaged" in str(outcome.data["explain"])
        (project.root / "out.txt").unlink()
        assert project.outcome(JOIN) == ("hit", "hit")
        assert (project.root / "out.txt").read_text() == "alpha\nbeta\n"


def test_what_replaces_lost_bytes_is_compared_with_them(project: Commands) -> None:
    """Where a blob is lost and the command makes other bytes, that is told, and under strict the exit status is 1."""
    script = "head -c 16 /dev/urandom > out.txt"
    assert project.outcome(script) == ("ran", "absent")
    for strict, severity, status in ((False, "warning", 0), (True, "error", 1)):
        (project.root / "out.txt").unlink()
        for blob in [path for path in (project.cache / "blobs-v1").rglob("*") if path.is_file()]:
            blob.unlink()
        outcome = project.run(script, strict=strict)
        assert (outcome.data["outcome"], outcome.data["reason"], outcome.exit_code) == ("ran", "incomplete", status)
        assert [(one.code, one.severity) for one in outcome.findings] == [("run.diverged", severity)]
        assert "out.txt" in outcome.findings[0].message
    made = (project.root / "out.txt").read_bytes()
    (project.root / "out.txt").unlink()
    assert project.outcome(script) == ("hit", "hit")
    assert (project.root / "out.txt").read_bytes() == made


def test_a_file_that_the_command_names_is_an_input(project: Commands) -> None:
    """A word that names a file of the project, also behind `--option=`, is an input; one that is an output is none."""
    project.write("tools/generate.sh", "cat src/a.txt > out.txt\n")
    project.write("tools/options", "x")
    argv = ("sh", "tools/generate.sh", "--options=tools/options", "out.txt", "../elsewhere", "tools", "")
    assert project.outcome("", argv=argv) == ("ran", "absent")
    assert project.outcome("", argv=argv) == ("hit", "hit")
    project.write("tools/generate.sh", "cat src/b.txt > out.txt\n")
    outcome = project.run("", argv=argv, explain=True)
    assert outcome.data["outcome"] == "ran" and "inputs: tools/generate.sh was" in str(outcome.data["explain"])
    assert (project.root / "out.txt").read_text() == "beta\n"
    project.write("tools/options", "y")
    assert project.outcome("", argv=argv) == ("ran", "absent")
    here = (argv[0], str(project.root / argv[1]), *argv[2:])
    assert project.outcome("", argv=here) == ("ran", "absent")
    project.write("tools/generate.sh", "cat src/a.txt > out.txt\n")
    assert project.outcome("", argv=here) == ("ran", "absent")


def test_a_variable_that_is_not_set_is_called_so(project: Commands) -> None:
    """A variable that was not set before, or is not now, is explained in these words."""
    project.run(JOIN, named=("FLAVOUR",))
    project.variables["FLAVOUR"] = "one"
    assert "FLAVOUR was not set and is " in str(project.run(JOIN, named=("FLAVOUR",), explain=True).data["explain"])
    del project.variables["FLAVOUR"]
    project.write("src/a.txt", "other")
    said = str(project.run(JOIN, named=("FLAVOUR",), explain=True).data["explain"])
    assert " and is not set'" in said and "null" not in said


def test_the_private_directories_are_gone_afterwards(project: Commands) -> None:
    """HOME and TMPDIR are empty, private, different from the caller's, and leave nothing, read-only or not."""
    script = 'echo "$HOME $TMPDIR" > out.txt; ls -A "$HOME" "$TMPDIR" >> out.txt; ls -ld "$HOME" >> out.txt'
    project.run(f'{script}; mkdir "$HOME/kept"; touch "$HOME/kept/x"; chmod 500 "$HOME/kept"')
    first, *rest = (project.root / "out.txt").read_text().splitlines()
    home, temporary = first.split()
    assert home != os.environ.get("HOME")
    assert "drwx------" in rest[-1] and not any(line and not line.endswith(":") for line in rest[:-1])
    assert not Path(home).exists() and not Path(temporary).exists()


def test_the_environment_is_scrubbed(project: Commands) -> None:
    """A variable of the caller reaches the command only when it is named; locale, time zone and epoch are pinned."""
    project.variables.update(SEEN="yes", HIDDEN="no", LC_ALL="tr_TR.UTF-8", SOURCE_DATE_EPOCH="5")
    project.run("env > out.txt", named=("SEEN",))
    seen = dict(line.split("=", 1) for line in (project.root / "out.txt").read_text().splitlines())
    assert seen["SEEN"] == "yes" and "HIDDEN" not in seen
    assert (seen["LC_ALL"], seen["TZ"], seen["SOURCE_DATE_EPOCH"]) == ("C.UTF-8", "UTC", "315532800")
    known = {"PATH", "HOME", "TMPDIR", "LC_ALL", "LANGUAGE", "TZ", "PYTHONHASHSEED", "NO_COLOR", "SEEN", "PWD", "SHLVL",
             "_", "OLDPWD", "SOURCE_DATE_EPOCH", "PYTHONDONTWRITEBYTECODE", "ENVID_RUN_TURN"}  # fmt: skip
    assert seen.keys() <= known


def test_a_secret_is_written_nowhere(project: Commands) -> None:
    """The value of a named variable, and of one passed on, is in no file of the cache, no document and no note."""
    project.variables.update(TOKEN="s3cr3t-of-the-caller", OTHER="s3cr3t-of-another")
    script = 'test -n "$TOKEN" && test -n "$OTHER" && cat src/a.txt > out.txt'
    outcome = project.run(script, named=("TOKEN",), passed=("OTHER",), explain=True)
    assert outcome.data["outcome"] == "ran"
    project.variables["TOKEN"] = "s3cr3t-of-today"
    changed = project.run(script, named=("TOKEN",), passed=("OTHER",), explain=True)
    assert "environment: TOKEN was" in str(changed.data["explain"])
    project.variables["OTHER"] = "s3cr3t-changed"
    assert project.outcome(script, named=("TOKEN",), passed=("OTHER",)) == ("hit", "hit")
    assert "s3cr3t" not in repr((outcome, changed))
    for path in project.cache.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path


def test_a_command_line_with_a_credential_is_refused(project: Commands) -> None:
    """A credential among the command's words would be part of the document: it is refused before anything runs."""
    with pytest.raises(CredentialInConfig, match="credential") as caught:
        project.run("curl https://user:pass@index.example/ > out.txt")
    assert "--env-pass NAME" in caught.value.hint
    assert not (project.root / "out.txt").exists()


def test_a_command_that_is_not_there(project: Commands) -> None:
    """An unknown command, and one that cannot be executed, are errors, and the outputs are as they were."""
    project.write("out.txt", "before")
    with pytest.raises(CommandNotStarted, match="there is no command"):
        project.run("", argv=("no-such-command",))
    broken = project.write("broken", "\0\0not a program")
    broken.chmod(0o755)
    with pytest.raises(CommandNotStarted, match="cannot start"):
        project.run("", argv=("./broken",))
    assert (project.root / "out.txt").read_text() == "before"
    assert project.leftovers() == []


def test_the_program_is_part_of_the_key(project: Commands) -> None:
    """Another program under the same name is another key, wherever it is found outside of the environment."""
    tool = project.write("tools/make", "#!/bin/sh\necho one > out.txt\n")
    tool.chmod(0o755)
    assert project.outcome("", argv=("tools/make",)) == ("ran", "absent")
    tool.write_text("#!/bin/sh\necho two > out.txt\n")
    outcome = project.run("", argv=("tools/make",), explain=True)
    assert outcome.data["outcome"] == "ran" and "program was" in str(outcome.data["explain"])


@pytest.mark.parametrize("usable", ["file", "world-writable", "unwritable"])
def test_without_a_cache_the_command_simply_runs(project: Commands, usable: str, tmp_path: Path) -> None:
    """A cache that cannot be used costs the second run, never the answer, and is named."""
    if usable == "file":
        project.cache.write_text("not a directory")
    elif usable == "world-writable":
        project.cache.mkdir()
        project.cache.chmod(0o777)
    else:
        project.cache.symlink_to("/proc/self/nowhere")
    for _ in range(2):
        outcome = project.run(JOIN)
        assert outcome.data["outcome"] == "unkept", outcome
        assert outcome.data["reason"] in ("untrusted", "no-directory", "unwritable", "read-only")
        assert (project.root / "out.txt").read_text() == "alpha\nbeta\n"
    assert project.leftovers() == []


def test_a_run_without_command_or_output_is_a_usage_error(project: Commands) -> None:
    """There must be a command and an output, and a variable's name is no assignment."""
    with pytest.raises(UsageError, match="no output"):
        project.run(JOIN, outputs=())
    with pytest.raises(UsageError, match="no command"):
        project.run("", argv=("",))
    with pytest.raises(UsageError, match="not the name of a variable"):
        project.run(JOIN, named=("A=b",))
    with pytest.raises(UsageError, match="is given to --env and to --env-pass"):
        project.run(JOIN, named=("A",), passed=("A",))
