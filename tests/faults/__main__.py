"""``python -m faults [PART[:NAME]]... [--scale X]``: try every claim and print the counts; exit 1 when one failed."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module

import envid
from faults.claims import CLAIMS, PARTS
from faults.rows import SHOWN, Claim


def main() -> int:
    """Try the claims that were asked for."""
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Count what faults do to envid's store.")
    parser.add_argument("parts", nargs="*", metavar="PART[:NAME]", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="1: the long form; 0.005: the short one of the tests")
    parser.add_argument("--directory", help="where to work (default: a temporary directory)")
    parser.add_argument("--json", action="store_true", help="one JSON document a claim")
    options = parser.parse_args()
    claims = _chosen(options.parts, parser)
    _import_everything()
    failed = 0
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="envid-faults-") as directory:
        if not options.json:
            print(
                f"kernel {platform.release()}, {_filesystem(directory)}, Python {platform.python_version()}, ", end=""
            )
            print(f"scale {options.scale}")
        for number, claim in enumerate(claims):
            own = f"{directory}/{number}"
            os.mkdir(own)
            start = time.monotonic()
            row = claim.tried(own, options.scale)
            failed += bool(row.failures)
            if options.json:
                shown = {"name": row.name, "part": row.part, "trials": row.trials, "skipped": row.skipped}
                print(json.dumps({**shown, "failures": row.failures}), flush=True)
            else:
                print(f"{row.line}  ({time.monotonic() - start:.1f} s)", flush=True)
                for failure in row.failures[:SHOWN]:
                    print(f"    {failure}", flush=True)
    return 1 if failed else 0


def _chosen(parts: list[str], parser: argparse.ArgumentParser) -> list[Claim]:
    every = list(CLAIMS)
    if not parts:
        return every
    known = {*PARTS, *(f"{claim.part}:{claim.name}" for claim in every)}
    for part in parts:
        if part not in known:
            parser.error(f"no part {part}; there are: {', '.join(sorted(known))}")
    return [claim for claim in every if claim.part in parts or f"{claim.part}:{claim.name}" in parts]


def _import_everything() -> None:
    """Import all of envid, and what it imports late: a trial is about the work, not about imports."""
    for module in pkgutil.walk_packages(envid.__path__, "envid."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in ("difflib", "fcntl", "json", "shutil", "tarfile", "tempfile", "zipfile", "concurrent.futures.thread"):
        import_module(name)


def _filesystem(path: str) -> str:
    """Return the type of the filesystem that ``path`` is on."""
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], capture_output=True, text=True, check=False)
    return found.stdout.strip().splitlines()[-1] if found.stdout.strip() else "unknown filesystem"


if __name__ == "__main__":
    sys.exit(main())
