"""A second implementation of docs/identity.md: standard library and blake3 only, nothing of envid.

Written from that page alone; where it and envid disagree, the page decides. Run as a program it prints,
for the vectors on standard input, how many agree.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import Any

from blake3 import blake3

LAYER_TABLE = {
    "wheels": "markers selection distributions salt",
    "env": "python platform markers selection distributions local build salt",
    "store": "python platform markers selection distributions local build salt",
    "venv": "python python-build platform markers selection distributions local build prefix salt",
    "adapters": "python platform markers selection distributions local build generator salt",
}

PEP440 = re.compile(
    r"\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>\d+)?)?"
    r"(?:-(?P<implicit>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_n>\d+)?)?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_n>\d+)?)?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*",
    re.IGNORECASE,
)
PRE = {"alpha": "a", "a": "a", "beta": "b", "b": "b", "c": "rc", "pre": "rc", "preview": "rc", "rc": "rc"}


def normal_name(text: str) -> str:
    return re.sub("[-_.]+", "-", text).lower()


def normal_version(text: str) -> str:
    found = PEP440.fullmatch(text)
    if found is None:
        raise ValueError(text)
    release = [str(int(part)) for part in found["release"].split(".")]
    while len(release) > 1 and release[-1] == "0":
        release.pop()
    result = ".".join(release)
    if found["epoch"] and int(found["epoch"]):
        result = f"{int(found['epoch'])}!{result}"
    if found["pre"]:
        result += PRE[found["pre"].lower()] + str(int(found["pre_n"] or 0))
    if found["implicit"] or found["post"]:
        result += f".post{int(found['implicit'] or found['post_n'] or 0)}"
    if found["dev"]:
        result += f".dev{int(found['dev_n'] or 0)}"
    if found["local"]:
        parts = re.split("[-_.]", found["local"].lower())
        result += "+" + ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return result


def canonical(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        assert abs(value) < 2**53
        return str(value)
    if isinstance(value, str):
        assert unicodedata.normalize("NFC", value) == value
        # json escapes exactly these characters, in exactly this way, when it is not asked for ASCII.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    assert isinstance(value, dict)
    assert all(key.isascii() for key in value)
    return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"


def derive(context: str, text: str) -> str:
    return blake3(text.encode("utf-8"), derive_key_context=context).hexdigest()


class Target:
    def __init__(self, text: str) -> None:
        python, _, platform = text.partition("-")
        found = re.fullmatch(r"(cp|pp)(?:3\.(\d+)(?:\.\w+)?|3(\d+))(td?|d)?", python)
        assert found is not None
        minor = found[2] or found[3]
        flags = found[4] or ""
        if found[2]:  # the patch release may end in letters of its own
            tail = re.fullmatch(r"(?:cp|pp)3\.\d+(?:\.\d+(?:(?:a|b|rc)\d+)?)?(td?|d)?", python)
            assert tail is not None
            flags = tail[1] or ""
        self.implementation = {"cp": "cpython", "pp": "pypy"}[found[1]]
        self.version = f"3.{minor}"
        self.abi = f"cp3{minor}{flags}" if found[1] == "cp" else f"pypy3{minor}_pp73"
        self.pytag = f"{found[1]}3{minor}{flags}"
        family = platform.split("_")[0]
        if family == "win32" or family == "win":
            self.os = self.libc = "windows"
            self.arch = {"win_amd64": "x86_64", "win_arm64": "aarch64", "win32": "i686"}[platform]
            self.limit = None
        else:
            self.os = {"manylinux": "linux", "musllinux": "linux", "macosx": "macos"}[family]
            self.libc = {"manylinux": "glibc", "musllinux": "musl", "macosx": "macos"}[family]
            _, major, minor_text, self.tag_arch = platform.split("_", 3)
            self.arch = "aarch64" if self.tag_arch == "arm64" else self.tag_arch
            self.limit = (int(major), int(minor_text))

    def accepted(self, tag: str) -> tuple[int, int] | None:
        """Return the version that a platform tag asks for, when this target accepts the tag."""
        assert self.limit is not None
        for old, new in (("manylinux1_", "manylinux_2_5_"), ("manylinux2010_", "manylinux_2_12_"),
                         ("manylinux2014_", "manylinux_2_17_")):  # fmt: skip
            if tag.startswith(old):
                tag = new + tag[len(old) :]
        parts = tag.split("_", 3)
        families = {"glibc": "manylinux", "musl": "musllinux", "macos": "macosx"}
        if len(parts) != 4 or parts[0] != families[self.libc]:
            return None
        arches = {self.tag_arch}
        if self.libc == "macos":
            arches |= {"universal2"} | ({"intel", "fat64", "fat3", "universal"} if self.tag_arch == "x86_64" else set())
        version = (int(parts[1]), int(parts[2]))
        if parts[3] not in arches or version > self.limit:
            return None
        if self.libc == "musl" and version[0] != self.limit[0]:
            return None
        if self.libc == "macos" and self.arch == "aarch64":
            return max(version, (11, 0))
        return version


def floor(filenames: list[str], target: Target) -> str | None:
    lowest: list[tuple[int, int]] = []
    for filename in filenames:
        platforms = filename.removesuffix(".whl").split("-")[-1].split(".")
        if platforms == ["any"] or target.limit is None:
            continue
        lowest.append(min(version for tag in platforms if (version := target.accepted(tag))))
    return "{}.{}".format(*max(lowest)) if lowest else None


def component(name: str, given: dict[str, Any], target: Target) -> Any:
    host = given["host"]
    built = [row for row in given["distributions"] if row[2] != "wheel"]
    if name == "python":
        return {"abi": target.abi, "implementation": target.implementation, "version": target.version}
    if name == "python-build":
        members = ("byteorder", "debug", "free_threaded", "pointer_bits", "soabi", "version")
        return {member: host[member] for member in members}
    if name == "platform":
        value = {"arch": target.arch, "libc": target.libc, "os": target.os}
        if built:
            return {**value, "exact": host["libc_version"]}
        return {**value, "floor": floor(given["filenames"], target)}
    if name == "selection":
        extras = sorted({normal_name(text) for text in given["extras"]})
        groups = sorted({normal_name(text) for text in given["groups"]})
        return {"extras": extras, "groups": groups, "lock": given["lock"]}
    if name == "distributions":
        return sorted(
            [normal_name(row[0]), None if row[1] is None else normal_version(row[1]), row[2], row[3]]
            for row in given["distributions"]
        )
    if name == "local":
        return sorted([normal_name(row[0]), *row[1:]] for row in given["local"])
    if name == "build":
        if not built:
            return None
        sources = sorted([normal_name(row[0]), *row[1:]] for row in given["build"]["sources"])
        return {"compiler": given["build"]["compiler"], "sources": sources}
    if name == "prefix":
        return {"environment": given["environment"], "interpreter": host["executable"]}
    return given[name]


def identity(given: dict[str, Any]) -> tuple[str, str, str]:
    """Return document, key and CI key of the input of a vector; KeyError or TypeError when a component is missing."""
    layer = given["layer"]
    target = Target(given["target"])
    names = LAYER_TABLE[layer].split() if layer in LAYER_TABLE else given["components"]
    components = {name: component(name, given, target) for name in names}
    document = canonical({"schema": "envid-identity/1", "layer": layer, "components": components})
    digest = derive(f"envid-identity/1 {layer}", document)
    return document, f"envid1-{layer}-{digest}", f"envid1-{layer}-{target.os}-{target.arch}-{target.pytag}-{digest}"


EVERYWHERE = {
    ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "_darcs", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
    ".hypothesis", ".tox", ".nox", ".eggs", ".envid", ".venv", "node_modules", ".DS_Store", ".coverage",
}  # fmt: skip


def tree(entries: list[list[str]]) -> str:
    """Return the tree digest of ``[path, kind, text]`` entries."""
    environments = {path.rpartition("/")[0] for path, _, _ in entries if path.endswith("/pyvenv.cfg")}
    rows = {}
    for path, kind, text in entries:
        parts = path.split("/")
        if any(part in EVERYWHERE or part.endswith((".pyc", ".pyo", ".egg-info")) for part in parts):
            continue
        if parts[0] in ("build", "dist") or any(path.startswith(f"{place}/") for place in environments):
            continue
        content = unicodedata.normalize("NFC", text) if kind == "link" else blake3(text.encode("utf-8")).hexdigest()
        name = unicodedata.normalize("NFC", path)
        rows[name.encode("utf-8")] = [name, kind, content]
    return derive("envid-tree/1", canonical([rows[name] for name in sorted(rows)]))


def agrees(vector: dict[str, Any]) -> bool:
    """Return whether this implementation gives what the vector says."""
    given = vector["input"]
    if "version" in given:
        return bool(normal_version(given["version"]) == vector["version"])
    if "tree" in given:
        return bool(tree(given["tree"]) == vector["digest"])
    if "layer" not in given:
        return bool(normal_name(given["name"]) == vector["normal"])
    if vector.get("error"):
        try:
            identity(given)
        except (KeyError, TypeError):
            return True
        return False
    return bool(identity(given) == (vector["document"], vector["key"], vector["ci_key"]))


if __name__ == "__main__":
    vectors = json.load(sys.stdin)
    wrong = [vector["name"] for vector in vectors if not agrees(vector)]
    print(f"{len(vectors) - len(wrong)} of {len(vectors)} agree", *wrong, sep="\n")
    sys.exit(bool(wrong))
