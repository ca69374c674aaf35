"""`envid cache explain` names the component that makes a layer miss, and tells what an entry is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.cache_explain import cache_explain
from envid.app.cache_gc import cache_gc
from envid.app.cache_stats import cache_stats
from envid.app.keys import identify_for, key
from envid.app.storing import opened, place_of
from envid.app.workspace import Workspace
from envid.errors import EntryNotFound, UsageError
from envid.slot import of_identity
from envid.store import cache, recent, roots
from envid.values.intent import parse_intent
from filled import entry, run, slot_of
from keyed import ORDINARY, TARGET, Keyed, keyed


@pytest.fixture
def project(tmp_path: Path) -> Keyed:
    """A project with a lock."""
    return keyed(tmp_path).given(*ORDINARY)


def workspace(project: Keyed) -> Workspace:
    """The project as a command sees it, with a cache of its own."""
    return replace(project.workspace, cache=project.root.parent / "cache")


def test_an_entry_of_the_current_identity_is_a_hit(project: Keyed) -> None:
    """With an entry under the key of now, the layer hits."""
    ws = workspace(project)
    slot = of_identity(identify_for(ws, layer="env", target=TARGET).identity)
    cache.keep(place_of(ws), slot, b"made")
    done = cache_explain(ws, "env", target=TARGET)
    assert (done.data["found"], done.data["key"], done.data["reason"]) == (True, slot.key, None)
    assert "hit" in done.answer


def test_a_miss_names_what_differs_from_the_nearest(project: Keyed) -> None:
    """Of several recorded identities, the one with fewest differences is told, difference by difference."""
    ws = workspace(project)
    far = replace(ws, intent=parse_intent(b'[tool.envid]\nsalt = "far"'))
    slot = of_identity(identify_for(ws, layer="env", target=TARGET).identity)
    for target in ("cp312-win_amd64", TARGET):
        key(far, layer="env", target=target)
    done = cache_explain(ws, "env", target=TARGET)
    assert (done.data["found"], done.data["reason"], done.data["candidates"]) == (False, "absent", 1)
    nearest = done.data["nearest"]
    assert isinstance(nearest, dict)
    assert [change["component"] for change in nearest["changes"]] == ["salt"]
    assert slot.key in done.answer and "no entry of the layer env" in done.answer and "salt was" in done.answer
    cache.keep(place_of(ws), of_identity(identify_for(far, layer="env", target=TARGET).identity), b"made")
    again = cache_explain(ws, "env", target=TARGET)
    assert "miss (absent): nothing was made under this key" in again.answer
    assert again.data["nearest"]["source"] == "an entry"  # type: ignore[index, call-overload]


def test_other_projects_explain_nothing_unless_asked(project: Keyed) -> None:
    """Where only others recorded something, one line says so; with the flag, so many differences, the rest counted."""
    ws = workspace(project)
    other = replace(ws, root=project.root.parent / "other", intent=parse_intent(b'[tool.envid]\nsalt = "far"'))
    (project.root.parent / "other" / "lockfiles").mkdir(parents=True)
    lock = (project.root / "lockfiles" / "pylock.toml").read_text()
    more = "".join(
        f'\n[[packages]]\nname = "more{n}"\nversion = "1"\n'
        f'wheels = [{{ url = "https://index.example/more{n}-1-py3-none-any.whl", '
        f'size = 1, hashes = {{ sha256 = "{n:064x}" }} }}]\n'
        for n in range(40)
    )
    (other.root / "lockfiles" / "pylock.toml").write_text(lock.partition("\n[tool")[0] + more)
    key(other, layer="env", target=TARGET)
    done = cache_explain(ws, "env", target=TARGET)
    assert (done.data["nearest"], done.data["candidates"], done.data["others"]) == (None, 0, 1)
    assert len(done.answer.splitlines()) == 3 and "--others" in done.answer
    asked = cache_explain(ws, "env", target=TARGET, others=True)
    assert len(asked.answer.splitlines()) < 20 and "more (see --json)" in asked.answer
    assert len(asked.data["nearest"]["changes"]) >= 40  # type: ignore[index, call-overload, arg-type]


def test_the_document_of_an_entry_is_folded(project: Keyed) -> None:
    """A key is told in short lines, one a component; --json has the document."""
    ws = workspace(project)
    slot = of_identity(identify_for(ws, layer="env", target=TARGET).identity)
    cache.keep(place_of(ws), slot, b"made")
    done = cache_explain(ws, slot.key)
    assert max(len(line) for line in done.answer.splitlines()) < 140
    assert "\n  distributions: " in done.answer


def test_the_layer_of_a_run_is_told_by_its_entries(project: Keyed) -> None:
    """Where the identity needs more than a project, the latest entry is compared with those before it."""
    ws = workspace(project)
    place = place_of(ws)
    entry(place, 1, age=500)
    entry(place, 2, age=100)
    done = cache_explain(ws, "run")
    assert done.data["key"] == slot_of(2).key
    nearest = done.data["nearest"]
    assert isinstance(nearest, dict) and nearest["key"] == slot_of(1).key
    assert "number" in done.answer
    with pytest.raises(EntryNotFound, match="no entry of a layer"):
        cache_explain(ws, "nothing")


def test_a_key_is_told_what_it_holds_and_who_uses_it(project: Keyed) -> None:
    """Size, maker, document, number of blobs, and the projects whose roots name it; also of a blob."""
    ws = workspace(project)
    place = place_of(ws)
    path = run(place, 1, {"a": b"x" * 10, "b": b"y"})
    roots.remember(place, "/srv/project", keys=[slot_of(1).key])
    done = cache_explain(ws, slot_of(1).key)
    assert done.data["projects"] == ["/srv/project"] and done.data["blobs"] == 2
    assert done.data["document"] == {"components": {"number": "1"}, "layer": "run", "schema": "envid-slot/1"}
    assert str(done.data["made-by"]).startswith("envid ")
    blob = next(Path(place.root, "blobs-v1").rglob("[0-9a-f]" * 64)).name
    assert cache_explain(ws, f"envid1-blob-{blob}").data["document"] is None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EntryNotFound, match="shorter or longer"):
        cache_explain(ws, slot_of(1).key)
    with pytest.raises(EntryNotFound, match="nothing was made"):
        cache_explain(ws, slot_of(9).key)
    with pytest.raises(UsageError):
        cache_explain(ws, "envid1-env-xyz")


def test_the_beginning_of_a_key_will_do(project: Keyed) -> None:
    """A beginning that one entry of the layer has, such as `run` prints, stands for its key; others say what to do."""
    ws = workspace(project)
    place = place_of(ws)
    entry(place, 1, age=1)
    key = slot_of(1).key
    assert cache_explain(ws, key[:20]).data["key"] == key
    with pytest.raises(EntryNotFound, match="no entry whose key begins"):
        cache_explain(ws, f"{key[:16]}{'0' if key[16] != '0' else '1'}")
    with pytest.raises(UsageError, match="is no key"):
        cache_explain(ws, "envid1-run-abc")
    folder = Path(place.entry_path(slot_of(1))).parent
    other = key[-64:-1] + ("0" if key[-1] != "0" else "1")
    (folder / other).write_bytes(b"")
    with pytest.raises(UsageError, match="2 keys begin with") as caught:
        cache_explain(ws, key[:20])
    assert key[:20] in caught.value.hint


def test_only_so_many_are_looked_at(project: Keyed) -> None:
    """However many entries there are, the latest are compared and no more."""
    ws = workspace(project)
    place = place_of(ws)
    for number in range(recent.MOST + 20):
        entry(place, number, age=number)
    assert cache_explain(ws, "run").data["candidates"] == recent.MOST - 1


def test_stats_tell_reasons_sizes_and_limits(project: Keyed) -> None:
    """Each counted reason has its sentence; areas add up; what does not hold of the policy is said."""
    ws = replace(workspace(project), intent=parse_intent(b'[tool.envid.cache]\nmax-size = "90 TB"'))
    with opened(ws) as place:
        entry(place, 1)
        cache.get(place, slot_of(1))
        cache.get(place, slot_of(2))
    done = cache_stats(ws)
    assert done.data["layers"] == {"run": {"hit": 1, "absent": 1, "stored": 1}}
    assert done.data["totals"] == {"hits": 1, "misses": 1, "stored": 1, "bypasses": 0}
    for words in ("miss: nothing was made under this key", "1 hit (50 % of 2 reads)", "gc leaves 10 GiB"):
        assert words in done.answer
    assert done.notes and "max-size" in done.notes[0]
    files = [path for path in ws.cache.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert done.data["size"] == sum(path.stat().st_size for path in files)
    assert cache_stats(ws, zero=True).exit_code == 0
    assert cache_stats(ws).data["layers"] == {}


def test_gc_takes_its_limits_from_the_command_line_before_the_project(project: Keyed) -> None:
    """A limit that was given holds, is not remarked upon, and the answer says what was done and why what stayed."""
    ws = replace(workspace(project), intent=parse_intent(b'[tool.envid.cache]\nmax-age = "900 days"'))
    place = place_of(ws)
    entry(place, 1, age=-(10**7))
    assert any("max-age" in note for note in cache_gc(ws, dry_run=True).notes)
    done = cache_gc(ws, max_age=86400)
    assert not any("max-age" in note for note in done.notes)
    assert "kept" in done.answer
