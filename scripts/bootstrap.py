"""Install envid into a new virtual environment, every byte of its dependencies held to its own lock.

Standard library only: this runs before anything of envid is there. Usage:

    python scripts/bootstrap.py VENV [--lock NAME] [--editable]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def requirements(lock: Path) -> str:
    """Return the lock as hashed requirements, which every pip understands."""
    lines = []
    for package in tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]:
        marker = f" ; {package['marker']}" if "marker" in package else ""
        hashes = sorted({wheel["hashes"]["sha256"] for wheel in package["wheels"]})
        pins = "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes)
        lines.append(f"{package['name']}=={package['version']}{marker}{pins}\n")
    return "".join(lines)


def main() -> int:
    """Make the environment; return the exit status of what failed, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("venv", type=Path)
    parser.add_argument("--lock", default="default", help="the lock to install (default: default)")
    parser.add_argument("--editable", action="store_true", help="install envid itself as an editable")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what a too old Python runs first
        sys.exit(f"envid needs Python 3.11 or newer; this is {sys.version.split()[0]} (set PYTHON to another)")
    lock = ROOT / "lockfiles" / ("pylock.toml" if options.lock == "default" else f"pylock.{options.lock}.toml")
    scripts = options.venv / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    if not (scripts / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(options.venv)], check=True)
    pinned = options.venv / "requirements.txt"
    text = requirements(lock)
    if not pinned.exists() or pinned.read_text(encoding="utf-8") != text:
        given = options.venv / "requirements.new"
        given.write_text(text, encoding="utf-8")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", str(given)], check=True)
        given.replace(pinned)
    # uv carries the build backend, so that building envid itself downloads nothing.
    uv = [str(scripts / "uv"), "pip", "install", "--quiet", "--offline", "--no-deps", "--reinstall-package", "envid"]
    subject = ["--editable", str(ROOT)] if options.editable else [str(ROOT)]
    subprocess.run([*uv, "--python", python, *subject], check=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"bootstrap: {' '.join(map(str, error.cmd[:4]))} ... failed with status {error.returncode}")
