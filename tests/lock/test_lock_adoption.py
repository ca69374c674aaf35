"""Translating the locks of other tools, without touching anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envid.errors import (
    DependencyRefused,
    InvalidLock,
    SdistRefused,
    TargetNotCovered,
    Unreachable,
    UsageError,
)
from envid.lock.adoption import (
    Wanted,
    format_of,
    from_pins,
    lost_tables,
    names_on_this_machine,
    relocated,
    take_over,
)
from envid.lock.index import IndexFile
from envid.lock.requirements_file import Pinned
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.target import parse_target

A, B, C = (Sha256(digit * 64) for digit in "abc")
LINUX, WINDOWS = parse_target("cp312-manylinux_2_28_x86_64"), parse_target("cp311-win_amd64")
WANTED = Wanted(project=NormalizedName("demo"), targets=(LINUX, WINDOWS))
HERE = (".", "lockfiles")


def file(filename: str, sha256: Sha256 = A, **more: Any) -> Artifact:
    more.setdefault("url", f"https://index.example/{filename}")
    return Artifact(kind="wheel" if filename.endswith(".whl") else "sdist", filename=filename, sha256=sha256, **more)


def entry(name: str, *wheels: Artifact, **more: Any) -> LockedDistribution:
    pure = file(f"{name}-1-py3-none-any.whl")
    return LockedDistribution(name=NormalizedName(name), version="1", wheels=wheels or (pure,), **more)


def lock(*entries: LockedDistribution, **more: Any) -> Lock:
    return Lock(created_by="other", distributions=entries, **more)


def names(taken: Lock) -> list[str]:
    return [one.name for one in taken.distributions]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uv.lock", "uv.lock"), ("a/b/uv.lock", "uv.lock"), ("pylock.toml", "pylock"), ("pylock.dev.toml", "pylock"),
        ("requirements.txt", "requirements"), ("reqs\\Dev.TXT", "requirements"),
    ],
)  # fmt: skip
def test_the_kind_of_a_lock_is_told_by_its_name(name: str, expected: str) -> None:
    """The three formats are told apart before anything is read."""
    assert format_of(name) == expected


@pytest.mark.parametrize("name", ["poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "\x1b[31m"])
def test_a_lock_that_envid_cannot_read_names_a_way(name: str) -> None:
    """Formats of other tools are a usage error with the next step, and no escape sequence gets out."""
    with pytest.raises(UsageError) as caught:
        format_of(name)
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_extras_and_groups_become_one_selection() -> None:
    """Markers over extras and groups are decided; what they leave stays, the choice itself is reported."""
    other = lock(
        entry("always"),
        entry("cli", marker="'cli' in extras"),
        entry("gui", marker="'gui' in extras"),
        entry("either", marker="('gui' in extras or 'test' in dependency_groups) and os_name == 'nt'"),
        entry("plain", marker="os_name == 'nt' or (os_name == 'posix' and sys_platform == 'linux')"),
        entry("never", marker="'gui' in extras and os_name == 'nt'"),
        entry("not-gui", marker="'gui' not in extras"),
        entry("core", marker="'default' in dependency_groups"),
        entry("dev", marker="'dev' in dependency_groups or 'gui' in extras"),
        extras=("cli", "gui"), dependency_groups=("test", "dev"), default_groups=("default", "dev"),
    )  # fmt: skip
    wanted = replace(
        WANTED, extras=frozenset({"cli"}), groups=frozenset({"test"}), known_groups=frozenset({"test", "dev"})
    )
    taken = take_over(other, wanted, moved=HERE)
    assert names(taken.lock) == ["always", "cli", "either", "plain", "not-gui", "core"]
    assert {one.name: one.marker for one in taken.lock.distributions if one.marker} == {
        "either": "os_name == 'nt'",
        "plain": "os_name == 'nt' or (os_name == 'posix' and sys_platform == 'linux')",
    }
    assert (taken.lock.extras, taken.lock.dependency_groups, taken.lock.default_groups) == ((), (), ())
    assert "extra gui" in taken.dropped[0]


def test_a_marker_that_becomes_certain_goes() -> None:
    """`'cli' in extras or X` is no marker any more when cli is selected."""
    other = lock(entry("a", marker="'cli' in extras or os_name == 'nt'"), extras=("cli",))
    taken = take_over(other, replace(WANTED, extras=frozenset({"cli"})), moved=HERE)
    assert taken.lock.distributions[0].marker is None


def test_source_archives_are_dropped_unless_allowed_by_name() -> None:
    """With wheels beside it an sdist is left out and counted; the permitted one stays."""
    source = file("a-1.tar.gz", B)
    taken = take_over(lock(entry("a", sdist=source), entry("b", sdist=source)),
                      replace(WANTED, allow_sdist=frozenset({"b"})), moved=HERE)  # fmt: skip
    assert [one.sdist for one in taken.lock.distributions] == [None, source]
    assert "source archives of 1 distribution" in taken.dropped[0]


def test_a_distribution_with_nothing_but_a_source_archive_is_refused_by_name() -> None:
    """No build is smuggled in: the whole adoption fails, naming what needs one."""
    only = replace(entry("odfpy", sdist=file("odfpy-1.tar.gz")), wheels=())
    with pytest.raises(SdistRefused, match="odfpy 1") as caught:
        take_over(lock(only, entry("a")), WANTED, moved=HERE)
    assert "allow-sdist" in caught.value.hint
    foreign = replace(only, marker="sys_platform == 'darwin'")
    taken = take_over(lock(foreign, entry("a")), WANTED, moved=HERE)
    assert names(taken.lock) == ["a"]
    assert "for no declared target" in taken.dropped[0]
    with pytest.raises(SdistRefused):
        take_over(lock(foreign), replace(WANTED, targets=()), moved=HERE)


def test_targets_that_the_lock_cannot_serve_are_left_out_of_its_guard() -> None:
    """What the other lock does not cover is named, and the new lock claims no more than it holds."""
    only_windows = entry("a", file("a-1-cp311-cp311-win_amd64.whl"))
    taken = take_over(lock(only_windows), WANTED, moved=HERE)
    assert taken.covered == (WINDOWS,)
    assert [name for name, _ in taken.uncovered] == [LINUX.name]
    assert len(taken.lock.environments) == 1
    with pytest.raises(TargetNotCovered, match="none of the declared targets"):
        take_over(lock(only_windows), replace(WANTED, targets=(LINUX,)), moved=HERE)


def test_a_target_that_leaves_a_marker_open_is_served() -> None:
    """A marker on the patch release does not cost a short target its place in the guard."""
    other = lock(entry("a", marker="python_full_version < '3.12.4'"), entry("b"))
    assert take_over(other, WANTED, moved=HERE).covered == (LINUX, WINDOWS)


def test_without_targets_the_guard_of_the_other_lock_stays() -> None:
    """Where the project declares no targets, nothing is claimed beyond what the file said."""
    other = lock(entry("a"), environments=("os_name == 'nt'",), requires_python=">=3.12")
    taken = take_over(other, replace(WANTED, targets=()), moved=HERE)
    assert taken.lock.environments == ("os_name == 'nt'",)
    assert taken.lock.requires_python == ">=3.12"


def test_the_project_itself_and_the_index_are_left_out() -> None:
    """The project's own entry and index URLs do not belong into a lock of ours."""
    own = replace(entry("demo"), wheels=(), source=LocalSource(kind="directory", path=".", editable=True))
    taken = take_over(lock(own, entry("a", index="https://index.example/simple")), WANTED, moved=HERE)
    assert names(taken.lock) == ["a"]
    assert taken.lock.distributions[0].index is None
    assert taken.dropped == ("the project demo itself", "the index that each distribution came from")


def test_relative_paths_are_carried_to_the_new_place() -> None:
    """A path that was relative to the file is relative to the new lock afterwards."""
    local = replace(entry("lib"), wheels=(), source=LocalSource(kind="directory", path="./libs/lib"))
    beside = entry("a", file("a-1-py3-none-any.whl", url=None, path="wh/a-1-py3-none-any.whl"))
    taken = take_over(lock(local, beside), WANTED, moved=("sub", "lockfiles"))
    sources = [one.source.path for one in taken.lock.distributions if one.source]
    assert sources == ["../sub/libs/lib"]
    assert taken.lock.distributions[1].wheels[0].path == "../sub/wh/a-1-py3-none-any.whl"


def test_credentials_in_urls_do_not_come_along() -> None:
    """Userinfo and signed queries are cut from every URL, and that is said once."""
    bad = "https://u:hunter2@host.example/a-1-py3-none-any.whl?sig=hunter2"
    source = LocalSource(kind="vcs", vcs="git", url="https://u:hunter2@host.example/r.git", commit="c" * 40)
    other = lock(entry("a", file("a-1-py3-none-any.whl", url=bad)), entry("b", file("b-1-py3-none-any.whl", url=bad)),
                 replace(entry("c"), wheels=(), source=source))  # fmt: skip
    taken = take_over(other, WANTED, moved=HERE)
    assert "hunter2" not in repr(taken)
    assert taken.dropped == ("credentials and queries in URLs",)


def test_what_the_formats_say_and_ours_does_not_is_found() -> None:
    """Comments, upload times, dependencies and options are looked for in the file, not assumed."""
    uv = b'# hello\nversion = 1\n[options]\nexclude-newer = "x"\n'
    uv += b'[[package]]\nname = "a"\ndependencies = [{ name = "b" }]\n'
    uv += b'sdist = { url = "x", upload-time = "2026-01-01" }\n'
    assert lost_tables(uv) == [
        "1 comment(s)", "upload times", "the dependencies recorded for 1 distribution(s)",
        "the options of the resolution",
    ]  # fmt: skip
    assert lost_tables(b'[[packages]]\nname = "a"\nwheels = [{ name = "w" }]\n') == []
    assert lost_tables(b"package = 1\npackages = 'x'\n") == []
    assert lost_tables(b"not toml") == []
    assert lost_tables(b"\xff") == []


# --- hashed requirements ---------------------------------------------------------------------


def pin(**more: Any) -> Pinned:
    return Pinned(**{"name": NormalizedName("foo"), "version": "1.0", "hashes": (A, B), "line": 3, **more})


def listed(filename: str, sha256: Sha256 | None, **more: Any) -> IndexFile:
    return IndexFile(filename=filename, url=f"https://index.example/{filename}", sha256=sha256, **more)


def pinned(*files: IndexFile, **more: Any) -> tuple[LockedDistribution, list[str]]:
    made, dropped = from_pins([pin(**more)], {NormalizedName("foo"): files}, path="r.txt")
    return made.distributions[0], dropped


def test_files_are_matched_by_their_hash() -> None:
    """Only files whose sha256 stands in the requirements are taken; hashes without a file are reported."""
    found, dropped = pinned(
        listed("foo-1.0-py3-none-any.whl", A, size=7), listed("foo-1.0-cp312-cp312-win32.whl", C),
        listed("foo-1.0-py2-none-any.whl", None), listed("foo-1.0-py3-none-any.whl", A), marker="os_name == 'nt'",
    )  # fmt: skip
    assert [(one.filename, one.sha256, one.size) for one in found.wheels] == [("foo-1.0-py3-none-any.whl", A, 7)]
    assert (found.version, found.marker, found.sdist) == ("1.0", "os_name == 'nt'", None)
    assert dropped == ["1 hash(es) of foo 1.0 that no index offers a file for"]


def test_a_source_archive_is_taken_as_one() -> None:
    """An sdist among the hashes is kept as such; a second one is not needed."""
    found, dropped = pinned(listed("foo-1.0.tar.gz", A), listed("foo-1.0.zip", B))
    assert found.sdist is not None
    assert found.sdist.filename == "foo-1.0.tar.gz"
    assert (found.wheels, dropped) == ((), [])


def test_a_pin_without_any_file_is_unreachable() -> None:
    """Where no index has a file with the hash there is nothing to lock."""
    with pytest.raises(Unreachable, match=r"foo 1\.0"):
        pinned(listed("foo-1.0-py3-none-any.whl", C))


@pytest.mark.parametrize("version", ["2.0", "banana"])
def test_a_hash_of_another_version_is_refused(version: str) -> None:
    """A requirements file that says one version and hashes another is invalid, whoever made it."""
    with pytest.raises(InvalidLock, match="belongs to"):
        pinned(listed("foo-1.0-py3-none-any.whl", A), version=version)


def test_a_url_with_one_hash_becomes_an_archive() -> None:
    """A direct URL is locked as such, its version read from the file name where it says one."""
    found, _ = from_pins(
        [pin(url="https://host.example/foo-1.0-py3-none-any.whl#x", hashes=(A,)),
         pin(url="https://host.example/main.zip", hashes=(A,))], {}, path="r.txt",
    )  # fmt: skip
    one, two = found.distributions
    assert one.archive is not None
    assert (one.version, one.archive.url) == ("1.0", "https://host.example/foo-1.0-py3-none-any.whl")
    assert two.version is None


@pytest.mark.parametrize(
    "more",
    [
        {"url": "https://host.example/foo.zip"},
        {"url": "file:///foo.zip", "hashes": (A,)},
        {"url": "git+https://host.example/r.git", "hashes": (A,)},
        {"url": "https://host.example/", "hashes": (A,)},
    ],
)
def test_a_url_that_is_not_one_hashed_file_is_refused(more: dict[str, Any]) -> None:
    """Two hashes for one URL, places on this machine and repositories are refused by name."""
    with pytest.raises(DependencyRefused, match="foo"):
        pinned(**more)


def test_places_on_this_machine_are_replaced_by_those_of_an_index() -> None:
    """`pip lock` with a local index writes file URLs: the same bytes are found where everybody can get them."""
    wheel = file("foo-1-py3-none-any.whl", url="file:///srv/foo-1-py3-none-any.whl")
    local = entry("foo", wheel, sdist=file("foo-1.tar.gz"))
    other = lock(local, entry("bar"))
    assert names_on_this_machine(other) == ["foo"]
    offers = {NormalizedName("foo"): (listed("x.whl", B), listed("foo-1-py3-none-any.whl", A, size=3))}
    moved = relocated(other, offers)
    assert names_on_this_machine(moved) == []
    assert moved.distributions[0].wheels[0].url == "https://index.example/foo-1-py3-none-any.whl"
    assert moved.distributions[1] == other.distributions[1]
    with pytest.raises(DependencyRefused, match="only known by a place on this machine"):
        relocated(other, {})
