"""Scripts that installers write or rewrite: are they exactly what uv or pip would have written?

The launcher of an entry point is in no wheel, so it is compared with every text that uv and pip are
known to generate for that entry point, whole, byte for byte.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from blake3 import blake3

from envid.installed.interpreter import Environment
from envid.values.contents import EntryPoint

_UV_NOW: Final = """\
# -*- coding: utf-8 -*-
import sys
from {module} import {imported}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({attribute}())
"""
_UV_BEFORE: Final = """\
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {imported}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit({attribute}())
"""
_PIP_BEFORE: Final = """\
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {imported}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({attribute}())
"""
_PIP_NOW: Final = """\
import sys
from {module} import {imported}
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit({attribute}())
"""
_DISTLIB_NOW: Final = """\
# -*- coding: utf-8 -*-
import re
import sys
if __name__ == '__main__':
    from {module} import {imported}
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({attribute}())
"""
TEMPLATES: Final = (_UV_NOW, _PIP_NOW, _PIP_BEFORE, _UV_BEFORE, _DISTLIB_NOW)

_SHELL: Final = b"#!/bin/sh\n'''exec' "
_SHELL_END: Final = b" \"$0\" \"$@\"\n' '''\n"
_RELOCATABLE: Final = b'"$(dirname -- "$(realpath -- "$0")")"/'
_VERSIONED_PIP: Final = re.compile(r"pip(?:3(?:\.\d{1,3})?)?")


def launcher_ok(data: bytes, entry: EntryPoint, python_paths: Sequence[str]) -> bool:
    """Tell whether ``data`` is a launcher of uv or pip for ``entry``, run by one of ``python_paths``."""
    body = script_tail(data, python_paths)
    if body is None:
        return False
    names = {"module": entry.module, "imported": entry.attribute.partition(".")[0], "attribute": entry.attribute}
    return any(body == template.format(**names).encode() for template in TEMPLATES)


def script_ok(data: bytes, tail_blake3: str, python_paths: Sequence[str]) -> bool:
    """Tell whether ``data`` is a ``#!python`` script of a wheel, pointed at one of ``python_paths``."""
    tail = script_tail(data, python_paths)
    return tail is not None and blake3(tail).hexdigest() == tail_blake3


def script_tail(data: bytes, python_paths: Sequence[str]) -> bytes | None:
    """Return all after the shebang that an installer wrote, or ``None`` when there is no such shebang."""
    if data.startswith(_SHELL):
        command, end, tail = data[len(_SHELL) :].partition(_SHELL_END)
        return tail if end and command in _shell_commands(python_paths) else None
    # pip points the scripts of a wheel at a path with spaces, or one too long for the kernel, in this form too.
    line, _, tail = data.partition(b"\n")
    plain = line.removesuffix(b"\r")
    return tail if plain[:2] == b"#!" and plain[2:] in {os.fsencode(path) for path in python_paths} else None


def _shell_commands(python_paths: Sequence[str]) -> set[bytes]:
    commands: set[bytes] = set()
    for path in python_paths:
        for quote in ("'\"'\"'", "'\\''"):
            commands.add(os.fsencode("'" + path.replace("'", quote) + "'"))
        commands.add(os.fsencode(f'"{path}"'))
        commands.add(os.fsencode(path))
        commands.add(_RELOCATABLE + os.fsencode(f"'{os.path.basename(path)}'"))
    return commands


def script_tail_digest(path: str, python_paths: Sequence[str]) -> str | None:
    """Return the BLAKE3 of what ``script_tail`` finds in the file ``path``; ``None`` also when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(2)
            if head != b"#!":
                return None
            data = head + stream.read()
    except OSError:
        return None
    tail = script_tail(data, python_paths)
    return None if tail is None else blake3(tail).hexdigest()


def python_paths(environment: Environment, scripts: str | None = None) -> tuple[str, ...]:
    """Return the paths by which installers name the interpreter of ``environment`` in scripts.

    ``scripts`` is another directory that it was in.
    """
    short = ".".join(environment.version.split(".")[:2])
    suffix = "t" if environment.free_threaded else ""
    names = ("python", "python3", f"python{short}{suffix}", f"python{short}", "pypy", "pypy3", f"pypy{short}")
    here = str(environment.scripts) if scripts is None else scripts
    places = dict.fromkeys((here, os.path.realpath(here)))
    return tuple(os.path.join(place, name) for place in places for name in dict.fromkeys(names))


def launchers_of(name: str, entry_points: Sequence[EntryPoint], scripts: Sequence[str] = ()) -> tuple[EntryPoint, ...]:
    """Return the launchers that installers generate for the distribution ``name``.

    They are those of ``entry_points``; of pip, also each of ``scripts`` that is called like
    ``pip3`` or ``pip3.12``: installers invent those from the running Python's version.
    """
    if name != "pip":
        return tuple(entry_points)
    by_name = {entry.script: entry for entry in entry_points}
    first = by_name.get("pip")
    if first is not None:
        for script in scripts:
            if _VERSIONED_PIP.fullmatch(script) and script not in by_name:
                by_name[script] = EntryPoint(script=script, module=first.module, attribute=first.attribute)
    return tuple(by_name.values())
