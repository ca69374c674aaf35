"""Locked artifacts become verified files; who is asked, and with what credential, comes from the caller's settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envid.app.contents import content_digests
from envid.app.fetching import fetch_artifacts, project_of
from envid.app.network import access_of, indexes_of, netrc_credentials, places_of, user_settings
from envid.app.workspace import Workspace
from envid.errors import ConfigError, DigestMismatch, InvalidWheel, Offline, Unreachable
from envid.lock.pylock import read
from envid.store import contents as known
from envid.store.wheels import artifact_path, file_sha256
from envid.values.artifact import Artifact
from index_server import Behaviour, index_server
from locked import LockedProject


@pytest.fixture
def project(tmp_path: Path) -> LockedProject:
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.lock(made.wheel("alpha"), made.wheel("beta"))
    return made


def artifacts(workspace: Workspace) -> list[Artifact]:
    lock = read(workspace.read_lock(), path="pylock.toml")
    return [wheel for entry in lock.distributions for wheel in entry.wheels]


def test_a_neutral_lock_is_served_by_whichever_index_is_configured(project: LockedProject) -> None:
    """Artifacts without URL come from UV_DEFAULT_INDEX, land in the store, and their contents are known."""
    with index_server(project.served) as server:
        workspace = project.workspace(UV_FIND_LINKS="", UV_DEFAULT_INDEX=server.url)
        wanted = artifacts(workspace)
        found = fetch_artifacts(workspace, wanted)
        assert {path.name for path in found.values()} == {wheel.filename for wheel in wanted}
        assert all(known.load(project.cache, wheel.sha256) is not None for wheel in wanted)
        asked = len(server.requests)
        assert fetch_artifacts(workspace, wanted) == found
        assert len(server.requests) == asked


@pytest.mark.parametrize("how", ["url", "variables", "netrc", "none", "wrong"])
def test_credentials_come_from_url_variables_or_netrc(project: LockedProject, tmp_path: Path, how: str) -> None:
    """Each way to give a credential works; without one, or with a wrong one, the error shows host and no secret."""
    with index_server(project.served, Behaviour(auth=("user", "sesame"))) as server:
        variables = {"UV_FIND_LINKS": "", "UV_DEFAULT_INDEX": f"corp={server.url}"}
        if how == "url":
            variables["UV_DEFAULT_INDEX"] = server.url_for("user", "sesame")
        elif how in ("variables", "wrong"):
            variables["UV_INDEX_CORP_USERNAME"] = "user"
            variables["UV_INDEX_CORP_PASSWORD"] = "sesame" if how == "variables" else "open-sesame"
        elif how == "netrc":
            (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password sesame\n")
            variables["NETRC"] = str(tmp_path / "netrc")
        workspace = project.workspace(variables)
        if how in ("none", "wrong"):
            with pytest.raises(Unreachable, match=server.host) as raised:
                fetch_artifacts(workspace, artifacts(workspace))
            assert "sesame" not in f"{raised.value.message}{raised.value.hint}{raised.value.context}"
            assert "UV_INDEX_CORP_USERNAME" in raised.value.hint
        else:
            assert len(fetch_artifacts(workspace, artifacts(workspace))) == 2


def test_a_corrupted_file_in_the_store_is_fetched_again(project: LockedProject) -> None:
    """Bytes in envid's own store that no longer have their digest are never used."""
    workspace = project.workspace()
    wheel = artifacts(workspace)[0]
    fetch_artifacts(workspace, [wheel])
    kept = artifact_path(project.cache, wheel.sha256, wheel.filename)
    kept.write_bytes(b"x")
    assert fetch_artifacts(workspace, [wheel])[wheel.sha256].stat().st_size == wheel.size


def test_a_corrupted_file_in_the_wheelhouse_is_an_error(project: LockedProject) -> None:
    """The project's own wheelhouse is not silently passed over."""
    workspace = project.workspace()
    wheel = artifacts(workspace)[0]
    beside = project.root / "lockfiles" / (wheel.path or "")
    beside.parent.mkdir()
    beside.write_bytes(b"x")
    with pytest.raises(DigestMismatch, match="wheelhouse"):
        fetch_artifacts(workspace, [wheel])


URLS = "https://nowhere.invalid/files"


@pytest.mark.parametrize("how", ["relative", "user settings", "index page"])
def test_a_lock_with_urls_is_served_offline_from_local_places(project: LockedProject, how: str) -> None:
    """Without network the files of an ordinary lock come from a folder of the caller's, held to their hash."""
    files = [project.served / f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "beta")]
    project.lock(*files, link=lambda file: f'url = "{URLS}/{file.name}"')
    variables = {"UV_FIND_LINKS": "../served/"}
    if how == "user settings":
        config = project.root / "home" / ".config" / "uv"
        config.mkdir(parents=True)
        (config / "uv.toml").write_text('find-links = ["../../../../served"]\n')
        variables = {"UV_FIND_LINKS": ""}
    elif how == "index page":
        for file in files:
            page = project.root / "simple" / file.name.split("-")[0] / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(f'<a href="{file.as_uri()}">{file.name}</a>')
        variables = {"UV_FIND_LINKS": "", "UV_INDEX": "corp=simple"}
    workspace = project.workspace(variables, offline=True)
    wanted = artifacts(workspace)
    assert {path.read_bytes() for path in fetch_artifacts(workspace, wanted).values()} == {
        file.read_bytes() for file in files
    }
    for file in files:
        file.write_bytes(b"something else")
    assert len(fetch_artifacts(workspace, wanted)) == 2  # they are in the store now


def test_another_file_in_a_local_folder_is_refused_offline_and_passed_over_online(project: LockedProject) -> None:
    """Wrong bytes under the right name are never taken: an error without network, the lock's URL with it."""
    file = project.served / "alpha-1.0-py3-none-any.whl"
    other = project.root / "other" / file.name
    other.parent.mkdir()
    other.write_bytes(b"something else")
    with index_server(project.served) as server:
        project.lock(file, link=lambda file: f'url = "{server.file_url(file.name)}"')
        denied = project.workspace(offline=True, UV_FIND_LINKS="other")
        with pytest.raises(DigestMismatch, match="other/alpha"):
            fetch_artifacts(denied, artifacts(denied))
        allowed = project.workspace(UV_FIND_LINKS="other")
        (found,) = fetch_artifacts(allowed, artifacts(allowed)).values()
        assert found.read_bytes() == file.read_bytes()


def test_offline_names_what_is_missing(project: LockedProject) -> None:
    """Without network and with nothing on this machine, Offline names the files."""
    workspace = project.workspace(offline=True, UV_FIND_LINKS="")
    with pytest.raises(Offline, match=r"2 artifact.*alpha-1\.0.*beta-1\.0"):
        fetch_artifacts(workspace, artifacts(workspace))


def test_a_right_digest_does_not_make_a_wheel(project: LockedProject) -> None:
    """A locked file that is no wheel is InvalidWheel before anything is installed."""
    broken = project.served / "gamma-1.0-py3-none-any.whl"
    broken.write_bytes(b"PK but no wheel")
    project.lock(broken)
    workspace = project.workspace()
    with pytest.raises(InvalidWheel):
        fetch_artifacts(workspace, artifacts(workspace))


def test_content_digests_are_known_without_fetching_twice(project: LockedProject) -> None:
    """The digests of a lock's wheels are stable, and need no network once the wheels were seen."""
    digests = content_digests(project.workspace(), artifacts(project.workspace()))
    offline = project.workspace(offline=True, UV_FIND_LINKS="")
    assert content_digests(offline, artifacts(offline)) == digests
    assert all(len(digest) == 64 for digest in digests.values())


def test_the_default_index_of_uv_is_asked_from_uv(project: LockedProject) -> None:
    """Without any setting the one place is what uv itself names; it is written nowhere in envid."""
    indexes = indexes_of(project.workspace(UV_FIND_LINKS=""))
    (place,) = places_of(indexes)
    assert place.url.startswith("https://")
    assert place.default


def test_settings_of_the_user_are_read_where_uv_reads_them(project: LockedProject, tmp_path: Path) -> None:
    """uv.toml below XDG_CONFIG_HOME, or UV_CONFIG_FILE, counts, not under UV_NO_CONFIG; a broken one is refused."""
    file = tmp_path / "config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text('index-url = "https://user:sesame@index.example/simple"\nallow-insecure-host = ["x.example"]\n')
    variables = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "UV_FIND_LINKS": ""}
    indexes = indexes_of(project.workspace(variables))
    assert [index.url for index in indexes.places] == ["https://index.example/simple"]
    access = access_of(project.workspace(variables), indexes)
    assert access.credentials["https://index.example"].password == "sesame"
    assert access.insecure_hosts == ("x.example",)
    assert user_settings({**variables, "UV_NO_CONFIG": "1"}) == {}
    assert user_settings({"UV_CONFIG_FILE": str(file)})
    file.write_text('index-url = "https://user:sesame@index.example\n')
    with pytest.raises(ConfigError) as raised:
        user_settings(variables)
    assert "sesame" not in raised.value.message


def test_a_broken_netrc_is_an_error_only_where_it_was_named(tmp_path: Path) -> None:
    """~/.netrc may belong to other programs; the file that NETRC names may not be broken."""
    (tmp_path / ".netrc").write_text("nonsense of another program\n")
    assert netrc_credentials({"HOME": str(tmp_path)}) == {}
    with pytest.raises(ConfigError):
        netrc_credentials({"NETRC": str(tmp_path / ".netrc")})


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("Foo_Bar-1.0-py3-none-any.whl", "foo-bar"),
        ("foo_bar-1.0-2-py3-none-any.whl", "foo-bar"),
        ("zope.interface-5.0.tar.gz", "zope-interface"),
        ("foo-bar-1.0.zip", "foo-bar"),
    ],
)
def test_the_project_of_a_file(filename: str, name: str) -> None:
    """Wheel and source archive names give the normal name of their project."""
    assert project_of(filename) == name


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "dangling", "file above", "pipe at the top"])
def test_what_is_no_wheel_in_the_store_is_cleared_and_fetched(project: LockedProject, kind: str) -> None:
    """A pipe, a directory, a link where a wheel belongs, a file above it: nothing hangs, and the wheel is fetched."""
    with index_server(project.served) as server:
        workspace = project.workspace(UV_FIND_LINKS="", UV_DEFAULT_INDEX=server.url)
        wanted = artifacts(workspace)
        path = artifact_path(project.cache, wanted[0].sha256, wanted[0].filename)
        path.parent.parent.parent.mkdir(parents=True)
        if kind == "file above":
            path.parent.parent.write_bytes(b"")
        elif kind == "pipe at the top":
            path.parent.parent.parent.rmdir()
            os.mkfifo(path.parent.parent.parent)
        else:
            path.parent.mkdir(parents=True)
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "directory":
                (path / "inside").mkdir(parents=True)
            else:
                path.symlink_to("/dev/zero" if kind == "link" else "nowhere")
        found = fetch_artifacts(workspace, wanted)
        assert {path.name for path in found.values()} == {wheel.filename for wheel in wanted}
        assert file_sha256(path) == wanted[0].sha256 and not path.is_symlink()


def test_a_pipe_in_a_folder_of_wheels_is_passed_over(project: LockedProject, tmp_path: Path) -> None:
    """A named pipe under the name of a locked wheel in a find-links folder hangs nobody; the index has the wheel."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with index_server(project.served) as server:
        workspace = project.workspace(UV_FIND_LINKS=str(folder), UV_DEFAULT_INDEX=server.url)
        wanted = artifacts(workspace)
        for wheel in wanted:
            os.mkfifo(folder / wheel.filename)
        assert len(fetch_artifacts(workspace, wanted)) == len(wanted)


STALLED = """
import sys
from pathlib import Path
from envid import __main__ as program
from envid.app import fetching
from envid.surface import cli
from envid.values.progress import SILENT

def main():
    cli._listen()
    try:
        fetching._each(Path.read_bytes, [Path(sys.argv[1])], "Checking files", SILENT)
    except KeyboardInterrupt:
        return cli.INTERRUPTED

cli.main = main
sys.exit(program.main())
"""


def test_a_disk_that_does_not_answer_keeps_no_command_from_ending(tmp_path: Path) -> None:
    """A command whose thread waits in a read for ever ends on SIGTERM at once, with status 130."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", STALLED, str(pipe)]
    # The pipe opens here when the child's thread has opened it, too, which then waits for a byte.
    with subprocess.Popen(command) as child, open(pipe, "wb"):
        child.send_signal(signal.SIGTERM)
        try:
            assert child.wait(timeout=10) == 130
        finally:
            child.kill()
