"""README's session happens as it is printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.online

ROOT = Path(__file__).parents[2]
SESSION = re.compile(r"<!-- generated: session -->\n\n```console\n(.*?)```", re.DOTALL)


def same_but_for_releases(text: str) -> str:
    """Reduce what changes with the index's next release, the Python and the key: digits and hexadecimal digits."""
    return re.sub(r"[0-9]+(\.[0-9]+)*|[0-9a-f]{8,}", "N", re.sub(r"[0-9a-f]{16,}", "N", text))


def test_the_session_of_the_readme_happens_as_printed(tmp_path: Path) -> None:
    """Each command of README's session prints what README shows, but for versions, sizes and digests."""
    found = SESSION.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    project = tmp_path / "project"
    shutil.copytree(ROOT / "fixtures" / "quickstart", project)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "ENVID_CACHE_DIR": str(tmp_path / "cache"), "NO_COLOR": "1"}
    printed = ""
    for line in found[1].splitlines():
        if line.startswith("$ "):
            done = subprocess.run(
                ["bash", "-c", line[2:]], cwd=project, env=variables, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            output = done.stdout.replace(str(project), ".").rstrip()
            printed += f"{line}\n{output}\n".replace("\n\n", "\n")
    assert same_but_for_releases(printed) == same_but_for_releases(found[1])
