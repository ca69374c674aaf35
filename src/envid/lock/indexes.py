"""Which indexes are configured, as uv has them: a function of variables and tables, nothing is read here.

Order and meaning follow uv: ``UV_INDEX`` and ``UV_EXTRA_INDEX_URL`` first, then the project's
indexes, then the user's; one default index comes last; find-links places are asked before any index.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from envid.errors import ConfigError

_NAMED: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<url>.+)", re.DOTALL)

_PLACES: Final = {
    "UV_FIND_LINKS": ",", "UV_INDEX": " ", "UV_EXTRA_INDEX_URL": " ", "UV_DEFAULT_INDEX": "\0", "UV_INDEX_URL": "\0",
}  # fmt: skip
"""Variables that say where artifacts are, and what is between two places (nothing where there is only one)."""

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name and password; kept out of ``repr``, so that no log or traceback shows it."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One place where artifacts are looked up, without its credential in the URL."""

    url: str
    """``http``, ``https`` or ``file``; no slash at its end."""
    name: str | None = None
    flat: bool = False
    """A find-links page or directory instead of a Simple API root."""
    explicit: bool = False
    """Only for the distributions whose source names it."""
    default: bool = False
    credential: Credential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """All that is configured."""

    places: tuple[Index, ...]
    """In the order in which they are asked; the default index, if one is configured, is the last."""
    wants_builtin: bool
    """Whether uv's own default index comes after them."""
    insecure_hosts: tuple[str, ...] = ()
    """``host`` or ``host:port`` whose certificates are not checked (``UV_INSECURE_HOST``)."""


def configured(
    variables: Mapping[str, str],
    *,
    declared: Sequence[str] = (),
    project: Sequence[Table] = (),
    user: Table | None = None,
    root: str = "/",
) -> Indexes:
    """Return the indexes of one project.

    ``variables`` are the caller's; ``declared`` is ``[tool.envid.lock] indexes`` (the first one is
    the default); ``project`` is ``[[tool.uv.index]]``; ``user`` is the user's ``uv.toml``; relative
    directories start from ``root``. Raises ConfigError, which never shows a credential.
    """
    user = user or {}
    project_tables = tuple(_table(entry, variables, root) for entry in project)
    user_tables = tuple(_table(entry, variables, root) for entry in _tables(user, "index"))
    declared_tables = tuple(_spelled(text, variables, root) for text in declared)
    extra = [
        *(_spelled(text, variables, root) for text in variables.get("UV_INDEX", "").split()),
        *(_spelled(text, variables, root) for text in variables.get("UV_EXTRA_INDEX_URL", "").split()),
        *declared_tables[1:],
        *(index for index in project_tables if not index.default),
        *(index for index in user_tables if not index.default),
        *(_spelled(text, variables, root) for text in _strings(user, "extra-index-url")),
    ]
    spelled_default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL")
    candidates = [
        *([_spelled(spelled_default, variables, root)] if spelled_default else []),
        *declared_tables[:1],
        *(index for index in (*project_tables, *user_tables) if index.default),
        *(_spelled(text, variables, root) for text in _strings(user, "index-url")),
    ]
    flat = [text for text in variables.get("UV_FIND_LINKS", "").split(",") if text.strip()]
    flat += _strings(user, "find-links")
    places = [replace(_spelled(text.strip(), variables, root), flat=True) for text in flat]
    without_indexes = variables.get("UV_NO_INDEX", "").lower() in ("1", "true") or user.get("no-index") is True
    if not without_indexes:
        places += [*extra, *(replace(index, default=True) for index in candidates[:1])]
    return Indexes(
        places=_distinct(places),
        wants_builtin=not candidates and not without_indexes,
        insecure_hosts=(*variables.get("UV_INSECURE_HOST", "").split(), *_strings(user, "allow-insecure-host")),
    )


def variables_of(indexes: Indexes) -> dict[str, str]:
    """Return the variables that tell uv of the same places, credentials in the URLs: for a child's environment only."""
    simple = [index for index in indexes.places if not index.flat]
    variables = {
        "UV_FIND_LINKS": ",".join(_credited_url(index) for index in indexes.places if index.flat),
        "UV_INDEX": " ".join(_credited_url(index) for index in simple if not index.default),
        "UV_DEFAULT_INDEX": next((_credited_url(index) for index in simple if index.default), ""),
        "UV_INSECURE_HOST": " ".join(indexes.insecure_hosts),
        "UV_NO_INDEX": "" if simple or indexes.wants_builtin else "1",
    }
    return {name: value for name, value in variables.items() if value}


def located(variables: Mapping[str, str], *, root: str) -> dict[str, str]:
    """Return ``variables`` with every path among uv's index settings as an absolute ``file:`` URL.

    uv takes them from where it runs, which is not where the caller is.
    """
    found = dict(variables)
    for name, separator in _PLACES.items():
        if name in found:
            parts = [part.strip() for part in found[name].split(separator)]
            found[name] = separator.join(_located(part, root) for part in parts if part)
    return found


def located_settings(user: Table, *, folder: str) -> dict[str, Any]:
    """Return a uv.toml whose relative paths of indexes start, as uv has it, from the ``folder`` that it lies in."""
    found: dict[str, Any] = dict(user)
    for key in ("index-url", "extra-index-url", "find-links"):
        value = found.get(key)
        if isinstance(value, str):
            found[key] = _located(value, folder)
        elif isinstance(value, list):
            found[key] = [_located(item, folder) if isinstance(item, str) else item for item in value]
    if isinstance(found.get("index"), list):
        found["index"] = [
            {**entry, "url": _located(entry["url"], folder)}
            if isinstance(entry, Mapping) and isinstance(entry.get("url"), str) else entry
            for entry in found["index"]
        ]  # fmt: skip
    if isinstance(found.get("pip"), Mapping):
        found["pip"] = located_settings(found["pip"], folder=folder)
    return found


def _located(text: str, root: str) -> str:
    name, equals, place = text.partition("=")
    if equals and _NAMED.fullmatch(text):
        return f"{name}={_located(place, root)}"
    return text if "://" in text or not text else _file_url(text, root)


def _credited_url(index: Index) -> str:
    if index.credential is None:
        return index.url
    scheme, _, rest = index.url.partition("://")
    return f"{scheme}://{quote(index.credential.username, safe='')}:{quote(index.credential.password, safe='')}@{rest}"


def builtin(printed: str) -> Index:
    """Return uv's own default index from what ``uv pip compile --emit-index-url`` printed; raise ConfigError."""
    for line in printed.splitlines():
        option, _, url = line.strip().partition(" ")
        if option == "--index-url" and url:
            return replace(_place(url.strip(), "/"), default=True)
    raise ConfigError("uv did not tell its default index", hint="set UV_DEFAULT_INDEX")


def _spelled(text: str, variables: Mapping[str, str], root: str) -> Index:
    match = _NAMED.fullmatch(text)
    # `name=url`, but not `https://host/?a=b`: a name holds no colon or slash.
    if match is None:
        return _place(text, root)
    return _credited(replace(_place(match["url"], root), name=match["name"]), variables)


def _table(entry: Table, variables: Mapping[str, str], root: str) -> Index:
    url, name = entry.get("url"), entry.get("name")
    if not isinstance(url, str) or not (name is None or isinstance(name, str)):
        raise ConfigError("an index has no url, or a name that is not text", hint="see [[tool.uv.index]]")
    place = _place(url, root)
    made = replace(
        place,
        name=name,
        flat=entry.get("format") == "flat",
        explicit=entry.get("explicit") is True,
        default=entry.get("default") is True,
    )
    return _credited(made, variables)


def variable_stem(name: str) -> str:
    """Return what the variables of an index begin with: ``UV_INDEX_MY_CORP`` for ``my-corp``."""
    return "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def credential_hint(name: str | None) -> str:
    """Return how to give the credential of the index ``name``; None: of one that has no name."""
    if name is None:
        return (
            "give credentials through UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD (NAME: the index is then "
            "declared as NAME=URL), through its URL in UV_INDEX or UV_DEFAULT_INDEX, or through netrc"
        )
    stem = variable_stem(name)
    return f"give credentials through {stem}_USERNAME and {stem}_PASSWORD, or netrc"


def _credited(index: Index, variables: Mapping[str, str]) -> Index:
    """Add the credential of ``UV_INDEX_NAME_USERNAME`` and ``_PASSWORD``, which wins over one in the URL."""
    if index.name is None:
        return index
    stem = variable_stem(index.name)
    username, password = variables.get(f"{stem}_USERNAME"), variables.get(f"{stem}_PASSWORD")
    if username is None and password is None:
        return index
    return replace(index, credential=Credential(username=username or "", password=password or ""))


def _place(text: str, root: str) -> Index:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError("the URL of an index is not a URL", hint="check the index settings of uv") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        credential = None
        if parts.username is not None:
            credential = Credential(username=unquote(parts.username), password=unquote(parts.password or ""))
        bare = urlunsplit((parts.scheme, host + (f":{port}" if port else ""), parts.path, parts.query, ""))
        return Index(url=bare.rstrip("/"), credential=credential)
    if parts.scheme == "file":
        return Index(url=text.rstrip("/"))
    if "://" in text:
        raise ConfigError(f"an index has the scheme {parts.scheme[:20]}, which envid cannot read")
    return Index(url=_file_url(text, root))


def _file_url(text: str, root: str) -> str:
    return "file://" + quote(posixpath.normpath(posixpath.join(root, text)))


def _distinct(places: Iterable[Index]) -> tuple[Index, ...]:
    seen: dict[tuple[str, bool], Index] = {}
    for place in places:
        seen.setdefault((place.url, place.flat), place)
    return tuple(seen.values())


def _tables(table: Table, key: str) -> list[Table]:
    value = table.get(key, [])
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _strings(table: Table, key: str) -> list[str]:
    """Return the strings of ``key`` at the top of a uv.toml, or in its ``[pip]`` table."""
    pip = table.get("pip")
    value = table.get(key, pip.get(key, []) if isinstance(pip, Mapping) else [])
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, str)]
