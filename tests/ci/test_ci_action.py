"""The composite action, run step by step with a real bash, real archives and the modelled cache service."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from action_runner import Runner, StepFailed, load
from envid.store.seal import NAME
from projects import BIN
from wheels import make_wheel

ROOT = Path(__file__).parents[2]
MANIFEST = load(ROOT / "action.yml")
STEPS = MANIFEST["runs"]["steps"]


def by_itself(runner: Runner) -> None:
    """Do what the step `install` does, without an index: put envid on the PATH."""
    place = runner.temp / "bin"
    place.mkdir()
    (place / "envid").symlink_to(BIN / "envid")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner with a locked project of two wheels, which come from a folder."""
    made = Runner(
        workspace=tmp_path / "workspace", temp=tmp_path / "temp", home=tmp_path / "home",
        path=os.pathsep.join([str(tmp_path / "temp" / "bin"), "/usr/bin", "/bin"]),
        variables={"UV_FIND_LINKS": str(tmp_path / "served"), "UV_NO_INDEX": "1"}, replaced={"install": by_itself},
    )  # fmt: skip
    make_wheel(tmp_path / "served", "alpha", "1.0", entry_points="[console_scripts]\nalpha = alpha:main\n")
    make_wheel(tmp_path / "served", "beta", "1.0")
    lock(made, '"alpha", "beta"')
    made.fresh()
    return made


def lock(runner: Runner, dependencies: str, more: str = "") -> None:
    """Write the project, without any environment, and lock it."""
    shutil.rmtree(runner.workspace, ignore_errors=True)
    runner.workspace.mkdir()
    (runner.workspace / "pyproject.toml").write_text(
        f'[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{dependencies}]\n'
        f"[tool.envid.lock]\ncontents = true\nneutral = true\n{more}\n"
    )
    variables = {**os.environ, **runner.variables, "ENVID_CACHE_DIR": str(runner.workspace.parent / "locking")}
    subprocess.run([str(BIN / "envid"), "lock"], cwd=runner.workspace, env=variables, check=True, capture_output=True)


def site(runner: Runner) -> Path:
    return next((runner.workspace / ".venv" / "lib").glob("python*")) / "site-packages"


def checkout(runner: Runner) -> None:
    """Begin a job on a fresh machine: what version control does not have is not there."""
    runner.fresh()
    for name in (".venv", ".envid", "gen", "out"):
        shutil.rmtree(runner.workspace / name, ignore_errors=True)


@pytest.mark.slow
def test_an_environment_is_made_once_and_restored_after(runner: Runner) -> None:
    """The first job makes, verifies, seals and saves; the next one restores, verifies, and makes nothing."""
    first = runner.run(ROOT, {})
    assert runner.log == [
        "install",
        "key",
        "restore",
        "check",
        "make",
        "verify",
        "seal",
        "save",
        f"saved {first['key']}",
    ]
    assert first == {**first, "cache-hit": "false", "restored": "false", "reason": "miss", "verified": "true"}
    checkout(runner)
    second = runner.run(ROOT, {})
    assert runner.log == ["install", "key", "restore", f"restored {first['key']}", "check", "verify"]
    assert second == {
        "key": first["key"],
        "cache-hit": "true",
        "restored": "true",
        "reason": "exact",
        "verified": "true",
    }
    assert (runner.workspace / ".venv" / "bin" / "alpha").exists()


@pytest.mark.slow
def test_an_archive_that_was_torn_is_not_used(runner: Runner) -> None:
    """A file that is missing after unpacking is found before anything runs; the environment is made from the lock."""
    first = runner.run(ROOT, {})
    checkout(runner)
    runner.unpacked = lambda workspace: (workspace / ".venv" / "bin" / "alpha").unlink()
    second = runner.run(ROOT, {})
    assert (second["cache-hit"], second["restored"], second["reason"]) == ("true", "false", "torn")
    assert second["verified"] == "true"
    assert (runner.workspace / ".venv" / "bin" / "alpha").exists()
    # An entry never changes: there is nothing to save, and nothing to seal.
    assert runner.log[-2:] == ["make", "verify"]
    assert second["key"] == first["key"]
    # The client tells a failure while it unpacks as if there had been nothing.
    checkout(runner)
    runner.unpacked = lambda workspace: shutil.rmtree(workspace / ".venv" / "bin")
    runner.told = {"cache-hit": "", "cache-matched-key": ""}
    third = runner.run(ROOT, {})
    assert (third["restored"], third["reason"], third["verified"]) == ("false", "miss", "true")


@pytest.mark.slow
def test_a_forged_archive_with_a_right_seal_is_found_by_verify(runner: Runner, tmp_path: Path) -> None:
    """Whoever can write the cache can seal what they like: the lock then says what the files should be."""
    first = runner.run(ROOT, {})
    (site(runner) / "alpha" / "__init__.py").write_text("print('evil')\n")
    done = subprocess.run(
        [str(BIN / "envid"), "restore", "seal"], cwd=runner.workspace, check=True, capture_output=True, text=True,
        env={"PATH": runner.path, "HOME": str(tmp_path / "elsewhere")},
    )  # fmt: skip
    assert first["key"] in done.stdout
    subprocess.run(["tar", "-cf", str(tmp_path / "forged"), ".venv"], cwd=runner.workspace, check=True)
    (entry,) = runner.service.entries
    entry.payload = (tmp_path / "forged").read_bytes()
    checkout(runner)
    second = runner.run(ROOT, {})
    assert (second["restored"], second["verified"]) == ("true", "true")
    assert "env.tampered" in runner.said
    assert "made again" in runner.said
    assert (site(runner) / "alpha" / "__init__.py").read_text() == "x = 1\n"


@pytest.mark.slow
def test_a_changed_lock_has_another_key(runner: Runner) -> None:
    """With another lock nothing is restored, although the old environment's entry is there."""
    first = runner.run(ROOT, {})
    lock(runner, '"alpha"')
    checkout(runner)
    second = runner.run(ROOT, {"verify": "false", "save": "false"})
    assert second["key"] != first["key"]
    assert (second["restored"], second["verified"]) == ("false", "false")
    assert runner.log == ["install", "key", "restore", "check", "make"]
    assert not (site(runner) / "beta").exists()


@pytest.mark.slow
def test_wheels_come_from_the_ladder(runner: Runner) -> None:
    """Wheels of an older lock are restored by prefix, used by hash, and the new set is saved under its own key."""
    first = runner.run(ROOT, {"layer": "wheels"})
    lock(runner, '"alpha"')
    checkout(runner)
    # Nothing is served any more: what is installed comes from the restored wheels.
    runner.variables["UV_FIND_LINKS"] = str(runner.home)
    second = runner.run(ROOT, {"layer": "wheels"})
    assert (second["cache-hit"], second["restored"], second["reason"]) == ("false", "true", "prefix")
    assert second["verified"] == "true"
    assert f"restored {first['key']}" in runner.log
    assert runner.log[-1] == f"saved {second['key']}"
    assert (site(runner) / "alpha").exists()


@pytest.mark.slow
def test_the_store_comes_from_the_ladder(runner: Runner) -> None:
    """The archive of the store is exported, saved, restored by prefix and imported; entries for it prove themselves."""
    first = runner.run(ROOT, {"layer": "store"})
    assert runner.log[-1] == f"saved {first['key']}"
    lock(runner, '"alpha"')
    checkout(runner)
    runner.variables["UV_FIND_LINKS"] = str(runner.home)
    second = runner.run(ROOT, {"layer": "store"})
    assert (second["cache-hit"], second["restored"], second["reason"]) == ("false", "true", "prefix")
    assert second["verified"] == "true"
    assert (site(runner) / "alpha").exists()
    assert runner.log[-1] == f"saved {second['key']}"
    # An archive of garbage costs what it saves, and nothing else.
    checkout(runner)
    runner.variables["UV_FIND_LINKS"] = str(runner.workspace.parent / "served")
    runner.service.entries[-1].payload = archive_of(b"not a tar file at all")
    third = runner.run(ROOT, {"layer": "store"})
    assert (third["restored"], third["reason"], third["verified"]) == ("true", "exact", "true")


def archive_of(data: bytes) -> bytes:
    """Return the archive of a cache that holds ``data`` as the exported store."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        member = tarfile.TarInfo(".envid/store.tar")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return body.getvalue()


OWN = '[tool.envid.layers.gen]\ncomponents = ["distributions"]'


def test_a_layer_of_the_projects_own_keeps_its_trees(runner: Runner) -> None:
    """The command makes the trees, both are sealed and saved, and the next job restores them without the command."""
    lock(runner, '"alpha"', OWN)
    inputs = {
        "layer": "gen", "paths": "gen\nout/deep\n",
        "command": "mkdir -p gen out/deep; date +%N > gen/a; echo b > out/deep/b",
    }  # fmt: skip
    first = runner.run(ROOT, inputs)
    assert (first["restored"], first["verified"]) == ("false", "false")
    made = (runner.workspace / "gen" / "a").read_text()
    assert (runner.workspace / "out" / "deep" / NAME).exists()
    checkout(runner)
    second = runner.run(ROOT, inputs)
    assert (second["restored"], second["reason"]) == ("true", "exact")
    assert (runner.workspace / "gen" / "a").read_text() == made
    assert "make" not in runner.log
    checkout(runner)
    with pytest.raises(StepFailed, match="say with `command` what makes it"):
        runner.run(ROOT, {"layer": "gen", "paths": "gen"})


def test_a_project_below_the_workspace(runner: Runner) -> None:
    """The path that the cache keeps is relative to the workspace, where GitHub looks for it."""
    lock(runner, '"alpha"')
    inside = runner.workspace / "services" / "api"
    inside.mkdir(parents=True)
    for name in ("pyproject.toml", "lockfiles"):
        (runner.workspace / name).rename(inside / name)
    runner.run(ROOT, {"project": "services/api", "verify": "false"})
    assert runner.log[-1].startswith("saved ")
    shutil.rmtree(inside / ".venv")
    runner.fresh()
    again = runner.run(ROOT, {"project": "services/api", "verify": "false"})
    assert again["restored"] == "true"
    assert (inside / ".venv" / NAME).exists()


HOSTILE = (
    "$(touch planted)",
    "`touch planted`",
    '"; touch planted; "',
    "'; touch planted; '",
    "x\ntouch planted",
    "; touch planted #",
    "-x",
)


@pytest.mark.parametrize("name", ["layer", "project", "name", "target", "venv", "paths"])
def test_no_input_is_read_as_code(name: str, runner: Runner) -> None:
    """Whatever an input holds, nothing of it is executed: the step fails, or takes it for the name that it is."""
    for text in HOSTILE:
        runner.fresh()
        given = {"layer": "gen", "command": "true", name: text}
        lowered = {key: value for key, value in given.items() if key != "paths"} | {"paths": given.get("paths", "gen")}
        with pytest.raises(StepFailed):
            runner.run(ROOT, lowered)
        assert not list(runner.workspace.rglob("planted"))
        assert "planted" not in os.listdir(runner.home)


def test_no_expression_stands_in_a_script() -> None:
    """Scripts name no expression, and every variable that they read is given by their step or by the runner."""
    scripts = [step for step in STEPS if "run" in step]
    assert scripts
    text = (ROOT / "scripts" / "action").read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{?(ENVID_[A-Z]+)", text.partition("\nlock=(")[2].partition("\nmake() {")[0]))
    for step in scripts:
        assert "${{" not in step["run"]
        assert set(re.findall(r"\$(\w+)", step["run"])) <= step["env"].keys()
        verb = step["run"].split()[-1]
        assert verb == step["id"]
        assert verb == "install" or needed <= step["env"].keys() | {"ENVID_LAYER"}


def test_what_others_wrote_is_pinned() -> None:
    """Every action of others is named by the full hash of a commit, with its version beside it."""
    lines = (ROOT / "action.yml").read_text().splitlines()
    for example in (ROOT / "docs" / "examples").glob("*.yml"):
        lines += example.read_text().splitlines()
    uses = [line.strip().removeprefix("- ") for line in lines if "uses:" in line and not line.strip().startswith("#")]
    others = [line for line in uses if "OWNER/envid" not in line]
    assert others
    for line in others:
        assert re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("step", [step["id"] for step in STEPS if "run" in step])
def test_a_step_fails_when_its_command_does(step: str, runner: Runner) -> None:
    """No script goes on after a failure."""
    runner.fresh()
    runner.replaced = {}
    script = next(one for one in STEPS if one["id"] == step)["run"]
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=runner.workspace, capture_output=True, check=False,
        env={
            "PATH": "/usr/bin:/bin", "ACTION": str(ROOT), "ENVID_PYTHON": "/nowhere/python",
            "RUNNER_TEMP": str(runner.temp),
        },
    )  # fmt: skip
    assert done.returncode != 0


@pytest.mark.online
@pytest.mark.slow
def test_the_action_installs_itself(runner: Runner) -> None:
    """From its own checkout envid is installed with every dependency held to its lock, and is alone on the PATH."""
    runner.replaced = {}
    # Where the index is, this machine's pip knows; the runner has a home of its own.
    runner.variables |= {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    config = Path.home() / ".config" / "pip"
    if config.exists():
        shutil.copytree(config, runner.home / ".config" / "pip")
    done = runner.run(ROOT, {"python": sys.executable, "save": "false"})
    assert done["verified"] == "true"
    assert os.listdir(runner.temp / "envid" / "bin") == ["envid"]


def test_the_action_says_what_came_of_it() -> None:
    """Key, whether there was a hit, whether it was used and why, and whether it was verified."""
    assert set(MANIFEST["outputs"]) == {"key", "cache-hit", "restored", "reason", "verified"}
