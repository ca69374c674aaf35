"""What was measured of one Python interpreter and the host under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from envid.errors import EnvidError
from envid.values.frozen import dataclass

MARKERS: Final = (
    "implementation_name", "implementation_version", "os_name", "platform_machine", "platform_python_implementation",
    "platform_release", "platform_system", "platform_version", "python_full_version", "python_version", "sys_platform",
)  # fmt: skip
"""The eleven marker variables of PEP 508."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Facts of a CPython or PyPy; every one measured, none assumed."""

    implementation: str
    """``sys.implementation.name``."""
    version: str
    """``X.Y.Z`` with the pre-release suffix of ``platform.python_version()``."""
    abi: str
    """The ABI tag of wheels built for it alone, such as ``cp313t``."""
    soabi: str
    """``sysconfig`` SOABI, such as ``cpython-312-x86_64-linux-gnu``; empty on Windows builds without one."""
    free_threaded: bool
    debug: bool
    pointer_bits: int
    byteorder: str
    platform: str
    """The best wheel platform tag that the host fits: ``manylinux_2_36_x86_64``, ``macosx_14_0_arm64``."""
    executable: str
    """Real path of the base interpreter (not of a virtual environment's link to it)."""
    markers: Mapping[str, str]
    """All eleven marker variables of PEP 508."""


def interpreter_of(facts: Mapping[str, object], error: type[EnvidError]) -> Interpreter:
    """Return the interpreter that ``facts`` (``installed.measuring.facts``) describe; raise ``error`` for any doubt."""

    def text(key: str, source: Mapping[str, object] = facts, *, empty: bool = False) -> str:
        value = source.get(key)
        if not isinstance(value, str) or len(value) > 4096 or not value.isprintable() or not (value or empty):
            raise error(f"the interpreter's {key} is {value!r}"[:300])
        return value

    def flag(key: str) -> bool:
        value = facts.get(key)
        if not isinstance(value, bool):
            raise error(f"the interpreter's {key} is {value!r}"[:300])
        return value

    markers = facts.get("markers")
    if not isinstance(markers, Mapping) or set(markers) != set(MARKERS):
        raise error("the interpreter does not tell the marker variables")
    bits = facts.get("pointer_bits")
    if bits not in (32, 64) or not isinstance(bits, int):
        raise error(f"the interpreter's pointers have {bits!r} bits"[:300])
    return Interpreter(
        implementation=text("implementation"),
        version=text("version"),
        abi=text("abi"),
        soabi=text("soabi", empty=True),
        free_threaded=flag("free_threaded"),
        debug=flag("debug"),
        pointer_bits=bits,
        byteorder=text("byteorder"),
        platform=text("platform"),
        executable=text("executable"),
        markers={key: text(key, markers, empty=key.startswith("platform_")) for key in MARKERS},
    )
