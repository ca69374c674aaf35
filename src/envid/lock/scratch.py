"""The generated project in which uv resolves: everything that may change the answer, and nothing else.

uv reads settings from the directory it runs in, from the user's and the system's configuration and
from variables. Running it in a project of our own, with a configuration of our own, is what makes
equal inputs give equal locks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from envid.errors import ConfigError, DependencyRefused
from envid.lock import toml
from envid.lock.promise import unstated
from envid.lock.resolver import ResolveRequest

PROJECT: Final = "envid-scratch"
"""The name of the generated project; replaced in every message."""

TRANSPORT_KEYS: Final = frozenset({
    "index", "index-url", "extra-index-url", "find-links", "no-index", "keyring-provider", "native-tls", "system-certs",
    "allow-insecure-host", "trusted-host", "http-proxy", "https-proxy", "no-proxy", "cache-dir", "no-cache",
    "concurrent-downloads",
})  # fmt: skip
"""Keys of the user's uv.toml that say how an index is reached."""

TRANSPORT_VARIABLES: Final = re.compile(
    r"UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_\w+_(USERNAME|PASSWORD)"
    r"|KEYRING_PROVIDER|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|REQUEST_TIMEOUT|HTTP_RETRIES|HTTP_CONNECT_TIMEOUT"
    r"|CONCURRENT_DOWNLOADS|CACHE_DIR|NO_CACHE|CREDENTIALS_DIR)"
)
"""Variables of uv that say how an index is reached, and none that changes what is resolved."""


def write_inputs(request: ResolveRequest, *, constraints: Sequence[str] = ()) -> str:
    """Return the pyproject.toml of the generated project.

    ``constraints`` come on top of those of the request. Raises ConfigError for a source that names
    an index nobody declares, DependencyRefused for a path where nothing is.
    """
    indexes = [_index(table, request.root) for table in request.indexes]
    names = {table.get("name") for table in indexes} | {
        table.get("name") for table in _tables(request.user_settings.get("index"))
    }
    sources = {name: _source(name, request.sources[name], request.root, names) for name in sorted(request.sources)}
    uv: dict[str, object] = {
        **{key: request.options[key] for key in sorted(request.options)},
        # A workspace root of its own: a pyproject.toml in a parent of the temporary directory has no say.
        "workspace": {"members": []},
        "constraint-dependencies": [_located(text, request.root) for text in (*request.constraints, *constraints)],
        "override-dependencies": [_located(text, request.root) for text in request.overrides],
        "sources": sources,
    }
    if request.environments:
        uv["environments"] = list(request.environments)
        # Without this uv may take a version that has no wheel at all for one of the environments.
        uv["required-environments"] = list(request.environments)
    project = {
        "name": PROJECT,
        "version": "0",
        "requires-python": f">={request.minimum_python}",
        "dependencies": [_located(text, request.root) for text in request.requirements],
    }
    lines = ["[project]", *(f"{key} = {toml.value(value)}" for key, value in project.items()), "", "[tool.uv]"]
    lines += [f"{toml.key(key)} = {toml.value(value)}" for key, value in uv.items()]
    for table in indexes:
        lines += ["", "[[tool.uv.index]]", *(f"{toml.key(key)} = {toml.value(table[key])}" for key in sorted(table))]
    return "\n".join(lines) + "\n"


def write_settings(user: Mapping[str, Any]) -> str:
    """Return a uv.toml with the transport keys of the user's own, and nothing that changes a resolution."""
    kept = {key: user[key] for key in sorted(user) if key in TRANSPORT_KEYS}
    pip = user.get("pip")
    if isinstance(pip, Mapping):
        inner = {key: pip[key] for key in sorted(pip) if key in TRANSPORT_KEYS}
        if inner:
            kept["pip"] = inner
    return "".join(f"{toml.key(key)} = {toml.value(value)}\n" for key, value in kept.items())


def write_pins(request: ResolveRequest) -> str | None:
    """Return the versions to keep as a lock that uv reads its preferences from; None when there are none."""
    if request.previous is None or request.upgrade:
        return None
    lines = ['lock-version = "1.0"', 'created-by = "envid"', "packages = ["]
    pinned = 0
    for entry in request.previous.distributions:
        if entry.name in request.upgrade_packages or entry.archive is not None:
            continue
        fields: dict[str, object] = {"name": entry.name}
        fields |= {key: text for key, text in (("version", entry.version), ("marker", entry.marker)) if text}
        if entry.source is not None:
            if entry.source.kind != "vcs" or entry.source.url is None:
                continue
            fields["vcs"] = {"type": entry.source.vcs, "url": entry.source.url, "commit-id": entry.source.commit}
        elif entry.version is None:
            continue
        pinned += 1
        lines.append(f"    {toml.value(fields)},")
    return "\n".join([*lines, "]"]) + "\n" if pinned else None


def transport_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of uv that a resolution is run with."""
    return {name: value for name, value in variables.items() if TRANSPORT_VARIABLES.fullmatch(name)}


# --- paths: what the project says relative to itself, uv must find from elsewhere --------------


def _index(table: Mapping[str, Any], root: Path) -> dict[str, Any]:
    url = str(table.get("url", ""))
    if "://" not in url:
        return {**table, "url": Path(os.path.normpath(root / url)).as_uri()}
    return dict(table)


def _source(name: str, given: object, root: Path, indexes: set[object]) -> object:
    if isinstance(given, list):
        return [_source(name, entry, root, indexes) for entry in given]
    if not isinstance(given, Mapping):
        raise ConfigError(f"tool.uv.sources.{name} must be a table", hint="see [tool.uv.sources]")
    # The requirements are flattened: what was said of one extra or group holds for all that are selected.
    entry = {key: value for key, value in given.items() if key not in ("extra", "group")}
    path = entry.get("path")
    if isinstance(path, str):
        entry["path"] = str(_present(name, path, root))
    if isinstance(entry.get("url"), str):
        entry["url"] = unstated(entry["url"])
    index = entry.get("index")
    if isinstance(index, str) and index not in indexes:
        raise ConfigError(
            f"tool.uv.sources.{name} names the index `{index}`, which is not declared",
            hint=f'declare it: indexes = ["{index}=URL"] under [tool.envid.lock]',
        )
    return entry


def _located(requirement: str, root: Path) -> str:
    """Return a requirement whose URL, when it is a path or a file, is absolute and there."""
    head, at, rest = requirement.partition(" @ ")
    if not at:
        return requirement
    url, semicolon, marker = rest.partition(" ;")
    url = url.strip()
    name = head.partition("[")[0]
    if "://" in url and not url.startswith("file:"):
        return f"{head} @ {unstated(url)}" + (f" ;{marker}" if semicolon else "")
    path = unquote(urlsplit(url).path) if url.startswith("file:") else url
    return f"{head} @ {_present(name, path, root).as_uri()}" + (f" ;{marker}" if semicolon else "")


def _present(name: str, path: str, root: Path) -> Path:
    found = Path(os.path.normpath(root / path.replace("${PROJECT_ROOT}", str(root))))
    if not found.exists():
        raise DependencyRefused(
            f"{name} is to come from {path}, and there is nothing there",
            hint="check the path; it starts from the directory of pyproject.toml", package=name, path=path,
        )  # fmt: skip
    return found


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
