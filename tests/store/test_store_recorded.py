"""The last identity of each layer, and the one before it."""

from __future__ import annotations

from pathlib import Path

from envid.store.recorded import Recorded, keep, read, slot

NAME = slot(project="/p", layer="env", target="cp312-win_amd64", lock="default")


def test_the_last_two_documents_are_kept(tmp_path: Path) -> None:
    """Keeping tells whether there is a change; an equal document does not push the older one out."""
    assert read(tmp_path, NAME) == Recorded()
    assert keep(tmp_path, NAME, b"one") is False
    assert read(tmp_path, NAME) == Recorded(last=b"one")
    assert keep(tmp_path, NAME, b"two") is True
    assert keep(tmp_path, NAME, b"two") is False
    assert read(tmp_path, NAME) == Recorded(last=b"two", before=b"one")


def test_slots_do_not_meet() -> None:
    """Another project, layer, target or lock has another slot; a project path that is not UTF-8 has one, too."""
    parts = {"project": "/p", "layer": "env", "target": "t", "lock": "default"}
    others = [slot(**{**parts, name: "x"}) for name in parts]
    assert len({slot(**parts), *others, slot(**{**parts, "project": "/p\udcff"})}) == 6
