"""RECORD: its rows, and the content digest that they imply."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import EnvidError, InvalidRecord, TooLarge, UnsafePath
from envid.installed import record
from envid.installed.record import RecordRow, content_digest_from_record, digest_places, parse_record

SHA = hashlib.sha256(b"x").hexdigest()
B64 = base64.urlsafe_b64encode(bytes.fromhex(SHA)).decode().rstrip("=")
SITE = "lib/python3.12/site-packages"
GOLDEN = "e5acddcb25c8016a6b6c66a7e2dec8ad876f186d0fd7a63f3e69e0248afb53b0"


def digest_of(
    *rows: RecordRow, name: str = "demo", launchers: tuple[str, ...] = (), tails: dict[str, str] | None = None
) -> str | None:
    return content_digest_from_record(
        rows, site_packages=SITE, name=name, launchers=launchers, script_tail=(tails or {}).get
    )


def row(path: str, sha256: str = SHA) -> RecordRow:
    return RecordRow(path, sha256, 1)


names = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and name[1:2] != ":"
)
odd_names = st.sampled_from(["a,b", 'q"q', "l\u2028s", "n\x85l", " pad ", "é", ".hidden", "a..b"])
paths = st.lists(st.one_of(names, odd_names), min_size=1, max_size=4).map("/".join)
rows = st.lists(
    st.builds(
        RecordRow, paths, st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex)),
        st.one_of(st.none(), st.integers(0, 10**14)),
    ),
    max_size=8, unique_by=lambda found: found.path,
)  # fmt: skip


def written(found: list[RecordRow]) -> bytes:
    """Write rows as ``csv`` and the installers do."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for path, sha256, size in found:
        digest = base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")
        writer.writerow((path, f"sha256={digest}" if sha256 else "", "" if size is None else size))
    return stream.getvalue().encode()


@given(rows)
def test_rows_survive_writing(found: list[RecordRow]) -> None:
    """Rows written with ``csv`` are read back, whatever is in their names."""
    assert parse_record(written(found)) == tuple(found)


@given(rows)
def test_both_readers_agree(found: list[RecordRow]) -> None:
    """The quick reader gives what the careful one gives, or leaves it to that one."""
    text = written(found).decode()
    quick = record._plain_rows(text)
    assert quick is None or quick == list(record._careful_rows(text))


@given(st.binary(max_size=300))
def test_noise_never_escapes(data: bytes) -> None:
    """Any bytes are rows or one of our errors."""
    with contextlib.suppress(InvalidRecord, UnsafePath):
        parse_record(data)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("/etc/passwd,,\n", UnsafePath), ("a/../../b,,\n", UnsafePath), ("a//b,,\n", UnsafePath),
        ("./a,,\n", UnsafePath),
        ("../" * 9 + "x,,\n", UnsafePath), ("C:/x,,\n", UnsafePath), ("a\\b,,\n", UnsafePath), ("a/,,\n", UnsafePath),
        (".,,\n", UnsafePath), ("..,,\n", UnsafePath), (",,\n", UnsafePath), ("a" * 300 + ",,\n", UnsafePath),
        ("a\x01,,\n", UnsafePath), ('"a\nb",,\n', UnsafePath), ("a\0,,\n", UnsafePath),
        ("é" * 200 + ",,\n", UnsafePath),
        ("a\n", InvalidRecord), ("a,\n", InvalidRecord), ("a,,,\n", InvalidRecord), ('"a,,\n', InvalidRecord),
        ("a,md5,\n", InvalidRecord), ("a,sha256=short,1\n", InvalidRecord), (f"a,sha256={B64}x,1\n", InvalidRecord),
        (f"a,sha256={B64},-1\n", InvalidRecord), (f"a,sha256={B64},1e9\n", InvalidRecord),
        (f"a,sha256={B64},\u0661\n", InvalidRecord), (f"a,sha256={B64},{'9' * 16}\n", InvalidRecord),
        (f"a,sha256={B64},1\na,,\n", InvalidRecord),
    ],
)  # fmt: skip
def test_hostile_rows_are_refused(text: str, error: type[EnvidError]) -> None:
    """A row that leaves the environment, or that no installer writes, refuses the RECORD."""
    with pytest.raises(error):
        parse_record(text.encode())
    with pytest.raises(error):
        parse_record(f"fine.py,sha256={B64},1\n{text}last.py,,\n".encode())


def test_spellings_that_are_accepted() -> None:
    """Padding, hexadecimal, other algorithms, CRLF, no last line end and repeated rows are all read."""
    upper = SHA.upper()
    data = f"a,sha256={B64}=,1\r\nb,sha256={upper},\r\nc,sha512={'x' * 86},2\r\na,sha256={B64}=,1\r\nd,sha256={B64},3"
    assert parse_record(data.encode()) == (
        RecordRow("a", SHA, 1), RecordRow("b", SHA, None), RecordRow("c", "", 2), RecordRow("d", SHA, 3),
    )  # fmt: skip


def test_last_row_of_an_installers_file_counts() -> None:
    """uv and pip leave the wheel's own row for a file they overwrite; that is no contradiction."""
    data = f"x-1.dist-info/INSTALLER,sha256={B64},1\nx-1.dist-info/INSTALLER,,4\nx/__pycache__/a.cpython-312.pyc,,\n"
    assert parse_record(data.encode())[0] == RecordRow("x-1.dist-info/INSTALLER", "", 4)


def test_not_utf8_and_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 are InvalidRecord, too many are TooLarge."""
    with pytest.raises(InvalidRecord, match="UTF-8"):
        parse_record(b"\xff,,\n")
    monkeypatch.setattr(record, "MAX_RECORD", 10)
    with pytest.raises(TooLarge):
        parse_record(b"0123456789a,,\n")


# --- content digest ---------------------------------------------------------------------------


def test_places_are_canonical() -> None:
    """Each row counts in the place that docs/contents.md gives it, whatever the Python and the layout."""
    found = digest_of(
        row("demo/a.py"), row("../../../bin/tool"), row("../../../share/x"), row("../../../etc/y"),
        row("../../../include/site/python3.12/Demo/d.h"), row("../../../include/site/python3.12/other/d.h"),
        row("../../python3.12/site-packages/via.py"), row("../../../bin/py", "0" * 64), tails={"py": "f" * 64},
    )  # fmt: skip
    form = f"sha256:{SHA}"
    assert found == digest_places([
        ("lib/demo/a.py", form), ("bin/tool", form), ("data/share/x", form), ("data/etc/y", form),
        ("include/d.h", form),
        ("data/include/site/python3.12/other/d.h", form), ("lib/via.py", form), ("bin/py", "script:" + "f" * 64),
    ])  # fmt: skip


def test_rows_of_the_installer_do_not_count() -> None:
    """INSTALLER and its like, bytecode, launchers and scripts that gave way to one leave the digest alone."""
    info = "demo-1.0.dist-info"
    extra = [
        *(RecordRow(f"{info}/{name}", "", None) for name in record.INSTALLER_FILES),
        RecordRow("demo/__pycache__/a.cpython-312.pyc", "", None), row("__pycache__/b.cpython-313.opt-1.pyc"),
        row("../../../bin/__pycache__/tool.cpython-312.pyc"), row("../../../share/__pycache__/x.cpython-312.pyc", ""),
        row("../../../bin/demo"), row("demo-1.0.data/scripts/demo-script.py"),
    ]  # fmt: skip
    plain = digest_of(row("demo/a.py"), launchers=("demo",))
    assert digest_of(*extra, row("demo/a.py"), launchers=("demo",)) == plain


@pytest.mark.parametrize(
    "extra",
    [
        row("demo/b.py"), row("demo/b.pyc"), row("demo/__pycache__/b.py"), row("evil.pth"),
        row("sub/x.dist-info/INSTALLER"),
        row("../../../bin/other"), row("demo-1.0.data/scripts/other"), row("demo-1.0.dist-info/other.json"),
        row("../../../sitecustomize.py"),
    ],
)  # fmt: skip
def test_every_other_row_counts(extra: RecordRow) -> None:
    """A row that is not known to be an installer's changes the digest."""
    assert digest_of(row("demo/a.py"), extra, launchers=("demo",)) != digest_of(row("demo/a.py"), launchers=("demo",))


def test_pips_own_launchers_do_not_count() -> None:
    """``pip3.12`` is in no entry point, yet every installer makes it for pip, and for pip alone."""
    extra = row("../../../bin/pip3.12")
    assert digest_of(row("a"), extra, name="pip") == digest_of(row("a"), name="pip")
    assert digest_of(row("a"), extra) != digest_of(row("a"))


def test_unknown_bytes_give_no_digest() -> None:
    """Where a row has no sha256 there is no digest, rather than one of a claim."""
    assert digest_of(row("demo/a.py"), row("demo/b.py", "")) is None


def test_rows_outside_the_environment_are_refused() -> None:
    """A row that climbs above the environment is UnsafePath."""
    with pytest.raises(UnsafePath):
        digest_of(row("../../../../x"))


@given(st.permutations([f"p/{n}.py" for n in range(6)]))
def test_order_does_not_matter(order: list[str]) -> None:
    """Rows in any order give one digest."""
    assert digest_of(*map(row, order)) == digest_of(*map(row, sorted(order)))


def test_golden_digest() -> None:
    """The digest of a fixed set of lines never changes."""
    assert digest_places([("lib/a.py", f"sha256:{SHA}"), ("bin/s", "script:" + "0" * 64)]) == GOLDEN
