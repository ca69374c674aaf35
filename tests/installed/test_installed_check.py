"""The decisions of verify, from values: distributions, origins, strays, and what is expected where."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.installed.check import sites
from envid.installed.compiled import is_cached, source_of
from envid.installed.distributions import compare, installed, origin, same_version
from envid.installed.expected import Expected, Layout
from envid.installed.files import known_place
from envid.installed.strays import explain
from envid.values.artifact import Artifact, LocalSource, NormalizedName, Selected, Sha256
from envid.values.contents import EntryPoint, Scheme

SITE = "lib/python3.12/site-packages"
LAYOUT = Layout(purelib=SITE, platlib=SITE, scripts="bin", headers="include/site/python3.12")
WHEEL = Artifact(kind="wheel", filename="six-1.0-py3-none-any.whl", sha256=Sha256("a" * 64))


def selected(name: str, version: str | None = "1.0", source: LocalSource | None = None) -> Selected:
    return Selected(
        name=NormalizedName(name), version=version, artifact=None if source else WHEEL, source=source
    )  # fmt: skip


@pytest.mark.parametrize(
    ("directory", "name", "version", "kind"),
    [
        ("six-1.0.dist-info", "six", "1.0", "dist-info"),
        ("Foo_Bar.Baz-2.0+x.dist-info", "foo-bar-baz", "2.0+x", "dist-info"),
        ("foo-1.0-py3.12.egg-info", "foo", "1.0", "egg-info"),
        ("foo.egg-info", "foo", "", "egg-info"),
        ("foo.egg-link", "foo", "", "egg-link"),
        ("~ix-1.0.dist-info", "~ix", "1.0", "dist-info"),
        ("nodash.dist-info", "nodash", "", "dist-info"),
    ],
)
def test_metadata_directories_are_read_by_name(directory: str, name: str, version: str, kind: str) -> None:
    """Name and version come from the directory; other names are no distributions."""
    (found,) = installed([directory, "six.py", "numpy", ".dist-info-like"])
    assert (found.name, found.version, found.kind) == (name, version, kind)


NAMES = st.sampled_from(["a", "b", "c", "d"])
VERSIONS = st.sampled_from(["1.0", "1", "2.0"])


@given(st.dictionaries(NAMES, VERSIONS), st.lists(st.tuples(NAMES, VERSIONS), unique=True))
def test_the_comparison_is_clean_exactly_when_the_sets_are_equal(
    lock: dict[str, str], there: list[tuple[str, str]]
) -> None:
    """No finding if and only if each locked name is installed once, in that version, and nothing else is."""
    findings, matched = compare(
        [selected(name, version) for name, version in lock.items()],
        installed([f"{name}-{version}.dist-info" for name, version in there]),
    )
    names = [name for name, _ in there]
    right = sorted(names) == sorted(lock) and all(same_version(lock[name], version) for name, version in there)
    assert (not findings) is right
    assert set(matched) == {name for name in lock if any(n == name and same_version(lock[name], v) for n, v in there)}
    assert all(finding.severity == "error" for finding in findings)


def test_versions_are_compared_as_versions() -> None:
    """1.0 is 1; spellings that are no versions are equal only to themselves."""
    assert same_version("1.0", "1")
    assert same_version("1.0RC1", "1.0rc1")
    assert not same_version("1.0", "1.0.post1")
    assert same_version("weird!", "weird!")
    assert not same_version("weird!", "1")


@pytest.mark.parametrize(
    ("document", "clean"),
    [
        ({"url": "u", "archive_info": {}}, True),
        ({"url": "u", "archive_info": {"hashes": {"sha256": "a" * 64}}}, True),
        ({"url": "u", "archive_info": {"hash": "sha256=" + "a" * 64}}, True),
        ({"url": "u", "archive_info": {"hash": "sha256=" + "b" * 64}}, False),
        ({"url": "u", "dir_info": {}}, False),
        ({"url": "u", "vcs_info": {}}, False),
        ([], False),
        ("text", False),
    ],
)
def test_the_origin_must_not_contradict_the_lock(document: object, clean: bool) -> None:
    """direct_url.json passes when it names the locked file or no digest, and nothing else does."""
    assert (origin(selected("six"), json.dumps(document).encode(), path="p") is None) is clean


@given(st.binary(max_size=40))
def test_any_bytes_are_an_origin_or_a_finding(data: bytes) -> None:
    """Garbage in direct_url.json is a finding, not a failure."""
    finding = origin(selected("six"), data, path="p")
    assert finding is None or finding.code == "env.source"


def test_an_origin_never_shows_credentials() -> None:
    """What stands before the @ of a URL is not repeated."""
    data = json.dumps({"url": "https://user:secret@index.example/x", "dir_info": {}}).encode()
    finding = origin(selected("six"), data, path="p")
    assert finding is not None
    assert "secret" not in repr(finding)


def test_local_sources_must_be_the_locked_ones() -> None:
    """Editable against editable, commit against commit."""
    editable = selected("six", None, LocalSource(kind="directory", path=".", editable=True))
    assert origin(editable, json.dumps({"url": "u", "dir_info": {"editable": True}}).encode(), path="p") is None
    assert origin(editable, json.dumps({"url": "u", "dir_info": {}}).encode(), path="p") is not None
    commit = selected("six", None, LocalSource(kind="vcs", commit="c" * 40))
    assert origin(commit, json.dumps({"url": "u", "vcs_info": {"commit_id": "c" * 40}}).encode(), path="p") is None
    assert origin(commit, json.dumps({"url": "u", "vcs_info": {"commit_id": "d" * 40}}).encode(), path="p") is not None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"{SITE}/evil.pth", ".pth"),
        (f"{SITE}/sitecustomize.py", "whenever the interpreter starts"),
        (f"{SITE}/usercustomize/__init__.py", "whenever the interpreter starts"),
        (f"{SITE}/json.py", "standard library"),
        (f"{SITE}/json/__init__.py", "standard library"),
        (f"{SITE}/numpy/evil.py", "into the package"),
        (f"{SITE}/evil.pyc", "without its source"),
        ("bin/json.py", "standard library"),
        ("bin/git", "scripts directory"),
        (f"{SITE}/notes", "no locked wheel"),
    ],
)
def test_strays_say_why_they_matter(path: str, words: str) -> None:
    """Each kind of stray file is an error whose sentence tells what it can do."""
    finding = explain(path, site=SITE, scripts="bin", link=False, top_level={"numpy"})
    assert (finding.code, finding.severity, finding.path) == ("env.extra-file", "error", path)
    assert words in finding.message


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("bin/activate", True), ("bin/python3.12", True), ("bin/python", True), ("bin/Activate.ps1", True),
        ("bin/activate_evil", False), ("bin/python-evil", False), ("bin/git", False), (f"{SITE}/activate", False),
        ("bin/sub/activate", False),
    ],
)  # fmt: skip
def test_what_environments_have_of_themselves(path: str, known: bool) -> None:
    """Shell scripts and interpreter links by exact name, in the scripts directory only."""
    assert known_place(path, scripts="bin") is known


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a/__pycache__/b.cpython-312.pyc", "a/b.py"),
        ("a/__pycache__/b.cpython-312.opt-2.pyc", "a/b.py"),
        ("a/__pycache__/b.c.cpython-313.pyc", "a/b.c.py"),
        ("a/__pycache__/b.cpython-312-pytest-8.3.4.pyc", "a/b.py"),
        ("a/__pycache__/b.pypy311.pyc", "a/b.py"),
        ("a/__pycache__/b.pyc", None),
        ("a/__pycache__/evil.sh", None),
    ],
)
def test_compiled_files_name_their_source(path: str, source: str | None) -> None:
    """The module beside __pycache__, for names that an interpreter gives."""
    assert is_cached(path)
    assert source_of(path) == source


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The contents of a wheel, as far as a layout asks."""

    name: str
    schemes: tuple[tuple[Scheme, int, int], ...]
    paths: tuple[str, ...]
    blake3: tuple[str, ...]
    version: str = "1.0"
    digest: str = ""
    executable: frozenset[int] = frozenset()
    tails: dict[int, str] = field(default_factory=dict)
    entry_points: tuple[EntryPoint, ...] = ()
    notes: tuple[str, ...] = ()
    sha256s: str = ""

    @property
    def dist_info(self) -> str:
        return f"{self.name}-1.0.dist-info"

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(1 for _ in self.paths)


def test_every_scheme_has_its_place() -> None:
    """Library, scripts, data and headers of a wheel are laid out where installers put them."""
    expected = Expected(LAYOUT)
    expected.add(Columns(
        name="x", schemes=(("purelib", 0, 1), ("scripts", 1, 2), ("data", 2, 3), ("headers", 3, 4)),
        paths=("x.py", "run", "share/x", "x.h"), blake3=("0", "1", "2", "3"),
        entry_points=(EntryPoint(script="x", module="x", attribute="main"),),
    ))  # fmt: skip
    assert list(expected.rows) == [f"{SITE}/x.py", "bin/run", "share/x", "include/site/python3.12/x/x.h"]
    assert (expected.executable, expected.any_mode) == (set(), {1})
    assert list(expected.launchers) == ["bin/x"]
    assert sites(LAYOUT) == (SITE,)


def test_shared_files_are_told_only_when_they_differ() -> None:
    """Two wheels with the same file share it in peace; with another one, both rows are remembered."""
    expected = Expected(LAYOUT)
    for name, digest in (("a", "1"), ("b", "2"), ("c", "2")):
        expected.add(Columns(
            name=name, schemes=(("purelib", 0, 2),), paths=("same.py", "other.py"), blake3=("0", digest)
        ))  # fmt: skip
    assert {path: [expected.owner(row).name for row in rows] for path, rows in expected.shared.items()} == {
        f"{SITE}/other.py": ["a", "b"]
    }


def test_pip_names_its_own_scripts() -> None:
    """pip3 and pip3.12 may be there and may be missing, whatever version the metadata name."""
    expected = Expected(LAYOUT)
    points = tuple(EntryPoint(script=script, module="pip", attribute="main") for script in ("pip", "pip3", "pip3.11"))
    where: tuple[tuple[Scheme, int, int], ...] = (("purelib", 0, 1),)
    expected.add(Columns(name="pip", schemes=where, paths=("pip.py",), blake3=("0",), entry_points=points))
    assert set(expected.launchers) == {"bin/pip", "bin/pip3", "bin/pip3.11", "bin/pip3.12"}
    assert expected.optional == {"bin/pip3", "bin/pip3.11", "bin/pip3.12"}
