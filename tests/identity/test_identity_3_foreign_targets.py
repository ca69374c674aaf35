"""What must be true, 3: a key computed for a foreign target equals the key computed natively there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

import envid
from interpreters import MINORS, interpreters
from keyed import Keyed, keyed

SOURCE = Path(envid.__file__).parents[1]
ENTRY = "import sys; from envid.surface.cli import main; sys.exit(main(sys.argv[1:]))"
PYTHONS = interpreters()
Native = Callable[..., str]


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Native:
    """Run envid from source under the interpreter of a minor release, in an environment with its dependencies."""
    made: dict[str, Path] = {}

    def run(minor: str, project: Keyed, *arguments: str) -> str:
        if minor not in made:
            made[minor] = tmp_path_factory.mktemp("native") / minor
            binary = uv.find_uv_bin()
            subprocess.run([binary, "venv", "-q", "--python", str(PYTHONS[minor]), str(made[minor])], check=True)
            wanted = ["blake3>=1.0", "packaging>=26.1", "platformdirs>=4.3"]
            python = str(made[minor] / "bin" / "python")
            subprocess.run([binary, "pip", "install", "-q", "--python", python, *wanted], check=True)
        done = subprocess.run(
            [str(made[minor] / "bin" / "python"), "-c", ENTRY, *arguments, "--project", str(project.root)],
            capture_output=True, text=True, check=False, cwd=project.root,
            env={"PYTHONPATH": str(SOURCE), "ENVID_CACHE_DIR": str(project.cache / minor),
                "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.online
@pytest.mark.parametrize("layer", ["wheels", "env"])
@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor in PYTHONS])
def test_a_foreign_key_equals_the_native_key(tmp_path: Path, native: Native, minor: str, layer: str) -> None:
    """Each real interpreter gives for `host` the key that this one gives for its target, from the name alone."""
    project = keyed(tmp_path).given()
    document = native(minor, project, "identity", "--layer", layer)
    spoken = native(minor, project, "key", "--layer", layer, "--json")
    target = spoken.partition(f'"{layer}": {{"')[2].partition('"')[0]
    assert target.startswith(f"cp{minor}.")
    found = project.identified(layer, target)
    assert found.key in spoken
    assert found.memory is not None
    assert found.memory.document.decode() == document
    # The short form, as a project declares it, has the same key: the lock consults no patch release.
    short = f"cp{minor.replace('.', '')}-{target.partition('-')[2]}"
    assert project.key(layer, short) == found.key


@pytest.mark.online
def test_every_interpreter_gives_every_foreign_key(tmp_path: Path, native: Native) -> None:
    """For one target all interpreters on this machine give the same key, whichever of them runs envid."""
    project = keyed(tmp_path).given()
    for target in ("cp312-win_amd64", "cp312-macosx_14_0_arm64", "cp311-manylinux_2_28_x86_64"):
        keys = {native(minor, project, "key", "--target", target) for minor in PYTHONS}
        assert keys == {project.key("env", target)}
