#!/usr/bin/env python3
"""Figures of `envid key` and `envid lock --check`: ratios of whole processes, medians of interleaved runs.

Each project of fixtures/bench is locked once (uv's own resolution, real index) in a temporary directory; then
`key` repeated, `key` for the first time, and `lock --check` repeated are timed beside a bare interpreter
and beside a process that only parses the same lock with tomllib.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import interleaved, median, ratio

ROOT = Path(__file__).resolve().parents[1]
TARGETS = (("key, repeated", "bare", 1.3), ("lock --check, repeated", "bare", 1.6), ("key, first time", "tomllib", 0.5))


def main() -> int:
    """Measure and print each project; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("projects", nargs="*", default=["medium", "large"])
    options = parser.parse_args()
    for name in options.projects:
        with tempfile.TemporaryDirectory(prefix="envid-bench-") as place:
            measure(name, Path(place), options.runs)
    return 0


def measure(name: str, place: Path, runs: int) -> None:
    """Lock the project ``name`` in ``place`` and print its ratios."""
    envid = str(Path(sys.executable).with_name("envid"))
    shutil.copytree(ROOT / "fixtures" / "bench" / name, place / "project")
    project, cache = place / "project", place / "cache"
    env = {**os.environ, "ENVID_CACHE_DIR": str(cache)}
    subprocess.run([envid, "lock"], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    lock = project / "lockfiles" / "pylock.toml"
    answers = cache / "answers-v1"
    commands = {
        "bare": [sys.executable, "-I", "-c", "pass"],
        "tomllib": [sys.executable, "-I", "-c", f"import tomllib; tomllib.load(open({str(lock)!r}, 'rb'))"],
        "key, repeated": [envid, "key"],
        "lock --check, repeated": [envid, "lock", "--check"],
        "key, first time": [envid, "key", "--layer", "env"],
    }

    def forget(command: str) -> None:
        # `--layer env` is another question than `key`, with a file of its own: forgetting it leaves the other hot.
        if command == "key, first time":
            for file in answers.glob("*"):
                if file not in kept:
                    file.unlink()

    for command in ("key, repeated", "lock --check, repeated"):
        subprocess.run(commands[command], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    kept = set(answers.glob("*"))
    seconds = interleaved(commands, runs=runs, cwd=project, env=env, before=forget, warm=2)
    entries = lock.read_text(encoding="utf-8").count("\n[[packages]]")
    print(f"{name}: a lock of {entries} entries, {lock.stat().st_size / 1e6:.1f} MB; {runs} runs")
    for command in commands:
        print(f"  {command:24} {median(seconds[command]) * 1000:7.1f} ms")
    for command, base, most in TARGETS:
        found = ratio(seconds, command, base)
        print(f"  {command:24} {found:5.2f} x {base} (at most {most}){'' if found <= most else ' FELL SHORT'}")


if __name__ == "__main__":
    sys.exit(main())
