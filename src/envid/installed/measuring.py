"""Measure the interpreter that runs this file; imported by envid, or run by any Python as a script.

It imports nothing of envid and no module that costs more than it tells: an interpreter under probe runs it with
``-I -S``, and ``envid key`` on its way to the answer.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Literal


def facts() -> dict[str, object]:
    """Return the fields of ``values.interpreter.Interpreter``; one that is unknown is missing or empty."""
    variables = _build_variables()
    info = sys.version_info
    soabi = str(variables.get("SOABI") or "")
    free_threaded = bool(variables.get("Py_GIL_DISABLED"))
    debug = hasattr(sys, "gettotalrefcount")
    machine, release, system, kernel = _system()
    short = f"{info[0]}.{info[1]}"
    version = _version(info)
    implementation = sys.implementation.name
    if implementation == "cpython":
        abi = f"cp{info[0]}{info[1]}{'t' if free_threaded else ''}{'d' if debug else ''}"
    else:
        abi = soabi.replace(".", "_").replace("-", "_") if implementation != "pypy" else "_".join(soabi.split("-")[:2])
    return {
        "implementation": implementation,
        "version": version,
        "abi": abi,
        "soabi": soabi,
        "free_threaded": free_threaded,
        "debug": debug,
        "pointer_bits": 64 if sys.maxsize > 2**32 else 32,
        "byteorder": sys.byteorder,
        "platform": _platform_tag(machine),
        "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
        "markers": {
            "implementation_name": implementation,
            "implementation_version": _version(sys.implementation.version),
            "os_name": os.name,
            "platform_machine": machine,
            "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(
                implementation, implementation
            ),
            "platform_release": release,
            "platform_system": system,
            "platform_version": kernel,
            "python_full_version": version,
            "python_version": short,
            "sys_platform": sys.platform,
        },
    }


def _version(info: Any) -> str:
    text = f"{info.major}.{info.minor}.{info.micro}"
    if info.releaselevel != "final":
        text += {"alpha": "a", "beta": "b", "candidate": "rc"}[info.releaselevel] + str(info.serial)
    # A build from a checkout calls itself "3.13.0+"; platform.python_version(), which markers are made of, says so too.
    return text + ("+" if sys.version.split(" ", 1)[0].endswith("+") and info is sys.version_info else "")


def _build_variables() -> dict[str, object]:
    if sys.implementation.name == "cpython" and os.name == "posix":
        # Told without sysconfig, whose import costs more than all else here.
        soabi = _extension_suffix()
        if soabi is not None:
            return {"SOABI": soabi, "Py_GIL_DISABLED": "t" in sys.abiflags}
    import sysconfig

    return {key: sysconfig.get_config_var(key) for key in ("SOABI", "Py_GIL_DISABLED")}


def _extension_suffix() -> str | None:
    """Return SOABI out of the suffix that this interpreter demands of its extension modules."""
    import _imp

    for suffix in _imp.extension_suffixes():
        if suffix.startswith(".cpython-") and suffix.endswith(".so"):
            return str(suffix[1:-3])
    return None


def _system() -> tuple[str, str, str, str]:
    if hasattr(os, "uname"):
        name = os.uname()
        return name.machine, name.release, name.sysname, name.version
    import platform

    return platform.machine(), platform.release(), platform.system(), platform.version()


def _platform_tag(machine: str) -> str:
    if sys.platform == "linux":
        # A 32-bit interpreter on a 64-bit kernel: uname tells of the kernel, wheels are of the interpreter.
        if sys.maxsize <= 2**32:
            machine = {"x86_64": "i686", "aarch64": "armv7l"}.get(machine, machine)
        libc = _glibc()
        if libc:
            return f"manylinux_{libc[0]}_{libc[1]}_{machine}"
        musl = _musl()
        return f"musllinux_{musl[0]}_{musl[1]}_{machine}" if musl else ""
    if sys.platform == "darwin":
        import platform

        parts = platform.mac_ver()[0].split(".")
        minor = parts[1] if parts[0] == "10" and len(parts) > 1 else "0"
        return f"macosx_{parts[0]}_{minor}_{machine}" if parts[0] else ""
    if sys.platform == "win32":
        return {"AMD64": "win_amd64", "ARM64": "win_arm64", "x86": "win32"}.get(machine, "")
    return ""


def _glibc() -> tuple[int, int] | None:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):
        return None
    name, _, version = (text or "").partition(" ")
    parts = version.split(".")
    if name != "glibc" or len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def _musl() -> tuple[int, int] | None:
    """Return the version of musl out of its loader, which the interpreter's own file names (ELF PT_INTERP)."""
    try:
        with open(sys.executable, "rb") as stream:
            loader = elf_interpreter(stream.read(65536))
        if not loader or "musl" not in loader:
            return None
        with open(loader, "rb") as stream:
            return musl_version(stream.read(16 * 1024 * 1024))
    except (OSError, ValueError):
        return None


def elf_interpreter(data: bytes) -> str | None:
    """Return the path of the loader that an ELF file names, out of the file's first 64 KiB."""
    if data[:4] != b"\x7fELF" or len(data) < 64 or data[4] not in (1, 2) or data[5] not in (1, 2):
        return None
    order: Literal["little", "big"] = "little" if data[5] == 1 else "big"
    wide = data[4] == 2

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    table = number(32, 8) if wide else number(28, 4)
    size, count = (number(54, 2), number(56, 2)) if wide else (number(42, 2), number(44, 2))
    for index in range(count):
        at = table + index * size
        if at + size > len(data):
            return None
        if number(at, 4) == 3:
            start, length = (number(at + 8, 8), number(at + 32, 8)) if wide else (number(at + 4, 4), number(at + 16, 4))
            return data[start : start + length].rstrip(b"\0").decode("utf-8") if length < 4096 else None
    return None


def musl_version(loader: bytes) -> tuple[int, int] | None:
    """Return the version out of the bytes of musl's loader, without running it.

    The loader prints ``Version %s`` with a text that stands alone between two NUL bytes.
    """
    import re

    if b"musl libc" not in loader:
        return None
    found = set(re.findall(rb"\0(1\.\d{1,3})\.\d{1,3}(?:[-\w.]*)\0", loader))
    if len(found) != 1:
        return None
    major, minor = found.pop().split(b".")
    return int(major), int(minor)


if __name__ == "__main__":
    import json

    sys.stdout.write(json.dumps(facts()))
