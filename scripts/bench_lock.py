"""`envid lock` beside `uv pip compile` with the same arguments, warm cache, about 170 distributions."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import timing
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print the medians and their difference."""
    envid = str(Path(sys.executable).parent / "envid")
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        shutil.copy(ROOT / "fixtures/bench/medium/pyproject.toml", directory)
        out = directory / "pylock.plain.toml"
        uv = [
            find_uv_bin(), "pip", "compile", "--universal", "--format", "pylock.toml", "--python-version", "3.11",
            "--no-header", "--no-annotate", "--no-build", "--quiet", "-p", sys.executable, "-o", str(out),
            "pyproject.toml",
        ]  # fmt: skip
        commands = {"uv pip compile": uv, "envid lock": [envid, "lock", "--quiet"]}

        def forget(_: str) -> None:
            # Both from nothing: an existing output is a set of preferences, and less work.
            out.unlink(missing_ok=True)
            shutil.rmtree(directory / "lockfiles", ignore_errors=True)

        seconds = timing.interleaved(commands, runs=7, cwd=directory, before=forget)
    plain, ours = (timing.median(seconds[name]) for name in commands)
    print(f"lock: uv {plain:.2f} s, envid {ours:.2f} s: {ours - plain:+.2f} s (limit +0.40 s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
