"""`envid run` as people start it: many at a time, interrupted, killed, and on real generators."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import Commands
from projects import BIN, Project, host_targets

ENVID = str(BIN / "envid")
LAYER = ("--layer", "plain")
"""Of a project that has no environment."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A project, and the real command in it."""

    commands: Commands
    log: Path

    def start(self, *words: str, root: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        """Start ``envid run`` and do not wait."""
        env = {**os.environ, "ENVID_CACHE_DIR": str(self.commands.cache), "LOG": str(self.log), **variables}
        return subprocess.Popen(
            [ENVID, "run", *LAYER, *words], cwd=root or self.commands.root, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, root: Path | None = None, **variables: str) -> tuple[int, str, str]:
        """Run it to its end; return status, standard output and standard error."""
        child = self.start(*words, root=root, **variables)
        out, err = child.communicate(timeout=120)
        assert "Traceback" not in err, err
        return child.returncode, out, err

    @property
    def times(self) -> int:
        """How often the command logged that it ran."""
        return self.log.read_text().count("ran\n") if self.log.exists() else 0


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A project with two inputs, a cache of its own, and a file outside in which commands log."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    project = Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()
    return Runs(commands=project, log=tmp_path / "log")


def words(script: str, *options: str, out: str = "gen/") -> tuple[str, ...]:
    """Return the command line of a shell script that reads src and makes ``out``."""
    return (*options, "--env-pass", "LOG", "--in", "src/*.txt", "--out", out, "--", "sh", "-c", script)


COUNTED = 'echo ran >> "$LOG"; cat src/*.txt > gen/all; cp src/a.txt gen/a'


def all_hold(runs: Runs, children: list[subprocess.Popen[str]], roots: list[Path]) -> None:
    """Wait for all, and require that each ended well with the right tree."""
    for child in children:
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    for root in roots:
        assert (root / "gen/all").read_text() == "alpha\nbeta\n"
        assert (root / "gen/a").read_text() == "alpha\n"
        assert sorted(os.listdir(root / "gen")) == ["a", "all"]
        assert sorted(path.name for path in root.glob(".*")) == [".envid"]


@pytest.mark.slow
def test_64_callers_in_one_project_run_it_once(runs: Runs) -> None:
    """Of 64 concurrent callers in one project, one runs the command, and all find its outputs."""
    children = [runs.start(*words(COUNTED)) for _ in range(64)]
    all_hold(runs, children, [runs.commands.root])
    assert runs.times == 1


@pytest.mark.slow
def test_64_callers_in_four_copies_run_it_once(runs: Runs) -> None:
    """Of 16 concurrent callers in each of four copies of a project, one runs the command for all of them."""
    roots = [runs.commands.root, *(runs.commands.copy(f"copy{number}").root for number in range(3))]
    children = [runs.start(*words(COUNTED), root=root) for _ in range(16) for root in roots]
    all_hold(runs, children, roots)
    assert runs.times == 1


def test_streams_and_status_are_the_commands(runs: Runs) -> None:
    """Output passes straight through; the status is the command's, 128 and the signal for one that was killed."""
    status, out, err = runs.run(*words("echo said; echo complained >&2; touch gen/x"))
    assert (status, out) == (0, "said\n") and err.startswith("complained\nrun: ")
    assert runs.run(*words("exit 42"))[0] == 42
    assert runs.run(*words("kill -TERM $$"))[0] == 143
    status, out, err = runs.run(*words("echo said; exit 7", "--json"))
    document = json.loads(out)
    assert (status, document["exit_code"], document["ok"]) == (7, 7, False)
    assert (document["data"]["status"], document["data"]["outcome"], err) == (7, "failed", "said\n")


def test_standard_input_is_empty(runs: Runs) -> None:
    """A command that reads standard input finds its end, and does not hang."""
    assert runs.run(*words("cat > gen/read; test ! -s gen/read"))[0] == 0


def test_words_of_the_command_are_its_own(runs: Runs) -> None:
    """Options behind `--`, another `--` among them, reach the command and mean nothing to envid."""
    line = (
        "--in",
        "src",
        "--out",
        "out.txt",
        "--",
        "sh",
        "-c",
        'echo "$@" > out.txt',
        "sh",
        "--json",
        "--",
        "--in",
        "x",
    )
    status, out, err = runs.run(*line)
    assert (status, out) == (0, ""), err
    assert (runs.commands.root / "out.txt").read_text() == "--json -- --in x\n"
    status, out, err = runs.run("--in", "src", "--out", "../x", "--", "sh", "--json")
    assert status == 2 and out == "" and "not a path below the project" in err
    for words in ((), ("--",), ("--out", "x"), ("--out", "x", "--"), ("--out", "x", "--", "")):
        status, out, err = runs.run(*words)
        assert status == 2 and "there is no command to run" in err, (words, err)
    env = {**os.environ, "ENVID_CACHE_DIR": str(runs.commands.cache)}
    done = subprocess.run(
        [ENVID, "--project", str(runs.commands.root), "run", *LAYER, *line], cwd="/", env=env, check=False
    )
    assert done.returncode == 0


def test_a_line_without_a_command_is_a_usage_error(runs: Runs) -> None:
    """Without `--`, or with nothing behind it, the exit status is 2, as text and as JSON."""
    for words in (("--in", "src", "--out", "gen/"), ("--in", "src", "--out", "gen/", "--"), ("--json", "--"), ("--",)):
        status, out, err = runs.run(*words)
        assert status == 2 and "there is no command to run" in out + err, (words, err)


def test_quiet_hides_no_warning(runs: Runs) -> None:
    """That nothing was kept is told with --quiet, on standard error, and is a warning with a hint in JSON."""
    line = ("--in", "src", "--out", "gen/", "--", "sh", "-c", "echo said; touch gen/x stray; rm src/a.txt")
    status, out, err = runs.run("--quiet", *line)
    assert (status, out) == (0, "said\n")
    assert err.startswith("warning run.inputs-changed: ") and "nothing was kept" in err and "hint: " in err
    runs.commands.write("src/a.txt", "alpha\n")
    document = json.loads(runs.run("--json", *line)[1])
    assert document["data"]["reason"] == "inputs-changed" and document["ok"] is True
    (finding,) = document["findings"]
    assert (finding["code"], finding["severity"], bool(finding["hint"])) == ("run.inputs-changed", "warning", True)


def test_a_script_that_the_command_names_ends_the_memory(runs: Runs) -> None:
    """A run with nothing to do runs again once a file that a word of its command names was edited."""
    script = runs.commands.write("tools/generate.sh", "cat src/*.txt > gen/all\n")
    line = ("--in", "src", "--out", "gen/", "--", "sh", "tools/generate.sh")
    assert "made and kept" in runs.run(*line)[2]
    assert "up to date" in runs.run(*line)[2]
    assert "up to date" in runs.run("--clean", *line)[2]
    script.write_text("cat src/a.txt > gen/all\n")
    assert "made and kept" in runs.run(*line)[2]
    runs.commands.write("gen/mine", "mine")
    for _ in range(2):
        status, _, err = runs.run(*line)
        assert status == 0 and "warning run.foreign-files: " in err and "gen/mine" in err
    assert "--clean removed 1 file " in runs.run("--clean", *line)[2]


def test_the_second_run_is_answered_from_memory(runs: Runs) -> None:
    """A run with nothing to do says so without argparse, json, pathlib, typing or the store being imported."""
    line = words(COUNTED)
    assert runs.run(*line)[0] == 0
    # The first answer binds the new state; environments of tests import more at start than users' do.
    code = (
        "import sys; before = set(sys.modules); from envid.surface.cli import main; status = main(sys.argv[1:]); "
        "print(status, *sorted(set(sys.modules) - before))"
    )
    env = {**os.environ, "ENVID_CACHE_DIR": str(runs.commands.cache), "LOG": str(runs.log)}
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *LAYER, *line], cwd=runs.commands.root, env=env, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    status, *loaded = done.stdout.split()
    assert status == "0" and done.stderr.startswith("run: up to date (envid1-run-")
    assert not {"argparse", "json", "pathlib", "typing", "dataclasses", "envid.store.cache", "envid.gate"} & set(loaded)
    assert runs.times == 1


@pytest.mark.parametrize("harm", ["input", "output", "mode", "variable", "program"])
def test_memory_never_answers_for_another_state(runs: Runs, harm: str) -> None:
    """Whatever is no longer as it was ends the answer from memory: the command runs, or its outputs are restored."""
    root = runs.commands.root
    tool = root.parent / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n:\n")
    tool.chmod(0o755)
    path = f"{tool.parent}:{os.environ['PATH']}"
    line = ("--env", "FLAVOUR", "--in", "src/*.txt", "--out", "gen/", "--", "tool")
    tool.write_text('#!/bin/sh\ncat src/*.txt > gen/all; echo "$FLAVOUR" >> gen/all\n')
    flavour = "one"
    assert runs.run(*line, FLAVOUR=flavour, PATH=path)[2].startswith("run: 2 outputs made and kept")
    assert runs.run(*line, FLAVOUR=flavour, PATH=path)[2].startswith("run: up to date")
    if harm == "input":
        runs.commands.write("src/a.txt", "gamma\n")
    elif harm == "output":
        runs.commands.write("gen/all", "alpha\nbeta\nonE\n")
    elif harm == "mode":
        (root / "gen/all").chmod(0o600)
    elif harm == "variable":
        flavour = "two"
    else:
        tool.write_text('#!/bin/sh\ncat src/*.txt > gen/all; echo "$FLAVOUR" >> gen/all\n\n')
    status, _, err = runs.run(*line, FLAVOUR=flavour, PATH=path)
    assert status == 0 and "up to date" not in err, err
    first = "gamma" if harm == "input" else "alpha"
    assert (root / "gen/all").read_text() == f"{first}\nbeta\n{flavour}\n"
    assert sorted(os.listdir(root / "gen")) == ["all"] and not (root / "gen").is_symlink()
    assert (root / "gen/all").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in root.glob(".*")] == [".envid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_the_outputs_of_before(runs: Runs, number: signal.Signals) -> None:
    """After Ctrl-C or SIGTERM the previous outputs are back, the command and what it started are gone: exit 130."""
    runs.commands.write("gen/before", "before")
    script = 'echo torn > gen/torn; sleep 1000 & echo $! > "$LOG.child"; touch "$LOG.begun"; wait'
    child = runs.start(*words(script))
    begun = Path(f"{runs.log}.begun")
    while not begun.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "interrupted" in err
    assert runs.commands.tree("gen").keys() == {"gen", "gen/before"}
    assert runs.commands.leftovers() == []
    assert is_gone(int(Path(f"{runs.log}.child").read_text()))


def is_gone(pid: int) -> bool:
    """Return whether no process works under this number, after giving it a moment to end."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_the_command_of_a_killed_run_keeps_others_away(runs: Runs) -> None:
    """When envid is killed and its command works on, the next run waits for that, then puts everything right."""
    runs.commands.write("gen/before", "before")
    child = runs.start(*words('touch "$LOG.begun"; until test -e "$LOG.go"; do :; done; echo late > gen/late'))
    begun = Path(f"{runs.log}.begun")
    while not begun.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    # Not `communicate`: the command has the streams still.
    child.wait(timeout=60)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    status, _, err = runs.run(*words(COUNTED, "--wait", "0.2"))
    assert status == 7 and f"a child of process {child.pid}, which has ended" in err
    Path(f"{runs.log}.go").touch()
    status, _, err = runs.run(*words(COUNTED))
    assert status == 0 and "put right what an interrupted run left of gen" in err
    assert sorted(os.listdir(runs.commands.root / "gen")) == ["a", "all", "before"]
    assert runs.commands.leftovers() == []


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_is_right(runs: Runs) -> None:
    """After 20 kills at random moments of runs and restores, each next run gives the right tree and leaves nothing."""
    dice = random.Random(20_26)
    script = "for n in 1 2 3 4 5 6 7 8; do cat src/*.txt > gen/$n; mkdir -p gen/d$n; done"
    for trial in range(20):
        if trial % 3:
            runs.commands.write("src/a.txt", f"{trial}\n")
        elif trial:
            shutil.rmtree(runs.commands.root / "gen")
        child = runs.start(*words(script))
        time.sleep(dice.random() * 0.35)
        child.kill()
        child.communicate(timeout=60)
        status, _, err = runs.run(*words(script))
        assert status == 0, err
        wanted = "".join(path.read_text() for path in sorted((runs.commands.root / "src").iterdir()))
        found = runs.commands.tree("gen")
        assert sorted(found) == ["gen", *(f"gen/{n}" for n in range(1, 9)), *(f"gen/d{n}" for n in range(1, 9))]
        assert all(data == wanted.encode() for kind, _, data in found.values() if kind == "file")
        assert runs.commands.leftovers() == []


@pytest.mark.slow
def test_killed_at_any_moment_somebodys_own_file_is_there(runs: Runs) -> None:
    """After each of 15 kills at random moments, the next run has a hand-written file where it was, byte for byte."""
    dice = random.Random(20_27)
    script = "for n in 1 2 3 4; do cat src/*.txt > gen/$n; done"
    runs.commands.write("gen/deep/mine", "mine")
    for trial in range(15):
        runs.commands.write("src/a.txt", f"{trial}\n")
        child = runs.start(*words(script))
        time.sleep(0.1 + dice.random() * 0.35)
        child.kill()
        child.communicate(timeout=60)
        status, _, err = runs.run(*words(script))
        assert status == 0 and "warning run.foreign-files: " in err, err
        assert (runs.commands.root / "gen/deep/mine").read_text() == "mine"
        assert sorted(os.listdir(runs.commands.root / "gen")) == ["1", "2", "3", "4", "deep"]
        assert runs.commands.leftovers() == []


# --- with an environment --------------------------------------------------------------------------

PROTO = 'syntax = "proto3";\npackage demo;\nmessage Thing {{ string name = 1; {more} }}\n'
SCHEMA = '{{"title": "Thing", "type": "object", "properties": {{"name": {{"type": "string"}}{more}}}}}'


def synced(project: Project, *requirements: str) -> Project:
    """Lock and install ``requirements`` in the project."""
    wanted = ", ".join(f'"{one}"' for one in requirements)
    project.given(
        '[project]\nname = "demo"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{wanted}]\n[tool.envid]\ntargets = [{host_targets().split(',')[0]}]\n"
    )
    project.ok("lock")
    project.ok("sync")
    return project


def outcome(project: Project, *arguments: str) -> tuple[str, list[str]]:
    """Run and return the outcome and the reasons."""
    data = project.ok("run", "--json", "--explain", *arguments).json["data"]
    return data["outcome"], data["explain"]


def behaves(project: Project, line: tuple[str, ...], out: str, source: Path, text: str) -> None:
    """Require of a real generator: run, hit, restored byte for byte, run again for a changed input, hit going back."""
    before = source.read_text()
    assert outcome(project, *line)[0] == "ran"
    made = Commands(root=project.root, cache=project.cache).tree(out)
    assert any(kind == "file" and data for kind, _, data in made.values())
    assert outcome(project, *line)[0] == "hit"
    shutil.rmtree(project.root / out)
    assert outcome(project, *line)[0] == "hit"
    assert Commands(root=project.root, cache=project.cache).tree(out) == made
    source.write_text(text)
    ran, lines = outcome(project, *line)
    assert ran == "ran" and source.name in lines[0]
    assert Commands(root=project.root, cache=project.cache).tree(out) != made
    source.write_text(before)
    assert outcome(project, *line)[0] == "hit"
    assert Commands(root=project.root, cache=project.cache).tree(out) == made
    # The same work in a directory that is new: byte for byte the same, which is what --strict holds it to.
    shutil.rmtree(project.cache / "entries-v1" / "run")
    assert outcome(project, *line)[0] == "ran"
    assert Commands(root=project.root, cache=project.cache).tree(out) == made
    assert project.ok("run", *line).stderr.startswith("run: up to date")


@pytest.mark.online
@pytest.mark.slow
def test_protoc(project: Project) -> None:
    """protoc of grpcio-tools: run once, restored, run again for a changed .proto, and for another version by name."""
    synced(project, "grpcio-tools>=1.60", "idna==3.9")
    source = project.root / "proto" / "thing.proto"
    source.parent.mkdir()
    source.write_text(PROTO.format(more=""))
    line = ("--in", "proto/**/*.proto", "--out", "gen/", "--", "python", "-m", "grpc_tools.protoc", "-Iproto",
            "--python_out=gen", "--pyi_out=gen", "proto/thing.proto")  # fmt: skip
    behaves(project, line, "gen", source, PROTO.format(more="int32 size = 2;"))
    synced(project, "grpcio-tools>=1.60", "idna==3.10")
    ran, lines = outcome(project, *line)
    assert ran == "ran"
    assert lines == ["it ran: since it last ran in this project, distributions: idna went from 3.9 to 3.10"]
    # The lock says one thing and the environment another: what it makes is not kept.
    project.given((project.root / "pyproject.toml").read_text().replace("idna==3.10", "idna==3.11"))
    project.ok("lock")
    data = project.ok("run", "--json", *line).json["data"]
    assert (data["outcome"], data["reason"]) == ("unkept", "drifted")
    assert project.run("run", "--strict", "--json", *line).codes == {"run.drifted"}


@pytest.mark.online
@pytest.mark.slow
def test_datamodel_codegen(project: Project) -> None:
    """datamodel-codegen: run once, restored byte for byte, run again for a changed schema."""
    synced(project, "datamodel-code-generator")
    source = project.root / "schema" / "thing.json"
    source.parent.mkdir()
    source.write_text(SCHEMA.format(more=""))
    line = ("--in", "schema", "--out", "models/", "--", "datamodel-codegen", "--input", "schema/thing.json",
            "--input-file-type", "jsonschema", "--disable-timestamp", "--output", "models/thing.py")  # fmt: skip
    behaves(project, line, "models", source, SCHEMA.format(more=', "size": {"type": "integer"}'))


@pytest.mark.online
@pytest.mark.slow
def test_sphinx(project: Project) -> None:
    """sphinx-build: its doctrees kept out of the outputs, its HTML is the same each time and comes back whole."""
    synced(project, "sphinx")
    source = project.root / "docs" / "index.rst"
    source.parent.mkdir()
    source.write_text("Title\n=====\n\nText.\n")
    (source.parent / "conf.py").write_text('project = "demo"\n')
    line = ("--in", "docs", "--out", "html/", "--", "sh", "-c",
            'sphinx-build -q -d "$TMPDIR/doctrees" docs html && rm -f html/.buildinfo')  # fmt: skip
    behaves(project, line, "html", source, "Title\n=====\n\nOther text.\n")
