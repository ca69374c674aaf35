"""How this command may reach the network: indexes, credentials, proxies, from the caller's settings."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from envid.app.workspace import Workspace, read_limited
from envid.errors import ConfigError
from envid.lock import install
from envid.lock.fetch import Access, origin_of
from envid.lock.indexes import Credential, Index, Indexes, configured, located_settings

_PROXIES: Final = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "all": "ALL_PROXY", "no": "NO_PROXY"}
_MAX_SETTINGS: Final = 4 * 1024 * 1024


def indexes_of(workspace: Workspace, name: str = "default") -> Indexes:
    """Return what is configured for the lock ``name``; raise ConfigError without showing a credential."""
    return configured(
        workspace.variables,
        declared=workspace.intent.lock_settings(name).indexes,
        project=workspace.intent.uv.indexes,
        user=user_settings(workspace.variables),
        root=str(workspace.root),
    )


def places_of(indexes: Indexes) -> tuple[Index, ...]:
    """Return all places to ask, in order: those configured, then uv's own default unless it is replaced."""
    if not indexes.wants_builtin:
        return indexes.places
    return (*indexes.places, install.builtin_index())


def access_of(workspace: Workspace, indexes: Indexes) -> Access:
    """Return how artifacts may be fetched: credentials by host, proxies, certificates."""
    variables = workspace.variables
    credentials: dict[str, Credential] = netrc_credentials(variables)
    for index in indexes.places:
        if index.credential is not None:
            credentials.setdefault(origin_of(index.url), index.credential)
    proxies = {key: variables.get(name.lower()) or variables.get(name, "") for key, name in _PROXIES.items()}
    return Access(
        offline=workspace.offline,
        credentials=credentials,
        names={origin_of(index.url): index.name for index in reversed(indexes.places) if index.name is not None},
        proxies={key: value for key, value in proxies.items() if value},
        insecure_hosts=indexes.insecure_hosts,
        ca_bundle=variables.get("REQUESTS_CA_BUNDLE") or None,
        timeout=_seconds(variables.get("UV_HTTP_TIMEOUT"), default=30.0),
    )


def user_settings(variables: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the uv.toml that uv would read for this user, empty without one; raise ConfigError."""
    if variables.get("UV_NO_CONFIG", "").lower() in ("1", "true"):
        return {}
    for path in _settings_paths(variables):
        if path.is_file():
            missing = ConfigError(f"cannot read {path}", path=str(path))
            try:
                found = tomllib.loads(read_limited(path, _MAX_SETTINGS, missing=missing).decode("utf-8"))
            except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
                # The parser's own message could quote a line that holds a credential.
                raise ConfigError(f"{path} is not valid TOML", path=str(path)) from error
            return located_settings(found, folder=os.path.abspath(path.parent))
    return {}


def _settings_paths(variables: Mapping[str, str]) -> list[Path]:
    if given := variables.get("UV_CONFIG_FILE"):
        return [Path(given)]
    home = variables.get("XDG_CONFIG_HOME") or (f"{variables['HOME']}/.config" if variables.get("HOME") else "")
    places = [home, *(variables.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"), "/etc"]
    return [Path(place) / "uv" / "uv.toml" for place in places if place]


def netrc_credentials(variables: Mapping[str, str]) -> dict[str, Credential]:
    """Return host name to credential from ``NETRC`` or ``~/.netrc``; raise ConfigError for a broken file."""
    given = variables.get("NETRC")
    path = given or (f"{variables['HOME']}/.netrc" if variables.get("HOME") else "")
    if not path or not Path(path).is_file():
        return {}
    from netrc import NetrcParseError, netrc

    try:
        hosts = netrc(path).hosts
    except (NetrcParseError, OSError, UnicodeDecodeError) as error:
        if given is None:
            # Parsers differ, and some other program may like this file; it was not named to us.
            return {}
        raise ConfigError(f"cannot read {path}", path=path, hint="check the file that NETRC names") from error
    return {
        host: Credential(username=login or "", password=password or "")
        for host, (login, _, password) in hosts.items()
        if host != "default"
    }


def _seconds(text: str | None, *, default: float) -> float:
    return float(text) if text and text.isdigit() and int(text) > 0 else default
