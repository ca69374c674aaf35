"""The identity of an environment: which components, for which layer; the document; the key (docs/identity.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from envid.errors import ConfigError, IdentityUnknown, UnsupportedSchema, UsageError
from envid.values.component import refuse_secrets
from envid.values.digest import JSONValue, NotCanonical, canonical, derive_hex, parse_canonical
from envid.values.frozen import dataclass

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
    "store": ("python", "platform", "markers", "selection", "distributions", "local", "build", "salt"),
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

_FREE_TEXT: Final = frozenset({"local", "build", "prefix", "generator", "facts", "salt"})
"""Components with text that no grammar keeps from holding a credential."""

_LAYER: Final = r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?"
_PARTS: Final = {
    # With the layer's 32 together at most 65 characters, so that no key begins another: docs/identity.md, "Key".
    "os": r"[a-z0-9_]{1,8}",
    "architecture": r"[a-z0-9_]{1,12}",
    "Python tag": r"[a-z0-9_]{1,10}",
}


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
        subject = self.subject if self.subject == self.component else f"{self.component}: {self.subject}"
        return _WORDS[self.what].format(subject=subject, old=self.old, new=self.new)


_WORDS: Final[Mapping[Kind, str]] = {
    "added": "{subject} was added ({new})",
    "removed": "{subject} was removed (it was {old})",
    "version": "{subject} went from {old} to {new}",
    "artifact": "{subject} is another file of the same version: {old} before, {new} now",
    "rehashed": "{subject} has the same version and another hash: {old} before, {new} now",
    "changed": "{subject} was {old} and is {new}",
}


def components_of(layer: str, declared: Mapping[str, tuple[str, ...]] | None = None) -> tuple[str, ...]:
    """Return the components of ``layer``, one of ``LAYERS`` or of the project's ``declared`` ones, in table order.

    Raises UsageError for an unknown layer, ConfigError for a declaration that is not possible.
    """
    if layer in LAYERS:
        if declared and layer in declared:
            raise ConfigError(f"[tool.envid.layers.{layer}]: this layer is envid's own", hint="take another name")
        return LAYERS[layer]
    if declared is None or layer not in declared:
        known = sorted((*LAYERS, *(declared or ())))
        from difflib import get_close_matches

        near = get_close_matches(layer, known, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"there is no layer `{ascii(layer[:80])[1:-1]}`",
            hint=f"the nearest is `{near}`; declared and known are: {', '.join(known)}",
        )
    if not re.fullmatch(_LAYER, layer):
        raise ConfigError(
            f"[tool.envid.layers.{layer}]: not the name of a layer",
            hint="at most 32 lower-case letters, digits, - and _",
        )
    wanted = declared[layer]
    for component in wanted:
        if component not in COMPONENTS:
            raise ConfigError(
                f"[tool.envid.layers.{layer}]: there is no component `{ascii(component[:80])[1:-1]}`",
                hint=f"the components are: {', '.join(COMPONENTS)}",
            )
    if not wanted:
        raise ConfigError(f"[tool.envid.layers.{layer}]: `components` is empty: every environment would be equal")
    return tuple(component for component in COMPONENTS if component in wanted)


def identify(layer: str, components: Iterable[str], values: Mapping[str, JSONValue]) -> Identity:
    """Return the identity of ``layer`` with exactly ``components`` out of ``values``.

    Raises IdentityUnknown for a component without value, CredentialInConfig for one with a secret.
    """
    chosen: dict[str, JSONValue] = {}
    for component in components:
        if component not in values:
            raise IdentityUnknown(f"component `{component}` of layer {layer} was not measured", component=component)
        if component in _FREE_TEXT:
            refuse_secrets(values[component], component)
        chosen[component] = values[component]
    return Identity(layer=layer, components=chosen)


def document(identity: Identity) -> bytes:
    """Return the canonical JSON of ``identity``; raise NotCanonical."""
    return canonical({"schema": SCHEMA, "layer": identity.layer, "components": identity.components})


def parse_document(data: bytes) -> Identity:
    """Return the identity in ``data``; raise UnsupportedSchema, NotCanonical."""
    value = parse_canonical(data)
    schema = value.get("schema") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(schema, str):
        raise UnsupportedSchema("not an identity document: there is no schema", hint="`envid identity` writes one")
    if schema != SCHEMA:
        raise UnsupportedSchema(
            f"the schema is `{ascii(schema[:80])[1:-1]}`, and this envid reads {SCHEMA}",
            hint="use the envid that wrote it",
        )
    layer, components = value.get("layer"), value.get("components")
    if len(value) != 3 or not isinstance(layer, str) or not isinstance(components, Mapping):
        raise NotCanonical("an identity document has a schema, a layer and components, and nothing else")
    names = tuple(component for component in COMPONENTS if component in components)
    if not re.fullmatch(_LAYER, layer) or len(names) != len(components) or names != LAYERS.get(layer, names or None):
        raise NotCanonical(f"these are not the components of the layer {layer}")
    return Identity(layer=layer, components={name: components[name] for name in names})


def digest(identity: Identity) -> str:
    """Return the digest of the document, 64 hexadecimal digits.

    BLAKE3 derive_key with the context ``envid-identity/1 LAYER``.
    """
    return _digest(identity.layer, document(identity))


def _digest(layer: str, data: bytes) -> str:
    return derive_hex(f"{SCHEMA} {layer}", data)


def key(identity: Identity) -> str:
    """Return ``envid1-LAYER-DIGEST``."""
    return document_key(identity.layer, document(identity))


def document_key(layer: str, data: bytes) -> str:
    """Return ``envid1-LAYER-DIGEST`` of the identity of ``layer`` whose document is ``data``."""
    return f"{PREFIX}-{layer}-{_digest(layer, data)}"


def ci_key(identity: Identity, os: str, arch: str, pytag: str) -> str:
    """Return ``envid1-LAYER-OS-ARCH-PYTAG-DIGEST``, for caches that are listed by name; raise IdentityUnknown."""
    for (what, grammar), text in zip(_PARTS.items(), (os, arch, pytag), strict=True):
        if not re.fullmatch(grammar, text):
            raise IdentityUnknown(f"`{ascii(text[:80])[1:-1]}` is not the {what} of a key")
    return f"{PREFIX}-{identity.layer}-{os}-{arch}-{pytag}-{digest(identity)}"


def explain(old: Identity, new: Identity, *, filenames: Mapping[str, str] | None = None) -> tuple[Change, ...]:
    """Return what differs, in the order of ``COMPONENTS``, distributions row by row.

    ``filenames`` (sha256 to file name) tells another file of the same version (``artifact``) from
    the same file with other bytes (``rehashed``); without it, another hash of the same kind is
    ``artifact`` only where the interpreter or the platform changed, too.
    """
    changes: list[Change] = []
    if old.layer != new.layer:
        changes.append(Change(component="layer", what="changed", subject="layer", old=old.layer, new=new.layer))
    moved = any(old.components.get(name) != new.components.get(name) for name in ("python", "platform", "markers"))
    for component in COMPONENTS:
        before, after = old.components.get(component), new.components.get(component)
        # A layer of the project's own may list other components than it did.
        if component in old.components and component not in new.components:
            changes.append(Change(component=component, what="removed", subject=component, old=_shown(before)))
        elif component in new.components and component not in old.components:
            changes.append(Change(component=component, what="added", subject=component, new=_shown(after)))
        elif before != after:
            changes += _differences(component, before, after, filenames or {}, moved)
    return tuple(changes)


def _differences(
    component: str, old: JSONValue, new: JSONValue, filenames: Mapping[str, str], moved: bool
) -> Iterator[Change]:
    before, after = _members(old), _members(new)
    if before is None or after is None:
        yield Change(component=component, what="changed", subject=component, old=_shown(old), new=_shown(new))
        return
    for subject in sorted(before.keys() | after.keys()):
        was, now = before.get(subject), after.get(subject)
        if subject not in before:
            yield Change(component=component, what="added", subject=subject, new=_shown(now))
        elif subject not in after:
            yield Change(component=component, what="removed", subject=subject, old=_shown(was))
        elif was != now:
            what = _kind(was, now, filenames, moved) if component == "distributions" else "changed"
            at = 0 if what == "version" else None
            yield Change(component=component, what=what, subject=subject, old=_shown(was, at), new=_shown(now, at))


def _members(value: JSONValue) -> dict[str, JSONValue] | None:
    """Return the named parts of a component: members of an object, rows by their first column; None for one value."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        rows: dict[str, JSONValue] = {}
        for row in value:
            if not isinstance(row, Sequence) or isinstance(row, str) or not row or not isinstance(row[0], str):
                return None
            rows[row[0]] = row[1:]
        return rows
    return None


def _kind(was: JSONValue, now: JSONValue, filenames: Mapping[str, str], moved: bool) -> Kind:
    if not isinstance(was, Sequence) or not isinstance(now, Sequence) or len(was) != 3 or len(now) != 3:
        return "changed"
    if was[0] != now[0]:
        return "version"
    if was[1] != now[1]:
        return "artifact"
    names = filenames.get(str(was[2])), filenames.get(str(now[2]))
    if None not in names:
        return "rehashed" if names[0] == names[1] else "artifact"
    return "artifact" if moved else "rehashed"


def _shown(value: JSONValue, at: int | None = None) -> str:
    if at is not None and isinstance(value, Sequence) and not isinstance(value, str):
        value = value[at]
    if isinstance(value, str):
        return value
    if value is None:
        return "nothing"
    if isinstance(value, Sequence) and all(item is None or isinstance(item, str) for item in value):
        return " ".join(str(item) for item in value if item) or "nothing"
    return canonical(value).decode("utf-8")
