"""Everything that can change a lock, as text: what a lock records, and what ``lock --check`` compares.

Nothing here reads a file or the clock; metadata of local directories comes through a reader that the
caller hands in.
"""

from __future__ import annotations

import json
import posixpath
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from envid.errors import ConfigError, DynamicMetadata
from envid.values.digest import JSONValue, blake3_hex
from envid.values.intent import Intent, LockSettings
from envid.values.requirement import (
    Asked,
    canonical_requirement,
    canonical_specifier,
    concealed,
    flatten,
    refuse_credentials,
)

Reader = Callable[[str], bytes | None]
"""Returns the bytes of a file named by its POSIX path relative to the project; None when there is none."""

_ARCHIVE: Final = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MAX_DEPTH: Final = 64


def canonical_inputs(
    intent: Intent, settings: LockSettings, *, read: Reader | None = None, pyproject: bytes = b""
) -> dict[str, JSONValue]:
    """Return everything that can change the lock of ``settings``: a string, a boolean or a list of strings per name.

    Equal results mean equal questions. Lists whose order has no meaning are sorted; ``indexes`` keeps its
    order, and names indexes by alias, never by URL, so that a mirror changes nothing. Names with
    nothing to say are absent. ``read`` serves the metadata of local sources (``[tool.uv.sources]``
    with ``path``, direct references to a path). The table is documented in docs/freshness.md.
    Raises what ``flatten`` raises; ConfigError for a local source that cannot be read.
    """
    asked = flatten(intent, settings, pyproject=pyproject)
    uv = intent.uv
    inputs: dict[str, JSONValue] = {
        "requirements": sorted({item.text for item in asked}),
        "constraints": _texts((*settings.constraints, *uv.constraints), "constraints"),
        "overrides": _texts((*settings.overrides, *uv.overrides), "overrides"),
        "targets": sorted(target.name for target in intent.settings.targets),
        "resolver": settings.resolver,
        "extras": _names(settings.extras),
        "groups": _names(settings.groups),
        "allow-sdist": _names(settings.allow_sdist),
        "indexes": _indexes(intent, settings),
        "neutral": settings.neutral,
        "contents": settings.contents,
        "sources": [f"{canonicalize_name(name)} {_plain(uv.sources[name])}" for name in _by_name(uv.sources)],
        "uv": [f"{key} {_plain(uv.other[key])}" for key in sorted(uv.other)],
        "local": _local(intent, asked, read),
    }
    if intent.requires_python is not None:
        inputs["requires-python"] = canonical_specifier(intent.requires_python, where="project.requires-python")
    if settings.exclude_newer is not None:
        inputs["exclude-newer"] = settings.exclude_newer
    for value in _strings((uv.sources, uv.other)):
        if "://" in value:
            refuse_credentials(value, where=f"tool.uv: `{concealed(value)}`")
    return {name: inputs[name] for name in sorted(inputs) if inputs[name] not in ([], "")}


def _texts(requirements: Iterable[str], origin: str) -> list[str]:
    return sorted({canonical_requirement(text, origin=origin).text for text in requirements})


def _names(names: Iterable[str]) -> list[str]:
    return sorted({canonicalize_name(name) for name in names})


def _by_name(table: Mapping[str, Any]) -> list[str]:
    return sorted(table, key=lambda name: (canonicalize_name(name), name))


def _indexes(intent: Intent, settings: LockSettings) -> list[str]:
    found = []
    for number, text in enumerate(settings.indexes):
        name, separator, _ = text.partition("=")
        alias = name.strip() if separator and "://" not in name else "(unnamed)"
        found.append(f"{alias} default" if number == 0 else alias)
    for table in intent.uv.indexes:
        said = (key for key in sorted(table) if key not in _TRANSPORT and table[key] is not False)
        flags = [f"{key}={_plain(table[key])}" for key in said]
        found.append(" ".join([str(table.get("name", "(unnamed)")), *flags]))
    return found


_TRANSPORT: Final = ("name", "url", "publish-url", "authenticate", "cache-control", "ignore-error-codes")
"""Keys of ``[[tool.uv.index]]`` that say how to reach an index, not what it answers."""


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


# --- local sources ---------------------------------------------------------------------------


def _local(intent: Intent, asked: Iterable[Asked], read: Reader | None) -> list[str]:
    found: dict[str, str] = {}
    by_url = ((item.name, path) for item in asked if (path := _path_of(item.url)) is not None)
    for name, path in (*_paths(intent.uv.sources, ""), *by_url):
        _visit(name, path, read, found, 0)
    return [found[path] for path in sorted(found)]


def _path_of(url: str | None) -> str | None:
    """Return the path that a direct reference names (``file:///x``, ``./x``, ``${PROJECT_ROOT}/x``); None for a URL."""
    if url is None or ("://" in url and not url.startswith("file:")):
        return None
    path = unquote(urlsplit(url).path) if url.startswith("file:") else url
    return posixpath.normpath(path.replace("${PROJECT_ROOT}", "."))


def _paths(sources: Mapping[str, Any], base: str) -> Iterator[tuple[str, str]]:
    for name in _by_name(sources):
        entries = sources[name] if isinstance(sources[name], list) else [sources[name]]
        for entry in entries:
            if isinstance(entry, Mapping) and isinstance(entry.get("path"), str):
                yield canonicalize_name(name), posixpath.normpath(posixpath.join(base, entry["path"]))


def _visit(name: str, path: str, read: Reader | None, found: dict[str, str], depth: int) -> None:
    if path in found or depth > _MAX_DEPTH or read is None:
        return
    if path.endswith(_ARCHIVE):
        data = read(path)
        if data is None:
            problem = f"the local source of {name} cannot be read: {path}"
            raise ConfigError(problem, hint="see [tool.uv.sources]", path=path)
        found[path] = f"{name} blake3 {blake3_hex(data)}"
        return
    where = posixpath.join(path, "pyproject.toml")
    data = read(where)
    if data is None:
        raise DynamicMetadata(
            f"the local source of {name} has no {where}: only a build would tell its dependencies",
            path=where, package=name,
        )  # fmt: skip
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid TOML", path=where, hint="mend the syntax there") from error
    found[path] = f"{name} {_plain(_metadata(document, name, where))}"
    uv = document.get("tool", {}).get("uv", {}) if isinstance(document.get("tool", {}), dict) else {}
    sources = uv.get("sources", {}) if isinstance(uv, dict) else {}
    for inner, further in _paths(sources if isinstance(sources, dict) else {}, path):
        _visit(inner, further, read, found, depth + 1)


def _metadata(document: Mapping[str, Any], name: str, where: str) -> dict[str, object]:
    project = document.get("project")
    dynamic = project.get("dynamic", []) if isinstance(project, dict) else ["dependencies"]
    if not isinstance(project, dict) or not isinstance(dynamic, list) or "dependencies" in dynamic:
        raise DynamicMetadata(f"the dependencies of the local source {name} are only known by building it", path=where)
    optional = project.get("optional-dependencies", {})
    extras = optional if isinstance(optional, dict) else {}
    for listed in (project.get("dependencies", []), *extras.values()):
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise ConfigError(f"{where}: dependencies must be arrays of strings", path=where, hint="see PEP 621")
    metadata: dict[str, object] = {
        "dependencies": _texts(project.get("dependencies", []), f"local {name}"),
        "extras": {canonicalize_name(extra): _texts(extras[extra], f"local {name}") for extra in extras},
    }
    python = project.get("requires-python")
    if isinstance(python, str):
        metadata["requires-python"] = canonical_specifier(python, where=where)
    return metadata
