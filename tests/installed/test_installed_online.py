"""Real wheels, installed by uv and by pip: digests, launchers, scripts and bytecode hold for every one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import uv

from envid.installed.bytecode import Suspect, judge_many
from envid.installed.interpreter import Environment, environment_of, measure
from envid.installed.launcher import launcher_ok, launchers_of, python_paths, script_ok, script_tail_digest
from envid.installed.record import content_digest_from_record, parse_record
from envid.installed.wheel import read_contents
from envid.values.contents import WheelContents

pytestmark = [pytest.mark.online, pytest.mark.slow]

# Chosen for what they install: headers (greenlet), scripts (jmespath, ninja), data files (jupyterlab-pygments,
# notebook-shim, tqdm), platlib (markupsafe, pyyaml), many launchers (docutils, pip), namespaces (zope-event).
PROJECTS = (
    "attrs", "certifi", "charset-normalizer", "click", "colorama", "distlib", "docutils", "flask", "greenlet", "idna",
    "iniconfig", "jinja2", "jmespath", "jupyterlab-pygments", "markupsafe", "mpmath", "ninja", "notebook-shim",
    "packaging", "pip", "pluggy", "pygments", "pytest", "pyyaml", "requests", "rich", "six", "tqdm", "urllib3",
    "zope-event",
)  # fmt: skip


def run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("wheels")
    options = ("-q", "--no-deps", "--only-binary", ":all:")
    run(sys.executable, "-m", "pip", "download", *options, "-d", directory, *PROJECTS)
    found = sorted(directory.glob("*.whl"))
    assert len(found) == len(PROJECTS) >= 25
    return found


@pytest.fixture(scope="session")
def contents(wheels: list[Path]) -> dict[Path, WheelContents]:
    return {path: read_contents(path, filename=path.name, sha256=None) for path in wheels}


@pytest.fixture(scope="session", params=["uv", "uv in a long path", "pip", "pip in a path with spaces"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]
) -> Environment:
    """An environment with every wheel in it, or, where only the form of scripts is in question, those with scripts."""
    if " in a " in request.param:
        wheels = [path for path in wheels if path.name.startswith(("docutils-", "jmespath-", "pip-", "pygments-"))]
    place = {"uv in a long path": "x" * 130, "pip in a path with spaces": "a b"}.get(request.param, "v")
    root = tmp_path_factory.mktemp("env") / place
    program = uv.find_uv_bin()
    run(program, "venv", "-q", "-p", sys.executable, root)
    if request.param.startswith("uv"):
        run(program, "pip", "install", "-q", "--no-index", "--no-deps", "--compile-bytecode", "--link-mode", "copy",
            "-p", root / "bin/python", *wheels)  # fmt: skip
    else:
        pip = (sys.executable, "-m", "pip", "--python", root / "bin/python")
        run(*pip, "install", "-q", "--no-index", "--no-deps", *wheels)
    return environment_of(root)


def installed(environment: Environment, contents: dict[Path, WheelContents]) -> list[WheelContents]:
    found = [wheel for wheel in contents.values() if (environment.purelib / wheel.dist_info).is_dir()]
    assert len(found) in (4, len(PROJECTS))
    return found


def recorded_digest(environment: Environment, contents: WheelContents, paths: Sequence[str]) -> str | None:
    record = environment.purelib / contents.dist_info / "RECORD"
    return content_digest_from_record(
        parse_record(record.read_bytes()),
        site_packages=environment.purelib.relative_to(environment.root).as_posix(),
        name=contents.name,
        launchers={entry.script for entry in contents.entry_points},
        script_tail=lambda name: script_tail_digest(str(environment.scripts / name), paths),
    )


def test_digest_of_every_installed_record(environment: Environment, contents: dict[Path, WheelContents]) -> None:
    """The content digest of an installed RECORD is that of the wheel's bytes, for every wheel and installer."""
    paths = python_paths(environment)
    for found in installed(environment, contents):
        assert recorded_digest(environment, found, paths) == found.digest, found.name


def test_every_launcher_and_script(environment: Environment, contents: dict[Path, WheelContents]) -> None:
    """Every launcher is one that we expect, every rewritten script is the wheel's, and there are some of both."""
    paths = python_paths(environment)
    scripts = os.listdir(environment.scripts)
    checked = rewritten = 0
    for found in installed(environment, contents):
        for entry in launchers_of(found.name, found.entry_points, scripts):
            assert launcher_ok((environment.scripts / entry.script).read_bytes(), entry, paths), entry
            checked += 1
        for item in found.entries:
            if item.python_script:
                assert script_ok((environment.scripts / item.path).read_bytes(), item.tail_blake3, paths), item
                rewritten += 1
    assert checked > 10
    assert rewritten >= 1


def test_every_file_is_where_it_is_expected(environment: Environment, contents: dict[Path, WheelContents]) -> None:
    """Each entry of each wheel lies in the directory of its scheme with the size of the wheel's bytes."""
    directories = {
        "purelib": environment.purelib, "platlib": environment.platlib, "scripts": environment.scripts,
        "data": environment.root,
    }  # fmt: skip
    for found in installed(environment, contents):
        headers = {path.name.lower().replace("_", "-"): path for path in environment.headers.glob("*")}
        for item in found.entries:
            directory = headers[found.name] if item.scheme == "headers" else directories[item.scheme]
            if not item.python_script:
                assert (directory / item.path).stat().st_size == item.size, item


def test_no_bytecode_is_a_false_alarm(environment: Environment) -> None:
    """Every .pyc that uv or pip compiled is ok."""
    suspects = []
    for pyc in environment.purelib.rglob("__pycache__/*.pyc"):
        source = pyc.parent.parent / (pyc.name.partition(".")[0] + ".py")
        suspects.append(Suspect(pyc=str(pyc), source=str(source)))
    assert len(suspects) > 300
    answers = judge_many(suspects, python=environment.base_executable, interpreter=measure())
    assert [suspect for suspect, answer in zip(suspects, answers, strict=True) if answer != "ok"] == []
