"""One lock, one verdict: what one command refuses to read, every other one refuses in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envid.app.checking import check
from envid.app.keys import identity, key
from envid.app.matrix import matrix
from envid.app.project import open_project
from envid.app.sync import sync
from envid.app.vendor import vendor
from envid.app.verify import verify
from envid.errors import EnvidError, LockError
from locked import LockedProject

BAD: dict[str, Callable[[str], str]] = {
    "tables of another tool without end": lambda lock: f"{lock}\n[tool{'.a' * 2_000}]\nx = 1\n",
    "tables of another tool, 65 deep": lambda lock: f"{lock}\n[tool{'.a' * 65}]\nx = 1\n",
    "arrays of another tool": lambda lock: f"{lock}\n[tool.x]\ny = {'[' * 100}{']' * 100}\n",
    "arrays beyond the parser": lambda lock: f"{lock}\n[tool.x]\ny = {'[' * 5_000}{']' * 5_000}\n",
    "tables of another tool in an entry": lambda lock: f"{lock}\n[packages.tool{'.a' * 70}]\nx = 1\n",
    "attestations of no kind": lambda lock: f"{lock}\n[[packages.attestation-identities]]\nkind = 5\n",
    "attestations that are a number": lambda lock: f"{lock}attestation-identities = 5\n",
    "dependencies that are a number": lambda lock: f"{lock}dependencies = 5\n",
    "a version that is none": lambda lock: lock.replace("1.0-py3", "wrong-py3").replace(
        'n = "1.0"\nw', 'n = "wrong"\nw'
    ),
    "a python tag that is none": lambda lock: lock.replace("-py3-none", "-3-none"),
    "a date in the place of a size": lambda lock: lock.replace("size = ", "size = 1979-05-27, x = "),
}


@pytest.fixture
def project(tmp_path: Path) -> LockedProject:
    """A project with a lock of one wheel, as ``lock.write`` lays it out."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.lock(made.wheel("alpha"))
    path = made.root / "lockfiles" / "pylock.toml"
    path.write_text(path.read_text().replace("wheels = [{", "wheels = [\n    {").replace("}]\n", "},\n]\n"))
    return made


def refusal(use: Callable[[], object]) -> tuple[str, str]:
    """Slug and words of what ``use`` raises."""
    with pytest.raises(EnvidError) as raised:
        use()
    assert isinstance(raised.value, LockError)
    return raised.value.slug, raised.value.message


@pytest.mark.parametrize("what", BAD)
def test_every_command_refuses_the_same_locks(project: LockedProject, what: str, tmp_path: Path) -> None:
    """key, identity, matrix, sync, vendor, verify and lock --check say one thing of a lock that is not valid."""
    path = project.root / "lockfiles" / "pylock.toml"
    ws, site = project.workspace(offline=True), open_project(str(project.root))
    assert key(site).answer
    path.write_text(BAD[what](path.read_text()))
    uses: tuple[Callable[[], object], ...] = (
        lambda: key(site), lambda: identity(site), lambda: matrix(ws), lambda: sync(ws), lambda: verify(ws),
        lambda: vendor(ws, str(tmp_path / "out")), lambda: check(ws),
    )  # fmt: skip
    [(slug, message)] = {refusal(use) for use in uses}
    assert slug == "lock.invalid"
    assert message.startswith("lockfiles/pylock.toml")
    assert "recursion" not in message
    assert not (project.root / ".venv").exists()
    assert not (tmp_path / "out").exists()


def test_keys_that_nobody_reads_change_no_key(project: LockedProject) -> None:
    """What another tool adds, as the format allows it, makes the quick reader decline, and the key stays."""
    path = project.root / "lockfiles" / "pylock.toml"
    site = open_project(str(project.root))
    before = key(site).answer
    path.write_text(f'{path.read_text()}\n[[packages.attestation-identities]]\nkind = "k"\n\n[tool.x]\ny = 1\n')
    assert key(site).answer == before
