"""Differences between two locks, and the alarm among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.lock.difference import ALARMS, CLASSES, Change, difference, findings
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.finding import CODES


def wheel(filename: str, digit: str = "a", **more: Any) -> Artifact:
    kind = "wheel" if filename.endswith(".whl") else "sdist"
    more.setdefault("url", f"https://index.example/{filename}")
    return Artifact(kind=kind, filename=filename, sha256=Sha256(digit * 64), **more)  # type: ignore[arg-type]


def entry(name: str, version: str | None = "1.0", *wheels: Artifact, **more: Any) -> LockedDistribution:
    return LockedDistribution(name=NormalizedName(name), version=version, wheels=wheels, **more)


def lock(*entries: LockedDistribution) -> Lock:
    return Lock(created_by="test", distributions=entries)


def classes(old: LockedDistribution, new: LockedDistribution) -> list[str]:
    return [change.change for change in difference(lock(old), lock(new))]


FILE = "foo-1.0-py3-none-any.whl"
BASE = entry("foo", "1.0", wheel(FILE))


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, wheels=(wheel(FILE, url="https://mirror.example/x/" + FILE, size=7),)),
        replace(BASE, wheels=(wheel(FILE, url=None, path=f"wheelhouse/{FILE}"),)),
        replace(BASE, index="https://index.example/simple"),
        replace(BASE, wheels=(wheel(FILE, other_hashes=(("md5", "0"),)),)),
    ],
)
def test_places_and_sizes_are_no_difference(same: LockedDistribution) -> None:
    """Another URL, a path in a wheelhouse, an index that only one side names: the same artifacts."""
    assert difference(lock(BASE), lock(same)) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (entry("foo", "1.0", wheel(FILE)), entry("foo", "1.0", wheel(FILE, "b")), ["rehashed"]),
        (entry("foo", "1.0", wheel(FILE)), entry("foo", "2.0", wheel("foo-2.0-py3-none-any.whl")), ["version"]),
        (BASE, entry("foo", "1.0", wheel(FILE), wheel("foo-1.0-cp312-cp312-win32.whl")), ["artifact"]),
        (BASE, entry("foo", "1.0", wheel("foo-1.0-cp312-cp312-win32.whl")), ["artifact"]),
        (BASE, replace(BASE, sdist=wheel("foo-1.0.tar.gz")), ["artifact"]),
        (BASE, replace(BASE, marker="os_name == 'nt'"), ["marker"]),
        (replace(BASE, index="https://a.example"), replace(BASE, index="https://b.example"), ["source"]),
        (BASE, replace(BASE, wheels=(), archive=wheel("foo.zip")), ["source", "artifact"]),
        (BASE, replace(BASE, wheels=(), source=LocalSource(kind="directory", path="../foo", editable=True)),
         ["source", "artifact"]),
    ],
)  # fmt: skip
def test_each_difference_has_its_class(old: LockedDistribution, new: LockedDistribution, expected: list[str]) -> None:
    """Version, artifacts, marker, origin and hash are told apart, in both directions."""
    assert classes(old, new) == expected
    assert classes(new, old) == expected


def test_markers_that_are_only_spelled_differently_are_equal() -> None:
    """Markers are compared in one spelling; one that cannot be read is compared as text."""
    left, right = (replace(BASE, marker=text) for text in ("os_name=='nt'", '(os_name == "nt")'))
    assert classes(left, right) == []
    assert classes(replace(BASE, marker="nonsense"), replace(BASE, marker="nonsense 2")) == ["marker"]


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": "b" * 40},
        {"url": "https://other.example/r.git"},
        {"subdirectory": "sub"},
        {"vcs": "hg"},
    ],
)
def test_a_repository_at_another_commit_is_another_source(changes: dict[str, Any]) -> None:
    """The commit, the place and the directory in it are all the origin."""
    source = LocalSource(kind="vcs", vcs="git", url="https://host.example/r.git", commit="a" * 40)
    old = entry("foo", None, source=source)
    assert classes(old, old) == []
    assert classes(old, replace(old, source=replace(source, **changes))) == ["source"]


def test_an_archive_at_another_url_is_another_source() -> None:
    """A direct URL is an origin, its subdirectory too."""
    old = entry("foo", "1", archive=wheel("foo.zip"))
    moved = replace(old, archive=wheel("foo.zip", url="https://other.example/foo.zip"))
    below = replace(old, archive=wheel("foo.zip", subdirectory="x"))
    assert classes(old, moved) == ["source"]
    assert classes(old, below) == ["source"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (wheel(FILE, "a"), wheel(FILE, "b")),
        (wheel(FILE, "a", other_hashes=(("sha512", "1"),)), wheel(FILE, "a", other_hashes=(("sha512", "2"),))),
        (wheel(FILE, "a", other_hashes=(("md5", "1"),)), wheel(FILE, "b", other_hashes=(("md5", "1"),))),
    ],
)
def test_the_same_file_with_another_hash_is_an_error(old: Artifact, new: Artifact) -> None:
    """A changed digest of one file name is an error finding with both digests, whatever else is equal."""
    changes = difference(lock(entry("foo", "1.0", old)), lock(entry("foo", "1.0", new)))
    (finding,) = findings(changes)
    assert (finding.code, finding.severity, finding.subject) == ("diff.rehashed", "error", "foo")
    assert finding.hint


@pytest.mark.parametrize("version", ["2.0", None])
def test_the_alarm_does_not_trust_the_version_beside_the_file(version: str | None) -> None:
    """A lock that files the replaced wheel under another version, or a fork, still raises the alarm."""
    assert "rehashed" in classes(BASE, entry("foo", version, wheel(FILE, "b")))
    fork = lock(BASE, entry("foo", "2.0", wheel(FILE, "b")))
    assert "rehashed" in [change.change for change in difference(lock(BASE), fork)]


def test_only_what_deserves_a_look_is_a_finding() -> None:
    """Versions and files change in every upgrade; a new origin is a warning and a new hash an error."""
    old = lock(BASE, entry("bar", "1"), entry("baz", "1"))
    new = lock(
        replace(BASE, marker="os_name == 'nt'"), entry("bar", "2"), entry("qux", "1"),
        entry("baz", "1", archive=wheel("baz.zip")),
    )  # fmt: skip
    changes = difference(old, new)
    assert [(item.name, item.change) for item in changes] == [
        ("bar", "version"), ("baz", "source"), ("baz", "artifact"), ("foo", "marker"), ("qux", "added"),
    ]  # fmt: skip
    assert [(item.code, item.severity) for item in findings(changes)] == [("diff.source", "warning")]
    assert {code for code, _ in ALARMS.values()} == {code for code in CODES if code.startswith("diff.")}
    assert ALARMS.keys() <= CLASSES.keys()


NAMES = st.sampled_from(["a", "b", "c"])
MARKERS = st.sampled_from([None, "os_name == 'nt'"])


def made(name: str, version: str, digits: list[str], marker: str | None) -> LockedDistribution:
    wheels = (wheel(f"{name}-{version}-{n}-py3-none-any.whl", digit) for n, digit in enumerate(digits))
    return entry(name, version, *wheels, marker=marker)


ENTRIES = st.builds(made, NAMES, st.sampled_from(["1", "2"]), st.lists(st.sampled_from("abc"), max_size=2), MARKERS)
LOCKS = st.lists(ENTRIES, max_size=4).map(lambda entries: lock(*entries))


@given(LOCKS, st.data())
def test_a_lock_does_not_differ_from_itself_in_any_order(one: Lock, data: st.DataObject) -> None:
    """No lock differs from a permutation of itself."""
    shuffled = data.draw(st.permutations(one.distributions))
    assert difference(one, replace(one, distributions=tuple(shuffled))) == ()


@given(LOCKS, LOCKS)
def test_differences_mirror_each_other(one: Lock, two: Lock) -> None:
    """Reversing the comparison swaps old and new, added and removed, and nothing else."""
    swap = {"added": "removed", "removed": "added"}
    forth = {(item.name, swap.get(item.change, item.change), item.new, item.old) for item in difference(one, two)}
    assert {(item.name, item.change, item.old, item.new) for item in difference(two, one)} == forth


@given(LOCKS, LOCKS)
def test_different_artifacts_never_compare_equal(one: Lock, two: Lock) -> None:
    """An empty difference means equal versions, files, digests and markers."""
    if difference(one, two) == ():
        rows = [
            {(e.name, e.version, e.marker, w.filename, w.sha256) for e in each.distributions for w in e.wheels}
            for each in (one, two)
        ]
        assert {row[0] for row in rows[0]} == {row[0] for row in rows[1]}
        assert {row[3:] for row in rows[0]} == {row[3:] for row in rows[1]}


def test_the_order_of_changes_is_fixed() -> None:
    """Changes come by name, the alarm first among those of one name."""
    new = entry("foo", "1.0", wheel(FILE, "b"), wheel("foo-1.0-cp312-cp312-win32.whl"), marker="os_name == 'nt'")
    assert classes(BASE, new) == ["rehashed", "marker", "artifact"]
    assert difference(lock(BASE), lock()) == (Change(name="foo", change="removed", old="1.0"),)
