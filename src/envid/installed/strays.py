"""Files that no wheel brought: harmless, or a way to run code that nobody locked."""

from __future__ import annotations

import re
import sys
from typing import Final

from envid.values.finding import Finding

VENV_SCRIPTS: Final = frozenset({
    "activate", "activate.bat", "activate.csh", "activate.fish", "activate.nu", "activate.ps1", "activate.xsh",
    "Activate.ps1", "activate_this.py", "deactivate.bat", "deactivate.nu", "pydoc.bat",
})  # fmt: skip
"""What venv, virtualenv and uv put beside the interpreter for shells; of no wheel, so not checked (docs/verify.md)."""

INTERPRETER: Final = re.compile(r"(python|pypy)(3(\.\d+)?t?)?d?(\.exe)?|pythonw(3(\.\d+)?)?(\.exe)?|𝜋thon")
"""Links to the base interpreter; ``prefix`` judges them. (CPython 3.14's venv makes one with a Greek letter.)"""

_MODULE: Final = re.compile(r"([^.\W]\w*)(\..*)?\.(py|pyc|so|pyd)")
AT_START: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that the interpreter imports whenever it starts."""


def explain(path: str, *, site: str, scripts: str, link: bool, top_level: frozenset[str] | set[str]) -> Finding:
    """Return the finding for a file that nobody brought.

    ``path`` is relative to the environment, ``site`` and ``scripts`` are its directories;
    ``top_level`` the names that the locked wheels bring directly below ``site``.
    """
    directory, _, name = path.rpartition("/")
    inside = directory == site or directory.startswith(f"{site}/")
    first = path[len(site) + 1 :].split("/", 1)[0] if inside else ""
    found = _MODULE.fullmatch(name)
    module = found[1] if found else ""
    if directory == site and name.endswith(".pth"):
        message = "no locked wheel brought this .pth file; its lines are executed whenever the interpreter starts"
    elif module in AT_START or first.split(".", 1)[0] in AT_START:
        message = "no locked wheel brought this module; it is imported whenever the interpreter starts"
    elif directory == site and name.endswith(".egg-link"):
        message = "a development install that the lock does not know"
    elif directory == scripts:
        shadowed = f"; scripts there would import it instead of the {_kind(module)} module" if _kind(module) else ""
        message = f"no locked wheel brought this file into the scripts directory{shadowed}"
    elif inside and _top(first) in sys.stdlib_module_names and first not in top_level:
        message = f"no locked wheel brought this file; it has the name of the standard library module {_top(first)}"
    elif inside and name.endswith(".pyc"):
        message = "compiled code without its source, which Python imports all the same"
    elif inside and directory != site and first in top_level:
        message = "no locked wheel brought this file into the package"
    else:
        message = "no locked wheel brought this file"
    if link:
        message += " (a symbolic link)"
    return Finding(
        code="env.extra-file", severity="error", subject=_top(first) or name, path=path, message=message,
        hint="remove it, or run `envid sync`",
    )  # fmt: skip


def _top(first: str) -> str:
    return first.split(".", 1)[0]


def _kind(module: str) -> str:
    return "standard library" if module in sys.stdlib_module_names else ""
