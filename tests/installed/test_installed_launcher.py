"""Launchers and rewritten scripts: those of uv and pip, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from envid.installed.interpreter import Environment
from envid.installed.launcher import (
    TEMPLATES,
    launcher_ok,
    launchers_of,
    python_paths,
    script_ok,
    script_tail,
    script_tail_digest,
)
from envid.values.contents import EntryPoint

PYTHON = "/env/bin/python"
PATHS = (PYTHON, "/env/bin/python3.12", "/a b/bin/python", "/it's/bin/python")
ENTRY = EntryPoint(script="tool", module="pkg.mod", attribute="Cli.run")
SHEBANGS = [
    "#!/env/bin/python\n",
    "#!/env/bin/python3.12\n",
    "#!/bin/sh\n'''exec' '/a b/bin/python' \"$0\" \"$@\"\n' '''\n",
    "#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n",
    "#!/bin/sh\n'''exec' /env/bin/python \"$0\" \"$@\"\n' '''\n",
    "#!/bin/sh\n'''exec' '/it'\"'\"'s/bin/python' \"$0\" \"$@\"\n' '''\n",
    "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n",
]
BODIES = [template.format(module="pkg.mod", imported="Cli", attribute="Cli.run") for template in TEMPLATES]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("shebang", SHEBANGS)
def test_launchers_of_uv_and_pip_are_known(shebang: str, body: str) -> None:
    """Every text that uv and pip generate for an entry point is a launcher of it."""
    assert launcher_ok((shebang + body).encode(), ENTRY, PATHS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("/env/bin/python", "/tmp/bin/python"), lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("import sys", "import sys, evil", 1),
        lambda text: text.replace("pkg.mod", "pkg.evil"),
        lambda text: text.replace("Cli.run()", "Cli.other()"), lambda text: text[:-1], lambda _: "",
        lambda text: text.replace("/env/bin/python", "/env/bin/python -i"), lambda text: "#!/bin/sh\n" + text,
        lambda text: text.replace("\n", "\r\n"), lambda text: text.split("\n", 1)[1],
        lambda text: "#!/bin/sh\n'''exec' '/env/bin/python' -c evil \"$0\" \"$@\"\n' '''\n" + text.split("\n", 1)[1],
        lambda text: "#!/bin/sh\nrm -rf /\n'''exec' '/env/bin/python' \"$0\" \"$@\"\n' '''\n" + text.split("\n", 1)[1],
    ],
)  # fmt: skip
def test_any_other_text_is_not(change: object) -> None:
    """Another interpreter, an option, one more line, one byte: none is a launcher."""
    assert callable(change)
    assert not launcher_ok(change(SHEBANGS[0] + BODIES[0]).encode(), ENTRY, PATHS)


@pytest.mark.parametrize("shebang", SHEBANGS)
def test_rewritten_scripts(shebang: str) -> None:
    """A script of a wheel with its first line rewritten by an installer is recognised by its tail."""
    data = shebang.encode() + b"print(1)\n"
    digest = blake3(b"print(1)\n").hexdigest()
    assert script_ok(data, digest, PATHS)
    assert not script_ok(data + b"#", digest, PATHS)
    assert not script_ok(data, digest, ("/other/bin/python",) if "dirname" not in shebang else ("/other/bin/evil",))


@pytest.mark.parametrize("data", [b"#!python\nx", b"#!/usr/bin/env python\nx", b"\x7fELF", b"", b"#!", b"#!/bin/sh\nx"])
def test_other_files_have_no_tail(data: bytes, tmp_path: Path) -> None:
    """A file that does not begin with a shebang of this environment is not a rewritten script."""
    assert script_tail(data, PATHS) is None
    (tmp_path / "s").write_bytes(data)
    assert script_tail_digest(str(tmp_path / "s"), PATHS) is None


def test_tail_digest_of_files(tmp_path: Path) -> None:
    """The digest of a rewritten script's tail is read from the file; a missing file has none."""
    (tmp_path / "s").write_bytes(b"#!/env/bin/python\nprint(1)\n")
    assert script_tail_digest(str(tmp_path / "s"), PATHS) == blake3(b"print(1)\n").hexdigest()
    assert script_tail_digest(str(tmp_path / "gone"), PATHS) is None


def test_pip_gets_launchers_that_no_entry_point_names() -> None:
    """pip's ``pip3.12`` is a launcher of ``pip``; other distributions get what they declare."""
    pip = (EntryPoint(script="pip", module="pip", attribute="main"),)
    found = launchers_of("pip", pip, ["pip3", "pip3.12", "pip4evil", "python"])
    assert [entry.script for entry in found] == ["pip", "pip3", "pip3.12"]
    assert {entry.attribute for entry in found} == {"main"}
    assert launchers_of("other", pip, ["pip3"]) == pip


def test_paths_of_the_interpreter(tmp_path: Path) -> None:
    """Scripts may name the interpreter through the directory as given and through its real path."""
    real = tmp_path / "real"
    (real / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    environment = Environment(
        root=tmp_path / "link", purelib=real, platlib=real, scripts=tmp_path / "link/bin", headers=real,
        python=real, base_executable=real, implementation="cpython", version="3.13.1", free_threaded=True,
    )  # fmt: skip
    found = python_paths(environment)
    for name in ("python", "python3", "python3.13", "python3.13t"):
        assert str(tmp_path / "link/bin" / name) in found
        assert str(tmp_path / "real/bin" / name) in found
