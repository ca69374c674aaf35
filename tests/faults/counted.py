"""The short form of a part, done once in a process of its own: forks and traces need one that has no threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from faults.claims import CLAIMS

SHORT: Final = "0.005"
"""The scale."""


def claims(*parts: str) -> list[tuple[str, str]]:
    """Return part and name of every claim of ``parts``."""
    return [(claim.part, claim.name) for claim in CLAIMS if claim.part in parts]


def check(part: str, name: str) -> None:
    """Fail with what went wrong with a claim, or skip for the reason why it could not be tried."""
    tried, skipped, failures = _counted(part)[name]
    if skipped:
        pytest.skip(skipped)
    assert failures == []
    assert tried > 0


@cache
def _counted(part: str) -> dict[str, tuple[int, str, list[str]]]:
    tests = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-m", "faults", part, "--json", "--scale", SHORT], cwd=tests, capture_output=True, text=True,
        check=False, timeout=600, env={**os.environ, "PYTHONPATH": str(tests), "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode in (0, 1), ended.stderr
    return {row["name"]: (row["trials"], row["skipped"], row["failures"]) for row in rows}
