"""What was measured of one Python interpreter and the host under it."""

from __future__ import annotations

from collections.abc import Mapping

from envid.values.frozen import dataclass


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
