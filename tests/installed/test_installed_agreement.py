"""The quick comparison of an installed RECORD is never kinder than the content digest."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import InvalidRecord, UnsafePath
from envid.installed.agreement import agrees
from envid.installed.record import content_digest_from_record, parse_record
from envid.installed.wheel import read_contents
from envid.store.contents import ContentRows, load_rows, save
from envid.values.artifact import Sha256
from wheels import make_wheel, sha256_of, urlsafe

SITE = "lib/python3.12/site-packages"
ENTRY = "[console_scripts]\nx = x:main\n"
INSTALLED = (
    f"../../../bin/x,{urlsafe(b'launcher')},8",
    f"../../../bin/run,{urlsafe(b'echo')},4",
    f"../../../share/x/d.txt,{urlsafe(b'd')},1",
    f"x-1.data/scripts/x,{urlsafe(b'left out')},8",
    "x-1.dist-info/INSTALLER,,",
    "x-1.dist-info/RECORD,,",
    "x/__pycache__/a.cpython-312.pyc,,",
)
LAUNCHERS = frozenset({"x"})


def untouched(_: str) -> str | None:
    """No script here is one that an installer rewrote."""
    return None


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ContentRows:
    """Return the contents of a wheel with library files, a script, a data file and a script that gives way."""
    base = tmp_path_factory.mktemp("agreement")
    wheel = make_wheel(
        Path(base), "x", "1", files={"x/a.py": b"a = 1\n", "x/b.py": b"", "x.py": b"c\n"}, data={"share/x/d.txt": b"d"},
        scripts={"run": b"echo", "x": b"left out"}, entry_points=ENTRY,
    )  # fmt: skip
    digest = Sha256(sha256_of(wheel))
    save(base / "cache", read_contents(wheel, filename=wheel.name, sha256=digest))
    found = load_rows(base / "cache", digest)
    assert found is not None
    return found


def lines_of(rows: ContentRows) -> list[str]:
    """Return the lines of a right RECORD."""
    library = [
        f"{path},{urlsafe_hex(rows.sha256s[64 * row : 64 * row + 64])},{rows.sizes[row]}"
        for scheme, start, end in rows.schemes if scheme == "purelib"
        for row, path in enumerate(rows.paths[start:end], start)
    ]  # fmt: skip
    return [*library, *INSTALLED]


def urlsafe_hex(digest: str) -> str:
    """Return a sha256 in hexadecimal as RECORD spells it."""
    return "sha256=" + urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()


def quick(rows: ContentRows, data: bytes) -> bool:
    """Return the answer of the comparison of lines."""
    return agrees(data, rows, site_packages=SITE, launchers=LAUNCHERS, script_tail=untouched)


def slow(data: bytes) -> str | None:
    """Return the content digest."""
    try:
        return content_digest_from_record(
            parse_record(data), site_packages=SITE, name="x", launchers=LAUNCHERS, script_tail=untouched
        )
    except (InvalidRecord, UnsafePath):
        return None


def test_a_right_record_agrees(rows: ContentRows) -> None:
    """In any order, with or without a final line feed, both ways say yes."""
    lines = lines_of(rows)
    for text in ("\n".join(lines) + "\n", "\n".join(reversed(lines)), "\n".join([*lines, lines[0]]) + "\n"):
        assert slow(text.encode()) == rows.digest
        assert quick(rows, text.encode())


@given(st.data())
def test_agreement_implies_the_digest(rows: ContentRows, data: st.DataObject) -> None:
    """Whatever is done to the lines, an agreement that the digest does not confirm is never told."""
    lines = lines_of(rows)
    at = data.draw(st.integers(0, len(lines) - 1))
    change = data.draw(st.sampled_from(["drop", "twice", "edit", "swap", "add", "none"]))
    if change == "drop":
        del lines[at]
    elif change == "twice":
        lines.insert(at, lines[at])
    elif change == "edit":
        spot = data.draw(st.integers(0, len(lines[at])))
        lines[at] = lines[at][:spot] + data.draw(st.text('aA0/.,=_\r"', max_size=2)) + lines[at][spot + 1 :]
    elif change == "swap":
        other = data.draw(st.sampled_from(lines)).split(",")
        lines[at] = ",".join([lines[at].split(",")[0], *other[1:]])
    elif change == "add":
        more = ["x/c.py,,", f"x/a.py,{urlsafe(b'')},0", "../../../bin/y,,", "../../../../z,,"]
        lines.append(data.draw(st.sampled_from(more)))
    text = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if quick(rows, text):
        assert slow(text) == rows.digest


@given(st.binary(max_size=60))
def test_any_bytes_are_no_agreement(rows: ContentRows, data: bytes) -> None:
    """Garbage never agrees, and never fails."""
    assert not quick(rows, data)
