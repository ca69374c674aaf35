"""``envid cache export`` and ``import``: the store in another place, and no archive that makes it lie or a job fail."""

from __future__ import annotations

import ensurepip
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envid.app.cache_archive import cache_export, cache_import
from envid.app.outcome import Outcome
from envid.app.sync import sync
from envid.app.verify import verify
from envid.errors import ArchiveUnreadable, StoreError, UsageError, WriteFailed
from envid.installed.wheel import read_contents
from envid.manifest import Made, encode
from envid.slot import narrow
from envid.store import blobs, contents, entry, roots, ustar
from envid.store.archive import Item
from envid.store.cache import get, keep
from envid.store.place import Place, open_place
from envid.values.artifact import Sha256
from envid.values.contents import WheelContents
from envid.values.digest import JSONValue
from locked import LockedProject, picture
from projects import Project
from wheels import sha256_of

BUNDLED = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    """A project without network, whose uv has a cache of its own."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A project that was synced, an archive of what it uses, and the same project on another machine."""

    here: LockedProject
    there: LockedProject
    file: Path

    def export(self, **options: object) -> Outcome:
        return cache_export(self.here.workspace(), str(self.file), **options)  # type: ignore[arg-type]

    def take(self, **options: object) -> Outcome:
        return cache_import(self.there.workspace(offline=True), str(self.file), **options)  # type: ignore[arg-type]

    @property
    def store(self) -> Place:
        return open_place(self.there.cache)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> LockedProject:
    """A project with two wheels, locked and installed; tests leave it as it is, but for its cache's copies."""
    root = tmp_path_factory.mktemp("origin")
    for name in ("project", "served"):
        (root / name).mkdir()
    made = LockedProject(root=root / "project", served=root / "served", cache=root / "cache")
    made.lock(made.wheel("alpha", entry_points="[console_scripts]\nalpha = alpha:main\n"), made.wheel("beta"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_CACHE_DIR", str(root / "uv-cache"))
        sync(made.workspace())
    return made


@pytest.fixture
def filled(origin: LockedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """The project exported; on the other machine it has the same lock, and neither cache nor index."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    shutil.copytree(origin.cache, tmp_path / "cache")
    shutil.copytree(origin.root, tmp_path / "other", ignore=shutil.ignore_patterns(".venv"))
    for name in ("served", "nothing"):
        (tmp_path / name).mkdir()
    shutil.copytree(origin.served, tmp_path / "served", dirs_exist_ok=True)
    here = LockedProject(root=origin.root, served=tmp_path / "served", cache=tmp_path / "cache")
    there = LockedProject(root=tmp_path / "other", served=tmp_path / "nothing", cache=tmp_path / "other-cache")
    made = Filled(here=here, there=there, file=tmp_path / "store.tar")
    assert made.export().data["files"] == {"contents": 2, "wheels": 2}
    return made


def numbers(value: JSONValue) -> dict[str, JSONValue]:
    assert isinstance(value, Mapping)
    return dict(value)


def names(file: Path) -> list[str]:
    with tarfile.open(file) as opened:
        return opened.getnames()


def archive_of(files: Mapping[str, bytes]) -> bytes:
    body = b"".join(ustar.header(n, len(d)) + d + ustar.padding(len(d)) for n, d in files.items())
    return body + ustar.ending(len(body))


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened}  # type: ignore[union-attr]


def errors(outcome: Outcome) -> set[str]:
    """Return the findings that are errors, but for those of the lock, which was written by hand."""
    found = {finding.code for finding in outcome.findings if finding.severity == "error"}
    return {code for code in found if not code.startswith("lock.")}


# --- from one machine to another ----------------------------------------------------------


def test_what_was_exported_serves_another_machine(filled: Filled) -> None:
    """Without network nor index, sync and a full verify work from an imported archive, and not without it."""
    with pytest.raises(Exception, match="alpha"):
        sync(filled.there.workspace(offline=True))
    assert filled.take().data["new"] == {"contents": 2, "wheels": 2}
    assert sync(filled.there.workspace(offline=True)).exit_code == 0
    assert errors(verify(filled.there.workspace(offline=True), depth="full")) == set()


def test_an_environment_is_verified_from_imported_contents(filled: Filled) -> None:
    """Contents that come with their wheels let verify find an edited file, as those of the first machine do."""
    filled.take()
    workspace = filled.there.workspace(offline=True)
    venv = str(filled.here.root / ".venv")
    assert errors(verify(workspace, venv=venv, depth="full")) == set()
    site = next((filled.here.root / ".venv" / "lib").glob("python*")) / "site-packages"
    file = site / "alpha" / "__init__.py"
    before = file.read_bytes()
    file.write_text("x = 2\n")
    try:
        assert errors(verify(workspace, venv=venv, depth="full")) == {"env.tampered"}
    finally:
        file.write_bytes(before)


def test_the_archive_of_a_copy_is_the_same(filled: Filled, tmp_path: Path) -> None:
    """What another machine exports after an import is the archive it imported, byte for byte."""
    filled.take()
    again = tmp_path / "again.tar"
    cache_export(filled.there.workspace(), str(again))
    assert again.read_bytes() == filled.file.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not BUNDLED, reason="this Python does not bundle pip")
def test_a_real_wheel_goes_there_and_back(tmp_path: Path, project: LockedProject) -> None:
    """A real wheel with hundreds of files, its contents and its bytes as a blob are the same after an import."""
    wheel = BUNDLED[0]
    project.lock(Path(shutil.copy(wheel, project.served)), link=lambda file: f'url = "{file.as_uri()}"')
    workspace = project.workspace()
    sync(workspace)
    store = open_place(project.cache)
    kept = blobs.keep_file(store, str(wheel))
    assert isinstance(kept, blobs.Kept)
    file = tmp_path / "store.tar"
    cache_export(workspace, str(file), roots_only=False)
    other = replace(workspace, cache=tmp_path / "copy")
    outcome = cache_import(other, str(file))
    assert outcome.data["new"] == {"wheels": 1, "blob": 1, "contents": 1}
    sha256, copy = Sha256(sha256_of(wheel)), open_place(tmp_path / "copy")
    rows = contents.load_rows(copy, sha256)
    assert rows is not None
    assert len(rows.paths) > 300
    assert rows == contents.load_rows(store, sha256)
    assert blobs.load(copy, kept.digest, limit=2**30) == wheel.read_bytes()


def test_an_archive_of_an_older_lock_only_misses(filled: Filled) -> None:
    """A stale archive, restored for a lock that has moved on, gives what is still wanted; the rest is fetched."""
    filled.take()
    new = filled.here.wheel("beta", "2.0", files={"beta/__init__.py": b"x = 2\n"})
    there = replace(filled.there, served=filled.here.served)
    there.lock(filled.here.served / "alpha-1.0-py3-none-any.whl", new)
    outcome = sync(there.workspace())
    assert outcome.exit_code == 0
    assert errors(verify(there.workspace(offline=True), depth="full")) == set()
    site = next((there.root / ".venv" / "lib").glob("python*")) / "site-packages"
    assert (site / "beta" / "__init__.py").read_text() == "x = 2\n"


def test_two_homes_and_the_real_command(filled: Filled, tmp_path: Path) -> None:
    """With the real command: export in one home, import in another, then sync and verify there, offline."""
    variables = {"UV_FIND_LINKS": "", "HOME": str(tmp_path / "home-2"), "UV_CACHE_DIR": str(tmp_path / "uv-2")}
    here = Project(root=filled.here.root, cache=filled.here.cache)
    there = Project(root=filled.there.root, cache=filled.there.cache, variables=variables)
    assert there.run("sync", "--offline").status != 0
    file = tmp_path / "real.tar"
    done = here.ok("cache", "export", str(file))
    assert done.stdout.startswith(f"{file}: 4 files (2 contents, 2 wheels), ")
    assert file.read_bytes() == filled.file.read_bytes()
    done = there.ok("cache", "import", str(file), "--json")
    assert done.json["schema"] == "envid/cache-import/1"
    assert done.json["data"]["new"] == {"contents": 2, "wheels": 2}
    there.ok("sync", "--offline")
    assert there.run("verify", "--full", "--offline", "--json").codes == {"lock.undecidable"}
    assert there.ok("cache", "import", str(file)).stdout == f"{file}: 0 files new, 4 there before, 0 passed over\n"
    (tmp_path / "cut.tar").write_bytes(file.read_bytes()[:5000])
    assert there.run("cache", "import", str(tmp_path / "cut.tar"), "--strict").status == 1
    done = there.ok("cache", "import", str(tmp_path / "cut.tar"))
    assert "warning cache.archive" in done.stdout
    done = there.run("cache", "import", str(tmp_path / "none.tar"), "--json")
    assert (done.status, done.json["error"]["slug"]) == (7, "store.archive")


# --- what is exported ---------------------------------------------------------------------


def test_only_what_the_project_uses_is_exported(filled: Filled, tmp_path: Path) -> None:
    """Of a cache that several projects share, the archive has what this one uses, and with roots_only off all of it."""
    other = tmp_path / "second"
    other.mkdir()
    second = replace(filled.here, root=other)
    second.lock(second.wheel("gamma"))
    sync(second.workspace())
    assert filled.export().data["files"] == {"contents": 2, "wheels": 2}
    assert not any("gamma" in name for name in names(filled.file))
    cache_export(second.workspace(), str(filled.file))
    assert [name.rpartition("/")[2] for name in names(filled.file) if "wheels" in name] == [
        "gamma-1.0-py3-none-any.whl"
    ]
    assert filled.export(roots_only=False).data["files"] == {"contents": 3, "wheels": 3}


def test_entries_of_a_project_bring_their_blobs(filled: Filled) -> None:
    """An entry that the project used comes with the blobs that its manifest names, and with no others."""
    store = open_place(filled.here.cache)
    slots = [narrow("run", {"number": number}) for number in (1, 2)]
    for number, slot in enumerate(slots):
        made = blobs.keep_bytes(store, b"made %d" % number)
        assert isinstance(made, blobs.Kept)
        file = Made(path="out.txt", kind="file", mode=0o644, size=made.size, digest=made.digest)
        keep(store, slot, encode([file]))
    roots.remember(store, filled.here.workspace().place, keys=[slots[0].key])
    assert filled.export().data["files"] == {"contents": 2, "wheels": 2, "blob": 1, "run": 1}
    assert filled.export(layers=("run",)).data["files"] == {"blob": 1, "run": 1}
    assert filled.export(layers=("wheels",)).data["files"] == {"wheels": 2}
    assert filled.export(layers=("venv",)).notes[0].startswith("nothing of venv in the cache is known to be used")
    assert filled.export(layers=("venv",), roots_only=False).notes == ("there is nothing of venv in the cache",)
    assert filled.export(layers=("run",), roots_only=False).data["files"] == {"blob": 2, "run": 2}
    assert filled.export(layers=("blob",), roots_only=False).data["files"] == {"blob": 2}
    assert filled.export(roots_only=False).data["files"] == {"contents": 2, "wheels": 2, "blob": 2, "run": 2}
    assert filled.take().data["skipped"] == {"unproven": 2}
    assert filled.take(trust=True).data["new"] == {"run": 2}


def test_an_export_says_what_it_left_out(filled: Filled) -> None:
    """A damaged wheel is left out of the archive, and named by its reason."""
    wheel = next((filled.here.cache / "wheels-v1").rglob("alpha-*.whl"))
    wheel.write_bytes(b"x")
    outcome = filled.export()
    assert (outcome.data["files"], outcome.data["skipped"]) == ({"contents": 2, "wheels": 1}, {"damaged": 1})
    assert "1 left out, damaged: " in outcome.answer


def test_an_empty_export_says_so(project: LockedProject, tmp_path: Path) -> None:
    """Where nothing is known to be used, an empty archive is written, and --all is named."""
    project.lock(project.wheel("alpha"))
    outcome = cache_export(project.workspace(), str(tmp_path / "a.tar"))
    assert (outcome.data["files"], outcome.data["size"]) == ({}, 10240)
    assert "--all" in outcome.notes[0]


def test_an_export_that_fails_leaves_the_file_before_it(filled: Filled) -> None:
    """When the disk does not take all of the archive, the archive that was there stays, and nothing else is left."""
    before = picture(filled.file.parent, without=["cache"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(WriteFailed):
            filled.export()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    after = picture(filled.file.parent, without=["cache"])
    assert {name: kind for name, kind in after.items() if not name.startswith("cache/")} == {
        name: kind for name, kind in before.items() if not name.startswith("cache/")
    }


def test_an_export_replaces_files_only(filled: Filled, tmp_path: Path) -> None:
    """A directory, a pipe or a device is no place for an archive, and a store that all can write is not exported."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for name in (".", "pipe", "link"):
        with pytest.raises(UsageError):
            cache_export(filled.here.workspace(), str(tmp_path / name))
    assert (tmp_path / "link").is_symlink()
    filled.here.cache.chmod(0o777)
    with pytest.raises(StoreError):
        filled.export()


@pytest.mark.parametrize("held", [b"[project]\n", bytes(512), b"PK" + bytes(20000), archive_of({"a.txt": b"a"})])
def test_an_export_leaves_the_files_of_others(filled: Filled, tmp_path: Path, held: bytes) -> None:
    """A file that is no archive of a store is named and stays; what is empty or such an archive is replaced."""
    mine = tmp_path / "pyproject.toml"
    mine.write_bytes(held)
    with pytest.raises(UsageError, match=r"pyproject\.toml .*not overwritten"):
        cache_export(filled.here.workspace(), str(mine))
    assert mine.read_bytes() == held
    for own in (b"", bytes(10240), filled.file.read_bytes()):
        mine.write_bytes(own)
        cache_export(filled.here.workspace(), str(mine))
        assert mine.read_bytes() == filled.file.read_bytes()


def test_an_export_makes_no_directories_but_its_own(filled: Filled, tmp_path: Path) -> None:
    """A mistyped directory is a usage error and is not made; the project's `.envid` is made when it is missing."""
    with pytest.raises(UsageError, match=r"no directory .*nowhere"):
        cache_export(filled.here.workspace(), str(tmp_path / "nowhere" / "a.tar"))
    assert not (tmp_path / "nowhere").exists()
    own = filled.here.root / ".envid"
    shutil.rmtree(own, ignore_errors=True)
    cache_export(filled.here.workspace(), str(own / "store.tar"))
    assert (own / "store.tar").is_file()
    shutil.rmtree(own)


def test_a_layer_that_nothing_has_is_a_usage_error(filled: Filled, tmp_path: Path) -> None:
    """Of a mistyped layer the nearest is named, and nothing is written; a known one may have nothing."""
    with pytest.raises(UsageError, match="wheeels") as refused:
        cache_export(filled.here.workspace(), str(tmp_path / "a.tar"), layers=("wheeels",))
    assert "nearest is `wheels`" in refused.value.hint
    assert not (tmp_path / "a.tar").exists()
    assert cache_export(filled.here.workspace(), str(tmp_path / "a.tar"), layers=("run",)).data["files"] == {}


def test_an_archive_may_go_to_standard_output(filled: Filled) -> None:
    """`-` writes the same bytes to a pipe and its words to stderr; to a terminal, and with --json, it is refused."""
    variables = {**os.environ, "ENVID_CACHE_DIR": str(filled.here.cache)}
    command = [str(Path(sys.executable).parent / "envid"), "cache", "export", "-"]
    done = subprocess.run(command, cwd=filled.here.root, env=variables, capture_output=True, check=True)
    assert done.stdout == filled.file.read_bytes()
    assert b"4 files" in done.stderr
    refused = subprocess.run(
        [*command, "--json"], cwd=filled.here.root, env=variables, capture_output=True, check=False
    )
    assert (refused.returncode, json.loads(refused.stdout)["error"]["slug"]) == (2, "usage")
    ours, theirs = os.openpty()
    try:
        shown = subprocess.run(command, cwd=filled.here.root, env=variables, stdout=theirs, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown.returncode == 2
    assert not (filled.here.root / "-").exists()


# --- whom to believe ----------------------------------------------------------------------


def poisoned(filled: Filled, change: Callable[[WheelContents], WheelContents]) -> tuple[str, bytes]:
    """Return an entry under the right key of alpha's contents, with a right trailer, that says something else."""
    wheel = filled.here.served / "alpha-1.0-py3-none-any.whl"
    sha256 = Sha256(sha256_of(wheel))
    slot = contents.slot_of(sha256)
    data = contents.encode(change(read_contents(wheel, filename=wheel.name, sha256=sha256)))
    return Item(layer="contents", digest=slot.digest).name, entry.encode(slot.key, slot.document, data, squeeze=False)


def lying(found: WheelContents) -> WheelContents:
    first = replace(found.entries[0], blake3="0" * 64)
    return replace(found, entries=(first, *found.entries[1:]))


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("wheel", ["in the archive", "in the store", "behind it", "nowhere"])
def test_poisoned_contents_are_refused(filled: Filled, wheel: str, trust: bool) -> None:
    """Contents under a wheel's key that are not the wheel's are never taken, wherever the wheel is, nor on trust."""
    name, data = poisoned(filled, lying)
    wheels = {n: d for n, d in members(filled.file).items() if n.startswith("wheels-v1")}
    if wheel == "in the store":
        filled.file.write_bytes(archive_of(wheels))
        filled.take()
    files = {"in the archive": {**wheels, name: data}, "behind it": {name: data, **wheels}}.get(wheel, {name: data})
    filled.file.write_bytes(archive_of(files))
    outcome = filled.take(trust=trust)
    refuted = wheel in ("in the archive", "in the store")
    assert outcome.data["skipped"] == {"refuted" if refuted else "unproven": 1}
    assert {finding.code for finding in outcome.findings} == ({"cache.archive"} if refuted else set())
    assert outcome.exit_code == 0
    sha256 = Sha256(sha256_of(filled.here.served / "alpha-1.0-py3-none-any.whl"))
    assert contents.load_rows(filled.store, sha256) is None


def test_what_trust_gives_away(filled: Filled) -> None:
    """With trust, whoever wrote the archive says what a result is; verify still finds what they did to a file."""
    store, slot = filled.store, narrow("run", {"x": 1})
    item = Item(layer="run", digest=slot.digest)
    name, lie = poisoned(filled, lying)
    files = {item.name: entry.encode(slot.key, slot.document, b"theirs"), name: lie}
    filled.file.write_bytes(archive_of({**members(filled.file), **files}))
    outcome = filled.take(trust=True)
    assert (outcome.data["new"], outcome.data["skipped"]) == ({"wheels": 2, "contents": 1, "run": 1}, {"refuted": 1})
    assert get(store, slot) == b"theirs"
    found = verify(filled.there.workspace(offline=True), venv=str(filled.here.root / ".venv"), depth="full")
    assert errors(found) == set()


def test_honest_contents_come_with_their_wheel_only(filled: Filled) -> None:
    """Contents without their wheel are taken once the wheel is there, and not before; they are then the honest ones."""
    files = members(filled.file)
    known = {name: data for name, data in files.items() if name.startswith("entries-v1")}
    filled.file.write_bytes(archive_of(known))
    assert filled.take().data["skipped"] == {"unproven": 2}
    filled.file.write_bytes(archive_of(files))
    assert filled.take().data["new"] == {"wheels": 2, "contents": 2}


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{}", b"[]", b"null", b"{" * 5000, b'{"components":[],"layer":"contents","schema":"envid-slot/1"}',
        b'{"components":{"wheel":1},"layer":"contents","schema":"envid-slot/1"}',
        b'{"components":{"wheel":"../../x"},"layer":"contents","schema":"envid-slot/1"}',
        narrow("contents", {"wheel": "ab" * 32, "epoch": 2}).document,
        narrow("contents", {"wheel": "AB" * 32}).document,
        narrow("contents", {"wheel": "ab" * 32, "epoch": 1, "more": "x" * 9000}).document,
    ],
)  # fmt: skip
def test_a_slot_of_contents_that_is_none_is_unproven(filled: Filled, document: bytes) -> None:
    """An entry of the layer contents whose document is not that of a wheel's contents is passed over."""
    from envid.values.digest import derive_hex

    digest = derive_hex("envid-slot/1 contents", document)
    item = Item(layer="contents", digest=digest)
    filled.file.write_bytes(archive_of({item.name: entry.encode(item.key, document, b"x")}))
    assert filled.take().data["skipped"] == {"unproven": 1}


def test_a_wheel_that_cannot_be_read_proves_nothing(filled: Filled) -> None:
    """Contents of a wheel that is no zip file, or of a hostile one, are unproven."""
    sha256 = Sha256("")
    for data in (b"no zip", b"PK\x05\x06" + bytes(18)):
        path = filled.here.served / "broken-1.0-py3-none-any.whl"
        path.write_bytes(data)
        sha256 = Sha256(sha256_of(path))
        slot = contents.slot_of(sha256)
        files = {
            Item(layer="wheels", digest=sha256, file=path.name).name: data,
            Item(layer="contents", digest=slot.digest).name: entry.encode(slot.key, slot.document, b"x"),
        }
        filled.file.write_bytes(archive_of(files))
        outcome = filled.take()
        assert (outcome.data["new"], outcome.data["skipped"]) == ({"wheels": 1}, {"unproven": 1})


# --- no archive and no store makes a job fail ---------------------------------------------


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("case", ["cut", "none", "empty", "flipped", "lies"])
def test_a_bad_archive_is_a_warning(filled: Filled, case: str, strict: bool) -> None:
    """An archive that is cut, damaged or none costs misses: exit 0 with a warning, and exit 1 under strict."""
    data = filled.file.read_bytes()
    bad = {"cut": data[:-11000], "none": b"#!/bin/sh\n" * 99, "empty": b"", "flipped": b"x" + data[1:]}
    name, lie = poisoned(filled, lying)
    wheels = {n: d for n, d in members(filled.file).items() if n.startswith("wheels-v1")}
    filled.file.write_bytes(bad[case] if case in bad else archive_of({**wheels, name: lie}))
    outcome = filled.take(strict=strict)
    assert outcome.exit_code == (1 if strict else 0)
    assert [f.code for f in outcome.findings] == ["cache.archive"]
    assert outcome.data["whole"] == (case in ("flipped", "lies"))


def test_a_compressed_archive_is_told_with_the_way_to_read_it(filled: Filled) -> None:
    """The hint is the command that expands it; nothing is said to be imported that was not."""
    for start, program in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip")):
        filled.file.write_bytes(start + bytes(2000))
        (finding,) = filled.take().findings
        assert finding.hint == f"expand it first: `{program} -dc FILE | envid cache import -`"
        assert program in finding.message


@pytest.mark.parametrize("planted", ["file", "open", "full"])
def test_a_store_that_takes_nothing_is_a_warning(filled: Filled, planted: str) -> None:
    """Where the store cannot be used or the disk is full, nothing is imported: exit 0 and a warning, or 1."""
    cache = filled.there.cache
    if planted == "file":
        cache.write_bytes(b"")
    elif planted == "open":
        cache.mkdir()
        cache.chmod(0o777)
    there = filled.there
    if planted == "full":
        config = (there.root / "pyproject.toml").read_text()
        (there.root / "pyproject.toml").write_text(f'{config}\n[tool.envid.cache]\nmin-free = "1000 TB"\n')
    for strict in (False, True):
        outcome = cache_import(there.workspace(offline=True), str(filled.file), strict=strict)
        assert {finding.code for finding in outcome.findings} == {"cache.unusable"}
        assert outcome.exit_code == int(strict)
        assert numbers(outcome.data["new"]) == {}


def test_a_divergence_is_told(filled: Filled) -> None:
    """Other content under a key that the store has is reported with the key, and what was first stays."""
    filled.take()
    store, slot = filled.store, narrow("run", {"x": 1})
    keep(store, slot, b"first")
    item = Item(layer="run", digest=slot.digest)
    filled.file.write_bytes(archive_of({item.name: entry.encode(slot.key, slot.document, b"second")}))
    outcome = filled.take(trust=True)
    assert [(f.code, f.subject, f.severity) for f in outcome.findings] == [("cache.diverged", slot.key, "warning")]
    assert filled.take(trust=True, strict=True).exit_code == 1


@pytest.mark.parametrize("file", ["missing.tar", ".", "pyproject.toml/x"])
def test_a_file_that_is_not_there_is_an_error(project: LockedProject, file: str) -> None:
    """Naming a file that is not there, or a directory, is an error of its own."""
    project.lock(project.wheel("alpha"))
    with pytest.raises(ArchiveUnreadable):
        cache_import(project.workspace(), str(project.root / file))


def test_an_archive_may_come_through_a_pipe(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads the archive from standard input, which cannot be searched."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as stream:
            stream.write(filled.file.read_bytes())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        filled = replace(filled, file=Path("-"))
        assert filled.take().data["new"] == {"contents": 2, "wheels": 2}


def test_without_standard_input_there_is_no_archive(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed standard input is an archive that cannot be read, not a bug."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ArchiveUnreadable):
        replace(filled, file=Path("-")).take()


def test_the_cache_is_imported_outside_of_a_project(filled: Filled, tmp_path: Path) -> None:
    """Both verbs work where there is no project; an export has everything there only with --all."""
    (tmp_path / "nowhere").mkdir()
    lost = Project(root=tmp_path / "nowhere", cache=tmp_path / "cache-3")
    lost.ok("cache", "import", str(filled.file))
    assert lost.ok("cache", "export", "a.tar", "--all", "--json").json["data"]["files"] == {"contents": 2, "wheels": 2}
    assert json.loads(lost.ok("cache", "export", "a.tar", "--json").stdout)["data"]["files"] == {}


def test_an_import_writes_below_the_cache_alone(filled: Filled) -> None:
    """Beside the files of the store, nothing on disk is another than before the import."""
    before = picture(filled.file.parent)
    filled.take()
    after = picture(filled.file.parent)
    assert {name: kind for name, kind in after.items() if not name.startswith("other-cache")} == before
