"""Keys of layers that mean one environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from envid.app.keys import identify_for
from interpreters import interpreters
from keyed import Package, keyed


def test_an_environment_that_is_there_says_which_python_it_has(tmp_path: Path) -> None:
    """The key of the layer venv is that of the environment's own Python, named or not, once there is one."""
    project = keyed(tmp_path).given(Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),)))
    venv = project.root / ".venv"
    absent = identify_for(project.workspace, layer="venv").key
    for python in interpreters().values():
        subprocess.run([str(python), "-m", "venv", "--clear", "--without-pip", str(venv)], check=True)
        found = identify_for(project.workspace, layer="venv")
        named = identify_for(project.workspace, layer="venv", venv=str(venv))
        assert found.key == named.key
        assert found.memory is None
        same = Path(python).resolve() == Path(sys.executable).resolve()
        assert (found.key == absent) is same
