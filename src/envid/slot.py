"""A slot: a named place in the cache, whose name is the digest of everything that its content depends on.

The identity of a layer names the slot of that layer. A narrow slot is named by less: what is known of a
wheel depends on the wheel's bytes alone, so that a change elsewhere does not make it again (docs/cache.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from envid.errors import UnsupportedSchema
from envid.identity import COMPONENTS, PREFIX, SCHEMA, Change, Identity, document, document_key, explain
from envid.values.digest import JSONValue, NotCanonical, canonical, derive_hex, parse_canonical
from envid.values.frozen import dataclass

NARROW: Final = "envid-slot/1"
"""The schema of a narrow slot's document, and the first word of its BLAKE3 context."""
_NAME: Final = r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place; equal documents, equal keys."""

    layer: str
    key: str
    """``envid1-LAYER-<64 hexadecimal digits>``."""
    document: bytes
    """Canonical JSON with schema, layer and components."""

    @property
    def digest(self) -> str:
        """The 64 hexadecimal digits of the key."""
        return self.key[-64:]


def of_identity(identity: Identity) -> Slot:
    """Return the slot of a layer's identity."""
    data = document(identity)
    return Slot(layer=identity.layer, key=document_key(identity.layer, data), document=data)


def narrow(layer: str, components: Mapping[str, JSONValue]) -> Slot:
    """Return the slot of ``layer`` that depends on ``components`` and nothing else; raise NotCanonical."""
    if not re.fullmatch(_NAME, layer):
        raise NotCanonical(f"`{ascii(layer[:80])[1:-1]}` is not the name of a layer")
    data = canonical({"schema": NARROW, "layer": layer, "components": components})
    return Slot(layer=layer, key=f"{PREFIX}-{layer}-{derive_hex(f'{NARROW} {layer}', data)}", document=data)


def key_of(data: bytes) -> str:
    """Return the key that follows from a slot's document; raise NotCanonical, UnsupportedSchema."""
    schema, layer, _ = _parts(data)
    return f"{PREFIX}-{layer}-{derive_hex(f'{schema} {layer}', data)}"


def changes(old: bytes, new: bytes) -> tuple[Change, ...]:
    """Return what differs between two slots' documents; what cannot be read differs as a whole."""
    try:
        before, after = _parts(old), _parts(new)
    except (NotCanonical, UnsupportedSchema):
        return () if old == new else (_whole(),)
    if before[:2] != after[:2]:
        return (_whole(old=f"{before[0]} {before[1]}", new=f"{after[0]} {after[1]}"),)
    # Rows with equal names hide one another: then, too, something is said.
    return _differences(before[1], before[2], after[2]) or (() if old == new else (_whole(),))


def _parts(data: bytes) -> tuple[str, str, Mapping[str, JSONValue]]:
    value = parse_canonical(data)
    if not isinstance(value, Mapping) or len(value) != 3:
        raise NotCanonical("a slot's document has a schema, a layer and components, and nothing else")
    schema, layer, components = value.get("schema"), value.get("layer"), value.get("components")
    if schema not in (SCHEMA, NARROW):
        raise UnsupportedSchema(f"the schema is none that this envid reads: {SCHEMA}, {NARROW}")
    if not isinstance(layer, str) or not re.fullmatch(_NAME, layer) or not isinstance(components, Mapping):
        raise NotCanonical("a slot's document has a schema, a layer and components, and nothing else")
    return str(schema), layer, components


def _whole(*, old: str | None = None, new: str | None = None) -> Change:
    return Change(component="document", what="changed", subject="document", old=old or "another", new=new or "this")


def _differences(layer: str, old: Mapping[str, JSONValue], new: Mapping[str, JSONValue]) -> tuple[Change, ...]:
    """Compare components: those that identities have as identities do, others member by member."""
    known = {name for name in (*old, *new) if name in COMPONENTS}
    found = list(
        explain(
            Identity(layer=layer, components={name: old[name] for name in old if name in known}),
            Identity(layer=layer, components={name: new[name] for name in new if name in known}),
        )
    )
    for name in sorted({*old, *new} - known):
        found += _members(name, old.get(name), new.get(name))
    return tuple(found)


def _members(name: str, old: JSONValue, new: JSONValue) -> list[Change]:
    if old == new:
        return []
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [Change(component=name, what="changed", subject=name, old=_shown(old), new=_shown(new))]
    found = []
    for member in sorted({*old, *new}):
        if member not in old:
            found.append(Change(component=name, what="added", subject=member, new=_shown(new[member])))
        elif member not in new:
            found.append(Change(component=name, what="removed", subject=member, old=_shown(old[member])))
        elif old[member] != new[member]:
            before, after = _shown(old[member]), _shown(new[member])
            found.append(Change(component=name, what="changed", subject=member, old=before, new=after))
    return found


def _shown(value: JSONValue) -> str:
    text = value if isinstance(value, str) else canonical(value).decode("utf-8")
    return text if len(text) <= 200 else text[:200] + "..."
