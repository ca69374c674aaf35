"""What the project asks for: ``[project]``, ``[dependency-groups]``, ``[tool.uv]``, ``[tool.envid]``.

Requirement strings stay text here; ``values.requirement`` gives them meaning. ``envid key`` reads
this module on a cold start and needs none of that, and importing ``packaging`` costs more than
the whole rest of a key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

from envid.errors import ConfigError, CredentialInConfig, InvalidTarget, TooLarge, UnknownOption
from envid.values.amount import parse_age, parse_size
from envid.values.frozen import dataclass, field
from envid.values.target import Target, parse_target

MAX_BYTES: Final = 8 * 1024 * 1024
"""A pyproject.toml beyond this is refused unread."""

RESOLVERS: Final = ("uv", "pip-tools")
# All text: most projects need none of them, and a first key would wait for two milliseconds of compiling.
_LOCK_NAME: Final = r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?"
_USERINFO: Final = r"(?i)[a-z][a-z0-9+.-]*://[^/@\s]*@"
_DURATION: Final = r"(\d+) (day|days|week|weeks|hour|hours)"
_MOMENT: Final = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2}))?"

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSettings:
    """``[tool.envid.lock]``, or one ``[tool.envid.locks.NAME]`` laid over it."""

    name: str = "default"
    resolver: str = "uv"
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    allow_sdist: tuple[str, ...] = ()
    """Names as written."""
    exclude_newer: str | None = None
    """``"7 days"``, or a date or moment of RFC 3339."""
    neutral: bool = False
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """``URL`` or ``name=URL``; the first one is the default index."""
    contents: bool = False
    """Whether the lock records content digests, for which it reads every selected wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSettings:
    """``[tool.envid.layers.NAME]``: a layer of the project's own."""

    name: str
    components: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Name to a string, or to a table with one of ``value``, ``file``, ``command``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of ``[tool.envid]``."""

    targets: tuple[Target, ...] = ()
    """Empty: the lock is for every environment."""
    salt: str = ""
    locks: Mapping[str, LockSettings] = field(default_factory=lambda: {"default": LockSettings()})
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)
    backend: str | None = None
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    cache_dir: str | None = None
    cache_shared: bool = False
    cache_min_free: int | None = None
    """Bytes; None: what the store says."""
    cache_max_size: int | None = None
    """Bytes."""
    cache_max_age: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSettings:
    """What ``[tool.uv]`` says that changes a resolution; passed on to uv as it stands."""

    sources: Table = field(default_factory=dict)
    indexes: tuple[Table, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    other: Table = field(default_factory=dict)
    """``index-strategy``, ``prerelease``, ``resolution``, ``fork-strategy``, ``exclude-newer-package``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """All that pyproject.toml asks of the lock and of envid."""

    name: str | None
    version: str | None
    requires_python: str | None
    dependencies: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str | Table, ...]]
    """``[dependency-groups]``: requirement strings and ``{include-group = NAME}`` tables."""
    dynamic: tuple[str, ...]
    uv: UvSettings
    settings: Settings

    def lock_settings(self, name: str) -> LockSettings:
        """Return the settings of the lock ``name``; raise ConfigError when it is not declared."""
        try:
            return self.settings.locks[name]
        except KeyError:
            known = ", ".join(sorted(self.settings.locks))
            raise ConfigError(f"no lock named {name} is declared", hint=f"declared: {known}") from None


_UV_OTHER: Final = ("index-strategy", "prerelease", "resolution", "fork-strategy", "exclude-newer-package")
_TOP_KEYS: Final = ("targets", "salt", "lock", "locks", "cache", "adapters", "libraries", "layers")
_LOCK_KEYS: Final = (
    "resolver", "extras", "groups", "allow-sdist", "exclude-newer", "neutral", "constraints", "overrides", "indexes",
    "contents",
)  # fmt: skip
_KEYS: Final = {
    "lock": _LOCK_KEYS,
    "locks.*": _LOCK_KEYS,
    "cache": ("dir", "max-size", "max-age", "shared", "min-free"),
    "adapters": ("backend", "output", "scan", "options"),
    "libraries.*": ("generate", "include", "exclude", "docs", "introspect", "missing"),
    "layers.*": ("components", "facts"),
}


def parse_intent(data: bytes, *, path: str = "pyproject.toml") -> Intent:
    """Return the intent in the bytes of a pyproject.toml; ``path`` only names it in errors.

    Raises ConfigError (or a leaf of it) for anything malformed, TooLarge beyond ``MAX_BYTES``.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{path} is larger than {MAX_BYTES} bytes", path=path)
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})", path=path, hint="save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path} is not valid TOML: {reason}", path=path, hint="mend the syntax there") from error
    return _Reader(path=path, text=text).intent(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Carries where we are, so that each complaint can name its file and line."""

    path: str
    text: str

    def intent(self, document: Table) -> Intent:
        project = self.table(document, "project", "project")
        tool = self.table(document, "tool", "tool")
        groups = self.table(document, "dependency-groups", "dependency-groups")
        optional = self.table(project, "optional-dependencies", "project.optional-dependencies")
        return Intent(
            name=self.string(project, "name", "project"),
            version=self.string(project, "version", "project"),
            requires_python=self.string(project, "requires-python", "project"),
            dependencies=self.strings(project, "dependencies", "project"),
            extras={name: self.strings(optional, name, "project.optional-dependencies") for name in optional},
            groups={name: self.group(groups, name) for name in groups},
            dynamic=self.strings(project, "dynamic", "project"),
            uv=self.uv(self.table(tool, "uv", "tool.uv")),
            settings=self.settings(self.table(tool, "envid", "tool.envid")),
        )

    def uv(self, table: Table) -> UvSettings:
        indexes = table.get("index", [])
        if not isinstance(indexes, list) or not all(isinstance(entry, dict) for entry in indexes):
            raise self.fail("tool.uv", "index", "must be an array of tables")
        for entry in indexes:
            self.no_credentials(str(entry.get("url", "")), "tool.uv.index", "url")
        return UvSettings(
            sources=self.table(table, "sources", "tool.uv.sources"),
            indexes=tuple(indexes),
            constraints=self.strings(table, "constraint-dependencies", "tool.uv"),
            overrides=self.strings(table, "override-dependencies", "tool.uv"),
            other={key: table[key] for key in _UV_OTHER if key in table},
        )

    def settings(self, table: Table) -> Settings:
        self.known(table, _TOP_KEYS, "tool.envid")
        cache = self.section(table, "cache")
        adapters = self.section(table, "adapters")
        self.sections(table, "libraries")
        layers = self.sections(table, "layers")
        return Settings(
            targets=self.targets(table),
            salt=self.string(table, "salt", "tool.envid") or "",
            locks=self.locks(table),
            layers={name: self.layer(name, layers[name]) for name in layers},
            backend=self.string(adapters, "backend", "tool.envid.adapters"),
            backend_options=self.table(adapters, "options", "tool.envid.adapters.options"),
            cache_dir=self.place(cache, "dir", "tool.envid.cache"),
            cache_shared=self.shared(cache),
            cache_min_free=self.amount(cache, "min-free", parse_size),
            cache_max_size=self.amount(cache, "max-size", parse_size),
            cache_max_age=self.amount(cache, "max-age", parse_age),
        )

    def shared(self, cache: Table) -> bool:
        value = cache.get("shared", False)
        if value is not False and value != "group":
            raise self.fail("tool.envid.cache", "shared", 'must be false or "group"')
        return value is not False

    def amount(self, cache: Table, key: str, parse: Callable[[object], int]) -> int | None:
        try:
            return parse(cache[key]) if key in cache else None
        except ValueError as error:
            raise self.fail("tool.envid.cache", key, str(error)) from None

    def targets(self, table: Table) -> tuple[Target, ...]:
        listed = table.get("targets", [])
        if not isinstance(listed, list):
            raise self.fail("tool.envid", "targets", "must be an array")
        targets: dict[str, Target] = {}
        for item in listed:
            try:
                target = parse_target(item)
            except InvalidTarget as error:
                raise InvalidTarget(
                    f"{self.path}: tool.envid.targets: {error.message}",
                    # What the host is, is another answer on each machine: a command may ask it, a project not.
                    hint=error.hint.replace(", or `host`", ""), path=self.path, line=self.line("tool.envid", "targets"),
                ) from error  # fmt: skip
            targets[target.name] = target
        return tuple(targets[name] for name in sorted(targets))

    def locks(self, table: Table) -> dict[str, LockSettings]:
        general = self.section(table, "lock")
        named = self.sections(table, "locks")
        result = {"default": self.lock("default", general, "tool.envid.lock")}
        for name in named:
            where = f"tool.envid.locks.{name}"
            if not re.fullmatch(_LOCK_NAME, name) or name == "default":
                raise self.fail(where, None, "is not a lock name: lower-case letters, digits, - and _; not `default`")
            added = named[name]
            merged = {**general, **added}
            for key in ("extras", "groups"):
                merged[key] = [*general.get(key, []), *added.get(key, [])]
            result[name] = self.lock(name, merged, where)
        return result

    def lock(self, name: str, table: Table, where: str) -> LockSettings:
        resolver = self.string(table, "resolver", where) or "uv"
        if resolver not in RESOLVERS:
            raise self.fail(where, "resolver", f"must be one of {', '.join(RESOLVERS)}")
        newer = self.string(table, "exclude-newer", where)
        if newer is not None and not (re.fullmatch(_DURATION, newer) or re.fullmatch(_MOMENT, newer)):
            raise self.fail(
                where, "exclude-newer", 'must be a duration such as "7 days" or a date such as "2026-01-31"'
            )
        indexes = self.strings(table, "indexes", where)
        for index in indexes:
            self.no_credentials(index, where, "indexes")
        return LockSettings(
            name=name,
            resolver=resolver,
            extras=self.strings(table, "extras", where),
            groups=self.strings(table, "groups", where),
            allow_sdist=self.strings(table, "allow-sdist", where),
            exclude_newer=newer,
            neutral=self.boolean(table, "neutral", where),
            constraints=self.strings(table, "constraints", where),
            overrides=self.strings(table, "overrides", where),
            indexes=indexes,
            contents=self.boolean(table, "contents", where),
        )

    def layer(self, name: str, table: Table) -> LayerSettings:
        where = f"tool.envid.layers.{name}"
        if not re.fullmatch(_LOCK_NAME, name):
            raise self.fail(where, None, "is not a layer name: lower-case letters, digits, - and _")
        return LayerSettings(
            name=name,
            components=self.strings(table, "components", where),
            facts=self.table(table, "facts", f"{where}.facts"),
        )

    def group(self, groups: Table, name: str) -> tuple[str | Table, ...]:
        entries = groups[name]
        if not isinstance(entries, list) or not all(isinstance(entry, (str, dict)) for entry in entries):
            raise self.fail("dependency-groups", name, "must be an array of requirements and include-group tables")
        return tuple(entries)

    # --- pieces ---------------------------------------------------------------------------

    def section(self, table: Table, name: str) -> Table:
        section = self.table(table, name, f"tool.envid.{name}")
        self.known(section, _KEYS[name], f"tool.envid.{name}")
        return section

    def sections(self, table: Table, name: str) -> Mapping[str, Table]:
        outer = self.table(table, name, f"tool.envid.{name}")
        for inner in outer:
            where = f"tool.envid.{name}.{inner}"
            self.known(self.table(outer, inner, where), _KEYS[f"{name}.*"], where)
        return outer

    def known(self, table: Table, keys: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in keys:
                from difflib import get_close_matches

                near = get_close_matches(key, keys, n=1, cutoff=0.0)[0]
                line = self.line(where, key)
                raise UnknownOption(
                    f"{self.path}:{line}: {where} has no key `{key}`",
                    hint=f"the nearest known key is `{near}`", path=self.path, line=line,
                )  # fmt: skip

    def table(self, table: Table, key: str, where: str) -> Table:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self.fail(where, None, "must be a table")
        return value

    def string(self, table: Table, key: str, where: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self.fail(where, key, "must be a string")
        return value

    def place(self, table: Table, key: str, where: str) -> str | None:
        value = self.string(table, key, where)
        if value is not None and "\0" in value:
            raise self.fail(where, key, "must be a path, which has no NUL")
        return value

    def boolean(self, table: Table, key: str, where: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(where, key, "must be true or false")
        return value

    def strings(self, table: Table, key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(where, key, "must be an array of strings")
        return tuple(value)

    def no_credentials(self, url: str, where: str, key: str) -> None:
        if "@" in url and re.search(_USERINFO, url):
            line = self.line(where, key)
            raise CredentialInConfig(f"{self.path}:{line}: {where}.{key} holds a credential", path=self.path, line=line)

    def fail(self, where: str, key: str | None, problem: str) -> ConfigError:
        line = self.line(where, key)
        subject = f"{where}.{key}" if key else where
        return ConfigError(
            f"{self.path}:{line}: {subject} {problem}", path=self.path, line=line, hint="see docs/configuration.md"
        )

    def line(self, where: str, key: str | None) -> int:
        """Return the line (from 1) of ``key`` below the header ``where``; tomllib does not tell, so look."""
        header = 0
        wanted = re.compile(rf"\s*\[+\s*{re.escape(where)}\s*\]+")
        assigned = re.compile(rf"\s*[\"']?{re.escape(key or where.rpartition('.')[2])}[\"']?\s*[=.]")
        lines = self.text.split("\n")
        for number, line in enumerate(lines, start=1):
            if wanted.match(line):
                header = number
                if key is None:
                    return number
        for number, line in enumerate(lines[header:], start=header + 1):
            if assigned.match(line):
                return number
        return header or 1
