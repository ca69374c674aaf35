"""What was promised of bytes: by the lock before, and by a digest in a requirement. Real uv, loopback index."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import Demo
from envid.app.checking import check
from envid.app.locking import lock_all
from envid.errors import ConfigError, DependencyRefused, DigestMismatch, EnvidError, Rehashed
from index_server import IndexServer, index_server
from wheels import make_wheel, sha256_of

ALPHA = "alpha-1.0-py3-none-any.whl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    make_wheel(made, "alpha", "1.0")
    make_wheel(made, "beta", "1.0")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[IndexServer]:
    with index_server(folder) as running:
        yield running


@pytest.fixture
def demo(tmp_path: Path, server: IndexServer) -> Demo:
    return Demo(tmp_path / "demo", server.url, {"UV_CACHE_DIR": str(tmp_path / "uv"), "UV_HTTP_RETRIES": "0"})


def republish(folder: Path) -> tuple[str, str]:
    """Replace alpha's wheel by another one of the same name; return both digests."""
    old = sha256_of(folder / ALPHA)
    make_wheel(folder, "alpha", "1.0", files={"alpha/__init__.py": b"x = 'not what it was'\n"})
    return old, sha256_of(folder / ALPHA)


@pytest.mark.parametrize("neutral", [False, True])
def test_a_republished_file_is_refused(demo: Demo, folder: Path, neutral: bool) -> None:
    """A file that comes back with other bytes is refused with both digests, and nothing is written."""
    demo.write('["alpha", "beta"]', lock="neutral = true" if neutral else "").lock()
    before = demo.path.read_bytes()
    old, new = republish(folder)
    for options in ({}, {"upgrade_packages": ("beta",)}):
        with pytest.raises(Rehashed) as caught:
            demo.lock(**options)
        assert caught.value.exit_code == 5
        for part in ("alpha", ALPHA, old, new):
            assert part in caught.value.message
        assert "envid lock --upgrade-package alpha" in caught.value.hint
        assert demo.path.read_bytes() == before


@pytest.mark.parametrize("options", [{"upgrade": True}, {"upgrade_packages": ("Alpha",)}])
def test_a_republished_file_is_accepted_on_demand(demo: Demo, folder: Path, options: dict[str, object]) -> None:
    """Asked to upgrade, lock takes the other bytes and warns of each file with both digests."""
    demo.write('["alpha", "beta"]').lock()
    old, new = republish(folder)
    done = demo.lock(**options)
    (warning,) = done.findings
    assert (warning.code, warning.severity, warning.expected, warning.actual) == ("diff.rehashed", "warning", old, new)
    assert done.exit_code == 0
    assert [item["class"] for item in done.data["changes"]] == ["rehashed"]  # type: ignore[union-attr,call-overload,index]
    assert new in demo.path.read_text()
    assert demo.lock().findings == ()


@pytest.mark.parametrize("options", [{"upgrade": True}, {"upgrade_packages": ("alpha",)}])
def test_a_page_that_may_be_kept_hides_nothing_of_what_is_upgraded(
    demo: Demo, folder: Path, server: IndexServer, options: dict[str, object]
) -> None:
    """Where the index lets its pages be kept for an hour, an upgrade sees what was published meanwhile."""
    server.behaviour.max_age = 3600
    demo.write('["alpha", "beta"]').lock()
    old, new = republish(folder)
    assert [finding.expected for finding in demo.lock(upgrade_packages=("beta",)).findings] == []
    (warning,) = demo.lock(**options).findings
    assert (warning.code, warning.expected, warning.actual) == ("diff.rehashed", old, new)


def test_a_digest_edited_by_hand_is_refused(demo: Demo) -> None:
    """A wrong digest in the lock is not silently mended: what is offered is not what was locked."""
    demo.write('["alpha"]').lock()
    text = demo.path.read_text()
    digest = text.partition('sha256 = "')[2][:64]
    demo.path.write_text(text.replace(digest, "0" * 64))
    with pytest.raises(Rehashed, match="edited after envid wrote it"):
        demo.lock()


def test_a_named_lock_names_its_command(demo: Demo, folder: Path) -> None:
    """The way to accept is told for the lock that it is about."""
    demo.write('["alpha"]', rest="[tool.envid.locks.dev]").lock(name="dev")
    republish(folder)
    with pytest.raises(Rehashed) as caught:
        demo.lock(name="dev")
    assert "envid lock --name dev --upgrade-package alpha" in caught.value.hint


def test_a_wheel_of_the_project_may_change(demo: Demo, folder: Path) -> None:
    """A wheel by path is the project's own: rebuilt, it is locked with its new digest, and told."""
    demo.write('["alpha"]', rest=f'[tool.uv.sources]\nalpha = {{ path = "../served/{ALPHA}" }}').lock()
    republish(folder)
    done = demo.lock()
    assert [item["class"] for item in done.data["changes"]] == ["rehashed"]  # type: ignore[union-attr,call-overload,index]
    assert done.findings == ()


@pytest.mark.parametrize("how", ["requirement", "source", "override"])
def test_a_digest_in_a_url_is_held(demo: Demo, folder: Path, server: IndexServer, how: str) -> None:
    """The sha256 fragment of a direct URL is kept when it is right and refused when it is wrong."""
    right = sha256_of(folder / ALPHA)

    def asked(digest: str) -> Demo:
        url = f"{server.file_url(ALPHA)}#sha256={digest}"
        if how == "source":
            return demo.write('["alpha"]', rest=f'[tool.uv.sources]\nalpha = {{ url = "{url}" }}')
        if how == "override":
            return demo.write('["alpha"]', lock=f'overrides = ["alpha @ {url}"]')
        return demo.write(f'["alpha @ {url}"]')

    with pytest.raises(DigestMismatch, match=ALPHA) as caught:
        asked("0" * 64).lock()
    assert caught.value.exit_code == 5
    assert not demo.path.exists()
    asked(right.upper()).lock()
    assert right in demo.path.read_text()
    assert check(demo.open()).exit_code == 0
    assert check(asked("0" * 64).open()).exit_code == 1


def test_a_new_digest_in_the_url_vouches_for_new_bytes(demo: Demo, folder: Path, server: IndexServer) -> None:
    """Who writes the digest of the new file into the requirement has accepted it."""
    url = f"alpha @ {server.file_url(ALPHA)}"
    demo.write(f'["{url}#sha256={sha256_of(folder / ALPHA)}"]').lock()
    _, new = republish(folder)
    with pytest.raises(DigestMismatch):
        demo.lock(upgrade=True)
    demo.write(f'["{url}#sha256={new}"]').lock()
    assert new in demo.path.read_text()


def test_a_digest_that_cannot_be_held_is_refused(demo: Demo, folder: Path, server: IndexServer) -> None:
    """A digest of another algorithm is refused by name instead of being ignored."""
    digest = hashlib.sha512((folder / ALPHA).read_bytes()).hexdigest()
    with pytest.raises(DependencyRefused, match="sha512"):
        demo.write(f'["alpha @ {server.file_url(ALPHA)}#sha512={digest}"]').lock()


def test_a_moved_commit_is_told(demo: Demo, tmp_path: Path) -> None:
    """A git dependency that moved without its version is told by its commits, and a policy by its name."""
    repository = tmp_path / "gitdep"
    repository.mkdir()
    (repository / "pyproject.toml").write_text('[project]\nname = "gitdep"\nversion = "1.0"\ndependencies = []\n')
    commits = [commit(repository, message) for message in ("one", "two")]
    asked = f'["gitdep @ git+{repository.as_uri()}@%s"]'
    demo.write(asked % commits[0]).lock()
    done = demo.write(asked % commits[1], lock="contents = true").lock()
    assert f"~ gitdep 1.0 commit {commits[0][:7]} -> {commits[1][:7]}" in done.answer
    assert "inputs: contents, requirements" in done.answer
    assert [(item["name"], item["class"]) for item in done.data["changes"]] == [("gitdep", "source")]  # type: ignore[union-attr,call-overload,index]


def test_files_added_and_markers_are_told(demo: Demo, folder: Path) -> None:
    """More files of one version, and a marker that changed, are lines of their own."""
    tags = [f"cp312-cp312-{place}" for place in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64")]
    targets = '"cp312-manylinux_2_28_x86_64", "cp311-win_amd64"'
    for tag in (tags[0], "cp311-cp311-win_amd64"):
        make_wheel(folder, "native", "2.0", tag=tag)
    demo.write('["native", "beta; sys_platform == \'win32\'"]')
    path = demo.root / "pyproject.toml"
    path.write_text(path.read_text().replace(', "cp313-macosx_14_0_arm64"', ""))
    assert targets in path.read_text()
    demo.lock()
    make_wheel(folder, "native", "2.0", tag=tags[1])
    path.write_text(path.read_text().replace("; sys_platform == 'win32'", ""))
    done = demo.lock()
    assert "~ native 2.0: 1 file added" in done.answer
    assert "~ beta 1.0: marker" in done.answer


def commit(repository: Path, message: str) -> str:
    """Commit everything in ``repository`` and return the commit id."""
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", message]):
        subprocess.run([*git, *arguments], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_file_in_a_folder_and_in_an_index_is_one_file(demo: Demo, folder: Path, tmp_path: Path) -> None:
    """What a local folder and the index both offer is locked once, from the index; other bytes are refused."""
    house = tmp_path / "house"
    house.mkdir()
    demo.variables["UV_FIND_LINKS"] = "../house"
    (house / ALPHA).write_bytes((folder / ALPHA).read_bytes())
    demo.write('["alpha", "beta"]').lock()
    assert "/files/alpha-1.0" in demo.path.read_text()
    assert "wheelhouse" not in demo.path.read_text()
    before = demo.path.read_bytes()
    republish(house)
    with pytest.raises(Rehashed, match="in another"):
        demo.lock(upgrade=True)
    assert demo.path.read_bytes() == before


def test_no_index_is_asked_when_none_is_wanted(demo: Demo, server: IndexServer, tmp_path: Path) -> None:
    """With UV_NO_INDEX only local folders serve, although uv itself knows no such variable."""
    house = tmp_path / "house"
    house.mkdir()
    make_wheel(house, "alpha", "1.0")
    demo.variables |= {"UV_FIND_LINKS": "../house", "UV_NO_INDEX": "1"}
    demo.write('["alpha"]').lock()
    assert server.requests == []
    assert 'path = "wheelhouse/alpha-1.0' in demo.path.read_text()


def test_every_declared_lock_is_locked(demo: Demo) -> None:
    """lock_all makes each declared lock; a name to upgrade has to be in one of them."""
    rest = '[tool.envid.locks.dev]\ngroups = ["dev"]\n[dependency-groups]\ndev = ["beta"]'
    demo.write('["alpha"]', rest=rest)
    done = lock_all(demo.open())
    assert str(done.data["locks"]).startswith("{'default': {'lock':")
    assert "'dev': {" in str(done.data["locks"])
    assert check(demo.open()).answer.count("fresh") == 2
    assert "unchanged" in lock_all(demo.open(), upgrade_packages=("beta",)).answer
    with pytest.raises(ConfigError, match="bet:"):
        lock_all(demo.open(), upgrade_packages=("bet",))
    demo.write('["alpha"]', rest=rest.replace("beta", "nothing-here"))
    with pytest.raises(EnvidError, match="the lock dev: "):
        lock_all(demo.open())
