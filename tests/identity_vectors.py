"""The inputs of the golden vectors, and what envid makes of them (docs/identity.md, "Golden vectors")."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from envid.app.sources import tree_digest
from envid.errors import IdentityError
from envid.identity import Identity, ci_key, components_of, document, identify, key
from envid.values import component
from envid.values.digest import JSONValue
from envid.values.target import parse_target
from envid.values.wheel_tags import wheels_floor

FILE = Path(__file__).parents[1] / "fixtures" / "identity" / "vectors.json"


def sha(number: int) -> str:
    """Return a digest that is plainly made up."""
    return f"{number:064x}"


BASE: dict[str, Any] = {
    "layer": "env",
    "target": "cp312-manylinux_2_28_x86_64",
    "lock": "default",
    "extras": [],
    "groups": [],
    "distributions": [
        ["numpy", "2.1.0", "wheel", sha(1)],
        ["requests", "2.32.3", "wheel", sha(2)],
        ["sympy", "1.13.1", "wheel", sha(3)],
    ],
    "filenames": [
        "numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "requests-2.32.3-py3-none-any.whl",
        "sympy-1.13.1-py3-none-any.whl",
    ],
    "host": {
        "version": "3.12.7", "soabi": "cpython-312-x86_64-linux-gnu", "free_threaded": False, "debug": False,
        "pointer_bits": 64, "byteorder": "little", "libc_version": "2.36", "executable": "/opt/python/bin/python3.12",
    },
    "markers": {"python_version": "3.12", "sys_platform": "linux"},
    "local": [],
    "build": None,
    "environment": "/home/user/project/.venv",
    "generator": {"backend": "stubs", "code": sha(9), "options": {"deep": True, "limit": 12}, "protocol": 1},
    "facts": {"otp": {"command": "26.2"}, "config": {"file": sha(8)}, "note": {"value": "plain"}},
    "salt": "",
}  # fmt: skip

SDIST = {
    "distributions": [*BASE["distributions"], ["odfpy", "1.4.1", "sdist", sha(4)]],
    "build": {"compiler": "gcc (Distribution 12.2.0-14) 12.2.0", "sources": [["odfpy", "sdist", sha(4)]]},
}
LOCAL = {
    "distributions": [
        *BASE["distributions"], ["Mine", None, "editable", None], ["other", "0.1", "directory", None],
        ["forked", None, "vcs", None],
    ],
    "local": [["other", "directory", sha(21), ""], ["Mine", "editable", sha(20), ""], ["forked", "vcs", "ab" * 20,
    "python"]],
    "build": {
        "compiler": None,
        "sources": [["other", "directory", sha(21)], ["Mine", "editable", sha(20)], ["forked", "vcs", "ab" * 20]],
    },
}  # fmt: skip


def compute(given: dict[str, Any]) -> Identity:
    """Return the identity that envid makes of the input of a vector; raise IdentityUnknown."""
    target = parse_target(given["target"])
    own = {given["layer"]: tuple(given["components"])} if "components" in given else {}
    host = given["host"]
    built = [row for row in given["distributions"] if row[2] != "wheel"]
    values: dict[str, JSONValue] = {
        "python": component.python(implementation=target.implementation, version=target.python, abi=target.abi),
        "selection": component.selection(lock=given["lock"], extras=given["extras"], groups=given["groups"]),
        "distributions": component.distributions(tuple(row) for row in given["distributions"]),
        "markers": component.markers(given["markers"]),
        "local": component.local(tuple(row) for row in given["local"]),
        "generator": component.generator(**given["generator"]),
        "facts": component.facts(given["facts"]),
        "salt": component.salt(given["salt"]),
    }
    place = {"os": target.os, "arch": target.arch, "libc": target.libc}
    if not built:
        floor = wheels_floor(given["filenames"], target)
        values["platform"] = component.platform(**place, floor=floor["version"] if floor else None)
        values["build"] = component.build(sources=(), compiler=None)
    elif host is not None and given["build"] is not None:
        values["platform"] = component.platform(**place, floor=None, exact=host["libc_version"])
        rows = [tuple(row) for row in given["build"]["sources"]]
        values["build"] = component.build(sources=rows, compiler=given["build"]["compiler"])
    if host is not None:
        fields = ("version", "soabi", "free_threaded", "debug", "pointer_bits", "byteorder")
        values["python-build"] = component.python_build(**{field: host[field] for field in fields})
        values["prefix"] = component.prefix(interpreter=host["executable"], environment=given["environment"])
    return identify(given["layer"], components_of(given["layer"], own), values)


def result(given: dict[str, Any]) -> dict[str, Any]:
    """Return what envid gives for the input of any vector, in the form of the vector file."""
    if "version" in given:
        return {"version": component.normal_version(given["version"])}
    if "tree" in given:
        return {"digest": tree_of(given["tree"])}
    if "layer" not in given:
        return {"normal": component.normal_name(given["name"])}
    try:
        identity = compute(given)
    except IdentityError:
        return {"error": True}
    target = parse_target(given["target"])
    return {
        "document": document(identity).decode("utf-8"),
        "key": key(identity),
        "ci_key": ci_key(identity, target.os, target.arch, f"{target.python_tag}{target.abi_flags}"),
    }


def tree_of(entries: list[list[str]]) -> str:
    """Return the digest of ``entries`` made on disk."""
    with tempfile.TemporaryDirectory() as top:
        for path, kind, text in entries:
            place = os.path.join(top, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if kind == "link":
                os.symlink(text, place)
            else:
                Path(place).write_bytes(text.encode("utf-8"))
                os.chmod(place, 0o755 if kind == "executable" else 0o644)
        return tree_digest(top, package="vector")


VERSIONS = (
    "1.0", "1.0.0", "1", "v1.0", "0.0", "0", "0.0.0", "10.0", "1.10.0", "2024.1.0", "1.0rc1", "1.0.0.RC1",
    "1.0-alpha-2",
    "1.0.b", "1.0c3", "1.0.preview4", "1.0.post1", "1.0-1", "1.0.rev2", "1.0r", "1.0.dev3", "1.0dev",
    "1.0a1.post2.dev3",
    "2!1.0", "0!1.0", "1.0+cu121", "1.0+CU-12_1", "1.0.0+local.0", "1.0+1.0", "01.02.00", " 1.0 ", "1.0+007",
    "1.0.post0",
)  # fmt: skip
NAMES = ("Foo_Bar", "foo--bar", "foo.-_bar", "FOO", "a", "zope.interface", "ruamel.yaml.clib", "A__B..C")
TREES: dict[str, list[list[str]]] = {
    "empty": [],
    "one file": [["a.py", "file", "x = 1\n"]],
    "one executable": [["a.py", "executable", "x = 1\n"]],
    "renamed": [["b.py", "file", "x = 1\n"]],
    "order is that of bytes": [["b/a", "file", "1"], ["b.py", "file", "2"], ["B", "file", "3"], ["b-c", "file", "4"]],
    "link": [["a", "file", "x"], ["l", "link", "a"], ["dangling", "link", "../nowhere"]],
    "left out": [
        ["a.py", "file", "x"], [".git/HEAD", "file", "ref"], ["__pycache__/a.cpython-312.pyc", "file", "c"],
        ["src/p.egg-info/PKG-INFO", "file", "m"], ["build/lib/a.py", "file", "x"], ["dist/a.whl", "file", "z"],
        ["p/.mypy_cache/x", "file", "m"], ["a.pyo", "file", "o"], ["env/pyvenv.cfg", "file", "home"], ["env/bin/x",
        "file", ""],
    ],
    "not left out": [
        ["a.py", "file", "x"], ["src/build/__init__.py", "file", ""], ["src/dist/x", "file", ""], [".gitignore",
        "file", "*"],
        ["pyvenv.cfg", "file", "at the top"],
    ],
    "names that are not ASCII": [["\u00e9t\u00e9.py", "file", "x"], ["\u4e2d/\U0001f40d.py", "file", "y"]],
    "names that are decomposed": [["e\u0301te\u0301.py", "file", "x"]],
    "bytes": [["nul", "file", "\x00\x01\r\n"], ["empty", "file", ""]],
}  # fmt: skip
TARGETS = (
    "cp311-manylinux_2_28_x86_64", "cp313-manylinux_2_17_aarch64", "cp313t-manylinux_2_28_x86_64",
    "cp314td-musllinux_1_2_aarch64", "cp312d-manylinux_2_28_x86_64", "cp3.12.7-manylinux_2_28_x86_64",
    "cp3.13.0rc2t-manylinux_2_28_x86_64", "cp312-macosx_14_0_arm64", "cp312-macosx_10_13_x86_64", "cp312-win_amd64",
    "cp312-win_arm64", "cp312-win32", "pp311-manylinux_2_28_x86_64", "cp312-manylinux_2_31_riscv64",
    "cp312-musllinux_1_2_x86_64", "cp312-manylinux_2_28_ppc64le", "cp312-manylinux_2_28_s390x",
    "cp39-manylinux_2_28_x86_64",
)  # fmt: skip
FLOORS: dict[str, tuple[str, list[str]]] = {
    "pure": ("cp312-manylinux_2_28_x86_64", ["a-1-py3-none-any.whl"]),
    "none": ("cp312-manylinux_2_28_x86_64", []),
    "legacy": ("cp312-manylinux_2_28_x86_64", ["a-1-cp312-cp312-manylinux2014_x86_64.whl"]),
    "oldest": ("cp312-manylinux_2_28_x86_64", ["a-1-cp36-abi3-manylinux1_x86_64.whl"]),
    "highest wins": (
        "cp312-manylinux_2_28_x86_64",
        [
            "a-1-cp312-cp312-manylinux_2_17_x86_64.whl",
            "b-1-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        ],
    ),
    "numbers, not text": (
        "cp312-manylinux_2_28_x86_64",
        ["a-1-cp312-cp312-manylinux_2_5_x86_64.whl", "b-1-cp312-cp312-manylinux_2_12_x86_64.whl"],
    ),
    "musl": ("cp312-musllinux_1_2_x86_64", ["a-1-cp312-cp312-musllinux_1_1_x86_64.whl"]),
    "mac arm": ("cp312-macosx_14_0_arm64", ["a-1-cp312-cp312-macosx_12_0_arm64.whl"]),
    "mac universal": ("cp312-macosx_14_0_arm64", ["a-1-cp312-cp312-macosx_10_9_universal2.whl"]),
    "mac intel": ("cp312-macosx_14_0_x86_64", ["a-1-cp312-cp312-macosx_10_9_universal2.whl"]),
    "windows": ("cp312-win_amd64", ["a-1-cp312-cp312-win_amd64.whl"]),
}
OWN: dict[str, tuple[str, ...]] = {
    "results": ("python", "distributions", "salt"),
    "artifacts": ("facts", "salt"),
    "everything": (
        "python", "python-build", "platform", "markers", "selection", "distributions", "local", "build", "prefix",
        "generator", "facts", "salt",
    ),
    "a": ("salt",),
    "out-of_order-9": ("salt", "python", "markers"),
}  # fmt: skip


def inputs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and input of every vector."""
    for version in VERSIONS:
        yield f"version {version!r}", {"version": version}
    for name in NAMES:
        yield f"name {name}", {"name": name}
    for name, entries in TREES.items():
        yield f"tree: {name}", {"tree": entries}
    for layer in ("wheels", "env", "store", "venv", "adapters"):
        yield f"layer {layer}", with_({"layer": layer})
        yield f"layer {layer}, sdist", with_({"layer": layer}, SDIST)
        yield f"layer {layer}, source trees", with_({"layer": layer}, LOCAL)
    for layer, components in OWN.items():
        yield f"layer of the project's own: {layer}", with_({"layer": layer, "components": list(components)})
    for target in TARGETS:
        for layer in ("wheels", "env"):
            yield f"target {target}, {layer}", with_({"layer": layer, "target": target, "filenames": []})
    for name, (target, filenames) in FLOORS.items():
        yield f"floor: {name}", with_({"target": target, "filenames": filenames})
    yield from _spellings()
    yield "no host, venv", with_({"layer": "venv", "host": None})
    yield "no host, sdist", with_({"host": None}, SDIST)
    yield "no host, wheels only", with_({"host": None})


def _spellings() -> Iterator[tuple[str, dict[str, Any]]]:
    rows = BASE["distributions"]
    yield "rows in another order", with_({"distributions": list(reversed(rows))})
    yield (
        "names and versions as people write them",
        with_(
            {"distributions": [["NumPy", "2.1", "wheel", sha(1)], ["Requests", "v2.32.3", "wheel", sha(2)], rows[2]]}
        ),
    )
    yield "another hash", with_({"distributions": [["numpy", "2.1.0", "wheel", sha(7)], *rows[1:]]})
    yield "nothing selected", with_({"distributions": [], "filenames": [], "markers": {}})
    yield "archives", with_({"layer": "wheels", "distributions": [["a", None, "archive", sha(5)], *rows]})
    yield (
        "selection",
        with_({"lock": "test", "extras": ["Fast_IO", "b", "b", "fast.io"], "groups": ["z", "dev", "Dev"]}),
    )
    yield "salt", with_({"salt": '2024-01 \u2713 "quoted" \\ \t\n\x01\x7f'})
    yield "salt beyond the BMP", with_({"layer": "wheels", "salt": "\U0001f9ea\u00e9"})
    yield (
        "markers",
        with_({"markers": {"os_name": "posix", "implementation_version": "3.12.7", "platform_release": ""}}),
    )
    yield "fact keys", with_({"layer": "x", "components": ["facts"], "facts": {}})
    yield "big options", with_(
        {"layer": "adapters", "generator": {**BASE["generator"], "options": {"n": 2**53 - 1, "m": -(2**53) + 1,
            "z": None, "a": [1, [], {}]}}}
    )  # fmt: skip
    for version in ("3.11.7", "3.13.0rc2", "3.14.0"):
        host = {**BASE["host"], "version": version, "free_threaded": version == "3.14.0"}
        yield f"interpreter {version}", with_({"layer": "venv", "host": host})
    for field, value in (("debug", True), ("pointer_bits", 32), ("byteorder", "big"), ("soabi", "")):
        yield f"interpreter, {field}", with_({"layer": "venv", "host": {**BASE["host"], field: value}})
    yield "another place", with_({"layer": "venv", "environment": "/srv/caf\u00e9/.venv"})


def with_(*changes: dict[str, Any]) -> dict[str, Any]:
    """Return the base input with changes laid over it."""
    given = deepcopy(BASE)
    for change in changes:
        given |= deepcopy(change)
    return given


def stored() -> list[dict[str, Any]]:
    """Return the vectors of the fixture."""
    vectors: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return vectors
