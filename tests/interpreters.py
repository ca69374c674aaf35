"""The real interpreters on this machine, found, never assumed."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from pathlib import Path

MINORS = ("3.11", "3.12", "3.13")


@functools.cache
def interpreters() -> dict[str, Path]:
    """Return ``X.Y`` to the base interpreter of it: the running one, those on PATH, those of pyenv and uv."""
    running = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    found = {"{}.{}".format(*sys.version_info[:2]): running}
    roots = [
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python"),
    ]
    for root in roots:
        for candidate in sorted(root.glob("*/bin/python3")):
            version = re.search(r"(?:^|-)(3\.\d+)\.", candidate.parent.parent.name)
            if version and version[1] in MINORS:
                found.setdefault(version[1], Path(os.path.realpath(candidate)))
    for minor in MINORS:
        on_path = shutil.which(f"python{minor}")
        if on_path and minor not in found and ".pyenv/shims" not in on_path:
            found[minor] = Path(os.path.realpath(on_path))
    return found
