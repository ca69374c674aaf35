"""Which policy holds for which cache directory: a repository tightens, and loosens only its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envid.app.project import Project, cache_directory
from envid.app.storing import DEFAULT, opened, place_of, policy_of, unheeded
from envid.store import counts
from envid.store.place import Policy
from envid.values.intent import parse_intent

LOOSE = 'shared = "group"\nmin-free = 1\nmax-size = "90 GB"\nmax-age = "90 days"\n'
TIGHT = 'min-free = "1 GB"\nmax-size = "1 GB"\nmax-age = "1 day"\n'


def project(tmp_path: Path, text: str, **variables: str) -> Project:
    """A project below ``tmp_path`` whose user has a home there, too."""
    place, data = tmp_path / "project", f"[tool.envid.cache]\n{text}".encode()
    place.mkdir(exist_ok=True)
    given = {"HOME": str(tmp_path / "home"), **variables}
    intent = parse_intent(data)
    kept = cache_directory(given, configured=intent.settings.cache_dir, place=str(place))
    return Project(place=str(place), kept=kept, pyproject=data, intent=intent, offline=False, variables=given)


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    """Without a policy in pyproject.toml, the store's own holds, and there is nothing to remark."""
    assert policy_of(project(tmp_path, "")) == DEFAULT == Policy()
    assert unheeded(project(tmp_path, "")) == ()


@pytest.mark.parametrize("variables", [{}, {"ENVID_CACHE_DIR": "given"}])
def test_a_project_does_not_loosen_the_users_cache(tmp_path: Path, variables: dict[str, str]) -> None:
    """Neither the platform's directory nor one that the user names gets shared, larger, older or fuller; it says so."""
    given = {name: str(tmp_path / value) for name, value in variables.items()}
    one = project(tmp_path, LOOSE, **given)
    assert policy_of(one) == DEFAULT
    assert [note.split()[0] for note in unheeded(one)] == ["shared", "min-free", "max-size", "max-age"]


def test_a_project_may_tighten_the_users_cache(tmp_path: Path) -> None:
    """Smaller limits and a larger reserve hold everywhere."""
    one = project(tmp_path, TIGHT)
    assert policy_of(one) == Policy(min_free=10**9, max_size=10**9, max_age=86400)
    assert unheeded(one) == ()


def test_a_directory_of_the_project_follows_the_project(tmp_path: Path) -> None:
    """A directory that the project names, within it, is used as the project says."""
    one = project(tmp_path, f'dir = ".cache"\n{LOOSE}')
    assert policy_of(one) == Policy(shared=True, min_free=1, max_size=90 * 10**9, max_age=90 * 86400)
    assert place_of(one).root == str(tmp_path / "project" / ".cache")


def test_the_users_directory_stays_the_users_whatever_it_is_called(tmp_path: Path) -> None:
    """A project that names the user's own cache, by a detour or through a link, does not loosen it."""
    assert policy_of(project(tmp_path, f'dir = "../home/.cache/envid"\n{LOOSE}')) == DEFAULT
    (tmp_path / "home" / ".cache" / "envid").mkdir(parents=True)
    (tmp_path / "project" / "link").symlink_to(tmp_path / "home" / ".cache" / "envid")
    assert policy_of(project(tmp_path, f'dir = "link"\n{LOOSE}')) == DEFAULT


def test_sharing_elsewhere_takes_a_directory_that_is_shared_on_disk(tmp_path: Path) -> None:
    """Outside of the project, the group gets in where the directory's owner let it in, and nowhere else."""
    team = tmp_path / "team"
    team.mkdir(mode=0o700)
    one = project(tmp_path, f'dir = "{team}"\n{LOOSE}')
    assert not policy_of(one).shared
    team.chmod(0o2770)
    assert policy_of(one).shared
    assert policy_of(project(tmp_path, LOOSE, ENVID_CACHE_DIR=str(team))) == Policy(shared=True)
    team.chmod(0o2777)
    assert not policy_of(one).shared


def test_what_a_command_counted_is_written_when_it_is_done(tmp_path: Path) -> None:
    """Also when it fails, and once."""
    one = project(tmp_path, "")
    with opened(one) as place:
        place.tally.add("venv", "hit", 2)
    with pytest.raises(KeyError), opened(one) as place:
        place.tally.add("venv", "absent")
        raise KeyError
    assert counts.read(place_of(one)).rows == {("venv", "hit"): 2, ("venv", "absent"): 1}
    assert os.path.isdir(one.kept)
