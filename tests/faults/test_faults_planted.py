"""The suite itself can fail: faults planted in a copy of the code are found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import envid
from faults.counted import SHORT
from faults.tracing import unfit

PLANTED = [
    ("guard.py", "fcntl.flock(handle, how)", "pass", "crowd:holds"),
    ("guard.py", "if time.monotonic() >= deadline:", "if time.monotonic() >= deadline + 5:", "waits:stopped"),
    ("atomic.py", "left = left[os.write(handle, left) :]", "os.write(handle, left); break", "limits:put"),
    ("store/collection.py", 'return "young"', "return None", "kills:gc"),
    ("store/entry.py", "if trailer(head, proof.digest()) != end:", "if False:", "bits:flips"),
]
"""File, what stands there, what is put in its place, and the claim that must fail then."""


@pytest.mark.parametrize(("file", "old", "new", "claim"), PLANTED, ids=[claim for *_, claim in PLANTED])
def test_a_planted_fault_is_found(tmp_path: Path, file: str, old: str, new: str, claim: str) -> None:
    """With this one line of the code replaced, the claim fails."""
    if claim.startswith("kills") and (why := unfit()):
        pytest.skip(why)
    source = Path(envid.__file__).parent
    shutil.copytree(source, tmp_path / "envid", ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / "envid" / file).read_text(encoding="utf-8")
    assert old in text, "the line is another one by now: plant this fault again"
    (tmp_path / "envid" / file).write_text(text.replace(old, new), encoding="utf-8")
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "faults", claim, "--json", "--scale", SHORT], cwd=tests, capture_output=True, text=True,
        check=False, timeout=300, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{tests}"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["failures"]
