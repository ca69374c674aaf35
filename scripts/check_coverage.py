"""Fail unless every branch of the pure floors is covered: errors, values, identity, slots, the gate, manifests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PURE = (
    "src/envid/errors.py", "src/envid/gate.py", "src/envid/identity.py", "src/envid/manifest.py", "src/envid/slot.py",
    "src/envid/values/",
)  # fmt: skip


def main() -> int:
    """Read .coverage; print what is missing; return 0 when nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)], check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    incomplete = 0
    for name, file in sorted(files.items()):
        if name.startswith(PURE) and (file["missing_lines"] or file["missing_branches"]):
            incomplete += 1
            print(f"{name}: lines {file['missing_lines']}, branches {file['missing_branches']}")
    print(f"pure floors: {incomplete} files not covered completely")
    return 1 if incomplete else 0


if __name__ == "__main__":
    sys.exit(main())
