"""Record the identity that was computed last, so that ``explain`` has something to compare with."""

from __future__ import annotations

from envid.app.project import Site, environment_place
from envid.errors import WriteFailed
from envid.store.recorded import Recorded, keep, read, slot
from envid.values.target import Target


def record(
    ws: Site, document: bytes, *, layer: str, target: Target, name: str, venv: str | None = None
) -> tuple[str, ...]:
    """Record an identity of the lock ``name``; return what there is to say about it: that it changed, or nothing.

    ``venv`` is the environment that was named: two of them are two things, of which none changed.
    A cache that cannot be written leaves nothing recorded; that is no failure of what is recorded.
    """
    try:
        changed = keep(ws.kept, _slot(ws, layer, target, name, venv), document)
    except WriteFailed:
        return ()
    note = f"the identity of layer {layer} changed since it was last computed: see `envid explain`"
    return (note,) if changed else ()


def recorded(ws: Site, *, layer: str, target: Target, name: str) -> Recorded:
    """Return what was recorded for ``layer``, ``target`` and the lock ``name`` of this project."""
    return read(ws.kept, _slot(ws, layer, target, name))


def _slot(ws: Site, layer: str, target: Target, name: str, venv: str | None = None) -> str:
    place = environment_place(ws.place, venv)
    if place != environment_place(ws.place):
        # No lock has a NUL in its name.
        name = f"{name}\0{place.encode('utf-8', 'surrogateescape').hex()}"
    return slot(project=ws.place, layer=layer, target=target.name, lock=name)
