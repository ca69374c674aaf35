"""Adopting real locks of real tools, against an index on the loopback interface."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envid.app.adopt import adopt
from envid.app.checking import check
from envid.app.diff import diff
from envid.app.locking import lock
from envid.app.workspace import Workspace, open_workspace
from envid.errors import (
    ConflictMarkers,
    EngineFailed,
    EnvidError,
    InvalidLock,
    LockNotFound,
    Offline,
    TargetNotCovered,
    UnhashedArtifact,
)
from envid.lock.install import uv_binary
from envid.lock.pylock import parse
from envid.lock.select import select
from index_server import IndexServer, index_server
from wheels import make_wheel

PROJECT = """\
[project]
name = "demo"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha>=1", "winonly; sys_platform == 'win32'"]
[project.optional-dependencies]
cli = ["gamma"]
[dependency-groups]
dev = ["delta"]
[tool.envid]
targets = ["cp312-manylinux_2_28_x86_64", "cp311-win_amd64"]
[tool.envid.locks.all]
extras = ["cli"]
groups = ["dev"]
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexServer]:
    """A small index: alpha needs beta, and has wheels per platform and a newer version."""
    folder = tmp_path_factory.mktemp("index")
    for tag in ("cp312-cp312-manylinux_2_28_x86_64", "cp311-cp311-win_amd64"):
        make_wheel(folder, "alpha", "1.1", tag=tag, requires=["beta>=2"])
    for name, version in (("beta", "2.0"), ("gamma", "3.0"), ("delta", "4.0"), ("winonly", "5.0")):
        make_wheel(folder, name, version)
    with index_server(folder) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path, index: IndexServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project directory whose index is ours alone."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    # The runner's own settings (find-links, further indexes) are none of the test's.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "config"))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text(PROJECT)
    return tmp_path / "project"


def uv(root: Path, *arguments: str) -> None:
    """Run uv in the project, with nothing but the variables of the test."""
    command = [uv_binary(), *arguments, "--quiet", "--python", sys.executable]
    if arguments[:2] == ("pip", "compile") and "--python-version" not in arguments:
        # The declared targets begin with 3.11, whichever Python runs the tests.
        command += ["--python-version", "3.11"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def workspace(root: Path, *, offline: bool = False) -> Workspace:
    return open_workspace(str(root), offline=offline)


def selected(path: Path) -> dict[str, set[tuple[str, str | None]]]:
    """Return what each declared target takes from a lock."""
    made = parse(path.read_bytes(), path=str(path))
    targets = workspace(path.parents[1]).intent.settings.targets
    return {target.name: {(one.name, one.version) for one in select(made, target).selected} for target in targets}


SAME = {
    "cp312-manylinux_2_28_x86_64": {("alpha", "1.1"), ("beta", "2.0")},
    "cp311-win_amd64": {("alpha", "1.1"), ("beta", "2.0"), ("winonly", "5.0")},
}


def test_every_format_gives_the_lock_that_envid_would_have_written(root: Path, index: IndexServer) -> None:
    """uv.lock, pylock.toml and hashed requirements of one resolution are adopted to the bytes of `envid lock`."""
    uv(root, "lock")
    uv(root, "pip", "compile", "--universal", "--generate-hashes", "pyproject.toml", "-o", "requirements.txt")
    uv(root, "pip", "compile", "--universal", "pyproject.toml", "--format", "pylock.toml", "-o", "pylock.other.toml")
    made = {}
    for file in ("uv.lock", "requirements.txt", "pylock.other.toml"):
        outcome = adopt(workspace(root), str(root / file))
        assert (outcome.exit_code, outcome.findings) == (0, ())
        assert outcome.data["kept"] == 3
        made[file] = (root / "lockfiles" / "pylock.toml").read_bytes()
        assert check(workspace(root)).findings == ()
    assert selected(root / "lockfiles" / "pylock.toml") == SAME
    assert lock(workspace(root)).data["changed"] is False
    # HTML pages and requirements tell no sizes; all else is equal.
    assert len({diffless(data) for data in made.values()}) == 1


def diffless(data: bytes) -> tuple[object, ...]:
    found = parse(data, path="pylock.toml")
    return tuple(
        (one.name, one.version, one.marker, tuple((w.filename, w.sha256, w.url) for w in one.wheels))
        for one in found.distributions
    )


def test_the_extras_and_groups_of_a_named_lock_come_along(root: Path) -> None:
    """A named lock takes exactly its selection out of a uv.lock."""
    uv(root, "lock")
    outcome = adopt(workspace(root), str(root / "uv.lock"), name="all")
    assert outcome.data["lock"] == "lockfiles/pylock.all.toml"
    taken = selected(root / "lockfiles" / "pylock.all.toml")["cp312-manylinux_2_28_x86_64"]
    assert taken == {("alpha", "1.1"), ("beta", "2.0"), ("gamma", "3.0"), ("delta", "4.0")}
    assert diff(workspace(root), "all", "all").answer.startswith("no difference")


def test_a_member_of_a_workspace_adopts_its_part_of_the_common_lock(root: Path) -> None:
    """From the uv.lock of a workspace a member takes what it depends on itself, its siblings by path."""
    for name, needs in (("app", '"beta", "lib"'), ("lib", '"gamma"')):
        (root / name).mkdir()
        sources = "[tool.uv.sources]\nlib = { workspace = true }\n" if name == "app" else ""
        build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n' if name == "lib" else ""
        text = f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{needs}]\n'
        targets = '[tool.envid]\ntargets = ["cp312-manylinux_2_28_x86_64"]\n'
        (root / name / "pyproject.toml").write_text(text + sources + build + targets)
    (root / "pyproject.toml").write_text(PROJECT + '[tool.uv.workspace]\nmembers = ["app", "lib"]\n')
    uv(root, "lock")
    app = root / "app"
    outcome = adopt(workspace(app), str(root / "uv.lock"))
    assert outcome.findings == ()
    made = parse((app / "lockfiles" / "pylock.toml").read_bytes(), path="x")
    assert [one.name for one in made.distributions] == ["beta", "gamma", "lib"]
    assert [one.source.path for one in made.distributions if one.source] == ["../../lib"]
    assert check(workspace(app)).exit_code == 0


def test_a_lock_of_pip_serves_what_it_holds(root: Path, index: IndexServer) -> None:
    """What `pip lock` wrote is kept, what the project asks beyond that is a warning, and --check goes on saying it."""
    command = [
        sys.executable, "-m", "pip", "lock", "gamma", "-o", "pylock.pip.toml", "--quiet", "--isolated", "--index-url",
        index.url, "--disable-pip-version-check",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this pip cannot lock: {done.stderr.strip()[:100]}")
    outcome = adopt(workspace(root), str(root / "pylock.pip.toml"))
    assert outcome.exit_code == 0
    assert {item.code for item in outcome.findings} == {"lock.stale"}
    assert "nothing is locked for alpha" in outcome.findings[0].message
    assert parse((root / "lockfiles" / "pylock.toml").read_bytes(), path="x").inputs is None
    assert {item.code for item in check(workspace(root)).findings} == {"lock.stale"}


def test_places_on_this_machine_are_looked_up(root: Path, index: IndexServer) -> None:
    """A lock made from a local directory gets the URLs of the index, or, in neutral mode, none."""
    uv(root, "pip", "compile", "--universal", "pyproject.toml", "--format", "pylock.toml", "-o", "pylock.x.toml")
    path = root / "pylock.x.toml"
    path.write_text(path.read_text().replace(f"http://{index.host}/files/", "file:///srv/wheels/"))
    adopt(workspace(root), str(path))
    text = (root / "lockfiles" / "pylock.toml").read_text()
    assert "file:" not in text
    assert f"http://{index.host}/files/beta-2.0-py3-none-any.whl" in text
    with pytest.raises(Offline):
        adopt(workspace(root, offline=True), str(path))
    (root / "pyproject.toml").write_text(PROJECT + "[tool.envid.lock]\nneutral = true\n")
    assert adopt(workspace(root, offline=True), str(path)).data["kept"] == 3


def test_a_target_that_the_lock_does_not_serve_is_a_warning(root: Path) -> None:
    """What is adopted for one target of two says so, and --check goes on saying it."""
    only = ["--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.12"]
    uv(root, "pip", "compile", "pyproject.toml", *only, "--format", "pylock.toml", "-o", "pylock.linux.toml")
    outcome = adopt(workspace(root), str(root / "pylock.linux.toml"))
    assert [(item.code, item.subject) for item in outcome.findings] == [("lock.uncovered-target", "cp311-win_amd64")]
    assert outcome.exit_code == 0
    verdict = check(workspace(root))
    assert verdict.exit_code == 1
    assert "cannot serve cp311-win_amd64" in verdict.findings[0].message


def test_versions_that_do_not_answer_the_project_are_warnings(root: Path) -> None:
    """An old lock is taken over as it is, with a warning per violated requirement."""
    uv(root, "lock")
    (root / "pyproject.toml").write_text(PROJECT.replace("alpha>=1", "alpha>=9"))
    outcome = adopt(workspace(root), str(root / "uv.lock"))
    (finding,) = outcome.findings
    assert (finding.code, finding.severity, finding.subject) == ("lock.stale", "warning", "alpha")
    assert check(workspace(root)).exit_code == 1


def test_neutral_locks_are_adopted_neutral(root: Path) -> None:
    """In mirror-neutral mode no URL is taken over, from whichever format."""
    (root / "pyproject.toml").write_text(PROJECT + "[tool.envid.lock]\nneutral = true\n")
    uv(root, "lock")
    adopt(workspace(root), str(root / "uv.lock"))
    text = (root / "lockfiles" / "pylock.toml").read_text()
    assert "http" not in text
    assert "wheelhouse/beta-2.0-py3-none-any.whl" in text


def test_content_digests_are_recorded_where_the_policy_asks_for_them(root: Path) -> None:
    """With `contents = true` the adopted lock knows the contents of what its targets take."""
    (root / "pyproject.toml").write_text(PROJECT + "[tool.envid.lock]\ncontents = true\n")
    uv(root, "lock")
    adopt(workspace(root), str(root / "uv.lock"))
    contents = parse((root / "lockfiles" / "pylock.toml").read_bytes(), path="x").contents
    assert contents is not None
    assert len(contents) == 4


def test_tables_of_other_tools_are_kept(root: Path) -> None:
    """What others wrote into a pylock.toml stays in it."""
    uv(root, "pip", "compile", "--universal", "pyproject.toml", "--format", "pylock.toml", "-o", "pylock.x.toml")
    path = root / "pylock.x.toml"
    path.write_text(path.read_text() + '\n[tool.other]\nkey = "value"\n')
    adopt(workspace(root), str(path))
    assert '[tool.other]\nkey = "value"' in (root / "lockfiles" / "pylock.toml").read_text()


def test_adopting_twice_changes_nothing(root: Path) -> None:
    """The second time the same bytes are written, and that is said."""
    uv(root, "lock")
    adopt(workspace(root), str(root / "uv.lock"))
    before = (root / "lockfiles" / "pylock.toml").stat()
    outcome = adopt(workspace(root), str(root / "uv.lock"))
    assert outcome.notes[-1] == "lockfiles/pylock.toml was this already"
    assert (root / "lockfiles" / "pylock.toml").stat().st_mtime_ns == before.st_mtime_ns


def test_requirements_need_the_index_and_say_so(root: Path) -> None:
    """Without the network a requirements file cannot be adopted; nothing is written."""
    uv(root, "pip", "compile", "--universal", "--generate-hashes", "pyproject.toml", "-o", "requirements.txt")
    with pytest.raises(Offline) as caught:
        adopt(workspace(root, offline=True), str(root / "requirements.txt"))
    assert caught.value.exit_code == 9
    assert not (root / "lockfiles").exists()


def test_a_lock_of_uv_and_a_pylock_are_adopted_offline(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file names everything, no network is needed."""
    uv(root, "lock")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    outcome = adopt(workspace(root, offline=True), str(root / "uv.lock"))
    assert outcome.data["kept"] == 3


PYLOCK = 'lock-version = "1.0"\ncreated-by = "x"\n'
MD5 = '[{ url = "https://host.example/a-1-py3-none-any.whl", hashes = { md5 = "1" } }]'


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("uv.lock", "garbage", EngineFailed),
        ("uv.lock", "version = 1\nrevision = 99999999999999999999\n", EngineFailed),
        ("pylock.toml", "garbage", InvalidLock),
        ("pylock.toml", f"<<<<<<< HEAD\n{PYLOCK}=======\n>>>>>>> x\n", ConflictMarkers),
        ("pylock.toml", f'{PYLOCK}[[packages]]\nname = "a"\nversion = "1"\nwheels = {MD5}\n', UnhashedArtifact),
        ("pylock.toml", f"{PYLOCK}environments = [\"os_name == 'java'\"]\npackages = []\n", TargetNotCovered),
        ("requirements.txt", "alpha==1.1\n", UnhashedArtifact),
        ("requirements.txt", "\x00", InvalidLock),
    ],
)
def test_a_bad_file_is_an_error_and_writes_nothing(root: Path, name: str, text: str, kind: type[EnvidError]) -> None:
    """Whatever is wrong with the file, the lock that was there stays as it was."""
    (root / "lockfiles").mkdir()
    (root / "lockfiles" / "pylock.toml").write_text("precious")
    (root / name).write_text(text)
    with pytest.raises(kind) as caught:
        adopt(workspace(root), str(root / name))
    assert caught.value.exit_code in range(2, 11)
    assert (root / "lockfiles" / "pylock.toml").read_text() == "precious"
    assert sorted(path.name for path in (root / "lockfiles").iterdir()) == ["pylock.toml"]


def test_a_requirements_file_of_urls_needs_no_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every line names its file, nothing is looked up."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    url = "https://host.example/alpha-1.5-py3-none-any.whl"
    (root / "requirements.txt").write_text(f"alpha @ {url} --hash=sha256:{'a' * 64}\n")
    assert adopt(workspace(root, offline=True), str(root / "requirements.txt")).data["kept"] == 1


def test_a_file_that_is_not_there_is_named(root: Path) -> None:
    """A missing file is LockNotFound with its path."""
    with pytest.raises(LockNotFound, match=r"uv\.lock"):
        adopt(workspace(root), str(root / "uv.lock"))


@pytest.mark.online
@pytest.mark.slow
def test_real_libraries_are_adopted_alike_from_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On real projects of the real index the three formats select the same set for every target."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "project"
    root.mkdir()
    asked = '"numpy>=2", "requests>=2", "rich", "httpx", "colorama; sys_platform == \'win32\'"'
    text = PROJECT.replace('"alpha>=1", "winonly; sys_platform == \'win32\'"', asked)
    (root / "pyproject.toml").write_text(text.replace('"gamma"', '"click"').replace('"delta"', '"pytest"'))
    uv(root, "lock")
    uv(root, "pip", "compile", "--universal", "--generate-hashes", "pyproject.toml", "-o", "requirements.txt")
    uv(root, "pip", "compile", "--universal", "pyproject.toml", "--format", "pylock.toml", "-o", "pylock.other.toml")
    found = []
    for file in ("uv.lock", "requirements.txt", "pylock.other.toml"):
        assert adopt(workspace(root), str(root / file)).findings == ()
        found.append((root / "lockfiles" / "pylock.toml").read_bytes())
    assert [diffless(data) for data in found] == [diffless(found[0])] * 3
    assert lock(workspace(root)).data["changed"] is False


def test_a_file_that_is_no_lock_is_refused_with_the_kinds(root: Path) -> None:
    """pyproject.toml and an empty file are no locks, which is said with what can be adopted; nothing is written."""
    (root / "empty.toml").write_bytes(b"")
    for name in ("pyproject.toml", "empty.toml"):
        with pytest.raises(InvalidLock, match="is not a lock of a kind that can be adopted") as caught:
            adopt(workspace(root), str(root / name))
        assert "requirements.txt" in caught.value.hint
    assert not (root / "lockfiles").exists()
