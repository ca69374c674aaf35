#!/usr/bin/env python3
"""Figures of `envid run` when there is nothing to run: ratios of whole processes, medians of interleaved runs.

The project `medium` of fixtures/bench is locked once (uv's own resolution, real index) in a temporary directory and
given files to read. A command that joins them runs once; then the same run with nothing to do, and with its output
removed, are timed beside a bare interpreter.
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
MOST = 4.0
"""Times a bare interpreter that a run with nothing to do may take."""
LAYER = "bench"
"""Without distributions: a layer that has them runs nothing where there is no environment."""
SIZE = 4096
"""Bytes of each input."""


def main() -> int:
    """Measure with few and with many inputs; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("inputs", nargs="*", type=int, default=[10, 1000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envid-bench-") as place:
        project = Path(place) / "project"
        shutil.copytree(ROOT / "fixtures" / "bench" / "medium", project)
        with (project / "pyproject.toml").open("a", encoding="utf-8") as stream:
            stream.write(f'\n[tool.envid.layers.{LAYER}]\ncomponents = ["python", "platform", "selection", "salt"]\n')
        env = {**os.environ, "ENVID_CACHE_DIR": f"{place}/cache"}
        envid = str(Path(sys.executable).with_name("envid"))
        subprocess.run([envid, "lock"], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
        for number in options.inputs:
            measure(number, project, envid, env, options.runs)
    return 0


def measure(number: int, project: Path, envid: str, env: dict[str, str], runs: int) -> None:
    """Print the ratios with ``number`` inputs."""
    source = project / f"src{number}"
    source.mkdir()
    for index in range(number):
        (source / f"{index:04}.txt").write_bytes(bytes([index % 256]) * SIZE)
    out = project / f"out{number}"
    # A lock of 170 distributions and no environment: what a run with nothing to do looks at is the lock.
    line = [envid, "run", "--layer", LAYER, "--in", f"{source.name}/*.txt", "--out", f"{out.name}/", "--", "sh", "-c"]
    line.append(f"cat {source.name}/*.txt > {out.name}/all; cp {source.name}/0000.txt {out.name}/first")
    subprocess.run(line, cwd=project, env=env, check=True, stderr=subprocess.DEVNULL)
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "run, nothing to do": line,
        "run, restoring": [*line[:2], "--wait", "60", *line[2:]],
    }

    def remove(command: str) -> None:
        if command == "run, restoring":
            shutil.rmtree(out)

    seconds = interleaved(commands, runs=runs, cwd=project, env=env, before=remove, warm=2)
    print(f"run: {number} inputs of {SIZE} bytes, 2 outputs of {number * SIZE + SIZE} bytes; {runs} runs")
    for command in commands:
        print(f"  {command:24} {median(seconds[command]) * 1000:7.1f} ms")
    found = ratio(seconds, "run, nothing to do", "bare")
    limit = MOST if number <= 10 else None
    said = f" (at most {limit})" if limit else ""
    print(f"  {'run, nothing to do':24} {found:5.2f} x bare{said}{' FELL SHORT' if limit and found > limit else ''}")
    print(f"  {'run, restoring':24} {ratio(seconds, 'run, restoring', 'bare'):5.2f} x bare")


if __name__ == "__main__":
    sys.exit(main())
