"""``envid key``, ``envid identity``: the identity of a layer for a target, and its key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from envid.app.measuring import Subject, asks_host, is_repeatable, measure_components
from envid.app.outcome import Memory, Outcome
from envid.app.project import Site, environment_place, lock_file, lock_shown
from envid.app.recorded import record
from envid.app.selecting import Aim, aim, resolve
from envid.identity import SCHEMA, Identity, components_of, document, document_key, identify
from envid.values.artifact import Lock
from envid.values.digest import JSONValue, blake3_hex
from envid.values.frozen import dataclass, field
from envid.values.target import Target, parse_target

DEFAULT_LAYER: Final = "env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """One identity, what it was computed for, and whether it may be remembered."""

    identity: Identity
    document: bytes
    """Canonical JSON of the identity."""
    target: Target
    filenames: Mapping[str, str] = field(default_factory=dict)
    """sha256 to file name of every selected artifact."""
    memory: Memory | None = None

    @property
    def key(self) -> str:
        """``envid1-LAYER-DIGEST``."""
        return document_key(self.identity.layer, self.document)


def identify_for(
    ws: Site,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
    lock: Lock | bytes | None = None,
    past: bool = False,
    unseen: bool = False,
) -> Identified:
    """Return the identity of ``layer``; ``lock`` spares reading it again (parsed, or its bytes).

    ``past``: project and lock are of an earlier revision, so that source trees and programs, which
    are here only as they are now, cannot be measured. ``unseen``: the environment is named and not looked at,
    because it is yet to be made by the running interpreter, or its interpreter is not to be started before it is
    judged. Raises UsageError for an unknown layer, IdentityUnknown, and what ``select_for`` raises.
    """
    layer = layer or DEFAULT_LAYER
    declared = {own: settings.components for own, settings in ws.intent.settings.layers.items()}
    components = components_of(layer, declared)
    located = "prefix" in components
    if located and venv is None and not unseen and target in (None, "host"):
        # An environment that is there says which Python it has; one that is not will have the running one.
        venv = _environment(ws)
    looked = None if unseen else venv
    path = lock_file(ws.place, name)
    given = ws.read_lock(name) if lock is None else lock
    aimed = aim(ws, None, venv=looked) if target is None or target == "host" else Aim(target=parse_target(target))
    resolution = resolve(ws, given, aimed.target, path=lock_shown(name))
    # A target in words needs no look at this host where the identity takes nothing from it.
    if aimed.interpreter is None and asks_host(components, resolution):
        aimed = aim(ws, target, venv=looked)
    subject = Subject(ws=ws, name=name, lock=given, aim=aimed, resolution=resolution, layer=layer, venv=venv, past=past)
    values = measure_components(subject, components)
    identity = identify(layer, components, values)
    data = document(identity)
    memory = None
    if isinstance(given, bytes) and venv is None and not located and not past and is_repeatable(values):
        pyproject = os.path.join(ws.place, "pyproject.toml")
        files = {pyproject: blake3_hex(ws.pyproject), path: blake3_hex(given)}
        memory = Memory(files=files, document=data)
    taken = (item.artifact for item in resolution.selected if item.artifact is not None)
    names: dict[str, str] = {artifact.sha256: artifact.filename for artifact in taken}
    return Identified(identity=identity, document=data, target=aimed.target, filenames=names, memory=memory)


def _environment(ws: Site) -> str | None:
    place = environment_place(ws.place)
    return place if os.path.isfile(os.path.join(place, "pyvenv.cfg")) else None


def layer_key(
    ws: Site,
    *,
    layer: str,
    target: str,
    lock: Lock | None = None,
    name: str = "default",
    venv: str | None = None,
) -> str:
    """Return the key of ``layer`` for ``target``; raise as ``identify_for``."""
    return identify_for(ws, layer=layer, target=target, name=name, venv=venv, lock=lock).key


def key(
    ws: Site,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
) -> Outcome:
    """Answer with the key; data ``{"keys": {layer: {target: key}}}``. The identity is recorded for ``explain``."""
    found = identify_for(ws, layer=layer, target=target, name=name, venv=venv)
    layer, answer = found.identity.layer, found.key
    notes = record(ws, found.document, layer=layer, target=found.target, name=name, venv=venv)
    data: dict[str, JSONValue] = {"keys": {layer: {found.target.name: answer}}}
    return Outcome(command="key", answer=answer, notes=notes, data=data, memory=found.memory)


def identity(
    ws: Site,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
) -> Outcome:
    """Answer with the identity document; data is ``{"identity": document, "key", "target"}``."""
    found = identify_for(ws, layer=layer, target=target, name=name, venv=venv)
    text = found.document.decode("utf-8")
    data: dict[str, JSONValue] = {
        "identity": {"schema": SCHEMA, "layer": found.identity.layer, "components": found.identity.components},
        "key": found.key,
        "target": found.target.name,
    }
    return Outcome(command="identity", answer=text, data=data, memory=found.memory)
