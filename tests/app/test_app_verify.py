"""``envid verify``: what it says, what it never says, and that it does so offline."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envid.app.outcome import Outcome
from envid.app.sync import sync
from envid.app.verify import SYNC_MARKER, verify
from envid.errors import InvalidTarget
from envid.installed import statindex, witness
from envid.installed.check import Depth, layout_of, sites
from envid.installed.interpreter import environment_of
from envid.installed.walk import walk
from envid.store.contents import load, slot_of
from envid.store.place import open_place
from envid.values.artifact import Sha256
from locked import LockedProject
from wheels import make_wheel, sha256_of, urlsafe, wheel_files

ENTRY = "[console_scripts]\nalpha = alpha:main\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    """A project with two locked wheels, installed by envid into .venv."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setattr(statindex, "RACY_NS", 0)
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    alpha = made.wheel(
        "alpha", files={"alpha/__init__.py": b"def main(): ...\n", "alpha/data.txt": b"x" * 100}, entry_points=ENTRY,
        scripts={"alpha-tool": b"#!python\nprint(1)\n"}, data={"share/alpha/doc.txt": b"doc"},
    )  # fmt: skip
    made.lock(alpha, made.wheel("beta", requires=["alpha"]))
    sync(made.workspace(offline=False))
    return made


def site(project: LockedProject) -> Path:
    return next((project.root / ".venv" / "lib").glob("python3*")) / "site-packages"


def said(outcome: Outcome) -> list[tuple[str, str]]:
    """Return severity and code of what is said about the environment (the lock is written by hand)."""
    return [(one.severity, one.code) for one in outcome.findings if not one.code.startswith("lock.")]


def errors(outcome: Outcome) -> set[str]:
    return {code for severity, code in said(outcome) if severity == "error"}


def test_a_fresh_install_is_verified(project: LockedProject) -> None:
    """Nothing is found at any depth; data counts distributions and files."""
    depths: tuple[Depth, ...] = ("full", "default", "default", "quick")
    for depth in depths:
        outcome = verify(project.workspace(offline=True), depth=depth)
        assert said(outcome) == []
        assert (outcome.data["verified"], outcome.data["unverified"]) == (2, 0)
        assert outcome.data["depth"] == depth
        assert outcome.data["environment"] == str(project.root / ".venv")
    checked = verify(project.workspace(), depth="full").data["checked"]
    assert isinstance(checked, dict)
    assert checked["distributions"] == 2
    assert checked["files"] > 10


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda env: (env / "share/alpha/doc.txt").write_text("other"), "env.tampered"),
        (lambda env: (env / "bin/alpha-tool").write_text("#!/bin/sh\n"), "env.tampered"),
        (lambda env: (env / "bin/alpha").write_text("#!/bin/sh\n"), "env.tampered"),
        (lambda env: (env / SYNC_MARKER).write_text("{}"), "env.incomplete"),
        (lambda env: shutil.rmtree(next(env.rglob("beta-1.0.dist-info"))), "env.missing"),
    ],
)
def test_what_is_wrong_is_found(project: LockedProject, how: Callable[[Path], object], code: str) -> None:
    """Edits outside site-packages, an interrupted sync and a missing distribution are found after a pass."""
    verify(project.workspace())
    how(project.root / ".venv")
    outcome = verify(project.workspace())
    assert code in errors(outcome)
    assert outcome.exit_code == 1


def test_no_environment_is_information_unless_it_was_named(tmp_path: Path) -> None:
    """A missing .venv leaves the locks checked; a missing --venv is an error."""
    (tmp_path / "served").mkdir()
    (tmp_path / "project").mkdir()
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.lock(made.wheel("alpha"))
    assert said(verify(made.workspace())) == [("info", "env.absent")]
    assert said(verify(made.workspace(), venv=str(tmp_path / "gone"))) == [("error", "env.absent")]
    (tmp_path / "project" / ".venv").mkdir()
    assert said(verify(made.workspace())) == [("error", "env.absent")]


def test_unknown_contents_are_never_ok(project: LockedProject) -> None:
    """Without the store and the wheels, every depth says env.unverified and exits 1, however right RECORD looks."""
    shutil.rmtree(project.cache)
    shutil.rmtree(project.served)
    depths: tuple[Depth, ...] = ("quick", "default", "full")
    for depth in depths:
        outcome = verify(project.workspace(offline=True), depth=depth)
        assert errors(outcome) == {"env.unverified"}
        assert (outcome.data["verified"], outcome.data["unverified"]) == (0, 2)
        assert outcome.exit_code == 1
        assert outcome.memory is None
    (site(project) / "alpha" / "data.txt").write_text("y" * 100)
    assert errors(verify(project.workspace())) == {"env.unverified", "env.tampered"}


@pytest.mark.parametrize("path", ["alpha/evil.py", "sitecustomize.py"])
def test_an_unproven_record_vouches_for_nothing_of_others(project: LockedProject, path: str) -> None:
    """A distribution of unknown contents cannot claim files in a proven package, or what runs at every start."""
    wheel = project.served / "beta-1.0-py3-none-any.whl"
    digest = sha256_of(wheel)
    shutil.rmtree(project.cache / "wheels-v1" / digest[:2])
    Path(open_place(project.cache).entry_path(slot_of(Sha256(digest)))).unlink()
    (site(project) / path).write_text("evil = 1\n")
    record = next(site(project).glob("beta-*.dist-info")) / "RECORD"
    record.write_text(f"{record.read_text()}{path},,\n")
    assert errors(verify(project.workspace())) == {"env.unverified", "env.extra-file"}


def test_a_wheel_beside_is_as_good_as_the_store(project: LockedProject) -> None:
    """With the store gone and the wheelhouse there, contents come from the wheels, held to the lock."""
    shutil.rmtree(project.cache)
    outcome = verify(project.workspace(), wheelhouse=str(project.served))
    assert said(outcome) == []
    assert load(project.cache, Sha256(sha256_of(project.served / "alpha-1.0-py3-none-any.whl"))) is not None


def test_a_content_digest_in_the_lock_is_enough(project: LockedProject) -> None:
    """With nothing but ``[tool.envid.contents]``, RECORD is proven, and through it every file."""
    wheels = sorted(project.served.glob("*.whl"))
    rows = []
    for wheel in wheels:
        contents = load(project.cache, Sha256(sha256_of(wheel)))
        assert contents is not None
        rows.append(f'"{contents.sha256}" = "{contents.digest}"\n')
    project.lock(*wheels, extra="\n[tool.envid]\nformat = 1\n[tool.envid.contents]\n" + "".join(rows))
    shutil.rmtree(project.cache)
    shutil.rmtree(project.served)
    depths: tuple[Depth, ...] = ("quick", "full", "default", "default")
    for depth in depths:
        assert said(verify(project.workspace(), depth=depth)) == []
    target = site(project) / "alpha" / "data.txt"
    target.write_text("y" * 100)
    assert errors(verify(project.workspace())) == {"env.tampered"}
    record = next(site(project).glob("alpha-*.dist-info")) / "RECORD"
    record.write_text(record.read_text().replace("alpha/data.txt,sha256=", "alpha/data.txt,sha256=A", 1))
    assert "env.unverified" in errors(verify(project.workspace()))


def test_a_wheelhouse_is_checked(project: LockedProject, tmp_path: Path) -> None:
    """Missing, altered and surplus artifacts are told apart; a whole wheelhouse is silent."""
    house = tmp_path / "house"
    shutil.copytree(project.served, house)
    assert said(verify(project.workspace(), wheelhouse=str(house))) == []
    (house / "alpha-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    (house / "beta-1.0-py3-none-any.whl").unlink()
    make_wheel(house, "gamma", "1.0")
    assert said(verify(project.workspace(), wheelhouse=str(house))) == [
        ("error", "wheelhouse.corrupt"), ("error", "wheelhouse.missing"), ("warning", "wheelhouse.extra")
    ]  # fmt: skip
    assert errors(verify(project.workspace(), wheelhouse=str(tmp_path / "none"))) == {"wheelhouse.missing"}


def test_a_target_that_does_not_fit_is_found(project: LockedProject) -> None:
    """Another Python is python.mismatch, another system platform.unfit; text that is no target is an error."""
    other = "cp39" if sys.version_info[:2] != (3, 9) else "cp310"
    assert "python.mismatch" in errors(verify(project.workspace(), target=f"{other}-manylinux_2_17_x86_64"))
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert "platform.unfit" in errors(verify(project.workspace(), target=f"{own}-win_amd64"))
    with pytest.raises(InvalidTarget):
        verify(project.workspace(), target="nonsense")


def test_two_wheels_with_one_file_are_told_and_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner is named; a file that is neither one's is an error."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    both = {"tests/__init__.py": b"", "tests/conf.py": b"1"}
    made.lock(
        made.wheel("alpha", files=both),
        made.wheel("beta", files={**both, "tests/conf.py": b"22"}),
    )
    sync(made.workspace())
    (finding,) = [one for one in verify(made.workspace()).findings if one.code.startswith("env.")]
    assert (finding.code, finding.severity) == ("env.clobbered", "info")
    assert finding.path is not None
    winner = {b"1": "alpha", b"22": "beta"}[(site(made) / finding.path).read_bytes()]
    assert finding.subject == winner
    (site(made) / "tests" / "conf.py").write_bytes(b"33")
    assert errors(verify(made.workspace())) == {"env.tampered"}


SOURCES = {"alpha/__init__.py": b"def main(): ...\n", "alpha/mod.py": b"x = 1\n"}
PARTS: dict[str, Any] = {
    "files": SOURCES, "scripts": {"tool.py": b"#!python\nprint(1)\n", "alpha": b"#!python\nold = 1\n"},
    "data": {"share/alpha/data.py": b"d = 1\n"}, "headers": {"h.py": b"h = 1\n"}, "entry_points": ENTRY,
}  # fmt: skip
WRONG = urlsafe(b"something else")
ROWS: dict[str, Callable[[str], str]] = {
    "a wrong hash": lambda text: text.replace(urlsafe(b"x = 1\n"), WRONG),
    "a wrong hash of data": lambda text: text.replace(urlsafe(b"d = 1\n"), WRONG),
    "a wrong hash of a script": lambda text: text.replace(urlsafe(b"#!python\nprint(1)\n"), WRONG),
    "no hash": lambda text: text.replace(urlsafe(b"x = 1\n"), ""),
    "a row too few": lambda text: "".join(row for row in text.splitlines(True) if not row.startswith("alpha/mod.py")),
    "a row too many": lambda text: f"alpha/gone.py,{WRONG},4\n{text}",
    "many wrong hashes": lambda text: text + "".join(f"alpha/gone{n}.py,{WRONG},4\n" for n in range(30)),
    "nothing wrong": lambda text: text,
}


def installed_by_pip(project: LockedProject, wheel: Path) -> None:
    """Put ``wheel`` into a new .venv by pip, which compiles everything."""
    root = project.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(root / "bin/python"), "install", "-q", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", str(wheel)], check=True)


BY_PIP = ("a wrong hash", "a wrong hash of a script", "a row too few", "a row too many")
"""The others are treated by pip as these are, and each takes it two seconds."""


@pytest.mark.parametrize(
    ("damage", "installer"), [*((damage, "uv") for damage in ROWS), *((damage, "pip") for damage in BY_PIP)]
)
def test_a_wheel_with_a_wrong_record_of_its_own_is_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, installer: str
) -> None:
    """What the wheel was published with is not held against the installation; an edit still is."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setattr(statindex, "RACY_NS", 0)
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    name = "alpha-1.0.dist-info/RECORD"
    good = wheel_files("alpha", "1.0", **PARTS)[name].decode()
    wheel = made.wheel("alpha", **PARTS, record_override=ROWS[damage](good).encode())
    made.lock(wheel)
    if installer == "uv":
        sync(made.workspace())
    else:
        installed_by_pip(made, wheel)
    depths: tuple[Depth, ...] = ("full", "default", "default", "quick")
    for depth in depths:
        outcome = verify(made.workspace(), depth=depth, wheelhouse=str(made.served))
        assert said(outcome) == []
    (site(made) / "alpha" / "mod.py").write_text("x = 2\n")
    assert errors(verify(made.workspace())) == {"env.tampered"}
    (site(made) / "alpha" / "mod.py").write_text("x = 1\n")
    if damage != "many wrong hashes":
        record = site(made) / name
        record.write_text(f"{record.read_text()}alpha/evil.py,{WRONG},4\n")
        assert errors(verify(made.workspace())) == {"env.tampered"}


def test_scripts_and_data_compiled_by_pip_are_held_to_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip compiles every .py of a wheel, in the scripts directory too: no alarm, unless the code is another."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(statindex, "RACY_NS", 0)
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    wheel = made.wheel("alpha", **PARTS)
    made.lock(wheel)
    installed_by_pip(made, wheel)
    (compiled,) = (made.root / ".venv/bin/__pycache__").glob("tool.*.pyc")
    assert list((made.root / ".venv/share/alpha/__pycache__").glob("data.*.pyc"))
    depths: tuple[Depth, ...] = ("quick", "default", "full")
    for depth in depths:
        assert said(verify(made.workspace(), depth=depth, wheelhouse=str(made.served))) == []
    evil = marshal.dumps(compile("evil = 1", "x", "exec"))
    compiled.write_bytes(compiled.read_bytes()[:16] + evil)
    for depth in depths[1:]:
        assert errors(verify(made.workspace(), depth=depth)) == {"env.bytecode"}


def test_a_script_that_gave_way_to_a_launcher_is_not_missing(project: LockedProject) -> None:
    """Proven by a content digest alone, a wheel whose script has the name of an entry point misses no file."""
    wheel = project.wheel("alpha", **PARTS)
    shutil.rmtree(project.root / ".venv")
    project.lock(wheel)
    sync(project.workspace())
    contents = load(project.cache, Sha256(sha256_of(wheel)))
    assert contents is not None
    row = f'"{contents.sha256}" = "{contents.digest}"\n'
    project.lock(wheel, extra=f"\n[tool.envid]\nformat = 1\n[tool.envid.contents]\n{row}")
    shutil.rmtree(project.cache)
    shutil.rmtree(project.served)
    depths: tuple[Depth, ...] = ("quick", "default", "full")
    for depth in depths:
        assert said(verify(project.workspace(), depth=depth)) == []


def test_a_poisoned_cache_is_told_with_its_cure(project: LockedProject, tmp_path: Path) -> None:
    """An altered file with a second name on disk is env.poisoned, and the hint names the distribution."""
    target = site(project) / "alpha" / "data.txt"
    os.link(target, tmp_path / "in-the-cache")
    target.write_text("y" * 100)
    (finding,) = [one for one in verify(project.workspace()).findings if one.code == "env.poisoned"]
    assert finding.hint is not None
    assert "uv cache clean alpha" in finding.hint


def test_a_link_made_elsewhere_is_no_alarm(project: LockedProject, tmp_path: Path) -> None:
    """A ctime that changes alone has the file read once more; the next run believes it again."""
    verify(project.workspace())
    os.link(site(project) / "alpha" / "data.txt", tmp_path / "another environment")
    assert said(verify(project.workspace())) == []
    assert verify(project.workspace()).memory is not None or verify(project.workspace()).exit_code == 1


def test_a_wheel_of_the_same_version_that_is_not_the_targets_is_told(project: LockedProject) -> None:
    """When another locked wheel of the version was installed, that is one finding, not one for each file."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-none-any"
    native = project.wheel("alpha", tag=tag, files={"alpha/__init__.py": b"other = 1\n"})
    plain = project.served / "alpha-1.0-py3-none-any.whl"
    entries = ", ".join(
        f'{{ path = "wheelhouse/{file.name}", hashes = {{ sha256 = "{sha256_of(file)}" }} }}'
        for file in (native, plain)
    )
    (project.root / "lockfiles/pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "envid"\n\n[[packages]]\n'
        f'name = "alpha"\nversion = "1.0"\nwheels = [{entries}]\n'
    )
    found = said(verify(project.workspace(), wheelhouse=str(project.served)))
    assert ("error", "env.artifact") in found
    assert not any(code in ("env.tampered", "env.missing-file") for _, code in found)


def test_a_damaged_index_is_rebuilt_silently(project: LockedProject) -> None:
    """Garbage in its place changes no answer, and is replaced."""
    verify(project.workspace())
    (index,) = (project.cache / "stat-v1").iterdir()
    good = index.read_bytes()
    index.write_bytes(b"garbage")
    (site(project) / "alpha" / "data.txt").write_text("z" * 100)
    assert errors(verify(project.workspace())) == {"env.tampered"}
    assert index.read_bytes()[:20] == good[:20]


def test_full_does_not_believe_the_index(project: LockedProject) -> None:
    """An index that vouches for an altered file deceives the default depth, which trusts this host, and not --full."""
    verify(project.workspace())
    (site(project) / "alpha" / "data.txt").write_text("z" * 100)
    (index,) = (project.cache / "stat-v1").iterdir()
    environment = environment_of(project.root / ".venv")
    layout = layout_of(environment)
    root = str(environment.root)
    raw = index.read_bytes()
    bound = raw[len(b"envid stat index 1\n") :][:32]
    known = statindex.load(index, bound)
    assert known is not None
    first = walk(root, [*sites(layout), layout.scripts], [])
    statindex.save(index, bound, first + known[len(first) :])
    assert errors(verify(project.workspace())) == set()
    assert errors(verify(project.workspace(), depth="full")) == {"env.tampered"}


def test_a_witness_holds_until_something_changes(project: LockedProject) -> None:
    """The witness of a pass holds again and again, and no longer after an edit, an addition or a removal."""
    root = str(project.root / ".venv")
    where = str(site(project).relative_to(root))
    singles = ["pyvenv.cfg"]

    def taken() -> tuple[bytes, bytes]:
        tops = [where, "bin"]
        return (
            witness.of_walk(root, tops, singles, walk(root, tops, singles)),
            witness.of_tops(root, [where], "bin", singles),
        )

    deep, quick = taken()
    assert witness.holds(deep)
    assert witness.holds(quick)
    (site(project) / "alpha" / "data.txt").write_text("z" * 100)
    assert not witness.holds(deep)
    assert witness.holds(quick)
    deep, quick = taken()
    (site(project) / "evil.pth").write_text("import os")
    assert not witness.holds(deep)
    assert not witness.holds(quick)
    for damaged in (b"", b"x", deep[:-1], quick + b"1:x", b"9999999999:"):
        assert not witness.holds(damaged)


def test_no_socket_is_opened_and_no_process_started(project: LockedProject) -> None:
    """An audit hook that forbids sockets and processes lets quick and default verify through, cold and warm."""
    code = (
        "import sys\n"
        "def hook(event, args):\n"
        "    if event.startswith(('socket.', 'subprocess.', 'os.system', 'os.exec', 'os.posix_spawn', 'urllib.')):\n"
        "        raise RuntimeError(event)\n"
        "from envid.surface.cli import main\n"
        "sys.addaudithook(hook)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    env = {**os.environ, "ENVID_CACHE_DIR": str(project.cache)}
    for depth in ([], [], ["--quick"], ["--full"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "verify", "--json", "--project", str(project.root), *depth],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert {one["code"] for one in found["findings"]} <= {"lock.undecidable"}, done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_it_runs_where_there_is_no_network(project: LockedProject) -> None:
    """In a network namespace without a single interface that is up, verify gives the same answer."""
    command = ["unshare", "-rn", sys.executable, "-m", "envid", "verify", "--json", "--project", str(project.root)]
    env = {**os.environ, "ENVID_CACHE_DIR": str(project.cache)}
    done = subprocess.run([*command, "--full"], env=env, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("unshare is not permitted here")
    assert {one["code"] for one in json.loads(done.stdout)["findings"]} <= {"lock.undecidable"}
