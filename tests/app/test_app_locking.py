"""The use case behind `envid lock`, with real uv against a loopback index."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from uv import find_uv_bin

from demo import TARGETS, Demo
from envid.app.checking import check
from envid.app.locking import lock
from envid.app.outcome import Outcome
from envid.errors import ConfigError, CredentialInConfig, EnvidError, ResolutionFailed, SdistRefused, TargetNotCovered
from envid.lock.pylock import parse
from envid.lock.resolver import RawLock, ResolveRequest
from envid.lock.select import select
from envid.values.progress import Progress
from index_server import Behaviour, IndexServer, index_server
from wheels import make_wheel


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    make_wheel(made, "alpha", "1.0", requires=["beta>=1", 'gamma; sys_platform == "win32"'])
    make_wheel(made, "beta", "1.0")
    make_wheel(made, "beta", "2.0")
    make_wheel(made, "gamma", "1.0")
    make_wheel(made, "delta", "1.0")
    make_wheel(made, "epsilon", "1.0")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[IndexServer]:
    with index_server(folder, Behaviour()) as running:
        yield running


@pytest.fixture
def demo(tmp_path: Path, server: IndexServer, shared_cache: Path) -> Demo:
    return Demo(tmp_path / "demo", server.url, {"UV_CACHE_DIR": str(shared_cache), "UV_HTTP_RETRIES": "0"})


def test_lock_serves_every_target(demo: Demo) -> None:
    """Every declared target selects from the lock, gets what its markers ask, and the lock is fresh."""
    done = demo.write().lock()
    assert done.exit_code == 0
    assert done.data["lock"] == "lockfiles/pylock.toml"
    assert (done.data["changed"], done.data["distributions"]) == (True, 3)
    made = parse(demo.path.read_bytes(), path="pylock.toml")
    targets = demo.open().intent.settings.targets
    names = {target.name: [item.name for item in select(made, target).selected] for target in targets}
    assert names == {
        "cp311-win_amd64": ["alpha", "beta", "gamma"],
        "cp312-manylinux_2_28_x86_64": ["alpha", "beta"],
        "cp313-macosx_14_0_arm64": ["alpha", "beta"],
    }
    assert check(demo.open()).exit_code == 0


def test_a_second_run_touches_nothing(demo: Demo) -> None:
    """When nothing changed, the file is not written, and the outcome says so."""
    demo.write().lock()
    before = demo.path.stat()
    done = demo.lock()
    assert (done.data["changed"], done.data["changes"]) == (False, [])
    after = demo.path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_equal_questions_give_equal_bytes(demo: Demo) -> None:
    """Order, spelling and comments of the dependencies do not show in the lock, but for nothing at all."""
    demo.write('["alpha", "Delta>=1.0"]').lock()
    first = demo.path.read_bytes()
    demo.path.unlink()
    demo.write('["delta >=1", "ALPHA"]  # a comment').lock()
    assert demo.path.read_bytes() == first


def test_changes_are_told(demo: Demo) -> None:
    """What was added, removed and changed is in the data and in the answer."""
    demo.write('["alpha", "delta"]', lock='constraints = ["beta<2"]').lock()
    done = demo.write('["alpha", "epsilon"]').lock(upgrade=True)
    assert done.data["changes"] == [
        {"name": "beta", "class": "version", "old": "1.0", "new": "2.0"},
        {"name": "delta", "class": "removed", "old": "1.0", "new": None},
        {"name": "epsilon", "class": "added", "old": None, "new": "1.0"},
    ]
    assert done.data["inputs"] == ["constraints", "requirements"]
    assert "inputs: constraints, requirements" in done.answer
    assert "~ beta 1.0 -> 2.0" in done.answer


def test_upgrade_package_moves_that_one_alone(demo: Demo, folder: Path) -> None:
    """With --upgrade-package everything else stays put; without it everything does."""
    demo.write('["alpha", "delta"]', lock='constraints = ["beta<2"]').lock()
    make_wheel(folder, "delta", "2.0")
    assert demo.write('["alpha", "delta"]').lock().data["changes"] == []
    moved = demo.lock(upgrade_packages=("Delta",)).data["changes"]
    assert moved == [{"name": "delta", "class": "version", "old": "1.0", "new": "2.0"}]
    with pytest.raises(ConfigError, match="delt"):
        demo.lock(upgrade_packages=("delt",))


def test_extras_groups_and_named_locks(demo: Demo) -> None:
    """A named lock is a file of its own with its extras and groups, includes and self-references expanded."""
    rest = textwrap.dedent("""
        [tool.envid.locks.dev]
        extras = ["all"]
        groups = ["dev"]
        [dependency-groups]
        dev = [{ include-group = "more" }]
        more = ["epsilon"]
        [project.optional-dependencies]
        all = ["demo[one]"]
        one = ["delta"]
    """)
    demo.write('["beta"]', rest=rest)
    assert demo.lock().data["distributions"] == 1
    done = demo.lock(name="dev")
    assert done.data["lock"] == "lockfiles/pylock.dev.toml"
    named = parse((demo.root / "lockfiles/pylock.dev.toml").read_bytes(), path="x")
    assert [entry.name for entry in named.distributions] == ["beta", "delta", "epsilon"]
    assert check(demo.open()).exit_code == 0


def test_neutral_locks_name_no_place(demo: Demo) -> None:
    """A mirror-neutral lock holds no URL at all and selects like any other."""
    demo.write(lock="neutral = true").lock()
    data = demo.path.read_bytes()
    assert b"://" not in data
    made = parse(data, path="pylock.toml")
    assert select(made, demo.open().intent.settings.targets[0]).selected
    assert demo.lock().data["changed"] is False


def test_contents_are_recorded_when_asked(demo: Demo) -> None:
    """With ``contents = true`` every wheel that a target takes has a content digest, and the next run changes none."""
    demo.write(lock="contents = true").lock()
    made = parse(demo.path.read_bytes(), path="pylock.toml")
    wanted = {wheel.sha256 for entry in made.distributions for wheel in entry.wheels}
    assert made.contents is not None
    assert made.contents.keys() == wanted
    assert demo.lock().data["changed"] is False


def test_no_credential_reaches_the_lock(demo: Demo, server: IndexServer) -> None:
    """Credentials of the environment, and those an index puts in its links, are not in the file."""
    server.behaviour.auth = ("someone", "s3cret-password")
    server.behaviour.link_userinfo = "someone:s3cret-password"
    server.behaviour.link_query = "token=t0ken"
    demo.variables |= {"UV_INDEX_PRIVATE_USERNAME": "someone", "UV_INDEX_PRIVATE_PASSWORD": "s3cret-password"}
    demo.url = f"private={demo.url}"
    done = demo.write().lock()
    for text in (demo.path.read_text(), done.answer, repr(done.data), repr(done.notes)):
        assert "s3cret" not in text
        assert "t0ken" not in text


def test_a_credential_in_the_configuration_is_refused(demo: Demo) -> None:
    """A password in an index URL of pyproject.toml is refused, and not repeated."""
    demo.url = demo.url.replace("http://", "http://someone:s3cret@")
    with pytest.raises(CredentialInConfig) as caught:
        demo.write().lock()
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "variables",
    [
        {"UV_FIND_LINKS": "../served", "UV_NO_INDEX": "1"},
        {"UV_DEFAULT_INDEX": "../simple"},
        {"UV_INDEX": "corp=../simple", "UV_DEFAULT_INDEX": "../empty"},
    ],
)
def test_relative_places_start_from_the_project(demo: Demo, folder: Path, variables: dict[str, str]) -> None:
    """A relative path in uv's index variables is found, although uv runs elsewhere, and stays out of the lock."""
    (folder.parent / "empty").mkdir()
    for file in folder.iterdir():
        page = folder.parent / "simple" / file.name.split("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as stream:
            stream.write(f'<a href="{file.as_uri()}">{file.name}</a>\n')
    demo.variables |= variables
    path = demo.write().root / "pyproject.toml"
    path.write_text(path.read_text().replace(f'indexes = ["{demo.url}"]', ""))
    demo.lock()
    assert b"file:" not in demo.path.read_bytes()
    made = parse(demo.path.read_bytes(), path="x")
    assert {entry.name for entry in made.distributions} == {"alpha", "beta", "gamma"}


def test_exclude_newer_is_a_policy(demo: Demo, server: IndexServer) -> None:
    """The duration is recorded, never a date."""
    server.behaviour.upload_times = dict.fromkeys(
        ["beta-1.0-py3-none-any.whl", "delta-1.0-py3-none-any.whl"], "2020-01-01T00:00:00Z"
    ) | {"beta-2.0-py3-none-any.whl": "2999-01-01T00:00:00Z"}
    demo.write('["beta"]', lock='exclude-newer = "7 days"').lock()
    text = demo.path.read_text()
    assert 'version = "1.0"' in text
    assert 'exclude-newer = "7 days"' in text
    assert "2020" not in text
    assert "T00:" not in text


def test_a_failure_leaves_the_lock(demo: Demo) -> None:
    """After a resolution that fails the old lock is there, byte for byte, and nothing else."""
    demo.write().lock()
    before = demo.path.read_bytes()
    with pytest.raises(ResolutionFailed):
        demo.write('["alpha", "beta<1"]').lock()
    assert demo.path.read_bytes() == before
    assert os.listdir(demo.path.parent) == ["pylock.toml"]


class Interrupted:
    """An engine that is stopped by Ctrl-C."""

    name = "interrupted"

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:  # noqa: ARG002
        raise KeyboardInterrupt


def test_an_interrupt_leaves_the_lock(demo: Demo) -> None:
    """Ctrl-C during a resolution goes through, and the old lock stays."""
    demo.write().lock()
    before = demo.path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        demo.lock(engine=Interrupted())
    assert demo.path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_uv_and_leaves_nothing(demo: Demo, server: IndexServer, tmp_path: Path) -> None:
    """A real interrupt while uv downloads ends both, and leaves neither a changed lock nor a temporary project."""
    demo.write().lock()
    before = demo.path.read_bytes()
    server.behaviour.hashes = False
    server.behaviour.gate = threading.Event()
    server.requests.clear()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    demo.write('["alpha", "delta", "epsilon"]')
    variables = {**os.environ, **demo.variables, "TMPDIR": str(temporary), "UV_CACHE_DIR": str(tmp_path / "cold")}
    argv = [sys.executable, "-c", SCRIPT, str(demo.root), str(tmp_path / "cache")]
    child = subprocess.Popen(argv, env=variables, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not server.paths("/files/") and time.monotonic() < deadline:
        server.behaviour.gate.wait(0.02)
    assert os.listdir(temporary)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) != 0
    server.behaviour.gate.set()
    assert os.listdir(temporary) == []
    assert demo.path.read_bytes() == before
    assert os.listdir(demo.path.parent) == ["pylock.toml"]


@pytest.mark.parametrize(
    "damage",
    [
        b'<<<<<<< ours\nlock-version = "1.0"\n=======\n>>>>>>> theirs\n',
        b"\xff\xfe",
        b"lock-version = [[[[",
        b"",
        (
            b'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1"\n'
            b'wheels = [{ path = "../../etc/passwd", hashes = { sha256 = "00" } }]\n'
        ),
    ],
)
def test_a_damaged_lock_is_replaced_and_told(demo: Demo, damage: bytes) -> None:
    """A lock that cannot be read has no say in the resolution, is replaced, and a note says what that loses."""
    demo.write().lock()
    good = demo.path.read_bytes()
    demo.path.write_bytes(damage)
    done = demo.lock()
    assert demo.path.read_bytes() == good
    assert any("not kept" in note for note in done.notes)


def test_tables_of_others_are_kept(demo: Demo) -> None:
    """What another tool wrote into the lock is there after the next resolution."""
    demo.write().lock()
    text = demo.path.read_text() + "\n[tool.other]\nanswer = 42\n"
    demo.path.write_text(text)
    demo.write('["alpha", "delta"]').lock()
    assert "[tool.other]\nanswer = 42\n" in demo.path.read_text()


def test_targets_narrower_than_requires_python(demo: Demo) -> None:
    """The lock asks for the Python of its oldest target, not for that of a wider project."""
    demo.write().lock()
    assert 'requires-python = ">=3.11"' in demo.path.read_text()


def test_a_target_outside_requires_python_is_refused(demo: Demo) -> None:
    """A target that the project itself excludes is a configuration error that names both."""
    text = demo.write().root / "pyproject.toml"
    text.write_text(text.read_text().replace(">=3.9", ">=3.12"))
    with pytest.raises(ConfigError, match=r"cp311-win_amd64.*>=3\.12"):
        demo.lock()


def test_without_targets_the_lock_is_for_everything(demo: Demo) -> None:
    """A project without targets gets a universal lock for the Pythons it names, without environments guard."""
    demo.write()
    path = demo.root / "pyproject.toml"
    path.write_text(path.read_text().replace(f"targets = {TARGETS}", ""))
    done = demo.lock()
    made = parse(demo.path.read_bytes(), path="x")
    assert made.environments == ()
    assert made.requires_python == ">=3.9"
    assert "every platform" in done.answer


def test_workspace_members_are_found(demo: Demo) -> None:
    """A source with ``workspace = true`` is the member of that name, editable, relative to the lock."""
    sources = '[tool.uv.workspace]\nmembers = ["packages/*"]\n[tool.uv.sources]\nmember = { workspace = true }\n'
    demo.write('["member"]', rest=sources)
    member = demo.root / "packages" / "one"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text('[project]\nname = "Member"\nversion = "1"\ndependencies = ["delta"]\n')
    demo.lock()
    text = demo.path.read_text()
    assert 'path = "../packages/one", editable = true' in text or 'editable = true, path = "../packages/one"' in text
    assert 'name = "delta"' in text
    demo.write('["member"]', rest=sources.replace("member =", "nobody ="))
    with pytest.raises(ConfigError, match="nobody"):
        demo.lock()


def _locked_in_another_process(root: str, variables: dict[str, str], url: str) -> object:
    return Demo(Path(root), url, variables).lock().data["changed"]


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_two_processes_do_not_interleave(demo: Demo) -> None:
    """Of processes that lock at once, the first one writes and the others find nothing to do."""
    demo.write()
    arguments = (str(demo.root), demo.variables, demo.url)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        changed = pool.starmap(_locked_in_another_process, [arguments] * 2)
    assert sorted(map(str, changed)) == ["False", "True"]
    assert check(demo.open()).exit_code == 0


SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from envid.app.locking import lock
from envid.app.workspace import open_workspace
lock(replace(open_workspace(sys.argv[1]), cache=Path(sys.argv[2])))
"""


def test_nothing_of_the_host_shows(demo: Demo, tmp_path: Path) -> None:
    """Another directory, home, locale, time zone, hash seed and optimisation level give the same bytes."""
    demo.write('["alpha", "delta"]')
    elsewhere = tmp_path / "elsewhere" / "deeper"
    elsewhere.mkdir(parents=True)
    pyproject = (demo.root / "pyproject.toml").read_bytes()
    answers = set()
    for number, changed in enumerate(
        (
            {},
            {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(elsewhere), "USER": "other"},
            {"LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "99", "PYTHONOPTIMIZE": "2", "UV_RESOLUTION": "lowest"},
        )
    ):
        root = elsewhere / f"copy {number}"
        root.mkdir()
        (root / "pyproject.toml").write_bytes(pyproject)
        variables = {**os.environ, **demo.variables, **changed}
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(root), str(tmp_path / f"cache-{number}")],
            cwd=tmp_path if number else root, env=variables, check=True,
        )  # fmt: skip
        answers.add((root / "lockfiles" / "pylock.toml").read_bytes())
    assert len(answers) == 1


def other_pythons() -> list[str]:
    """Return the real CPython interpreters on this machine that envid supports, each minor release once."""
    done = subprocess.run(
        [find_uv_bin(), "python", "list", "--only-installed", "--output-format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, str] = {}
    for item in json.loads(done.stdout or "[]"):
        version = ".".join(item["version"].split(".")[:2])
        if item["implementation"] == "cpython" and version in ("3.11", "3.12", "3.13"):
            found.setdefault(version, item["path"])
    return [found[version] for version in sorted(found)]


@pytest.mark.online
@pytest.mark.slow
def test_the_python_that_runs_envid_does_not_show(demo: Demo, tmp_path: Path) -> None:
    """Every real interpreter on the machine, running envid, writes the same bytes."""
    demo.write('["alpha"]').lock()
    expected = demo.path.read_bytes()
    needs = [f"--with={name}=={version(name)}" for name in ("blake3", "packaging", "platformdirs", "uv")]
    pythons = other_pythons()
    assert pythons
    for number, python in enumerate(pythons):
        root = tmp_path / f"python-{number}"
        root.mkdir()
        (root / "pyproject.toml").write_bytes((demo.root / "pyproject.toml").read_bytes())
        argv = [find_uv_bin(), "run", "--no-project", "--no-config", "--quiet", "--python", python, *needs]
        variables = {**os.environ, "PYTHONPATH": str(Path(lock.__code__.co_filename).parents[2])}
        script = f"import os\nos.environ.update({demo.variables!r})\n{SCRIPT}"
        done = subprocess.run(
            [*argv, "python", "-c", script, str(root), str(tmp_path / f"cache-{number}")],
            env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (root / "lockfiles" / "pylock.toml").read_bytes() == expected


@pytest.mark.online
def test_real_projects_lock_for_real_targets(demo: Demo) -> None:
    """Real libraries lock for Linux, macOS and Windows, old glibc and long targets included; odfpy only by name."""
    targets = """["cp311-manylinux_2_28_x86_64", "cp312-musllinux_1_2_aarch64", "cp313-win_amd64",
        "cp312-manylinux_2_17_x86_64", { python = "3.12.4", platform = "macosx_13_0_arm64" }]"""

    def given(dependencies: str, more: str = "") -> Outcome:
        demo.write(dependencies)
        path = demo.root / "pyproject.toml"
        text = path.read_text().replace(TARGETS, targets).replace(f'indexes = ["{demo.url}"]', more)
        path.write_text(text)
        return demo.lock()

    done = given('["numpy", "requests", "sympy"]')
    made = parse(demo.path.read_bytes(), path="pylock.toml")
    for target in demo.open().intent.settings.targets:
        names = {item.name for item in select(made, target).selected}
        assert {"numpy", "requests", "sympy", "mpmath"} <= names
    assert any("cp312-manylinux_2_17_x86_64" in note for note in done.notes)
    with pytest.raises(SdistRefused, match="odfpy"):
        given('["odfpy"]')
    given('["odfpy"]', 'allow-sdist = ["ODFpy"]')
    assert re.search(r"odfpy-[0-9.]+\.tar\.gz", demo.path.read_text())
    assert check(demo.open()).exit_code == 0


def test_every_failure_is_an_error_of_envid(demo: Demo) -> None:
    """Bad requirements, groups and sources are errors with slug, exit code and hint; nothing is written."""
    for dependencies, rest in (
        ('["not a requirement !!"]', ""),
        ('["alpha"]', '[tool.uv.sources]\nalpha = { path = "gone" }'),
        ('["alpha @ file:///gone/alpha-1.0-py3-none-any.whl"]', ""),
        ('["alpha"]', '[tool.uv.sources]\nalpha = { index = "nowhere" }'),
        ('["alpha"]', "[tool.uv.sources]\nalpha = 3"),
    ):
        with pytest.raises(EnvidError) as caught:
            demo.write(dependencies, rest=rest).lock()
        assert caught.value.exit_code in (3, 4)
        assert caught.value.hint
        assert not demo.path.exists()


def test_piptools_refuses_foreign_targets(demo: Demo) -> None:
    """With pip-tools a target that is not the running interpreter is refused, with the way out."""
    with pytest.raises(TargetNotCovered) as caught:
        demo.write(lock='resolver = "pip-tools"').lock()
    assert "uv" in caught.value.hint
