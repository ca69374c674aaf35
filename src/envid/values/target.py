"""A target: the interpreter and platform that a lock is selected for.

Everything here is computed from the target alone, so that every host gives the same answer; the
tag order is that of ``packaging.tags`` (a test holds them equal), without its import at run time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from envid.errors import InvalidTarget
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter

# All text: a host needs two of these five, a project with declared targets another two.
_SHORT: Final = r"(cp|pp)3(\d{1,2})(t?)(d?)"
_VERSION: Final = r"3\.(\d{1,2})(?:\.((?:0|[1-9]\d{0,2})(?:(?:a|b|rc)\d{1,2})?\+?))?"
_LONG: Final = rf"(cp|pp|cpython|pypy|){_VERSION}(t?)(d?)"
_LINUX: Final = r"(manylinux|musllinux)_([0-9]{1,2})_([0-9]{1,3})_([a-z0-9_]+)"
_MACOS: Final = r"macosx_([0-9]{2})_([0-9]{1,2})_(arm64|x86_64)"
_LEGACY: Final = {"manylinux2014": "manylinux_2_17", "manylinux2010": "manylinux_2_12", "manylinux1": "manylinux_2_5"}
_LEGACY_TAGS: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_LINUX_ARCHES: Final = frozenset(
    {"x86_64", "i686", "aarch64", "armv7l", "ppc64", "ppc64le", "s390x", "loongarch64", "riscv64"}
)
_WINDOWS: Final = {"win_amd64": ("AMD64", "x86_64"), "win_arm64": ("ARM64", "aarch64"), "win32": ("x86", "i686")}
_ARCH_OF_MAC: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
_PYPY_ABI: Final = "pp73"
"""The extension ABI of every PyPy since 7.3, that is of every PyPy 3.7 and later."""

OLDEST_MINOR: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One interpreter on one platform; made by ``parse_target`` or ``host_target`` only.

    ``os`` is ``linux``, ``macos`` or ``windows``; ``libc`` is ``glibc``, ``musl``, ``macos`` or
    ``windows``; ``arch`` is ``x86_64``, ``aarch64``, ``i686`` and so on, equal on every OS.
    """

    implementation: str
    """``cpython`` or ``pypy``."""
    python: tuple[int, int]
    """Major and minor release."""
    patch: str | None
    """Full version text such as ``3.12.7``; None in the short form."""
    abi: str
    """The ABI tag of wheels built for it alone: ``cp312``, ``cp313t``, ``pypy311_pp73``."""
    platform: str
    """Canonical wheel platform tag: ``manylinux_2_28_x86_64``, ``macosx_14_0_arm64``, ``win_amd64``."""

    @property
    def name(self) -> str:
        """The text that ``parse_target`` reads back: ``cp312-win_amd64``, long form ``cp3.12.7-win_amd64``."""
        prefix = "cp" if self.implementation == "cpython" else "pp"
        version = f"{self.python[0]}{self.python[1]}" if self.patch is None else self.patch
        return f"{prefix}{version}{self.abi_flags}-{self.platform}"

    @property
    def short(self) -> Target:
        """The same target without its patch release."""
        if self.patch is None:
            return self
        return _make(self.implementation, self.python, None, self.abi_flags, self.platform)

    @property
    def python_tag(self) -> str:
        """``cp312`` or ``pp311``: the interpreter tag, without ABI flags."""
        return f"{'cp' if self.implementation == 'cpython' else 'pp'}{self.python[0]}{self.python[1]}"

    @property
    def abi_flags(self) -> str:
        """``t`` for free-threaded, ``d`` for debug, ``td`` for both, else empty."""
        return self.abi[len(self.python_tag) :] if self.implementation == "cpython" else ""

    @property
    def free_threaded(self) -> bool:
        return "t" in self.abi_flags

    @property
    def debug(self) -> bool:
        return "d" in self.abi_flags

    @property
    def os(self) -> str:
        return {"glibc": "linux", "musl": "linux"}.get(self.libc, self.libc)

    @property
    def libc(self) -> str:
        head = self.platform.split("_", 1)[0]
        return {"manylinux": "glibc", "musllinux": "musl", "macosx": "macos"}.get(head, "windows")

    @property
    def libc_version(self) -> tuple[int, int] | None:
        """The glibc, musl or macOS version demanded; None on Windows."""
        if self.libc == "windows":
            return None
        major, minor = self.platform.split("_", 3)[1:3]
        return int(major), int(minor)

    @property
    def arch(self) -> str:
        if self.libc == "windows":
            return _WINDOWS[self.platform][1]
        spelled = self.platform.split("_", 3)[3]
        return _ARCH_OF_MAC[spelled] if self.libc == "macos" else spelled


def parse_target(value: object) -> Target:
    """Return the target that ``value`` names (docs/targets.md).

    ``value`` is text such as ``cp312-manylinux_2_28_x86_64`` or ``cp3.12.7-win_amd64`` (``Target.name``),
    or a table ``{python = "3.12.7", platform = "manylinux_2_28_x86_64"}``. Raises InvalidTarget.
    """
    if isinstance(value, str):
        python, dash, platform = value.partition("-")
        if not dash:
            raise InvalidTarget(f"`{_shown(value)}` is not a target")
        return _parse(python, platform, _shown(value))
    if isinstance(value, Mapping):
        unknown = sorted(str(key) for key in value if key not in ("python", "platform"))
        version, place = value.get("python"), value.get("platform")
        if unknown or not isinstance(version, str) or not isinstance(place, str):
            raise InvalidTarget(
                "a target table has exactly the text keys `python` and `platform`"
                + (f", not `{_shown(unknown[0])}`" if unknown else "")
            )
        return _parse(version, place, _shown(f"{version}-{place}"))
    raise InvalidTarget(f"a target is text or a table, not {type(value).__name__}")


def _shown(text: str) -> str:
    # Errors quote what was given, and what was given may be a megabyte with terminal escapes in it.
    return ascii(text[:80])[1:-1]


def _parse(python: str, platform: str, shown: str) -> Target:
    short = re.fullmatch(_SHORT, python)
    long = None if short else re.fullmatch(_LONG, python)
    micro: str | None = None
    if short:
        prefix, minor, threaded, debug = short.groups()
    elif long:
        prefix, minor, micro, threaded, debug = long.groups()
    else:
        raise InvalidTarget(f"`{shown}`: `{_shown(python)}` is not a Python such as cp312, cp313t or 3.12.7")
    implementation = "pypy" if prefix in ("pp", "pypy") else "cpython"
    if not python.isascii() or int(minor) < OLDEST_MINOR:
        raise InvalidTarget(f"`{shown}`: Python 3.{_shown(minor)} is older than 3.{OLDEST_MINOR}")
    if implementation == "pypy" and (threaded or debug):
        raise InvalidTarget(f"`{shown}`: PyPy has neither free-threaded nor debug builds")
    if threaded and int(minor) < 13:
        raise InvalidTarget(f"`{shown}`: free-threaded builds begin with Python 3.13")
    if len(minor) > 1 and minor.startswith("0"):
        raise InvalidTarget(f"`{shown}`: the minor release is written without leading zero")
    patch = None if micro is None else f"3.{int(minor)}.{micro}"
    return _make(implementation, (3, int(minor)), patch, threaded + debug, _platform(platform, shown))


def _make(implementation: str, python: tuple[int, int], patch: str | None, flags: str, platform: str) -> Target:
    nodot = f"{python[0]}{python[1]}"
    abi = f"cp{nodot}{flags}" if implementation == "cpython" else f"pypy{nodot}_{_PYPY_ABI}"
    return Target(implementation=implementation, python=python, patch=patch, abi=abi, platform=platform)


def _platform(text: str, shown: str) -> str:
    head, _, rest = text.partition("_")
    if head == "linux":
        raise InvalidTarget(
            f"`{shown}`: linux_ARCH does not say which libc",
            hint="use manylinux_2_28_ARCH (glibc 2.28 or later) or musllinux_1_2_ARCH (musl)",
        )
    if head in _LEGACY:
        text = f"{_LEGACY[head]}_{rest}"
    if linux := re.fullmatch(_LINUX, text):
        family, major, minor, machine = linux.groups()
        if machine not in _LINUX_ARCHES:
            raise InvalidTarget(f"`{shown}`: `{_shown(machine)}` is not an architecture envid knows")
        if family == "manylinux" and not (2, 5) <= (int(major), int(minor)) < (3, 0):
            raise InvalidTarget(f"`{shown}`: there is no glibc {int(major)}.{int(minor)} that wheels are built for")
        return f"{family}_{int(major)}_{int(minor)}_{machine}"
    if text in _WINDOWS:
        return text
    if mac := re.fullmatch(_MACOS, text):
        major, minor, arch = mac.groups()
        if int(major) < 10 or (arch == "arm64" and int(major) < 11):
            raise InvalidTarget(f"`{shown}`: there is no macOS {int(major)}.{int(minor)} on {arch}")
        return f"macosx_{int(major)}_{int(minor)}_{arch}"
    raise InvalidTarget(f"`{shown}`: `{_shown(text)}` is not a platform envid knows")


def host_target(interpreter: Interpreter) -> Target:
    """Return the target that ``interpreter`` on its host is: long form, with its patch release."""
    version = interpreter.version
    if interpreter.implementation not in ("cpython", "pypy"):
        raise InvalidTarget(f"{interpreter.implementation} is not an interpreter envid has targets for")
    flags = ("t" if interpreter.free_threaded else "") + ("d" if interpreter.debug else "")
    prefix = "cp" if interpreter.implementation == "cpython" else "pp"
    return parse_target(f"{prefix}{version}{flags}-{interpreter.platform}")


@lru_cache(maxsize=256)
def marker_environment(target: Target) -> Mapping[str, str]:
    """Return the marker variables that ``target`` determines, by name (dependency specifiers, "Environment markers").

    ``platform_release`` and ``platform_version`` are never among them; ``python_full_version`` and
    ``implementation_version`` only in the long form (the latter not for PyPy, which numbers itself).
    """
    from types import MappingProxyType

    values = {
        "implementation_name": target.implementation,
        "platform_python_implementation": "CPython" if target.implementation == "cpython" else "PyPy",
        "python_version": f"{target.python[0]}.{target.python[1]}",
    }
    if target.libc == "windows":
        values |= {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
        values["platform_machine"] = _WINDOWS[target.platform][0]
    else:
        mac = target.libc == "macos"
        values |= {"os_name": "posix", "sys_platform": "darwin" if mac else "linux"}
        values["platform_system"] = "Darwin" if mac else "Linux"
        values["platform_machine"] = target.platform.split("_", 3)[3]
    if target.patch is not None:
        # A development build calls itself 3.14.0+; packaging reads that as a local version, and so do we.
        full = f"{target.patch}local" if target.patch.endswith("+") else target.patch
        values["python_full_version"] = full
        if target.implementation == "cpython":
            values["implementation_version"] = target.patch.removesuffix("+")
    return MappingProxyType(values)


@lru_cache(maxsize=64)
def tags(target: Target) -> tuple[str, ...]:
    """Return every wheel tag that ``target`` accepts, most specific first, lower case (PEP 425, docs/targets.md).

    No tag occurs twice; the first occurrence of packaging's order is kept.
    """
    heads, platforms, anywhere = tag_parts(target)
    found = [f"{head}-{platform}" for head in heads for platform in platforms]
    return tuple(dict.fromkeys([*found, *anywhere]))


def tag_parts(target: Target) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Return what ``tags`` is made of: each of the first (``cp312-abi3``) with each of the second, then the third."""
    minor = target.python[1]
    own = target.python_tag
    heads: list[str] = []
    if target.implementation == "cpython":
        stable = "abi3t" if target.free_threaded else "abi3"
        # A debug build also loads extension modules of the normal build of the same release (since 3.8).
        abis = [target.abi, target.abi.removesuffix("d")] if target.debug else [target.abi]
        heads += [f"{own}-{abi}" for abi in (*abis, stable, "none")]
        heads += [f"cp3{older}-{stable}" for older in range(minor - 1, 1, -1)]
        pure = own
    else:
        heads += [f"{own}-{target.abi}", f"{own}-none"]
        pure = "pp3"
    versions = [f"py3{minor}", "py3", *(f"py3{older}" for older in range(minor - 1, -1, -1))]
    heads += [f"{version}-none" for version in versions]
    return heads, platform_tags(target), [f"{head}-none-any" for head in (pure, *versions)]


def platform_tags(target: Target) -> tuple[str, ...]:
    """Return the platform part of the tags, most specific first, without ``any``."""
    version = target.libc_version
    if version is None:
        return (target.platform,)
    if target.libc == "glibc":
        return _manylinux(version[1], target.arch)
    if target.libc == "musl":
        return tuple(f"musllinux_{version[0]}_{minor}_{target.arch}" for minor in range(version[1], -1, -1))
    return _macos(version, target.arch)


def _manylinux(minor: int, arch: str) -> tuple[str, ...]:
    # PEP 600: nothing is promised below glibc 2.17, but for the two architectures of manylinux1.
    oldest = 5 if arch in ("x86_64", "i686") else 17
    result = []
    for step in range(minor, oldest - 1, -1):
        result.append(f"manylinux_2_{step}_{arch}")
        if legacy := _LEGACY_TAGS.get(step):
            result.append(f"{legacy}_{arch}")
    return tuple(result)


def _macos(version: tuple[int, int], arch: str) -> tuple[str, ...]:
    own: tuple[str, ...] = ("arm64", "universal2")
    if arch == "x86_64":
        own = ("x86_64", "intel", "fat64", "fat3", "universal2", "universal")
    if version[0] == 10:
        steps = [(10, minor, own) for minor in range(version[1], 3, -1)]
    else:
        # From 11 on the minor release says nothing; 10.x universal2 wheels hold code for arm64 too.
        before = own if arch == "x86_64" else ("universal2",)
        steps = [(major, 0, own) for major in range(version[0], 10, -1)]
        steps += [(10, minor, before) for minor in range(16, 3, -1)]
    return tuple(f"macosx_{major}_{minor}_{binary}" for major, minor, formats in steps for binary in formats)


def fits(target: Target, interpreter: Interpreter) -> tuple[str, ...]:
    """Return why ``interpreter`` on its host does not fit ``target``, one sentence each; empty: it fits.

    Interpreter, ABI, OS and architecture must be equal, glibc, musl or macOS at least the version
    demanded, and the patch release equal where the target names one.
    """
    host = host_target(interpreter)
    reasons = []
    if (host.implementation, host.python) != (target.implementation, target.python):
        reasons.append(f"the interpreter is {_python_words(host)}, the target wants {_python_words(target)}")
    elif host.abi != target.abi:
        reasons.append(f"the interpreter's ABI is {host.abi}, the target wants {target.abi}")
    elif target.patch is not None and host.patch != target.patch:
        reasons.append(f"the interpreter is {_python_words(host)}, the target wants exactly {target.patch}")
    if host.os != target.os:
        reasons.append(f"the host runs {host.os}, the target wants {target.os}")
    elif host.libc != target.libc:
        reasons.append(f"the host's libc is {host.libc}, the target wants {target.libc}")
    elif _older(host, target):
        reasons.append(f"the host has {_libc_words(host)}, the target wants {_libc_words(target)} or later")
    if host.arch != target.arch:
        reasons.append(f"the host's architecture is {host.arch}, the target wants {target.arch}")
    return tuple(reasons)


def _older(host: Target, target: Target) -> bool:
    if host.libc_version is None or target.libc_version is None:
        return False
    # A musl of another major release is another ABI (PEP 656), so newer does not help there.
    if host.libc == "musl" and host.libc_version[0] != target.libc_version[0]:
        return True
    return host.libc_version < target.libc_version


def _python_words(target: Target) -> str:
    name = "CPython" if target.implementation == "cpython" else "PyPy"
    return f"{name} {target.patch or f'{target.python[0]}.{target.python[1]}'}"


def _libc_words(target: Target) -> str:
    version = target.libc_version or ()
    return f"{'macOS' if target.libc == 'macos' else target.libc} {'.'.join(map(str, version))}"
