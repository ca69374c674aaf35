"""What a lock is asked for, in one spelling: requirements and every other input as canonical text.

Two projects that ask for the same thing in other words (order, case, ``1.0`` for ``1.0.0``) give
equal inputs. Nothing here reads a file or the clock; metadata of local directories comes through
a reader that the caller hands in.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version

from envid.errors import ConfigError, CredentialInConfig, DynamicMetadata
from envid.values.artifact import NormalizedName
from envid.values.digest import JSONValue, blake3_hex
from envid.values.intent import Intent, LockSettings

Reader = Callable[[str], bytes | None]
"""Returns the bytes of a file named by its POSIX path relative to the project; None when there is none."""

SECRET_PARAMETERS: Final = frozenset((
    "access_token", "auth", "authorization", "awsaccesskeyid", "key-pair-id", "password", "private_token", "secret",
    "sig", "signature", "token", "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-goog-signature",
))  # fmt: skip
"""Query parameters that are a credential by another name (signed links), in lower case."""

_ARCHIVE: Final = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MAX_DEPTH: Final = 64
_CREDENTIAL_HINT: Final = "keep the credential in the environment or in netrc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One requirement in canonical spelling, and where it was written."""

    text: str
    """PEP 508: normalised name, sorted extras, sorted specifiers in normal form, normalised marker."""
    name: NormalizedName
    origin: str
    """``project``, ``extra NAME`` or ``group NAME``; also ``constraints``, ``overrides``, ``local NAME``."""
    extras: tuple[str, ...] = ()
    specifier: str = ""
    marker: str | None = None
    url: str | None = None

    @property
    def slot(self) -> tuple[str, tuple[str, ...], str | None]:
        """Everything but the version range: two requirements with equal slots differ only in range."""
        return (self.name, self.extras, self.marker)


def flatten(intent: Intent, settings: LockSettings, *, pyproject: bytes = b"") -> tuple[Asked, ...]:
    """Return what the lock of ``settings`` is asked for, sorted by (text, origin), free of duplicates.

    That is ``[project] dependencies``, the lock's extras and groups, with ``include-group`` tables and
    references of the project to its own extras (``demo[cli]``) expanded. ``pyproject`` only serves
    to name lines in errors. Raises ConfigError (unknown or cyclic group, undefined extra, text that
    is no requirement), CredentialInConfig, DynamicMetadata.
    """
    return _Expansion(intent=intent, text=pyproject.decode("utf-8", "replace")).all(settings)


def canonical_requirement(text: str, *, origin: str = "project") -> Asked:
    """Return one requirement (PEP 508) in canonical spelling; raise ConfigError, CredentialInConfig."""
    try:
        parsed = Requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"{origin}: `{_shown(text)}` is not a requirement: {reason}",
            hint="requirements look like `name[extra]>=1.0; marker`",
        ) from error
    name = NormalizedName(canonicalize_name(parsed.name))
    extras = tuple(sorted({canonicalize_name(extra) for extra in parsed.extras}))
    specifier = _join_specifiers(parsed.specifier)
    marker = str(parsed.marker) if parsed.marker is not None else None
    if parsed.url is not None:
        refuse_credentials(parsed.url, where=f"{origin}: the URL of {name}")
    return Asked(
        text=_compose(name, extras, specifier, parsed.url, marker),
        name=name, origin=origin, extras=extras, specifier=specifier, marker=marker, url=parsed.url,
    )  # fmt: skip


def canonical_specifier(text: str, *, where: str) -> str:
    """Return a version specifier set (PEP 440) in canonical spelling; raise ConfigError naming ``where``."""
    try:
        return _join_specifiers(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise ConfigError(f"{where}: `{text}` is not a version specifier", hint="write for example `>=3.11`") from error


def canonical_marker(text: str, *, where: str) -> str:
    """Return an environment marker in the spelling of ``packaging``; raise ConfigError naming ``where``."""
    try:
        return str(Marker(text))
    except (InvalidMarker, RecursionError) as error:
        raise ConfigError(f"{where}: `{text}` is not an environment marker", hint="see PEP 508") from error


def refuse_credentials(url: str, *, where: str) -> None:
    """Raise CredentialInConfig when ``url`` carries a password, a token or a signed query.

    A bare user name is one only over HTTP: ``ssh://git@host`` names an account that everybody shares.
    """
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or (parts.username is not None and "http" in parts.scheme)
        query = {key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError as error:
        raise ConfigError(f"{where} is not a URL", hint="check its spelling") from error
    if secret or query & SECRET_PARAMETERS:
        raise CredentialInConfig(f"{where} holds a credential", hint=_CREDENTIAL_HINT)


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
            refuse_credentials(value, where=f"tool.uv: `{_shown(value)}`")
    return {name: inputs[name] for name in sorted(inputs) if inputs[name] not in ([], "")}


# --- expansion of extras, groups and references to the project itself ---------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expansion:
    """Walks what ``[project]`` and ``[dependency-groups]`` say, naming the line when they make no sense."""

    intent: Intent
    text: str

    def all(self, settings: LockSettings) -> tuple[Asked, ...]:
        intent = self.intent
        unknown = {"dependencies", "requires-python"} & set(intent.dynamic)
        if settings.extras and "optional-dependencies" in intent.dynamic:
            unknown.add("optional-dependencies")
        if unknown:
            named = ", ".join(sorted(unknown))
            raise DynamicMetadata(f"project.{named} is dynamic: only a build would tell it", line=self.line("dynamic"))
        found = {(item.text, item.origin): item for item in self.walk(settings)}
        return tuple(found[key] for key in sorted(found))

    def walk(self, settings: LockSettings) -> Iterator[Asked]:
        yield from self.expand(self.intent.dependencies, "project", ())
        for name in settings.extras:
            yield from self.of_extra(name, (), wanted_by=f"the lock {settings.name}")
        for name in settings.groups:
            yield from self.of_group(name, (), wanted_by=f"the lock {settings.name}")

    def expand(self, texts: Iterable[str], origin: str, seen: tuple[str, ...]) -> Iterator[Asked]:
        own = NormalizedName(canonicalize_name(self.intent.name or ""))
        for text in texts:
            try:
                item = canonical_requirement(text, origin=origin)
            except ConfigError as error:
                raise type(error)(error.message, hint=error.hint, line=self.line(text)) from error
            if item.name != own:
                yield item
                continue
            for extra in item.extras:
                for inner in self.of_extra(extra, seen, wanted_by=f"`{text}`"):
                    yield _under(inner, item.marker)

    def of_extra(self, name: str, seen: tuple[str, ...], *, wanted_by: str) -> Iterator[Asked]:
        wanted = canonicalize_name(name)
        known = {canonicalize_name(key): key for key in self.intent.extras}
        if wanted not in known:
            hint = f"defined extras: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"{wanted_by} asks for the undefined extra {wanted}", hint=hint, line=self.line(name))
        step = f"extra {wanted}"
        if step not in seen:
            # An extra that reaches itself (`all = ["demo[all]"]`) adds nothing: not an error for any installer.
            yield from self.expand(self.intent.extras[known[wanted]], step, (*seen, step))

    def of_group(self, name: str, seen: tuple[str, ...], *, wanted_by: str) -> Iterator[Asked]:
        wanted = canonicalize_name(name)
        known = {canonicalize_name(key): key for key in self.intent.groups}
        if len(known) != len(self.intent.groups):
            raise ConfigError("two dependency groups have the same name once normalised", line=self.line(name))
        if wanted not in known:
            hint = f"defined groups: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"{wanted_by} asks for the undefined group {wanted}", hint=hint, line=self.line(name))
        step = f"group {wanted}"
        if step in seen:
            way = " -> ".join(part.removeprefix("group ") for part in (*seen, step))
            problem = f"dependency groups include each other: {way}"
            raise ConfigError(problem, hint="break the cycle", line=self.line(name))
        for entry in self.intent.groups[known[wanted]]:
            if isinstance(entry, str):
                yield from self.expand((entry,), step, (*seen, step))
                continue
            included = entry.get("include-group")
            if set(entry) != {"include-group"} or not isinstance(included, str):
                problem = f"group {wanted} holds a table other than {{include-group = \"NAME\"}}"
                raise ConfigError(problem, hint="see PEP 735", line=self.line(known[wanted]))
            yield from self.of_group(included, (*seen, step), wanted_by=step)

    def line(self, needle: str) -> int | None:
        """Return the first line that holds ``needle`` in quotes or as a key; None when it cannot be found."""
        pattern = re.compile(rf"[\"']{re.escape(needle)}[\"']|^\s*{re.escape(needle)}\s*=", re.MULTILINE)
        found = pattern.search(self.text)
        return self.text.count("\n", 0, found.start()) + 1 if found else None


def _under(item: Asked, marker: str | None) -> Asked:
    if marker is None:
        return item
    both = marker if item.marker is None else str(Marker(f"({marker}) and ({item.marker})"))
    return Asked(
        text=_compose(item.name, item.extras, item.specifier, item.url, both),
        name=item.name, origin=item.origin, extras=item.extras, specifier=item.specifier, marker=both, url=item.url,
    )  # fmt: skip


# --- spelling --------------------------------------------------------------------------------


def _compose(name: str, extras: tuple[str, ...], specifier: str, url: str | None, marker: str | None) -> str:
    head = f"{name}[{','.join(extras)}]" if extras else name
    middle = f"{head} @ {url}" if url is not None else f"{head}{specifier}"
    if marker is None:
        return middle
    return f"{middle} ; {marker}" if url is not None else f"{middle}; {marker}"


def _join_specifiers(specifiers: SpecifierSet) -> str:
    return ",".join(sorted({_specifier(item.operator, item.version) for item in specifiers}))


def _specifier(operator: str, version: str) -> str:
    # Trailing zeros count in `~=1.0` and `==1.0.*` (they say how far the range goes), and `===` compares text.
    if operator == "===":
        return f"==={version}"
    wildcard = version.endswith(".*")
    parsed = Version(version[:-2] if wildcard else version)
    if wildcard:
        return f"{operator}{parsed}.*"
    if operator == "~=":
        return f"~={parsed}"
    return f"{operator}{canonicalize_version(parsed)}"


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


def _shown(text: str) -> str:
    # Whatever stands before an `@` may be a secret, in a text too broken to be parsed as a URL.
    return re.sub(r"://[^/\s]*@", "://***@", re.sub(r"([?&][^=&\s]*=)[^&\s]*", r"\1***", text))[:200]


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
        raise DynamicMetadata(f"the local source of {name} has no {where}: only a build would tell its dependencies")
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
