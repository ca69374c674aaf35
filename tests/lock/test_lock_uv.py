"""The uv engine against a loopback index: what it answers, and what it says when it cannot."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envid.errors import (
    ConfigError,
    DependencyRefused,
    DynamicMetadata,
    EnvidError,
    InvalidWheel,
    NoCompatibleArtifact,
    Offline,
    ResolutionFailed,
    SdistRefused,
    ToolchainError,
    Unreachable,
)
from envid.lock.index import IndexFile
from envid.lock.pylock import parse
from envid.lock.resolver import ResolveRequest
from envid.lock.select import select
from envid.lock.uv import UvResolver, version_of
from envid.lock.write import environments_for, neutral, write
from envid.values.artifact import Lock, LockedDistribution, NormalizedName
from envid.values.progress import SILENT
from envid.values.target import parse_target
from index_server import Behaviour, IndexServer, index_server
from wheels import make_wheel, sha256_of

LINUX = parse_target("cp312-manylinux_2_28_x86_64")
MAC = parse_target("cp312-macosx_14_0_arm64")
LINUX_TAG = "cp312-cp312-manylinux_2_28_x86_64"


def make_sdist(folder: Path, name: str, version: str) -> Path:
    """Write an sdist with static metadata whose build would leave a file behind."""
    path = folder / f"{name}-{version}.tar.gz"
    build = f"open({str(folder.parent / 'executed')!r}, 'w').write('x')\nraise SystemExit(3)\n"
    members = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "hostile"\nbackend-path = ["."]\n',
        "hostile.py": build,
    }
    with tarfile.open(path, "w:gz") as archive:
        for member, text in members.items():
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def make_project(folder: Path, name: str, *, dynamic: bool = False, requires: str = "") -> Path:
    """Write a local project; ``dynamic``: its metadata would take a build, which would leave a file behind."""
    folder.mkdir(parents=True)
    if dynamic:
        head = f'[project]\nname = "{name}"\ndynamic = ["version", "dependencies"]\n'
        head += '[build-system]\nrequires = []\nbuild-backend = "hostile"\nbackend-path = ["."]\n'
        mark = str(folder.parent / "executed")
        (folder / "hostile.py").write_text(f"open({mark!r}, 'w').write('x')\nraise SystemExit(3)\n")
    else:
        head = f'[project]\nname = "{name}"\nversion = "1.2"\ndependencies = [{requires}]\n'
    (folder / "pyproject.toml").write_text(head)
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    make_wheel(made, "alpha", "1.0", requires=["beta>=1"])
    make_wheel(made, "beta", "1.0")
    make_wheel(made, "beta", "2.0")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[IndexServer]:
    with index_server(folder, Behaviour()) as running:
        yield running


class Asker:
    """Asks the engine in one project directory with one uv cache."""

    def __init__(self, root: Path, url: str, cache: Path) -> None:
        self.root = root
        self.url = url
        self.variables = {"UV_CACHE_DIR": str(cache), "UV_HTTP_RETRIES": "0"}
        root.mkdir(exist_ok=True)

    def request(self, *requirements: str, **changes: Any) -> ResolveRequest:
        """Return a request for the loopback index alone."""
        targets = changes.pop("targets", ())
        request = ResolveRequest(
            root=self.root,
            lock_path=self.root / "lockfiles" / "pylock.toml",
            requirements=requirements,
            indexes=({"url": self.url, "default": True},),
            targets=targets,
            environments=environments_for(targets),
            requires_python=">=3.12",
            minimum_python="3.12",
            variables=self.variables,
        )
        return replace(request, **changes)

    def lock(self, *requirements: str, **changes: Any) -> Lock:
        """Return the engine's answer."""
        return UvResolver().resolve(self.request(*requirements, **changes), SILENT).lock

    def failure(self, kind: type[EnvidError], *requirements: str, **changes: Any) -> EnvidError:
        """Return the error of ``kind`` that the engine raises; its text names no temporary place."""
        with pytest.raises(kind) as caught:
            self.lock(*requirements, **changes)
        assert type(caught.value) is kind
        text = f"{caught.value.message} {caught.value.hint}"
        assert "envid-scratch" not in text
        assert "envid-lock-" not in text
        return caught.value


@pytest.fixture
def ask(tmp_path: Path, server: IndexServer, shared_cache: Path) -> Asker:
    return Asker(tmp_path / "project", server.url, shared_cache)


def entry(lock: Lock, name: str) -> LockedDistribution:
    """Return the only entry of that name."""
    (found,) = [item for item in lock.distributions if item.name == name]
    return found


def versions(lock: Lock) -> dict[str, str | None]:
    """Return version by name."""
    return {item.name: item.version for item in lock.distributions}


# --- what it answers ---------------------------------------------------------------------------


def test_dependencies_are_locked_with_their_digests(ask: Asker, server: IndexServer, folder: Path) -> None:
    """A dependency of a dependency is locked at its highest version, by the sha256 of its very file."""
    lock = ask.lock("alpha")
    assert versions(lock) == {"alpha": "1.0", "beta": "2.0"}
    (wheel,) = entry(lock, "beta").wheels
    assert wheel.sha256 == sha256_of(folder / "beta-2.0-py3-none-any.whl")
    assert wheel.url == server.file_url("beta-2.0-py3-none-any.whl")


def test_missing_digests_are_computed(ask: Asker, server: IndexServer, folder: Path) -> None:
    """Where the index gives no hashes the lock has those of the files."""
    server.behaviour.hashes = False
    (wheel,) = entry(ask.lock("beta"), "beta").wheels
    assert wheel.sha256 == sha256_of(folder / "beta-2.0-py3-none-any.whl")


def test_credentials_in_links_are_dropped(ask: Asker, server: IndexServer) -> None:
    """User names, tokens and signatures in the links of an index do not reach the answer."""
    server.behaviour.link_userinfo = "someone:tok3n"
    server.behaviour.link_query = "sig=s1gnature"
    answer = repr(ask.lock("alpha"))
    assert "tok3n" not in answer
    assert "s1gnature" not in answer
    assert "someone" not in answer
    assert server.file_url("alpha-1.0-py3-none-any.whl") in answer


def test_pins_of_the_previous_lock_are_kept(ask: Asker) -> None:
    """Versions of the previous lock stay, but for those whose upgrade is asked by name, or of all."""
    old = ask.lock("alpha", "beta", constraints=("beta<2",))
    assert versions(old)["beta"] == "1.0"
    assert versions(ask.lock("alpha", "beta", previous=old))["beta"] == "1.0"
    assert versions(ask.lock("alpha", "beta", previous=old, upgrade_packages=("alpha",)))["beta"] == "1.0"
    assert versions(ask.lock("alpha", "beta", previous=old, upgrade_packages=("beta",)))["beta"] == "2.0"
    assert versions(ask.lock("alpha", "beta", previous=old, upgrade=True))["beta"] == "2.0"


def test_overrides_replace_what_dependencies_ask(ask: Asker) -> None:
    """An override wins over the requirement of a dependency."""
    assert versions(ask.lock("alpha", overrides=("beta==1.0",)))["beta"] == "1.0"


def test_exclude_newer_hides_later_uploads(ask: Asker, server: IndexServer) -> None:
    """A version uploaded within the cool-down is not taken, and no date appears in the answer."""
    server.behaviour.upload_times = {
        "beta-1.0-py3-none-any.whl": "2020-01-01T00:00:00Z",
        "beta-2.0-py3-none-any.whl": "2999-01-01T00:00:00Z",
    }
    lock = ask.lock("beta", exclude_newer="7 days")
    assert versions(lock) == {"beta": "1.0"}
    assert "2020" not in repr(lock)


def test_settings_of_the_user_change_no_resolution(ask: Asker) -> None:
    """Of a user's uv.toml and variables only what reaches an index has a say."""
    settings = {"resolution": "lowest", "constraint-dependencies": ["beta<2"], "pip": {"resolution": "lowest"}}
    variables = {**ask.variables, "UV_RESOLUTION": "lowest", "UV_CONSTRAINT": "/nowhere", "UV_NO_CONFIG": "1"}
    lock = ask.lock("beta", user_settings=settings, variables=variables)
    assert versions(lock) == {"beta": "2.0"}


def test_an_index_of_the_user_is_used(ask: Asker, server: IndexServer) -> None:
    """The index of the user's uv.toml serves a project that names none."""
    lock = ask.lock("beta", indexes=(), user_settings={"index": [{"url": server.url, "default": True}]})
    assert versions(lock) == {"beta": "2.0"}


def test_a_source_names_its_index(ask: Asker, server: IndexServer) -> None:
    """A source with an index takes the distribution from there; an index nobody declares is a configuration error."""
    own = ({"name": "own", "url": server.url, "explicit": True}, {"url": server.url, "default": True})
    assert versions(ask.lock("beta", indexes=own, sources={"beta": {"index": "own"}})) == {"beta": "2.0"}
    error = ask.failure(ConfigError, "beta", sources={"beta": {"index": "other"}})
    assert "`other`" in error.message


# --- targets -----------------------------------------------------------------------------------


def test_each_target_gets_a_version_that_has_a_wheel_for_it(ask: Asker, folder: Path) -> None:
    """A version without any wheel for one declared platform is passed over there; without that target it is taken."""
    make_wheel(folder, "plat", "2.0", tag=LINUX_TAG)
    make_wheel(folder, "plat", "1.0", tag=LINUX_TAG)
    make_wheel(folder, "plat", "1.0", tag="cp312-cp312-macosx_11_0_arm64")
    lock = ask.lock("plat", targets=(LINUX, MAC))
    (mac,) = select(lock, MAC).selected
    (linux,) = select(lock, LINUX).selected
    assert mac.version == "1.0"
    assert linux.artifact is not None
    assert versions(ask.lock("plat", targets=(LINUX,))) == {"plat": "2.0"}


def test_a_wheel_for_a_newer_libc_is_passed_over(ask: Asker, folder: Path) -> None:
    """A version that only runs on a newer glibc than the target's is ruled out, and that is told."""
    make_wheel(folder, "floor", "2.0", tag="cp312-cp312-manylinux_2_34_x86_64")
    make_wheel(folder, "floor", "1.0", tag=LINUX_TAG)
    raw = UvResolver().resolve(ask.request("floor", targets=(LINUX,)), SILENT)
    assert versions(raw.lock) == {"floor": "1.0"}
    assert raw.warnings == (f"floor 2.0 has no wheel for {LINUX.name}: 1.0 is locked there",)


def test_the_pages_spare_rounds(ask: Asker, folder: Path) -> None:
    """With the pages at hand, all versions that only run on a newer glibc are ruled out at once."""
    for number in range(40):
        make_wheel(folder, "floor", f"2.{number}", tag="cp312-cp312-manylinux_2_34_x86_64")
    make_wheel(folder, "floor", "1.0", tag=LINUX_TAG)

    def listing(names: Iterable[NormalizedName]) -> dict[NormalizedName, tuple[IndexFile, ...]]:
        files = (IndexFile(filename=path.name, url=path.as_uri()) for path in sorted(folder.iterdir()))
        return {name: tuple(files) for name in names}

    request = ask.request("floor", targets=(LINUX,))
    raw = UvResolver(listing=listing).resolve(request, SILENT)
    assert versions(raw.lock) == {"floor": "1.0"}
    assert len(raw.warnings) == 1
    with pytest.raises(NoCompatibleArtifact):
        UvResolver().resolve(request, SILENT)  # one by one it gives up


def test_the_note_tells_the_truth_about_the_other_targets(ask: Asker, folder: Path) -> None:
    """Where a missing wheel rules a version out for more than its target, the note names all that take the other."""
    for tag in ("cp313-cp313-manylinux_2_28_x86_64", "cp312-cp312-macosx_14_0_arm64"):
        make_wheel(folder, "free", "1.0", tag=tag)
        make_wheel(folder, "free", "2.0", tag=tag)
    make_wheel(folder, "free", "1.0", tag="cp313-cp313t-manylinux_2_28_x86_64")
    free = parse_target("cp313t-manylinux_2_28_x86_64")
    bound = parse_target("cp313-manylinux_2_28_x86_64")
    both = UvResolver().resolve(ask.request("free", targets=(free, bound)), SILENT)
    assert both.warnings == (f"free 2.0 has no wheel for {free.name}: 1.0 is locked for every target",)
    (folder / "free-1.0-cp312-cp312-macosx_14_0_arm64.whl").unlink()
    some = UvResolver().resolve(ask.request("free", targets=(free, bound, MAC)), SILENT)
    assert some.warnings == (f"free 2.0 has no wheel for {free.name}: 1.0 is locked there, and for {bound.name}",)


class Rounds:
    """Counts how often uv was asked."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self, label: str, total: int | None, unit: str) -> None:
        """Begin."""

    def advance(self, amount: int) -> None:
        """Count."""
        self.count += amount

    def end(self) -> None:
        """End."""


def test_what_was_found_out_before_is_not_found_out_again(ask: Asker, folder: Path) -> None:
    """With the lock of the same question at hand, a version that was ruled out takes no round; another question may."""
    old_libc = parse_target("cp312-manylinux_2_17_x86_64")
    for version, tag in (("1.0", "manylinux_2_17_x86_64"), ("2.0", "manylinux_2_34_x86_64")):
        make_wheel(folder, "floor", version, tag=f"cp312-cp312-{tag}")
        make_wheel(folder, "floor", version, tag="cp312-cp312-macosx_14_0_arm64")
    request = ask.request("floor", targets=(old_libc, MAC))
    first = UvResolver().resolve(request, SILENT)
    previous = parse(write(first.lock, targets=request.targets), path="x")
    assert versions_of(previous) == {"1.0", "2.0"}
    for settled, rounds in ((True, 1), (False, 2)):
        told = Rounds()
        again = UvResolver().resolve(replace(request, previous=previous, settled=settled), told)
        assert write(again.lock, targets=request.targets) == write(first.lock, targets=request.targets)
        assert told.count == rounds
    # What is locked is gone from the index: the lock before has no say then.
    (folder / "floor-1.0-cp312-cp312-macosx_14_0_arm64.whl").unlink()
    (folder / "floor-1.0-cp312-cp312-manylinux_2_17_x86_64.whl").unlink()
    make_wheel(folder, "floor", "1.5", tag="cp312-cp312-manylinux_2_17_x86_64")
    moved = UvResolver().resolve(replace(request, previous=previous, settled=True), SILENT)
    assert versions_of(moved.lock) == {"1.5", "2.0"}


def versions_of(lock: Lock) -> set[str | None]:
    return {entry.version for entry in lock.distributions}


def test_a_long_reason_is_cut_and_says_so(ask: Asker, folder: Path) -> None:
    """uv's lists of versions are shortened, the whole stays below some 900 characters, and a target may be dropped."""
    for number in range(0, 120, 2):
        make_wheel(folder, "many", f"1.{number}", tag="cp311-cp311-win_amd64", requires=[f"gone{number}>1"])
        make_wheel(folder, "many", f"1.{number + 1}", tag=LINUX_TAG, requires=[f"gone{number}>1"])
    error = ask.failure(ResolutionFailed, "many", targets=(LINUX, MAC))
    assert len(error.message) < 900
    assert "(cut: " in error.message
    assert " more) " in error.message
    assert f"or drop the target {MAC.name}" in error.hint


def test_no_wheel_for_a_target_names_package_and_target(ask: Asker, folder: Path) -> None:
    """When no version has a wheel for a target, the error names both, whether uv or envid found out."""
    make_wheel(folder, "floor", "2.0", tag="cp312-cp312-manylinux_2_34_x86_64")
    make_wheel(folder, "plat", "1.0", tag=LINUX_TAG)
    for name, target in (("floor", LINUX), ("plat", MAC)):
        error = ask.failure(NoCompatibleArtifact, name, targets=(LINUX, MAC) if name == "plat" else (LINUX,))
        assert name in error.message
        assert target.name in error.message
        assert "split" not in error.message


# --- source archives ---------------------------------------------------------------------------


def test_source_archives_are_refused_by_name(ask: Asker, folder: Path, tmp_path: Path) -> None:
    """A distribution without wheel is refused, named, with the setting that allows it; nothing of it is run."""
    make_sdist(folder, "onlysd", "1.0")
    make_wheel(folder, "needs", "1.0", requires=["onlysd"])
    error = ask.failure(SdistRefused, "needs")
    assert "onlysd" in error.message
    assert error.hint == 'allow it by name: allow-sdist = ["onlysd"]'
    assert not (tmp_path / "executed").exists()


def test_an_allowed_source_archive_is_locked(ask: Asker, folder: Path) -> None:
    """A distribution allowed by name is locked by the digest of its source archive, and stays so next time."""
    path = make_sdist(folder, "onlysd", "1.0")
    lock = ask.lock("onlysd", "beta", allow_sdist=("onlysd",))
    sdist = entry(lock, "onlysd").sdist
    assert sdist is not None
    assert sdist.sha256 == sha256_of(path)
    assert entry(lock, "beta").wheels
    assert ask.lock("onlysd", "beta", allow_sdist=("onlysd",), previous=lock) == lock


def test_wheels_are_preferred_to_an_allowed_source_archive(ask: Asker, folder: Path) -> None:
    """Being allowed does not make a distribution be built where wheels serve every target."""
    make_wheel(folder, "both", "1.0")
    make_sdist(folder, "both", "1.0")
    locked = entry(ask.lock("both", allow_sdist=("both",), targets=(LINUX,)), "both")
    assert locked.wheels
    assert locked.sdist is None


def test_a_source_archive_by_url_is_refused(ask: Asker, folder: Path, server: IndexServer) -> None:
    """A direct URL to a source archive needs the same permission."""
    make_sdist(folder, "onlysd", "1.0")
    requirement = f"onlysd @ {server.file_url('onlysd-1.0.tar.gz')}"
    assert "onlysd-1.0.tar.gz" in ask.failure(SdistRefused, requirement).message
    assert entry(ask.lock(requirement, allow_sdist=("onlysd",)), "onlysd").archive


# --- local, direct and version-controlled dependencies -----------------------------------------


def test_direct_urls_are_locked_by_digest(ask: Asker, folder: Path, server: IndexServer) -> None:
    """A wheel by URL is an archive with its sha256, whichever way it is asked for."""
    url = server.file_url("beta-1.0-py3-none-any.whl")
    wanted = sha256_of(folder / "beta-1.0-py3-none-any.whl")
    by_requirement = entry(ask.lock(f"beta @ {url}"), "beta").archive
    by_source = entry(ask.lock("beta", sources={"beta": {"url": url}}), "beta").archive
    assert by_requirement == by_source
    assert by_source is not None
    assert (by_source.sha256, by_source.url) == (wanted, url)


def test_directories_are_relative_to_the_lock(ask: Asker) -> None:
    """Local projects, also those that a local project brings, are recorded relative to the lock file."""
    make_project(ask.root / "libs" / "near", "near", requires='"beta", "far"')
    text = (ask.root / "libs" / "near" / "pyproject.toml").read_text()
    (ask.root / "libs" / "near" / "pyproject.toml").write_text(
        f'{text}\n[tool.uv.sources]\nfar = {{ path = "../../../elsewhere/far", editable = true }}\n'
    )
    make_project(ask.root.parent / "elsewhere" / "far", "far")
    lock = ask.lock("near", sources={"near": {"path": "libs/near"}})
    near, far = entry(lock, "near").source, entry(lock, "far").source
    assert near is not None
    assert far is not None
    assert (near.kind, near.path, near.editable) == ("directory", "../libs/near", False)
    assert (far.path, far.editable) == ("../../elsewhere/far", True)
    assert versions(lock)["beta"] == "2.0"


def test_a_directory_by_file_url_is_relative_too(ask: Asker) -> None:
    """``name @ file:///...`` to a directory of the project leaves no path of this machine."""
    make_project(ask.root / "near", "near")
    lock = ask.lock(f"near @ {(ask.root / 'near').as_uri()}")
    source = entry(lock, "near").source
    assert source is not None
    assert source.path == "../near"
    assert str(ask.root) not in repr(lock)


def test_dynamic_metadata_is_refused_without_running_it(ask: Asker) -> None:
    """A local project whose dependencies only its build knows is refused by name; the build is not run."""
    make_project(ask.root / "dyn", "dyn", dynamic=True)
    error = ask.failure(DynamicMetadata, "dyn", sources={"dyn": {"path": "dyn"}})
    assert "dyn" in error.message
    assert not (ask.root / "executed").exists()


def test_a_path_where_nothing_is_is_refused(ask: Asker) -> None:
    """A source path or file URL to nothing is an error that names the dependency, before uv is asked."""
    assert "beta" in ask.failure(DependencyRefused, "beta", sources={"beta": {"path": "gone"}}).message
    assert "beta" in ask.failure(DependencyRefused, f"beta @ {(ask.root / 'gone.whl').as_uri()}").message


def test_a_local_wheel_is_locked_by_digest(ask: Asker, folder: Path) -> None:
    """A wheel by path or file URL is recorded relative to the lock, with its sha256, and survives neutral mode."""
    wheel = make_wheel(ask.root / "vendored", "local", "1.0")
    for lock in (
        ask.lock(f"local @ {wheel.as_uri()}"),
        ask.lock("local", sources={"local": {"path": "vendored/local-1.0-py3-none-any.whl"}}),
    ):
        archive = entry(lock, "local").archive
        assert archive is not None
        assert (archive.path, archive.sha256) == ("../vendored/local-1.0-py3-none-any.whl", sha256_of(wheel))
        assert entry(neutral(lock), "local").archive == archive
        assert parse(write(lock, targets=()), path="x").distributions == lock.distributions


def test_files_of_a_local_index_go_by_name(ask: Asker, folder: Path) -> None:
    """A wheel from a directory that is configured as an index leaves no path of this machine."""
    lock = ask.lock("beta", indexes=({"url": str(folder), "format": "flat"},), offline=True)
    (wheel,) = entry(lock, "beta").wheels
    assert (wheel.path, wheel.url) == ("wheelhouse/beta-2.0-py3-none-any.whl", None)
    assert wheel.sha256 == sha256_of(folder / "beta-2.0-py3-none-any.whl")


def test_git_is_pinned_to_a_commit_that_stays(ask: Asker, tmp_path: Path) -> None:
    """A git dependency is locked at a full commit id, which a new commit upstream does not move."""
    repository = make_project(tmp_path / "repository", "vcs")
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]

    def git(*arguments: str) -> str:
        done = subprocess.run([*run, *arguments], cwd=repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    first = git("rev-parse", "HEAD")
    requirement = f"vcs @ git+{repository.as_uri()}"
    lock = ask.lock(requirement)
    source = entry(lock, "vcs").source
    assert source is not None
    assert (source.kind, source.vcs, source.commit) == ("vcs", "git", first)
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert entry(ask.lock(requirement, previous=lock), "vcs").source == source
    moved = entry(ask.lock(requirement, previous=lock, upgrade_packages=("vcs",)), "vcs").source
    assert moved is not None
    assert moved.commit == git("rev-parse", "HEAD")


def test_a_build_of_a_repository_has_to_be_allowed(ask: Asker, tmp_path: Path) -> None:
    """A git dependency with dynamic metadata is refused without running it, and built once it is allowed by name."""
    repository = make_project(tmp_path / "repository", "vcs", dynamic=True)
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*run, *arguments], cwd=repository, check=True, capture_output=True)
    requirement = f"vcs @ git+{repository.as_uri()}"
    assert "vcs" in ask.failure(DynamicMetadata, requirement).message
    assert not (tmp_path / "executed").exists()
    with pytest.raises(EnvidError):
        ask.lock(requirement, allow_sdist=("vcs",))  # its build fails, but only after it was run
    assert (tmp_path / "executed").exists()


# --- failures ----------------------------------------------------------------------------------


def test_a_conflict_has_the_reason_of_uv(ask: Asker, folder: Path) -> None:
    """Requirements that contradict each other are reported with the chain that leads there."""
    make_wheel(folder, "needsold", "1.0", requires=["beta<1"])
    error = ask.failure(ResolutionFailed, "alpha", "needsold")
    assert "needsold" in error.message
    assert "beta>=1" in error.message
    assert "this project depends on alpha and needsold" in error.message


def test_an_unknown_name_is_a_resolution_failure(ask: Asker) -> None:
    """A name that the index does not have is reported as such."""
    assert "nosuch" in ask.failure(ResolutionFailed, "nosuch").message


def test_offline_with_a_cold_cache_is_no_conflict(ask: Asker, tmp_path: Path) -> None:
    """Without network and cache the error says so, instead of blaming an innocent distribution."""
    cold = {**ask.variables, "UV_CACHE_DIR": str(tmp_path / "cold")}
    assert ask.failure(Offline, "alpha", offline=True, variables=cold).exit_code == 9


def test_offline_with_a_warm_cache_resolves(ask: Asker, server: IndexServer) -> None:
    """What uv has seen before resolves offline, without a single request."""
    online = ask.lock("alpha")
    server.requests.clear()
    assert ask.lock("alpha", offline=True) == online
    assert server.requests == []


def test_a_dead_index_is_unreachable(ask: Asker, tmp_path: Path) -> None:
    """An index that does not answer is a network error, not a conflict."""
    dead = ({"url": "http://127.0.0.1:9/simple/", "default": True},)
    cold = {**ask.variables, "UV_CACHE_DIR": str(tmp_path / "cold")}
    assert ask.failure(Unreachable, "alpha", indexes=dead, variables=cold).exit_code == 9


def test_failures_of_the_server_are_unreachable(ask: Asker, server: IndexServer) -> None:
    """Errors of the server, for pages and for files, are network errors; a signature in a link is not shown."""
    server.behaviour.statuses = {"/simple/beta": 500}
    ask.failure(Unreachable, "alpha")
    server.behaviour.statuses = {"/files/beta": 404}
    server.behaviour.link_query = "sig=s1gnature"
    assert "s1gnature" not in ask.failure(Unreachable, "beta").message


EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "no archive": lambda _data: b"PK, but no wheel" * 10,
    "cut off": lambda data: data[:-40],
    "nothing": lambda _data: b"",
    "no metadata": lambda _data: EMPTY_ZIP,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_wheel_in_a_folder_is_no_matter_of_the_network(ask: Asker, tmp_path: Path, what: str) -> None:
    """A file that is no wheel is an integrity error that names its distribution."""
    made = make_wheel(tmp_path, "sole", "1.0")
    made.write_bytes(BROKEN[what](made.read_bytes()))
    given = {**ask.variables, "UV_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    error = ask.failure(InvalidWheel, "sole", variables=given, indexes=())
    assert error.exit_code == 5
    assert "a file of sole is no sound wheel" in error.message
    assert error.context["package"] == "sole"


@pytest.mark.parametrize("what", ["no archive", "nothing", "no metadata"])
def test_a_broken_wheel_behind_an_index_is_told(ask: Asker, server: IndexServer, tmp_path: Path, what: str) -> None:
    """uv passes over a version whose file it cannot read; where no other serves, the hint says what is the matter."""
    served = make_wheel(server.folder, "sole", "1.0")
    server.behaviour.replaced = {served.name: BROKEN[what](served.read_bytes()) or b"\n"}
    server.behaviour.ranges = False
    error = ask.failure(ResolutionFailed, "sole", variables={**ask.variables, "UV_CACHE_DIR": str(tmp_path / "uv")})
    assert error.hint.startswith("files of sole cannot be read as they are served")


def test_unreadable_metadata_is_told_with_the_contradiction_that_it_makes(
    ask: Asker, server: IndexServer, tmp_path: Path
) -> None:
    """Where the only version has metadata that nobody can read, the hint is not to relax a requirement alone."""
    with zipfile.ZipFile(tmp_path / "sole-1.0-py3-none-any.whl", "w") as archive:
        for name in ("METADATA", "WHEEL", "RECORD"):
            archive.writestr(f"other-1.0.dist-info/{name}", "")
    given = {**ask.variables, "UV_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    error = ask.failure(ResolutionFailed, "sole", variables=given, indexes=())
    assert error.hint.startswith("files of sole cannot be read as they are served")


def test_a_demand_for_credentials_is_told(ask: Asker, server: IndexServer) -> None:
    """A 401 says that credentials are missing; right ones from the environment serve, and are in no answer."""
    server.behaviour.auth = ("someone", "s3cret-password")
    error = ask.failure(Unreachable, "alpha")
    assert "UV_INDEX_NAME_USERNAME" in error.hint
    named = ({"name": "my-corp", "url": ask.url, "default": True},)
    error = ask.failure(Unreachable, "alpha", indexes=named)
    assert "UV_INDEX_MY_CORP_USERNAME and UV_INDEX_MY_CORP_PASSWORD" in error.hint
    named = ({"name": "private", "url": server.url, "default": True},)
    given = {**ask.variables, "UV_INDEX_PRIVATE_USERNAME": "someone", "UV_INDEX_PRIVATE_PASSWORD": "s3cret-password"}
    assert "s3cret" not in repr(ask.lock("alpha", indexes=named, variables=given).distributions)
    wrong = {**given, "UV_INDEX_PRIVATE_PASSWORD": "wr0ng-password", "UV_CACHE_DIR": f"{ask.root}/cold"}
    assert "wr0ng" not in ask.failure(Unreachable, "alpha", indexes=named, variables=wrong).message


def test_a_credential_in_a_variable_is_in_no_error(ask: Asker, server: IndexServer) -> None:
    """A password in an index URL of the environment appears neither in the lock nor in an error."""
    server.behaviour.auth = ("someone", "s3cret-password")
    given = {**ask.variables, "UV_DEFAULT_INDEX": server.url_for("someone", "s3cret-password")}
    assert "s3cret" not in repr(ask.lock("alpha", indexes=(), variables=given))
    error = ask.failure(ResolutionFailed, "nosuch", indexes=(), variables=given)
    assert "s3cret" not in error.message


# --- the program -------------------------------------------------------------------------------


def fake_uv(path: Path, body: str) -> str:
    """Write an executable that stands for uv."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_uv_out_of_range_is_refused(tmp_path: Path) -> None:
    """A uv that envid is not tested with is refused, naming its version and the range."""
    binary = fake_uv(tmp_path / "uv", "echo 'uv 0.99.1 (somewhere)'")
    with pytest.raises(ToolchainError, match=r"0\.99\.1.*>=0\.13,<0\.14"):
        version_of(binary)


@pytest.mark.parametrize("body", ["echo hello", "exit 3"])
def test_a_program_that_is_no_uv_is_refused(tmp_path: Path, body: str) -> None:
    """Something that does not say its version is not used."""
    with pytest.raises(ToolchainError):
        version_of(fake_uv(tmp_path / "uv", body))


VARIANTS = {
    "as today": ("python_full_version >= '3.12'", ", upload-time = 2020-01-01T00:00:00Z", False),
    "other marker": ("python_version >= '3.12' and python_version < '4'", "", False),
    "other order": ("python_full_version >= '3.12'", "", True),
    "no marker": ("", "", False),
}


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_cosmetics_of_uv_do_not_show(ask: Asker, tmp_path: Path) -> None:
    """Another spelling of markers, another order, upload times: the written lock has the same bytes."""
    digest = "a" * 64
    made = set()
    for label, (marker, time, turned) in VARIANTS.items():
        entries = []
        for name in ("one", "two"):
            line = f'marker = "{marker}"\n' if marker else ""
            url = f"https://index.example/{name}-1-py3-none-any.whl"
            wheel = f'{{ url = "{url}"{time}, size = 3, hashes = {{ sha256 = "{digest}" }} }}'
            entries.append(f'[[packages]]\nname = "{name}"\nversion = "1"\n{line}wheels = [{wheel}]\n')
        body = "".join(reversed(entries) if turned else entries)
        answer = tmp_path / "answer.toml"
        answer.write_text(f'lock-version = "1.0"\ncreated-by = "uv"\nrequires-python = ">=3.12"\n\n{body}')
        script = f'if [ "$1" = --version ]; then echo "uv 0.13.99"; else cp {answer} pylock.toml; fi'
        binary = fake_uv(tmp_path / f"uv-{label.replace(' ', '-')}", script)
        raw = UvResolver(binary=binary).resolve(ask.request("one", targets=(LINUX, MAC)), SILENT)
        made.add(write(raw.lock, targets=(LINUX, MAC)))
    assert len(made) == 1
    assert b"2020" not in made.pop()
