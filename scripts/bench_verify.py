"""`envid verify` at its three depths beside `find`, hashlib, `uv pip sync --check` and `pip check`.

The environment is made once, in ``.envid/bench-verify`` or ``ENVID_BENCH_VERIFY``: science, web and notebooks,
about 1 GB. Everything is measured warm (page cache, stat index), in turn, in one run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import timing
from uv import find_uv_bin

from envid.installed.interpreter import measure
from envid.values.target import host_target

ROOT = Path(__file__).resolve().parents[1]
RUNS = 9
HASHLIB = """
import hashlib, os, sys
for directory, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(directory, name)
        if not os.path.islink(path):
            with open(path, "rb") as stream:
                hashlib.file_digest(stream, "sha256")
"""
READ = """
import sys
from envid.installed.reading import Reading
with Reading(sys.argv[2], sys.argv[3:], sha256=sys.argv[1] == "sha256") as reading:
    for _ in reading.runs():
        pass
"""


def prepared(directory: Path, envid: str) -> Path:
    """Return the environment, locked and installed by envid."""
    directory.mkdir(parents=True, exist_ok=True)
    # Contents are recorded for declared targets alone: this host is one.
    wanted = (ROOT / "fixtures/bench/verify/pyproject.toml").read_text(encoding="utf-8")
    text = f'{wanted}\n[tool.envid]\ntargets = ["{host_target(measure()).name}"]\n'
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    if not (directory / "lockfiles/pylock.toml").exists():
        subprocess.run([envid, "lock"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    if not (directory / ".venv").exists():
        subprocess.run([envid, "sync"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return directory / ".venv"


def main() -> int:
    """Print the medians and the ratios that have a limit."""
    envid = str(Path(sys.executable).parent / "envid")
    directory = Path(os.environ.get("ENVID_BENCH_VERIFY") or ROOT / ".envid/bench-verify")
    environment = prepared(directory, envid)
    # pip compiles itself at its first start; uv's seeds are not among what is verified.
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "check"]
    files = sum(len(names) for _, _, names in os.walk(environment))
    size = sum(
        os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(environment) for name in names
    )
    print(f"verify: {files} files, {size / 1e9:.2f} GB")
    bare, find, sha256 = "python -I -c pass", "find -printf", "hashlib SHA-256, one thread"
    quick, default, full, first = "verify --quick", "verify", "verify --full", "verify --full, first time"
    commands = {
        bare: [sys.executable, "-I", "-c", "pass"],
        find: ["find", str(environment), "-printf", "%s %T@ %i %m %p\n"],
        quick: [envid, "verify", "--quick"],
        default: [envid, "verify"],
        "uv pip sync --check": [
            find_uv_bin(), "pip", "sync", "--check", "--offline", "--preview-features", "pylock", "--python",
            str(environment / "bin/python"), str(directory / "lockfiles/pylock.toml"),
        ],
    }  # fmt: skip
    seconds = timing.interleaved(commands, runs=2 * RUNS, cwd=directory, warm=2)
    # What no verification can do without, on this machine: the names, the metadata and a digest of every byte.
    sites = [str(site.relative_to(environment)) for site in environment.glob("lib/python3*/site-packages")]
    by_blake3, by_sha256 = "reading alone, BLAKE3", "reading alone, SHA-256"
    slow = {
        sha256: [sys.executable, "-I", "-c", HASHLIB, str(environment)],
        full: [envid, "verify", "--full"],
        first: ["env", f"ENVID_CACHE_DIR={directory / 'empty-cache'}", envid, "verify", "--full"],
        by_blake3: [sys.executable, "-I", "-c", READ, "blake3", str(environment), *sites, "bin"],
        by_sha256: [sys.executable, "-I", "-c", READ, "sha256", str(environment), *sites, "bin"],
        "pip check": pip,
    }

    def forget(_: str) -> None:
        shutil.rmtree(directory / "empty-cache", ignore_errors=True)

    seconds |= timing.interleaved(slow, runs=RUNS // 2, cwd=directory, before=forget, expect=(0, 1))
    for name, values in seconds.items():
        print(f"  {name:32} {1000 * timing.median(values):9.1f} ms")
    turns = zip(seconds[default], seconds[find], seconds[bare], strict=True)
    warm = timing.median([a / (2 * b + 2 * c) for a, b, c in turns])
    print(f"  quick / bare start               {timing.ratio(seconds, quick, bare):6.2f} (limit 4.00)")
    print(f"  default / (2 find + 2 bare)      {warm:6.2f} (limit 1.00)")
    print(f"  full / hashlib                   {timing.ratio(seconds, full, sha256):6.2f} (limit 0.25)")
    print(f"  full, SHA-256 only / hashlib     {timing.ratio(seconds, first, sha256):6.2f} (limit 0.65)")
    print(f"  reading alone, BLAKE3 / hashlib  {timing.ratio(seconds, by_blake3, sha256):6.2f}")
    print(f"  reading alone, SHA-256 / hashlib {timing.ratio(seconds, by_sha256, sha256):6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
