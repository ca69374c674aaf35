"""``vendor``: equal bytes twice, nothing removed, and plain pip and plain uv install the result without network."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from envid.app.vendor import vendor
from envid.errors import DigestMismatch, LockError, Offline, SdistRefused, TargetNotCovered, UsageError, WriteFailed
from envid.lock.install import uv_binary
from index_server import index_server
from locked import LockedProject, picture

MARKED = """
[[packages]]
name = "gamma"
version = "{version}"
marker = "python_version == '{python}'"
wheels = [{{ path = "wheelhouse/{file}", size = {size}, hashes = {{ sha256 = "{digest}" }} }}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.settings = 'targets = ["cp311-manylinux_2_28_x86_64", "cp312-manylinux_2_28_x86_64"]'
    made.lock(made.wheel("alpha"), made.wheel("beta", requires=["alpha"]))
    return made


def house(project: LockedProject) -> Path:
    return project.root / "house"


def versions(project: LockedProject) -> None:
    """Lock a distribution in another version for each Python."""
    from wheels import sha256_of

    extra = ""
    for python, version in (("3.11", "1.0"), ("3.12", "2.0")):
        file = project.wheel("gamma", version)
        extra += MARKED.format(
            version=version, python=python, file=file.name, size=file.stat().st_size, digest=sha256_of(file)
        )
    project.lock(project.served / "alpha-1.0-py3-none-any.whl", extra=extra)


def test_a_wheelhouse_holds_artifacts_lock_and_requirements(project: LockedProject) -> None:
    """The lock is valid PEP 751 with paths beside itself; the counts in data are right."""
    outcome = vendor(project.workspace(), str(house(project)))
    assert sorted(os.listdir(house(project))) == [
        "alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl", "pylock.toml", "requirements.txt"
    ]  # fmt: skip
    document = tomllib.loads((house(project) / "pylock.toml").read_text())
    Pylock.from_dict(document)
    assert [wheel["path"] for entry in document["packages"] for wheel in entry["wheels"]] == [
        "alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"
    ]  # fmt: skip
    size = sum(path.stat().st_size for path in house(project).glob("*.whl"))
    assert dict(outcome.data) == {
        "directory": str(house(project)), "files": 2, "bytes": size, "fetched": 2, "reused": 0,
        "targets": ["cp311-manylinux_2_28_x86_64", "cp312-manylinux_2_28_x86_64"],
    }  # fmt: skip
    assert outcome.exit_code == 0


def test_two_runs_are_byte_identical(project: LockedProject, tmp_path: Path) -> None:
    """The same lock gives the same names, bytes and modes, in another directory and in the same one."""
    versions(project)
    vendor(project.workspace(), str(tmp_path / "one"))
    first = picture(tmp_path / "one")
    vendor(project.workspace(offline=True), str(tmp_path / "two"))
    outcome = vendor(project.workspace(offline=True), str(tmp_path / "one"))
    assert picture(tmp_path / "one") == picture(tmp_path / "two") == first
    assert outcome.data["reused"] == outcome.data["files"]


def test_targets_with_different_versions_get_markers_and_files_of_their_own(project: LockedProject) -> None:
    """Where targets differ, requirements.txt tells them apart by marker, and each target has a file without."""
    versions(project)
    vendor(project.workspace(), str(house(project)))
    text = (house(project) / "requirements.txt").read_text()
    assert "gamma==1.0 ; python_version == '3.11' \\" in text
    assert "gamma==2.0 ; python_version == '3.12' \\" in text
    alone = (house(project) / "requirements-cp312-manylinux_2_28_x86_64.txt").read_text()
    assert "gamma==2.0 \\" in alone
    assert "gamma==1.0" not in alone


def test_chosen_targets_limit_the_files(project: LockedProject) -> None:
    """--target takes only what that target needs, and the lock is guarded for it."""
    versions(project)
    outcome = vendor(project.workspace(), str(house(project)), targets=["cp312-manylinux_2_28_x86_64"])
    assert not (house(project) / "gamma-1.0-py3-none-any.whl").exists()
    assert outcome.data["targets"] == ["cp312-manylinux_2_28_x86_64"]
    assert "python_version == '3.12'" in tomllib.loads((house(project) / "pylock.toml").read_text())["environments"][0]


def test_what_does_not_belong_is_reported_and_stays(project: LockedProject) -> None:
    """A file of somebody else is a finding wheelhouse.extra, not removed; a damaged artifact is replaced, saying so."""
    vendor(project.workspace(), str(house(project)))
    (house(project) / "notes.txt").write_text("mine")
    (house(project) / "alpha-1.0-py3-none-any.whl").write_bytes(b"damaged")
    outcome = vendor(project.workspace(offline=True), str(house(project)))
    assert [(f.code, f.subject, f.severity) for f in outcome.findings] == [("wheelhouse.extra", "notes.txt", "warning")]
    assert (house(project) / "notes.txt").read_text() == "mine"
    assert any("replaced alpha-1.0" in note for note in outcome.notes)
    assert (house(project) / "alpha-1.0-py3-none-any.whl").stat().st_size > 100


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("requirements.txt", "alpha\n"), ("requirements.txt", "--no-index\n--find-links .\nalpha==1.0\n"),
        ("pylock.toml", 'lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n'), ("pylock.toml", "[broken\n"),
    ],
)  # fmt: skip
def test_files_of_others_are_named_and_stay(project: LockedProject, file: str, text: str) -> None:
    """Where a file that vendor did not write has the name of one of its own, nothing at all is written."""
    house(project).mkdir()
    (house(project) / file).write_text(text)
    before = picture(house(project))
    with pytest.raises(UsageError, match=file.replace(".", r"\.")):
        vendor(project.workspace(), str(house(project)))
    assert picture(house(project)) == before


def test_the_locks_of_a_project_are_no_wheelhouse(project: LockedProject) -> None:
    """`envid vendor lockfiles` does not replace the lock that it reads."""
    before = picture(project.root)
    with pytest.raises(UsageError, match=r"pylock\.toml"):
        vendor(project.workspace(), str(project.root / "lockfiles"))
    assert picture(project.root) == before


def test_each_artifact_costs_at_most_one_request(project: LockedProject) -> None:
    """Artifacts with URLs are asked for once each; a second run asks nothing."""
    with index_server(project.served) as server:
        files = sorted(project.served.iterdir())
        project.lock(*files, link=lambda file: f'url = "{server.file_url(file.name)}"')
        vendor(project.workspace(UV_FIND_LINKS=""), str(house(project)))
        assert len(server.requests) == len(files)
        vendor(project.workspace(UV_FIND_LINKS=""), str(house(project)))
        assert len(server.requests) == len(files)


@pytest.mark.parametrize("fault", ["wrong bytes", "offline", "uncovered target", "file in the way"])
def test_a_failure_writes_no_lock(project: LockedProject, fault: str) -> None:
    """When something cannot be had, no pylock.toml appears that would promise it."""
    targets = ["cp310-win_amd64"] if fault == "uncovered target" else []
    if fault == "wrong bytes":
        (project.served / "beta-1.0-py3-none-any.whl").write_bytes(b"other")
    if fault == "uncovered target":
        lock = project.root / "lockfiles" / "pylock.toml"
        lock.write_text(lock.read_text().replace("created-by", 'requires-python = ">=3.11"\ncreated-by'))
    if fault == "file in the way":
        house(project).write_bytes(b"")
    variables = {"UV_FIND_LINKS": ""} if fault == "offline" else {}
    errors = {"wrong bytes": DigestMismatch, "offline": Offline, "uncovered target": TargetNotCovered}
    with pytest.raises(errors.get(fault, WriteFailed)):
        vendor(project.workspace(variables, offline=fault == "offline"), str(house(project)), targets=targets)
    assert not (house(project) / "pylock.toml").exists()


def test_source_trees_and_source_archives_are_refused_by_name(project: LockedProject) -> None:
    """A directory cannot be vendored; an sdist is refused unless allowed, and then a warning says what is missing."""
    project.lock(extra='\n[[packages]]\nname = "local"\nversion = "1"\ndirectory = { path = "../local" }\n')
    with pytest.raises(LockError, match="local is locked as a source tree"):
        vendor(project.workspace(), str(house(project)))
    archive = project.served / "delta-1.0.tar.gz"
    archive.write_bytes(b"any bytes")
    project.lock(archive)
    with pytest.raises(SdistRefused, match="delta"):
        vendor(project.workspace(), str(house(project)))
    project.settings += '\n[tool.envid.lock]\nallow-sdist = ["Delta"]'
    project.lock(archive)
    outcome = vendor(project.workspace(), str(house(project)))
    assert [f.code for f in outcome.findings] == ["wheelhouse.sdist"]
    assert (house(project) / "delta-1.0.tar.gz").read_bytes() == b"any bytes"


def no_network() -> list[str]:
    """Return what denies the network to a command, as far as this machine permits."""
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return ["unshare", "-n"] if tried.returncode == 0 else []


@pytest.mark.parametrize("tool", ["uv pylock", "uv requirements", "pip requirements"])
def test_plain_tools_install_it_with_the_network_denied(project: LockedProject, tmp_path: Path, tool: str) -> None:
    """uv from the lock, uv and pip from the requirements: all install the locked set from the folder alone."""
    project.settings = ""
    project.lock(*sorted(project.served.iterdir()))
    vendor(project.workspace(), str(house(project)))
    venv = tmp_path / "venv"
    subprocess.run([uv_binary(), "venv", "--quiet", "--no-project", "--python", sys.executable, str(venv)], check=True)
    python = str(venv / "bin" / "python")
    commands = {
        "uv pylock": [uv_binary(), "pip", "sync", "--python", python, str(house(project) / "pylock.toml")],
        "uv requirements": [
            uv_binary(), "pip", "install", "--python", python, "--require-hashes", "-r",
            str(house(project) / "requirements.txt"),
        ],
        "pip requirements": [
            sys.executable, "-m", "pip", "--python", python, "install", "--require-hashes", "--no-cache-dir", "-r",
            str(house(project) / "requirements.txt"),
        ],
    }  # fmt: skip
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "fresh")}
    clean |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run([*no_network(), *commands[tool]], env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = next(venv.glob("lib/python*/site-packages"))
    assert {"alpha-1.0.dist-info", "beta-1.0.dist-info"} <= set(os.listdir(site))
