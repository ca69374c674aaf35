"""Read a ``pylock.toml`` (PEP 751), insisting on more than the format does: every artifact hashed, every path safe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from envid.errors import ConflictMarkers, InvalidLock, TooLarge
from envid.lock.entries import Table, distribution, shown
from envid.lock.reader import Row, scan
from envid.lock.toml import MAX_DEPTH, too_deep
from envid.values.artifact import Lock, LockedDistribution
from envid.values.marker import check_specifiers, parse_marker

MAX_BYTES: Final = 64 * 1024 * 1024
"""A lock beyond this is refused unread; 400 distributions with every artifact take about 2 MB."""

FORMAT: Final = 1
"""Of ``[tool.envid]``; a table of another format is as good as none."""

_OURS: Final = rb"(?m)^<{7}(?: |\r?$)"
_THEIRS: Final = rb"(?m)^>{7}(?: |\r?$)"
_VERSION: Final = r"1(?:\.[0-9]{1,4})?"


def read(data: bytes, *, path: str) -> Lock:
    """Return what ``parse(data, path=path)`` returns, sooner when ``lock.write`` made the bytes."""
    found = skim(data, path=path)
    if found is None:
        return parse(data, path=path)
    lock, rows = found
    from dataclasses import replace

    return replace(lock, distributions=tuple(row.distribution() for row in rows))


def skim(data: bytes, *, path: str) -> tuple[Lock, list[Row]] | None:
    """Return the lock without its distributions, and these in pieces; None when that takes the full reader."""
    found = scan(data) if len(data) <= MAX_BYTES else None
    if found is None:
        return None
    try:
        return _lock(found[0], (), path), found[1]
    except InvalidLock:
        # Refused either way; the full reader says it with all it knows.
        return None


def parse(data: bytes, *, path: str, drop_credentials: bool = False) -> Lock:
    """Return the lock in ``data``, held against the whole specification too; ``path`` only names it in errors.

    ``drop_credentials``: take user names, passwords and signed queries out of URLs instead of
    refusing them (for what an engine wrote; never for a file of the project's).
    Raises InvalidLock, ConflictMarkers, UnhashedArtifact, UnsafePath, TooLarge.
    """
    document = load(data, path=path)
    version = document.get("lock-version")
    if version is None:
        raise InvalidLock(f"{path}: there is no lock-version: this is not a lock", path=path)
    if not isinstance(version, str) or not re.fullmatch(_VERSION, version):
        raise InvalidLock(f"{path}: lock-version {shown(version)} is not 1.x", path=path)
    packages = document.get("packages")
    if not isinstance(packages, list) or not all(isinstance(table, dict) for table in packages):
        raise InvalidLock(f"{path}: `packages` is missing or no array of tables", path=path)
    distributions = tuple(
        distribution(table, where=f"packages[{number}]", path=path, drop_credentials=drop_credentials)
        for number, table in enumerate(packages)
    )
    seen: set[tuple[str, str | None, str | None]] = set()
    for entry in distributions:
        row = (entry.name, entry.version, entry.marker)
        if row in seen:
            problem = f"{path}: {entry.name} {entry.version or ''} is listed twice with the same marker"
            raise InvalidLock(problem, path=path, package=entry.name)
        seen.add(row)
    lock = _lock(document, distributions, path)
    _validate(document, path)
    return lock


def load(data: bytes, *, path: str) -> dict[str, Any]:
    """Return the TOML document in ``data``; raise InvalidLock, ConflictMarkers, TooLarge."""
    import tomllib

    if len(data) > MAX_BYTES:
        raise TooLarge(f"{path} is larger than {MAX_BYTES} bytes", path=path)
    if data.startswith(b"\xef\xbb\xbf"):
        raise InvalidLock(f"{path} begins with a byte order mark", path=path, hint="save it as UTF-8 without one")
    if (at := data.find(b"\0")) >= 0:
        raise InvalidLock(f"{path} holds a NUL byte (byte {at})", path=path)
    if re.search(_OURS, data) and re.search(_THEIRS, data):
        raise ConflictMarkers(f"{path} holds conflict markers of a merge", path=path)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidLock(f"{path} is not UTF-8 (byte {error.start})", path=path) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidLock(f"{path}: {shown(error)}", path=path) from error
    except RecursionError as error:
        raise _nested(path) from error
    except ValueError as error:
        # tomllib lets dates that do not exist and integers of 5,000 digits through as bare ValueError.
        raise InvalidLock(f"{path}: {shown(error)}", path=path) from error
    # Dotted headers nest a thousand deep without recursion in the parser; everything behind it may recurse.
    if too_deep(document):
        raise _nested(path)
    return document


def _nested(path: str) -> InvalidLock:
    return InvalidLock(f"{path} has tables or arrays nested deeper than {MAX_DEPTH}", path=path)


def _validate(document: Mapping[str, Any], path: str) -> None:
    from packaging.pylock import Pylock, PylockValidationError

    try:
        Pylock.from_dict(document).validate()
    except PylockValidationError as error:
        raise InvalidLock(f"{path}: {shown(error)}", path=path) from error
    except (ValueError, TypeError) as error:
        raise InvalidLock(f"{path} is not a valid lock: {shown(error)}", path=path) from error


def _lock(document: Table, distributions: tuple[LockedDistribution, ...], path: str) -> Lock:
    created_by = document.get("created-by")
    requires_python = document.get("requires-python")
    if not isinstance(created_by, str):
        raise InvalidLock(f"{path}: `created-by` is missing or not text", path=path)
    if requires_python is not None and not isinstance(requires_python, str):
        raise InvalidLock(f"{path}: `requires-python` is not text", path=path)
    environments = _strings(document, "environments", path)
    try:
        if requires_python is not None:
            check_specifiers(requires_python)
        for marker in environments:
            parse_marker(marker)
    except InvalidLock as error:
        raise InvalidLock(f"{path}: {error.message}", path=path) from error
    envid = _envid(document, path)
    inputs, contents, digest = envid.get("inputs"), envid.get("contents"), envid.get("digest")
    if not (
        (inputs is None or isinstance(inputs, dict))
        and (contents is None or (isinstance(contents, dict) and all(isinstance(v, str) for v in contents.values())))
        and (digest is None or isinstance(digest, str))
    ):
        raise InvalidLock(f"{path}: [tool.envid] is not as envid writes it", path=path)
    return Lock(
        created_by=created_by,
        distributions=distributions,
        requires_python=requires_python,
        environments=environments,
        extras=_strings(document, "extras", path),
        dependency_groups=_strings(document, "dependency-groups", path),
        default_groups=_strings(document, "default-groups", path),
        inputs=inputs,
        contents=contents,
        body_digest=digest,
    )


def _envid(document: Table, path: str) -> Table:
    tool = document.get("tool", {})
    table = tool.get("envid", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise InvalidLock(f"{path}: [tool] or [tool.envid] is not a table", path=path)
    # Disposable by definition: what another version of envid left there is as if it were not there.
    return table if table.get("format", FORMAT) == FORMAT else {}


def _strings(document: Table, key: str, path: str) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidLock(f"{path}: `{key}` is not an array of texts", path=path)
    return tuple(value)
