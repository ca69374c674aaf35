"""``sync``: exactly the locked set, all or nothing, whatever fails in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envid.app.sync import sync
from envid.app.verify import verify
from envid.errors import (
    DigestMismatch,
    EnvidError,
    InstallFailed,
    InvalidEnvironment,
    Offline,
    SdistRefused,
    TargetUnfit,
    Unreachable,
)
from envid.installed import journal
from envid.values.digest import JSONValue
from index_server import index_server
from locked import LockedProject, picture


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    """A project without network, whose uv has a cache of its own."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")


def site(project: LockedProject) -> Path:
    return next((project.root / ".venv" / "lib").glob("python*")) / "site-packages"


def names(rows: JSONValue) -> list[str]:
    assert isinstance(rows, list)
    return [str(row["name"]) for row in rows if isinstance(row, dict)]


def errors(project: LockedProject, depth: str = "full") -> list[str]:
    found = verify(project.workspace(offline=True), depth=depth).findings  # type: ignore[arg-type]
    return [f"{f.code} {f.subject}" for f in found if f.severity == "error" and not f.code.startswith("lock.")]


def test_a_missing_environment_is_made_whole(project: LockedProject) -> None:
    """sync makes .venv, installs every locked wheel with scripts and data, and a full verify accepts it."""
    alpha = project.wheel("alpha", entry_points="[console_scripts]\nalpha = alpha:main\n", data={"share/a.txt": b"a"})
    project.lock(alpha, project.wheel("beta", scripts={"beta.sh": b"#!/bin/sh\n"}, headers={"beta.h": b"//"}))
    outcome = sync(project.workspace())
    assert outcome.exit_code == 0
    assert names(outcome.data["installed"]) == ["alpha", "beta"]
    assert outcome.data["environment"] == str(project.root / ".venv")
    assert errors(project) == []
    assert not list(site(project).glob("*/direct_url.json"))
    assert not journal.pending(project.root / ".venv")


def test_nothing_to_do_touches_nothing(project: LockedProject) -> None:
    """A second sync changes no byte, time or inode in the environment, and says that there was nothing to do."""
    project.lock(project.wheel("alpha"), project.wheel("beta"))
    sync(project.workspace())
    venv = project.root / ".venv"

    def seen() -> dict[Path, tuple[int, ...]]:
        found = {path: os.lstat(path) for path in venv.rglob("*")}
        return {path: (s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found.items()}

    before = seen()
    outcome = sync(project.workspace(offline=True))
    assert seen() == before
    assert outcome.data["unchanged"] == 2
    assert "nothing to do" in outcome.notes[-1]


def test_versions_follow_the_lock_and_extras_go_by_name(project: LockedProject) -> None:
    """An upgrade replaces, a distribution that left the lock is removed and named, the rest is untouched."""
    old = project.wheel("alpha", "1.0", files={"alpha/__init__.py": b"old", "alpha/gone.py": b""})
    beta, gamma = project.wheel("beta"), project.wheel("gamma")
    project.lock(old, beta, gamma)
    sync(project.workspace())
    kept = os.stat(site(project) / "gamma" / "__init__.py").st_ino
    project.lock(project.wheel("alpha", "2.0", files={"alpha/__init__.py": b"new"}), gamma)
    outcome = sync(project.workspace())
    assert names(outcome.data["installed"]) == ["alpha"]
    assert outcome.data["removed"] == [{"name": "beta", "version": "1.0"}]
    assert any("beta 1.0" in note for note in outcome.notes)
    assert os.stat(site(project) / "gamma" / "__init__.py").st_ino == kept
    assert not (site(project) / "alpha" / "gone.py").exists()
    assert not (site(project) / "beta").exists()
    assert errors(project) == []


def test_tampering_is_healed_and_nothing_else_is_touched(project: LockedProject) -> None:
    """Edited, deleted and added files are put right; only the distributions concerned are installed again."""
    project.lock(*(project.wheel(name) for name in ("alpha", "beta", "gamma")))
    sync(project.workspace())
    (site(project) / "alpha" / "__init__.py").write_bytes(b"evil")
    (site(project) / "beta" / "__init__.py").unlink()
    (site(project) / "sitecustomize.py").write_bytes(b"evil")
    outcome = sync(project.workspace(offline=True))
    assert names(outcome.data["reinstalled"]) == ["alpha", "beta"]
    assert outcome.data["removed_files"] == [f"{site(project).relative_to(project.root / '.venv')}/sitecustomize.py"]
    assert outcome.data["unchanged"] == 1
    assert errors(project) == []


@pytest.mark.parametrize("mode", ["", "copy", "hardlink"])
def test_a_poisoned_cache_of_the_installer_is_not_believed(project: LockedProject, tmp_path: Path, mode: str) -> None:
    """Altered files in uv's own cache do not reach the environment, even where the caller wants that cache used."""
    project.lock(project.wheel("alpha", files={"alpha/__init__.py": b"right = 1\n"}))
    sync(project.workspace(UV_LINK_MODE="copy"), venv=str(tmp_path / "first"))
    poisoned = list((tmp_path / "uv-cache").rglob("alpha/__init__.py"))
    assert poisoned
    for path in poisoned:
        path.chmod(0o644)
        path.write_bytes(b"evil = 1\n")
    outcome = sync(project.workspace(UV_LINK_MODE=mode), venv=str(tmp_path / "second"))
    assert outcome.exit_code == 0
    installed = next((tmp_path / "second").rglob("alpha/__init__.py"))
    assert installed.read_bytes() == b"right = 1\n"


def test_files_are_not_shared_with_the_installers_cache(project: LockedProject) -> None:
    """No installed file of a wheel is a hard link, so that editing one environment cannot change another."""
    project.lock(project.wheel("alpha"))
    sync(project.workspace())
    assert {os.stat(path).st_nlink for path in (site(project) / "alpha").rglob("*.py")} == {1}


def test_the_link_mode_of_the_caller_is_honoured(project: LockedProject) -> None:
    """UV_LINK_MODE=hardlink makes hard links."""
    project.lock(project.wheel("alpha"))
    sync(project.workspace(UV_LINK_MODE="hardlink"))
    assert os.stat(site(project) / "alpha" / "__init__.py").st_nlink > 1


@pytest.mark.parametrize("state", ["new", "existing"])
@pytest.mark.parametrize("fault", ["missing file", "wrong bytes", "offline", "not a wheel"])
def test_a_failed_fetch_leaves_the_environment_alone(project: LockedProject, state: str, fault: str) -> None:
    """A download that fails, wrong bytes, no network, a broken wheel: the environment is as it was, or not there."""
    alpha = project.wheel("alpha")
    project.lock(alpha)
    if state == "existing":
        sync(project.workspace())
    before = picture(project.root / ".venv")
    beta = project.wheel("beta")
    if fault == "not a wheel":
        beta.write_bytes(b"PK, but no wheel")
    with index_server(project.served) as server:
        server.behaviour.statuses = {"/files/": 404} if fault == "missing file" else {}
        server.behaviour.replaced = {beta.name: b"x" * beta.stat().st_size} if fault == "wrong bytes" else {}
        project.lock(alpha, beta, link=lambda file: f'url = "{server.file_url(file.name)}"')
        with pytest.raises(EnvidError) as raised:
            sync(project.workspace(offline=fault == "offline", UV_FIND_LINKS=""))
    expected = {"missing file": Unreachable, "wrong bytes": DigestMismatch, "offline": Offline}
    assert isinstance(raised.value, expected.get(fault, EnvidError))
    assert raised.value.exit_code in (5, 9)
    assert picture(project.root / ".venv") == before


def test_a_wheel_beside_the_lock_is_used_and_still_held_to_its_hash(project: LockedProject) -> None:
    """A file at the lock's own path is installed offline; the same file with other bytes is DigestMismatch."""
    alpha = project.wheel("alpha")
    project.lock(alpha)
    house = project.root / "lockfiles" / "wheelhouse"
    house.mkdir()
    alpha.rename(house / alpha.name)
    sync(project.workspace(offline=True))
    assert errors(project) == []
    (house / alpha.name).write_bytes(b"other")
    with pytest.raises(DigestMismatch, match="is not the file in the lock"):
        sync(project.workspace(offline=True), venv=str(project.root / "again"))
    assert not (project.root / "again").exists()


def test_a_directory_that_is_no_environment_is_not_touched(project: LockedProject) -> None:
    """A directory with files and no pyvenv.cfg is refused."""
    project.lock(project.wheel("alpha"))
    (project.root / ".venv").mkdir()
    (project.root / ".venv" / "precious").write_bytes(b"1")
    with pytest.raises(InvalidEnvironment):
        sync(project.workspace())
    assert os.listdir(project.root / ".venv") == ["precious"]


@pytest.mark.parametrize("state", ["new", "existing"])
def test_a_foreign_target_is_refused(project: LockedProject, state: str) -> None:
    """A target that this host cannot run is TargetUnfit (exit 8) and nothing is made."""
    project.lock(project.wheel("alpha"))
    if state == "existing":
        sync(project.workspace())
    before = picture(project.root / ".venv")
    running = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    with pytest.raises(TargetUnfit) as raised:
        sync(project.workspace(), target=f"{running}-win_amd64")
    assert raised.value.exit_code == 8
    assert picture(project.root / ".venv") == before


def test_a_source_archive_is_refused_unless_allowed(project: LockedProject) -> None:
    """An sdist that is not allowed by name is SdistRefused, before anything is fetched or built."""
    archive = project.served / "alpha-1.0.tar.gz"
    archive.write_bytes(b"not even an archive")
    project.lock(archive)
    with pytest.raises(SdistRefused, match="alpha"):
        sync(project.workspace())
    assert not (project.root / ".venv").exists()


# --- the installer fails --------------------------------------------------------------------

DRIVER = """
import os, signal, sys
import uv
from pathlib import Path
import envid.lock.install as install
sys.path[:0] = {paths!r}
from locked import LockedProject, picture
from envid.app.sync import sync
from envid.errors import EnvidError
project = LockedProject(root=Path({root!r}), served=Path({served!r}), cache=Path({cache!r}))
venv = project.root / ".venv"
{before}
try:
    sync(project.workspace(offline=True))
except EnvidError as error:
    print(type(error).__name__)
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""

UV = """#!/bin/sh
# uv as it is, but for the fault below.
case "$*" in
  *"pip install"*) {fault} ;;
  *) exec {uv} "$@" ;;
esac
"""


def driven(
    project: LockedProject, before: str = "", *, fault: str | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run sync in a process of its own; ``fault`` is shell that stands in for ``uv pip install``."""
    import uv

    if fault is not None:
        script = project.root / "uv"
        script.write_text(UV.format(fault=fault.replace("UV", uv.find_uv_bin()), uv=uv.find_uv_bin()))
        script.chmod(0o755)
        before = f"uv.find_uv_bin = lambda: {str(script)!r}\n{before}"
    code = DRIVER.format(
        paths=[str(Path(__file__).parents[1])], root=str(project.root), served=str(project.served),
        cache=str(project.cache), before=before,
    )  # fmt: skip
    return subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=False)


def change(project: LockedProject) -> None:
    """Install one set; then lock another that installs, replaces, removes and heals."""
    many = {f"alpha/m{number}.py": b"x = 1\n" for number in range(20)}
    first = project.wheel("alpha", "1.0", files={"alpha/__init__.py": b"1", **many})
    beta, gamma = project.wheel("beta", scripts={"beta.sh": b"#!/bin/sh\n"}), project.wheel("gamma")
    project.lock(first, beta, gamma)
    sync(project.workspace())
    (site(project) / "gamma" / "__init__.py").write_bytes(b"tampered")
    (site(project) / "stray.py").write_bytes(b"stray")
    (site(project) / "alpha" / "stray.py").write_bytes(b"stray")
    second = project.wheel("alpha", "2.0", files={"alpha/__init__.py": b"2", "alpha/new/deep.py": b"2"})
    project.lock(second, gamma, project.wheel("delta", data={"share/doc/d.txt": b"d"}))


FAULTS = {
    "fails at once": "echo broken >&2; exit 2",
    "fails after its work": 'UV "$@"; exit 2',
    "fails half way": 'UV "$@"; find . / -maxdepth 0 >/dev/null; rm -rf VENV/lib/python*/site-packages/delta*; exit 2',
    "succeeds without its work": "exit 0",
    "succeeds with half of its work": 'UV "$@"; rm -rf VENV/lib/python*/site-packages/delta; exit 0',
    "alters what it installs": 'UV "$@"; for f in VENV/lib/python*/site-packages/delta/*.py; do echo evil >> $f; done',
}


@pytest.mark.parametrize(
    ("state", "fault"),
    [*(("existing", fault) for fault in FAULTS), ("new", "fails after its work"), ("new", "alters what it installs")],
)
def test_an_installer_that_fails_leaves_the_environment_as_it_was(
    project: LockedProject, state: str, fault: str
) -> None:
    """However uv fails, or pretends to succeed, every file is as before; a new environment is not there."""
    if state == "existing":
        change(project)
    else:
        project.lock(project.wheel("delta"))
    venv = project.root / ".venv"
    before = picture(venv)
    done = driven(project, fault=FAULTS[fault].replace("VENV", str(venv)))
    assert done.returncode in (5, 8), done.stderr
    assert done.stdout.strip() in ("InstallFailed", "IntegrityError")
    assert picture(venv) == before
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interruption_is_undone(project: LockedProject, number: int, when: str) -> None:
    """Ctrl-C or SIGTERM while uv works: exit 130 and every file as before."""
    change(project)
    before = picture(project.root / ".venv")
    shell = f"kill -{int(number)} $PPID; sleep 30"
    shell = shell if when == "before" else f'UV "$@"; {shell}'
    done = driven(project, fault=shell)
    assert done.returncode == 130, done.stderr
    assert picture(project.root / ".venv") == before


KILL = """
import itertools
steps = itertools.count(1)
def watch(event, arguments):
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "subprocess.Popen", "shutil.rmtree"):
        told = [a for a in arguments if isinstance(a, (str, bytes, os.PathLike))]
        if event == "subprocess.Popen" or any(str(venv) in os.fsdecode(a) for a in told):
            if next(steps) == {step}:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["new", "existing"])
def test_a_killed_sync_is_never_accepted_and_the_next_one_mends_it(project: LockedProject, state: str) -> None:
    """SIGKILL at steps throughout the change: verify refuses what is left, or it is the old or the new whole."""
    if state == "existing":
        change(project)
    else:
        project.lock(project.wheel("delta"), project.wheel("gamma"))
    venv = project.root / ".venv"
    backup = project.root / "backup"
    before = picture(venv)
    if before:
        subprocess.run(["cp", "-a", str(venv), str(backup)], check=True)
    killed = 0
    for step in (1, 2, 4, 7, 12, 20, 30):
        done = driven(project, KILL.format(step=step))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        left = {path: what for path, what in picture(venv).items() if ".envid-sync" not in path}
        if left not in (before, {}):
            found = errors(project)
            if found == []:
                assert not journal.pending(venv)
            else:
                assert journal.pending(venv)
                assert any(error.startswith(("env.incomplete", "env.config", "env.absent")) for error in found)
                journal.roll_back(venv)
                assert picture(venv) == before
        if venv.exists() and step in (7, 20):
            assert sync(project.workspace(offline=True)).exit_code == 0
            assert errors(project) == []
            subprocess.run(["rm", "-rf", str(venv)], check=True)
            if before:
                subprocess.run(["cp", "-a", str(backup), str(venv)], check=True)
    assert killed >= 3
    assert sync(project.workspace(offline=True)).exit_code == 0
    assert errors(project) == []


def can_unshare() -> bool:
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not Path("/usr/bin/unshare").exists() or not can_unshare(), reason="needs a mount namespace")
def test_a_full_disk_leaves_the_environment_as_it_was(project: LockedProject) -> None:
    """On a file system of 6 MiB, an installation of 12 MiB fails and every file is as before."""
    small = project.wheel("alpha", "1.0")
    project.lock(small)
    noise = os.urandom(12 * 1024 * 1024)
    big = project.wheel("alpha", "2.0", files={"alpha/__init__.py": b"2", "alpha/big.bin": noise})
    (project.root / ".venv").mkdir()
    before = f"""
sync(project.workspace(offline=True))
was = picture(venv)
project.lock(Path({str(big)!r}))
import atexit
def compare():
    now = picture(venv)
    print("same" if now == was else sorted(set(now.items()) ^ set(was.items()))[:5])
atexit.register(compare)
"""
    mount = f'mount -t tmpfs -o size=6m tmpfs "{project.root}/.venv" && exec "$@"'
    done = driven(project, before, prefix=("unshare", "-m", "sh", "-c", mount, "sh"))
    assert done.stdout.split() == ["InstallFailed", "same"], done.stdout + done.stderr
    assert done.returncode == 8


def test_an_unwritten_file_limit_is_the_same_as_a_full_disk(project: LockedProject) -> None:
    """A limit on file sizes that stops uv in the middle of a file leaves the environment as it was."""
    project.lock(project.wheel("alpha", "1.0"))
    sync(project.workspace())
    big = project.wheel("alpha", "2.0", files={"alpha/__init__.py": b"2", "alpha/big.bin": os.urandom(3_000_000)})
    project.lock(big)
    before = picture(project.root / ".venv")
    done = driven(project, fault='ulimit -f 1000; exec UV "$@"')
    assert done.returncode == 8, done.stderr
    assert picture(project.root / ".venv") == before


def test_two_syncs_at_once_both_end_well(project: LockedProject) -> None:
    """Two processes that sync the same environment take turns, and the result is whole."""
    project.lock(*(project.wheel(name) for name in ("alpha", "beta", "gamma")))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: driven(project), range(2)))
    assert [done.returncode for done in answers] == [0, 0], [done.stderr for done in answers]
    assert errors(project) == []


def test_a_record_that_points_outside_removes_nothing_outside(project: LockedProject, tmp_path: Path) -> None:
    """A RECORD in the environment that names files outside of it does not get them removed or moved."""
    project.lock(project.wheel("alpha"), project.wheel("beta"))
    sync(project.workspace())
    precious = tmp_path / "precious"
    precious.write_bytes(b"1")
    record = site(project) / "beta-1.0.dist-info" / "RECORD"
    climb = "../" * len(site(project).parts)
    record.write_text(record.read_text() + f"{climb}{precious.relative_to('/')},,\n../../../../../../precious,,\n")
    project.lock(project.served / "alpha-1.0-py3-none-any.whl")
    sync(project.workspace())
    assert precious.read_bytes() == b"1"
    assert not (site(project) / "beta-1.0.dist-info").exists()
    assert errors(project) == []


def test_the_environment_of_another_interpreter_is_made_on_request(
    project: LockedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``target`` with another Python of this machine makes an environment of that Python."""
    import uv

    versions = sorted(Path.home().glob(".pyenv/versions/*/bin"))
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, versions), os.environ["PATH"]]))
    other = "3.12" if sys.version_info[:2] != (3, 12) else "3.13"
    found = subprocess.run(
        [uv.find_uv_bin(), "python", "find", "--offline", "--no-python-downloads", "--no-project", other],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode != 0:
        pytest.skip(f"no Python {other} on this machine")
    project.lock(project.wheel("alpha"))
    host = str(sync(project.workspace()).data["target"]).partition("-")[2]
    outcome = sync(project.workspace(), venv=str(project.root / "other"), target=f"cp{other.replace('.', '')}-{host}")
    assert (project.root / "other" / "lib" / f"python{other}" / "site-packages" / "alpha").is_dir()
    assert outcome.exit_code == 0


def test_an_installer_error_shows_what_uv_said(project: LockedProject) -> None:
    """InstallFailed carries uv's own words and says what state the environment is in."""
    project.lock(project.wheel("alpha"))
    done = driven(project, fault="echo 'no room for alpha' >&2; exit 2")
    assert done.stdout.strip() == "InstallFailed"
    assert "as it was" in (InstallFailed.__doc__ or "")
