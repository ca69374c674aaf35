"""The identity of an environment: which components, for which layer; the document; the key (docs/identity.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from envid.errors import ConfigError, IdentityUnknown, UnsupportedSchema, UsageError
from envid.values.component import refuse_secrets
from envid.values.digest import JSONValue, NotCanonical, canonical, derive_hex, parse_canonical

SCHEMA: Final = "envid-identity/1"
PREFIX: Final = "envid1"

COMPONENTS: Final[Mapping[str, str]] = {
    "python": "implementation, X.Y and ABI tag of the target",
    "python-build": "full version, SOABI, free-threading, debug, pointer size and byte order of the interpreter",
    "platform": "OS, architecture, libc family, and the lowest libc or macOS version that the selected wheels need",
    "markers": "the marker variables that the lock consulted, with their values",
    "selection": "name of the lock, extras and groups",
    "distributions": "every selected distribution: name, version, kind, sha256",
    "local": "content digest or commit of every source tree",
    "build": "what is built from source, and the compiler",
    "prefix": "path of the interpreter and of the environment",
    "generator": "backend, protocol, digest of its code, options",
    "facts": "what the project declares for a layer of its own",
    "salt": "a string of the project's",
}
"""Every component and what its value holds."""

LAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "wheels": ("markers", "selection", "distributions", "salt"),
    "env": ("python", "platform", "markers", "selection", "distributions", "local", "build", "salt"),
    "venv": (
        "python", "python-build", "platform", "markers", "selection", "distributions", "local", "build", "prefix",
        "salt",
    ),
    "adapters": (
        "python", "platform", "markers", "selection", "distributions", "local", "build", "generator", "salt",
    ),
}  # fmt: skip
"""Every layer envid knows and the components it depends on; the documentation is generated from it."""

Kind = Literal["added", "removed", "version", "artifact", "rehashed", "changed"]

_LAYER: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
_PARTS: Final = (("os", re.compile(r"[a-z0-9_]{1,8}")), ("arch", re.compile(r"[a-z0-9_]{1,12}")), ("pytag", re.compile(r"[a-z0-9_]{1,10}")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The components of one layer for one target; made by ``identify`` or ``parse_document``."""

    layer: str
    components: Mapping[str, JSONValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two identities."""

    component: str
    what: Kind
    subject: str
    """Distribution, marker variable, member of the component; the component itself where it is one value."""
    old: str | None = None
    new: str | None = None

    @property
    def text(self) -> str:
        """The difference in words."""
        raise NotImplementedError


def components_of(layer: str, declared: Mapping[str, tuple[str, ...]] | None = None) -> tuple[str, ...]:
    """Return the components of ``layer``, one of ``LAYERS`` or of the project's ``declared`` ones, in table order.

    Raises UsageError for an unknown layer, ConfigError for a declaration that is not possible.
    """
    raise NotImplementedError


def identify(layer: str, components: Iterable[str], values: Mapping[str, JSONValue]) -> Identity:
    """Return the identity of ``layer`` with exactly ``components`` out of ``values``.

    Raises IdentityUnknown for a component without value, CredentialInConfig for one with a secret.
    """
    raise NotImplementedError


def document(identity: Identity) -> bytes:
    """Return the canonical JSON of ``identity``; raise NotCanonical, CredentialInConfig."""
    raise NotImplementedError


def parse_document(data: bytes) -> Identity:
    """Return the identity in ``data``; raise UnsupportedSchema, NotCanonical."""
    raise NotImplementedError


def digest(identity: Identity) -> str:
    """Return the digest of the document, 64 hexadecimal digits: BLAKE3 derive_key, context ``envid-identity/1 LAYER``."""
    raise NotImplementedError


def key(identity: Identity) -> str:
    """Return ``envid1-LAYER-DIGEST``."""
    raise NotImplementedError


def ci_key(identity: Identity, os: str, arch: str, pytag: str) -> str:
    """Return ``envid1-LAYER-OS-ARCH-PYTAG-DIGEST``, for caches that are listed by name."""
    raise NotImplementedError


def explain(old: Identity, new: Identity, *, filenames: Mapping[str, str] | None = None) -> tuple[Change, ...]:
    """Return what differs, in the order of ``COMPONENTS``, distributions row by row.

    ``filenames`` (sha256 to file name) tells another file of the same version (``artifact``) from
    the same file with other bytes (``rehashed``); without it, another hash of the same kind is
    ``artifact`` only where the interpreter or the platform changed, too.
    """
    raise NotImplementedError
