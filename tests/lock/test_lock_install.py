"""What the writer writes is installed by the installers it is written for."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv
from packaging.version import Version

from envid.lock.write import environments_for, neutral, write
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.target import parse_target
from wheels import make_wheel, sha256_of

TARGET = parse_target(f"cp3{sys.version_info.minor}-manylinux_2_28_x86_64")


def locked(wheel: Path, *, marker: str | None = None) -> LockedDistribution:
    artifact = Artifact(
        kind="wheel",
        filename=wheel.name,
        sha256=Sha256(sha256_of(wheel)),
        size=wheel.stat().st_size,
        url="https://index.example/" + wheel.name,
    )
    name, version = wheel.name.split("-")[:2]
    return LockedDistribution(name=NormalizedName(name), version=version, marker=marker, wheels=(artifact,))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A neutral lock beside a wheelhouse that holds what it names."""
    house = tmp_path / "wheelhouse"
    needed, foreign = make_wheel(house, "needed", "1.0"), make_wheel(house, "foreign", "2.0")
    lock = Lock(
        created_by="x",
        distributions=(locked(needed), locked(foreign, marker="sys_platform == 'sunos5'")),
        requires_python=">=3.11",
        inputs={"requirements": ["needed", "foreign"], "resolver": "uv"},
        contents={sha256_of(needed): "0" * 64},
    )
    other = {
        "tool": {"other": {"key": [1, {"x": "y"}]}},
        "packages": {("needed", "1.0"): {"tool": {"other": {"a": 1}}, "future": [1]}},
    }
    (tmp_path / "pylock.toml").write_bytes(write(neutral(lock), targets=(), preserved=other))
    return tmp_path


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        argv, cwd=cwd, env={**kept, "UV_CACHE_DIR": str(cwd / "cache")}, capture_output=True, text=True
    )


def installed(python: Path) -> str:
    program = "import importlib.metadata as m; print(sorted({d.name for d in m.distributions()} - {'pip'}))"
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_uv_installs_from_the_written_lock_offline(project: Path) -> None:
    """uv pip sync takes a neutral lock with every optional table in it, without index or network."""
    program = uv.find_uv_bin()
    run(program, "venv", "--python", sys.executable, "env", cwd=project).check_returncode()
    done = run(
        program, "pip", "sync", "--offline", "--no-index", "--python", "env/bin/python", "pylock.toml", cwd=project
    )
    assert done.returncode == 0, done.stderr
    assert installed(project / "env/bin/python") == "['needed']"


def test_uv_holds_the_wheel_to_the_hash_in_the_lock(project: Path) -> None:
    """The digests that the writer writes are enforced: a wheel changed afterwards is not installed."""
    make_wheel(project / "wheelhouse", "needed", "1.0", files={"needed/__init__.py": b"x = 2\n"})
    program = uv.find_uv_bin()
    run(program, "venv", "--python", sys.executable, "env", cwd=project).check_returncode()
    done = run(
        program, "pip", "sync", "--offline", "--no-index", "--python", "env/bin/python", "pylock.toml", cwd=project
    )
    assert done.returncode != 0
    assert installed(project / "env/bin/python") == "[]"


@pytest.mark.skipif(
    Version(importlib.metadata.version("pip")) < Version("26.1"), reason="pip installs locks since 26.1"
)
def test_pip_installs_from_the_written_lock(project: Path) -> None:
    """pip install -r takes the same file, BLAKE3 and foreign tables and all."""
    done = run(
        sys.executable,
        "-I",
        "-m",
        "pip",
        "install",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        "out",
        "-r",
        "pylock.toml",
        cwd=project,
    )
    assert done.returncode == 0, done.stderr
    assert (project / "out/needed/__init__.py").is_file()
    assert not (project / "out/foreign").exists()


def test_uv_refuses_a_target_outside_the_guard(project: Path) -> None:
    """The environments guard that declared targets give is honoured by uv, which then installs nothing."""
    lock = Lock(created_by="x", distributions=(), environments=environments_for([parse_target("cp39-win_arm64")]))
    (project / "pylock.toml").write_bytes(write(lock, targets=()))
    program = uv.find_uv_bin()
    run(program, "venv", "--python", sys.executable, "env", cwd=project).check_returncode()
    done = run(
        program, "pip", "sync", "--offline", "--no-index", "--python", "env/bin/python", "pylock.toml", cwd=project
    )
    assert done.returncode != 0
