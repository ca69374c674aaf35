"""Files of installers against RECORD, and what stands beside site-packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from envid.installed.expected import Layout
from envid.installed.marks import check_marks
from envid.installed.neighbours import check_neighbours, places
from envid.installed.proof import Place
from wheels import urlsafe

SITE = "lib/python3.12/site-packages"
INFO = "six-1.0.dist-info"
LAYOUT = Layout(purelib=SITE, platlib=SITE, scripts="bin", headers="include/site/python3.12")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A metadata directory with nothing in it."""
    (tmp_path / SITE / INFO).mkdir(parents=True)
    return Place(root=str(tmp_path), layout=LAYOUT, site=SITE, directory=INFO, name="six", pythons=())


def found(place: Place, name: str, data: bytes, row: str | None) -> list[str]:
    """The codes of what is found for the file ``name`` with ``data`` and this end of its row in RECORD."""
    info = Path(place.root, SITE, INFO)
    (info / name).write_bytes(data)
    (info / "RECORD").write_text(
        "six.py,,\n" + ("" if row is None else f"{INFO}/{name},{row}\n") + f"{INFO}/RECORD,,\n"
    )
    return [
        finding.code for finding in check_marks({f"{SITE}/{INFO}": place}, [f"{SITE}/{INFO}/{name}", "bin/INSTALLER"])
    ]


@pytest.mark.parametrize(
    ("name", "data", "row", "codes"),
    [
        ("INSTALLER", b"uv", f"{urlsafe(b'uv')},2", []),
        ("INSTALLER", b"pip\n", f"{urlsafe(bytes([112, 105, 112, 10]))},4", []),
        ("INSTALLER", b"uv", ",", []),
        ("INSTALLER", b"uv", f"{urlsafe(b'uv')}=,2\r", []),
        ("INSTALLER", b"uv", None, ["env.extra-file"]),
        ("INSTALLER", b"pi", f"{urlsafe(b'uv')},2", ["env.tampered"]),
        ("INSTALLER", b"uv\nrm", ",", ["env.tampered"]),
        ("REQUESTED", b"", ",", []),
        ("REQUESTED", b"x", ",", ["env.tampered"]),
        ("uv_cache.json", b"{}", f"{urlsafe(b'{}')},2", []),
        ("uv_cache.json", b"x" * 100_000, ",", ["env.tampered"]),
        ("RECORD.jws", b"x", None, []),
    ],
)
def test_files_of_installers_are_held_to_their_rows(
    place: Place, name: str, data: bytes, row: str | None, codes: list[str]
) -> None:
    """A file with its row is right; one without a row, with other bytes, or with what no installer writes is not."""
    assert found(place, name, data, row) == codes


def test_beside_site_packages_there_is_nothing(tmp_path: Path) -> None:
    """Libraries of other Pythons and strangers are told; what wheels bring there, and other directories, are not."""
    for path in (SITE, "lib/python3.8/site-packages", "lib/pypy3.9", "lib/cmake", "lib/python3.12/brought"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "lib/python3.12/evil.py").write_bytes(b"")
    (tmp_path / "lib64").symlink_to("lib")
    told = check_neighbours(str(tmp_path), LAYOUT, ["lib/python3.12/brought/x", f"{SITE}/six.py"])
    assert [finding.path for finding in told] == ["lib/pypy3.9", "lib/python3.12/evil.py", "lib/python3.8"]
    assert places(LAYOUT) == ("lib/python3.12", "lib")


def test_an_environment_without_a_library_has_no_neighbours(tmp_path: Path) -> None:
    """Where the directories are not there, nothing is found."""
    assert list(check_neighbours(str(tmp_path), LAYOUT, ())) == []
