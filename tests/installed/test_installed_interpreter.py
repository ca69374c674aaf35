"""Interpreters and virtual environments: measured, probed, and refused when broken."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.markers import default_environment

from envid.errors import EnvironmentNotFound, IdentityUnknown, InterpreterNotFound, InvalidEnvironment
from envid.installed import measuring
from envid.installed.interpreter import environment_of, measure, probe, running
from envid.values.interpreter import MARKERS
from interpreters import interpreters


def test_markers_are_those_of_packaging() -> None:
    """The eleven marker variables have the values that ``packaging`` measures."""
    expected = dict(default_environment())
    assert measure().markers == {key: expected[key] for key in MARKERS}


def test_measured_facts_are_those_of_sysconfig() -> None:
    """SOABI, pointer size and threading are what ``sysconfig`` says, without importing it."""
    found = measure()
    assert found.soabi == sysconfig.get_config_var("SOABI")
    assert found.free_threaded == bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert found.pointer_bits == struct.calcsize("P") * 8
    assert found.executable == running()


@pytest.mark.skipif(sys.platform != "linux", reason="measures libc")
def test_measuring_is_cheap() -> None:
    """Neither ``platform`` nor ``sysconfig`` nor ``json`` is imported to measure the running interpreter."""
    code = (
        "import sys; from envid.installed.interpreter import measure; measure();"
        "print([m for m in ('platform', 'sysconfig', 'json', 'subprocess.x') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = done.stdout.strip()
    # A site hook of the machine may import some of them before us: compare with a bare start.
    bare = subprocess.run(
        [sys.executable, "-c", code.replace("from envid.installed.interpreter import measure; measure();", "")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert heavy == bare.stdout.strip()


@pytest.mark.parametrize("minor", sorted(interpreters()))
def test_probe_of_every_interpreter(minor: str) -> None:
    """Every real interpreter answers with its own version, ABI and SOABI."""
    python = interpreters()[minor]
    found = probe(python)
    asked = subprocess.run(
        [python, "-c", "import sysconfig as s, platform as p; print(p.python_version(), s.get_config_var('SOABI'))"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [found.version, found.soabi] == asked
    assert found.abi.startswith(f"cp{minor.replace('.', '')}")
    assert found.executable == str(python)


def test_probe_of_ourselves_is_measure() -> None:
    """The running interpreter, probed from outside, gives what it measures of itself."""
    assert probe(Path(sys.executable)) == measure()


def test_probe_is_remembered(tmp_path: Path) -> None:
    """A second probe with the cache answers without starting a process; a damaged answer is not believed."""
    python = Path(running())
    first = probe(python, cache=tmp_path)
    kept = next((tmp_path / "interpreters-v1").iterdir())
    kept.write_bytes(kept.read_bytes().replace(b'"abi":"cp', b'"abi":"xx'))
    assert probe(python, cache=tmp_path) == first
    assert b'"abi":"xx' not in kept.read_bytes()


def test_wrapper_is_not_remembered(tmp_path: Path) -> None:
    """A script that stands before an interpreter may answer for another one tomorrow, so it is asked each time."""
    wrapper = script(tmp_path / "python", f'exec {running()} "$@"')
    assert probe(wrapper, cache=tmp_path / "cache") == measure()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "body",
    ["exit 3", "echo hello", "echo '{}'", "echo '[1]'", "head -c 100000 /dev/zero", "echo '{\"markers\": 1}'",
     "printf '['; for i in 1 2 3 4 5 6 7 8; do printf '[[[[[[[[[[[[[[[['; done", "kill -9 $$"],
)  # fmt: skip
def test_hostile_answers_are_refused(tmp_path: Path, body: str) -> None:
    """A program that does not answer as a Python does is InterpreterNotFound."""
    with pytest.raises(InterpreterNotFound):
        probe(script(tmp_path / "python", body))


def test_hostile_facts_are_refused(tmp_path: Path) -> None:
    """Facts of the wrong type, or with control characters in them, are refused."""
    import json

    facts = measuring.facts()
    for key, value in [("abi", ""), ("abi", "a\nb"), ("pointer_bits", 33), ("debug", "no"), ("markers", {})]:
        answer = tmp_path / "answer"
        answer.write_text(json.dumps({**facts, key: value}))
        with pytest.raises(InterpreterNotFound):
            probe(script(tmp_path / "python", f"cat {answer}"))


def test_missing_interpreter(tmp_path: Path) -> None:
    """A path where nothing is, or that cannot be run, is InterpreterNotFound."""
    with pytest.raises(InterpreterNotFound):
        probe(tmp_path / "gone")
    (tmp_path / "plain").write_text("")
    with pytest.raises(InterpreterNotFound):
        probe(tmp_path / "plain")


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# --- libc -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_loader_of_this_interpreter() -> None:
    """The loader that the interpreter's own file names is found in it, and exists."""
    with open(running(), "rb") as stream:
        loader = measuring.elf_interpreter(stream.read(65536))
    assert loader is not None
    assert Path(loader).exists()


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 80, b"#!/bin/sh\n" * 20, b"\x7fELF\2\1" + bytes(80)]
)
def test_files_without_a_loader(data: bytes) -> None:
    """A file that is no ELF program, or a damaged one, names no loader."""
    assert measuring.elf_interpreter(data) is None


def test_version_of_musl() -> None:
    """The version of musl is read out of its loader's bytes, and not guessed when there are two or none."""
    assert measuring.musl_version(b"\0musl libc (x86_64)\nVersion %s\n\0" + b"x\x001.2.4\0y") == (1, 2)
    assert measuring.musl_version(b"\0musl libc\0\x001.2.4_git20230717\0") == (1, 2)
    assert measuring.musl_version(b"\0musl libc\0\x001.2.4\0\x001.1.0\0") is None
    assert measuring.musl_version(b"\x001.2.4\0") is None


# --- environments -----------------------------------------------------------------------------


def make_environment(root: Path, minor: str = "3.12", **config: str) -> Path:
    site = root / "lib" / f"python{minor}" / "site-packages"
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(running())
    pairs = {"home": os.path.dirname(running()), "version": f"{minor}.4", **config}
    (root / "pyvenv.cfg").write_text("".join(f"{key} = {value}\n" for key, value in pairs.items() if value))
    return root


def test_layout_of_an_environment(tmp_path: Path) -> None:
    """Every directory of an environment is told from its files, without starting it."""
    root = make_environment(tmp_path / "v", **{"include-system-site-packages": "true"})
    found = environment_of(root)
    assert found.purelib == found.platlib == root / "lib/python3.12/site-packages"
    assert found.scripts == root / "bin"
    assert found.headers == root / "include/site/python3.12"
    assert (found.version, found.implementation, found.free_threaded) == ("3.12.4", "cpython", False)
    assert found.base_executable == Path(running())
    assert found.system_site_packages


def test_lib64_of_its_own(tmp_path: Path) -> None:
    """Where lib64 is a directory, platlib is in it; where it is a link to lib, there is one site-packages."""
    root = make_environment(tmp_path / "v")
    (root / "lib64").symlink_to("lib")
    assert environment_of(root).platlib == root / "lib/python3.12/site-packages"
    (root / "lib64").unlink()
    (root / "lib64/python3.12/site-packages").mkdir(parents=True)
    assert environment_of(root).platlib == root / "lib64/python3.12/site-packages"


def test_free_threaded_environment(tmp_path: Path) -> None:
    """The ``t`` of a free-threaded layout is noticed."""
    assert environment_of(make_environment(tmp_path / "v", "3.13t", version="3.13.0")).free_threaded


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "no bin": lambda root: (root / "bin").rename(root / "bun"),
    "Windows": lambda root: (root / "bin").rename(root / "Scripts"),
    "no interpreter": lambda root: (root / "bin/python").unlink(),
    "broken link": lambda root: relink(root / "bin/python", "/gone/python"),
    "link to itself": lambda root: relink(root / "bin/python", "python"),
    "not a program": lambda root: relink(root / "bin/python", "../pyvenv.cfg"),
    "another version": lambda root: (root / "lib/python3.12").rename(root / "lib/python3.11"),
    "no lib": lambda root: (root / "lib").rename(root / "lob"),
    "two libs": lambda root: (root / "lib/python3.12t/site-packages").mkdir(parents=True),
    "empty cfg": lambda root: (root / "pyvenv.cfg").write_text(""),
    "no home": lambda root: (root / "pyvenv.cfg").write_text("version = 3.12.1\n"),
    "relative home": lambda root: (root / "pyvenv.cfg").write_text("home = bin\nversion = 3.12.1\n"),
    "no version": lambda root: (root / "pyvenv.cfg").write_text("home = /usr/bin\n"),
    "odd version": lambda root: (root / "pyvenv.cfg").write_text("home = /usr/bin\nversion = x.y\n"),
    "binary cfg": lambda root: (root / "pyvenv.cfg").write_bytes(b"home = /\xff\n"),
    "NUL in cfg": lambda root: (root / "pyvenv.cfg").write_bytes(b"home = /a\0b\nversion = 3.12.1\n"),
    "giant cfg": lambda root: (root / "pyvenv.cfg").write_text("#" * 100_000),
    "cfg is a directory": lambda root: relink(root / "pyvenv.cfg", "lib"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_environments(tmp_path: Path, breakage: str) -> None:
    """Every way in which an environment is broken is InvalidEnvironment with its path."""
    root = make_environment(tmp_path / "v")
    BREAKAGES[breakage](root)
    with pytest.raises(InvalidEnvironment) as caught:
        environment_of(root)
    assert str(root) in caught.value.message


def test_no_environment(tmp_path: Path) -> None:
    """A directory without pyvenv.cfg, no directory, or a file is EnvironmentNotFound."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(EnvironmentNotFound):
            environment_of(path)


@pytest.mark.parametrize("minor", sorted(interpreters()))
def test_real_environments(tmp_path: Path, minor: str) -> None:
    """What ``venv`` makes is understood on every interpreter here, as that interpreter understands it itself."""
    subprocess.run([interpreters()[minor], "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    found = environment_of(tmp_path / "v")
    code = "import sysconfig as s; print(*(s.get_path(k) for k in ('purelib', 'platlib', 'scripts', 'data')))"
    asked = subprocess.run([tmp_path / "v/bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert [str(found.purelib), str(found.platlib), str(found.scripts), str(found.root)] == asked.stdout.split()
    assert found.base_executable == interpreters()[minor]


def small_elf(loader: bytes, *, wide: bool, order: str) -> bytes:
    """Return an ELF header with one program header, of the loader."""
    mark = "<" if order == "little" else ">"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2]) + bytes(10)
    if wide:
        head = ident + struct.pack(mark + "HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        program = struct.pack(mark + "IIQQQQQQ", 3, 4, 120, 0, 0, len(loader), 0, 1)
    else:
        head = ident + struct.pack(mark + "HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        program = struct.pack(mark + "IIIIIIII", 3, 84, 0, 0, len(loader), 0, 4, 1)
    return head + program + loader


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("wide", [True, False])
def test_loader_in_every_form_of_elf(wide: bool, order: str) -> None:
    """The loader is found in 32-bit and 64-bit files of either byte order."""
    data = small_elf(b"/lib/ld-musl-x86_64.so.1\0", wide=wide, order=order)
    assert measuring.elf_interpreter(data) == "/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize(
    ("level", "serial", "text"), [("final", 0, "3.14.0"), ("candidate", 2, "3.14.0rc2"), ("alpha", 1, "3.14.0a1")]
)
def test_versions_of_previews(level: str, serial: int, text: str) -> None:
    """A pre-release is named as ``platform.python_version()`` names it."""
    info = SimpleNamespace(major=3, minor=14, micro=0, releaselevel=level, serial=serial)
    assert measuring._version(info) == text


@pytest.mark.parametrize(
    ("system", "machine", "tag"),
    [("win32", "AMD64", "win_amd64"), ("win32", "ARM64", "win_arm64"), ("win32", "MIPS", ""), ("plan9", "x86_64", "")],
)
def test_platforms_other_than_this(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, tag: str) -> None:
    """The tag of a platform that envid does not know is empty, which is then refused as unknown."""
    monkeypatch.setattr(sys, "platform", system)
    assert measuring._platform_tag(machine) == tag


def test_platform_that_is_unknown_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose platform tag cannot be measured is IdentityUnknown, never a guess."""
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(IdentityUnknown):
        measure()
