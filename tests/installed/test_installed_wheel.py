"""Wheels, honest and hostile: what is read of them, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from unicodedata import normalize

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.errors import DigestMismatch, EnvidError, InvalidWheel, TooLarge, UnsafePath
from envid.installed import archive, wheel
from envid.installed.wheel import read_contents
from envid.values.artifact import Sha256
from envid.values.contents import ContentEntry, EntryPoint, WheelContents
from wheels import PROGRAM, SYMLINK, make_wheel, sha256_of, wheel_files, write_zip

NAME = "demo-1.0-py3-none-any.whl"


def contents_of(path: Path, filename: str | None = None) -> WheelContents:
    return read_contents(path, filename=filename or path.name, sha256=Sha256(sha256_of(path)))


def by_place(contents: WheelContents) -> dict[str, ContentEntry]:
    return {f"{entry.scheme}/{entry.path}": entry for entry in contents.entries}


def members(**changes: bytes | None) -> dict[str, bytes]:
    """Return the members of an honest wheel with some replaced, added, or (``None``) left out."""
    files = wheel_files("demo", "1.0")
    return {**{k: v for k, v in files.items() if changes.get(k, v) is not None},
            **{k: v for k, v in changes.items() if v is not None}}  # fmt: skip


def hostile(tmp_path: Path, extra: dict[str, bytes], **modes: int) -> Path:
    return write_zip(tmp_path / NAME, [*extra.items(), *members().items()], modes=modes)


def test_every_file_gets_digests_of_its_bytes(tmp_path: Path) -> None:
    """sha256, BLAKE3 and size of every entry are those of the member's bytes, in its installed place."""
    files = {"demo/__init__.py": b"x = 1\n", "demo/é.txt": b"\0" * 70_000, "demo/empty": b""}
    contents = contents_of(make_wheel(tmp_path, "demo", "1.0", files=files, purelib=False))
    found = by_place(contents)
    for path, body in files.items():
        entry = found[f"platlib/{path}"]
        assert (entry.sha256, entry.blake3, entry.size) == (
            hashlib.sha256(body).hexdigest(), blake3(body).hexdigest(), len(body),
        )  # fmt: skip
    assert contents.name == "demo"
    assert contents.version == "1.0"
    assert contents.dist_info == "demo-1.0.dist-info"
    assert contents.notes == ()


def test_schemes_scripts_and_modes(tmp_path: Path) -> None:
    """Data directories map to their schemes, ``#!python`` scripts carry the digest of their tail, modes are kept."""
    path = make_wheel(
        tmp_path, "Demo_Pkg", "1.0",
        files={"demo/run.sh": b"#!/bin/sh\n"},
        scripts={"plain": b"#!/bin/sh\n", "py": b"#!python -u\nprint(1)\n", "pyw": b"#!pythonw", "elf": b"\x7fELF"},
        data={"share/x": b"1"},
        headers={"x.h": b"2"},
        modes={"demo/run.sh": PROGRAM},
    )  # fmt: skip
    found = by_place(contents_of(path))
    assert found["purelib/demo/run.sh"].executable
    assert not found["scripts/plain"].python_script
    assert not found["scripts/elf"].python_script
    assert found["scripts/py"].python_script
    assert found["scripts/py"].tail_blake3 == blake3(b"print(1)\n").hexdigest()
    assert found["scripts/pyw"].tail_blake3 == blake3(b"").hexdigest()
    assert found["data/share/x"].size == 1
    assert found["headers/x.h"].size == 1


def test_installer_files_are_not_entries(tmp_path: Path) -> None:
    """RECORD, its signatures and files that installers write are not contents, even when the wheel ships them."""
    info = "demo-1.0.dist-info"
    files = {"demo.py": b"", f"{info}/INSTALLER": b"me", f"{info}/RECORD.jws": b""}
    path = make_wheel(tmp_path, "demo", "1.0", files=files)
    assert {entry.path for entry in contents_of(path).entries} == {"demo.py", f"{info}/METADATA", f"{info}/WHEEL"}


def test_script_under_a_launcher_is_not_installed(tmp_path: Path) -> None:
    """A wheel's script that an entry point replaces is no entry, as in pip and uv."""
    path = make_wheel(
        tmp_path, "demo", "1.0", scripts={"demo": b"#!python\n", "demo-script.py": b"#!python\n", "other": b"x"},
        entry_points="[console_scripts]\ndemo = demo:main\n",
    )  # fmt: skip
    assert [entry.path for entry in contents_of(path).entries if entry.scheme == "scripts"] == ["other"]


def test_entry_points_are_read(tmp_path: Path) -> None:
    """Console and GUI scripts are listed, other groups are not."""
    text = "[console_scripts]\n  b = m.n:C.run [extra]\n# no\n[other]\nx = nonsense here\n[gui_scripts]\na=m:f\n"
    contents = contents_of(make_wheel(tmp_path, "demo", "1.0", entry_points=text))
    assert contents.entry_points == (
        EntryPoint(script="a", module="m", attribute="f", gui=True),
        EntryPoint(script="b", module="m.n", attribute="C.run"),
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("../evil = m:f", UnsafePath), ("a/b = m:f", UnsafePath), ("a\\b = m:f", UnsafePath), (".. = m:f", UnsafePath),
        ("= m:f", UnsafePath), ("a\0b = m:f", UnsafePath), ("x = m", InvalidWheel), ("x = m:f()", InvalidWheel),
        ("x = m:f; import os", InvalidWheel), ("x = m.:f", InvalidWheel), ("x", InvalidWheel),
        ("x = m:f\nx = m:g", InvalidWheel), ("x = m : f\n[console_scripts]\n../y=m:f", UnsafePath),
    ],
)  # fmt: skip
def test_hostile_entry_points_are_refused(tmp_path: Path, line: str, error: type[EnvidError]) -> None:
    """An entry point that is a path, or whose text would become code, is refused."""
    path = make_wheel(tmp_path, "demo", "1.0", entry_points=f"[console_scripts]\n{line}\n")
    with pytest.raises(error):
        contents_of(path)


HOSTILE_NAMES = [
    "../evil.py", "/etc/evil", "demo/../../evil", "C:/evil", "c:evil", "demo\\evil.py", "demo//x", "./x", "demo/./x",
    "x\x01y", "x\ny", "x\x7fy", "a" * 256, "/".join(["d" * 200] * 6), "", "demo-1.0.data/data/../../x",
    "demo-1.0.data/scripts/../x",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    """A member whose name leaves its directory, or could not be written safely, refuses the wheel."""
    with pytest.raises(UnsafePath):
        contents_of(hostile(tmp_path, {name: b"x"}))


def test_name_cut_at_nul_is_refused(tmp_path: Path) -> None:
    """A NUL in a name, at which some readers stop, refuses the wheel."""
    path = hostile(tmp_path, {"demo/aXb.py": b"x"})
    path.write_bytes(path.read_bytes().replace(b"demo/aXb.py", b"demo/a\0b.py"))
    with pytest.raises(UnsafePath, match="control"):
        contents_of(path)


@pytest.mark.parametrize("flagged", [True, False])
def test_name_that_is_not_utf8_is_refused(tmp_path: Path, flagged: bool) -> None:
    """A name that is not UTF-8, or not marked as such, means different files to different installers."""
    path = hostile(tmp_path, {"demo/é.py": b"x"})
    data = path.read_bytes()
    raw = "é".encode()
    data = data.replace(raw, b"\xff\xfe") if flagged else unflag_utf8(data)
    path.write_bytes(data)
    with pytest.raises(UnsafePath, match="UTF-8"):
        contents_of(path)


def unflag_utf8(data: bytes) -> bytes:
    changed = bytearray(data)
    for magic, offset in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        at = changed.find(magic)
        while at >= 0:
            changed[at + offset] &= ~0x08 & 0xFF
            at = changed.find(magic, at + 4)
    return bytes(changed)


@pytest.mark.parametrize(
    "names",
    [("demo/x.py", "demo/x.py"), ("demo/\u00e9", "demo/e\u0301"), ("demo/x", "demo/x/y"), ("demo/x/", "demo/x")],
)
def test_names_that_are_one_file_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two members of one name, of one normal form, or a file that is also a directory, refuse the wheel."""
    bodies = [(name, b"" if name.endswith("/") else b"x") for name in names]
    modes = {name: 0o040755 for name in names if name.endswith("/")}
    path = write_zip(tmp_path / NAME, [*bodies, *members().items()], modes=modes)
    with pytest.raises(UnsafePath):
        contents_of(path)


def test_names_that_differ_in_case_are_noted(tmp_path: Path) -> None:
    """Case-only differences are files of their own here; the note tells that elsewhere they are not."""
    contents = contents_of(hostile(tmp_path, {"demo/A.py": b"1", "demo/a.py": b"2"}))
    assert "case: lib/demo/a.py" in contents.notes


@pytest.mark.parametrize("mode", [SYMLINK, 0o020666, 0o060666, 0o010644, 0o140755])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    """A symbolic link, a device, a pipe or a socket in a wheel refuses it."""
    with pytest.raises(UnsafePath, match="link or a device"):
        contents_of(hostile(tmp_path, {"demo/l": b"/etc/passwd"}, **{"demo/l": mode}))


def test_two_places_that_are_one_are_refused(tmp_path: Path) -> None:
    """Root and data directory installing different bytes to one place refuse the wheel; equal bytes are noted."""
    twice = {"demo-1.0.data/purelib/demo/__init__.py": b"other"}
    with pytest.raises(UnsafePath, match="two files become one"):
        contents_of(hostile(tmp_path, twice))
    equal = {"demo-1.0.data/purelib/demo/__init__.py": members()["demo/__init__.py"]}
    assert any(note.startswith("twice: ") for note in contents_of(hostile(tmp_path, equal)).notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"demo-1.0.dist-info/WHEEL": None}, {"demo-1.0.dist-info/METADATA": None}, {"demo-1.0.dist-info/RECORD": None},
        {"other-1.0.dist-info/METADATA": b""}, {"demo-1.0.data/purelib/other-1.dist-info/METADATA": b""},
        {"demo-1.0.data/nowhere/x": b""}, {"demo-1.0.data/x": b""}, {"other-2.data/data/x": b""},
        {"demo-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"},
        {"demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n"},
        {"demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"},
        {"demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.1\n"},
        {"demo-1.0.data/scripts/s": b"#!python" + b" " * 3_000_000 + b"\n"},
    ],
)  # fmt: skip
def test_wheels_out_of_form_are_refused(tmp_path: Path, changes: dict[str, bytes | None]) -> None:
    """A wheel without its parts, or with two distributions in it, is InvalidWheel."""
    with pytest.raises(InvalidWheel):
        contents_of(write_zip(tmp_path / NAME, members(**changes).items()))


@pytest.mark.parametrize(
    "filename",
    ["demo-1.1-py3-none-any.whl", "demo2-1.0-py3-none-any.whl", "demo-1.0.whl", "demo-1.0-py3-none-any.zip", "x/y.whl"],
)
def test_wheel_under_another_name_is_refused(tmp_path: Path, filename: str) -> None:
    """The .dist-info must be the one that the file name promises."""
    with pytest.raises(InvalidWheel):
        contents_of(make_wheel(tmp_path, "demo", "1.0"), filename)


@pytest.mark.parametrize(
    ("inner", "filename"),
    [
        ("Demo.Pkg", "demo_pkg-1.0-py3-none-any.whl"), ("demo_pkg", "Demo.Pkg-1.0-1-py3-none-any.whl"),
        ("Demo-Pkg", "demo_pkg-1.0.0-py3-none-any.whl"), ("demo_pkg", "demo_pkg-1.0-1_build-py2.py3-none-any.whl"),
    ],
)  # fmt: skip
def test_spelling_of_names_does_not_matter(tmp_path: Path, inner: str, filename: str) -> None:
    """Old wheels spell the .dist-info otherwise than the file name: equal in normal form is equal."""
    version = "1.0.0" if "1.0.0" in filename else "1.0"
    contents = contents_of(make_wheel(tmp_path, inner, version), filename)
    assert contents.name == "demo-pkg"
    assert contents.version == version


def test_wrong_record_is_noted_not_believed(tmp_path: Path) -> None:
    """A wheel whose RECORD lies is accepted with notes, with the digests of its real bytes."""
    record = b"demo/__init__.py,sha256=" + b"A" * 43 + b",6\ngone.py,,\n"
    contents = contents_of(make_wheel(tmp_path, "demo", "1.0", record_override=record))
    assert by_place(contents)["purelib/demo/__init__.py"].sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
    assert "record-hash: demo/__init__.py" in contents.notes
    assert "record-extra: gone.py" in contents.notes
    assert "record-missing: demo-1.0.dist-info/METADATA" in contents.notes
    honest = contents_of(make_wheel(tmp_path / "b", "demo", "1.0"))
    assert contents.digest == honest.digest


def test_wrong_digest_is_refused(tmp_path: Path) -> None:
    """A file without the sha256 of the lock is DigestMismatch, whatever is in it."""
    path = make_wheel(tmp_path, "demo", "1.0")
    with pytest.raises(DigestMismatch):
        read_contents(path, filename=path.name, sha256=Sha256("0" * 64))


def test_streams_are_read_as_files_are(tmp_path: Path) -> None:
    """A binary stream gives what its path gives, also one too large for memory."""
    path = make_wheel(tmp_path, "demo", "1.0")
    expected = contents_of(path)
    assert read_contents(io.BytesIO(path.read_bytes()), filename=path.name, sha256=None) == expected


def test_large_wheels_are_read_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that is not read into memory gives the same contents."""
    path = make_wheel(tmp_path, "demo", "1.0")
    expected = contents_of(path)
    monkeypatch.setattr(wheel, "IN_MEMORY", 10)
    assert contents_of(path) == expected


# --- archives ---------------------------------------------------------------------------------


def patched(path: Path, change: Callable[[bytearray], object]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def central(data: bytearray, index: int = 0) -> int:
    """Return the offset of a central directory entry."""
    at = -1
    for _ in range(index + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


def put(offset: int, form: str, value: int) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into(form, data, central(data) + offset, value)


ARCHIVE_TRICKS: dict[str, Callable[[bytearray], object]] = {
    "bytes after the end": lambda data: data.extend(b"garbage"),
    "a second archive after the end": lambda data: data.extend(data[:]),
    "bytes before the start": lambda data: data.__setitem__(slice(0, 0), b"MZ"),
    "cut short": lambda data: data.__delitem__(slice(len(data) - 30, None)),
    "half of it": lambda data: data.__delitem__(slice(len(data) // 2, None)),
    "empty": lambda data: data.clear(),
    "encrypted": put(8, "<H", 1),
    "another method": put(10, "<H", 14),
    "another size": put(24, "<L", 5),
    "a size that would fill the disk": put(24, "<L", 0xFFFFFFF0),
    "another CRC": put(16, "<L", 1),
    "another compressed size": put(20, "<L", 3),
    "an offset beyond": put(42, "<L", 0xFFFFFF),
    "an offset of another member": lambda data: struct.pack_into("<L", data, central(data, 1) + 42, 0),
    "another local name": lambda data: data.__setitem__(slice(30, 34), b"evil"),
    "damaged data": lambda data: data.__setitem__(data.index(b"PK\x03\x04") + 48, data[48] ^ 0xFF),
    "fewer entries at the end": lambda data: struct.pack_into("<HH", data, len(data) - 14, 1, 1),
    "more entries at the end": lambda data: struct.pack_into("<HH", data, len(data) - 14, 99, 99),
    "a directory elsewhere": lambda data: struct.pack_into("<L", data, len(data) - 6, 7),
    "several disks": lambda data: struct.pack_into("<H", data, len(data) - 18, 1),
}


@pytest.mark.parametrize("trick", ARCHIVE_TRICKS)
def test_archives_of_two_meanings_are_refused(tmp_path: Path, trick: str) -> None:
    """What zip readers disagree about, or what is damaged, is InvalidWheel."""
    path = patched(make_wheel(tmp_path, "demo", "1.0"), ARCHIVE_TRICKS[trick])
    with pytest.raises((InvalidWheel, TooLarge)):
        contents_of(path)


def test_member_outside_the_directory_is_refused(tmp_path: Path) -> None:
    """A file that only a reader of local headers would see is hidden bytes."""
    path = make_wheel(tmp_path, "demo", "1.0")
    data = path.read_bytes()
    first = data.index(b"PK\x03\x04", 4)
    start = struct.unpack_from("<L", data, len(data) - 6)[0]
    shift = len(data[:first])
    body = bytearray(data[:first] + data)
    body[len(body) - 6 : len(body) - 2] = struct.pack("<L", start + shift)
    at = body.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<L", body, at + 42, struct.unpack_from("<L", body, at + 42)[0] + shift)
        at = body.find(b"PK\x01\x02", at + 4)
    path.write_bytes(body)
    assert zipfile.ZipFile(path).testzip() is None
    with pytest.raises(InvalidWheel, match="hidden bytes"):
        contents_of(path)


def test_streamed_and_zip64_archives_are_read(tmp_path: Path) -> None:
    """Data descriptors and zip64 fields, as streaming builders write them, are understood."""

    class Unseekable(io.RawIOBase):
        def __init__(self, stream: BinaryIO) -> None:
            self.stream = stream

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            return self.stream.write(data)

        def flush(self) -> None:
            self.stream.flush()

    expected = contents_of(make_wheel(tmp_path / "a", "demo", "1.0")).digest
    for force in (False, True):
        path = tmp_path / NAME
        with open(path, "wb") as stream, zipfile.ZipFile(Unseekable(stream), "w", zipfile.ZIP_DEFLATED) as made:
            for name, body in members().items():
                with made.open(zipfile.ZipInfo(name), "w", force_zip64=force) as member:
                    member.write(body)
        assert contents_of(path).digest == expected


def test_zip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that unpacks to hundreds of times its size is TooLarge before it is unpacked whole."""
    monkeypatch.setattr(archive, "RATIO_APPLIES", 4 * 1024 * 1024)
    with pytest.raises(TooLarge):
        contents_of(hostile(tmp_path, {f"demo/{n}": b"\0" * 1024 * 1024 for n in range(16)}))


def test_giant_metadata_is_refused(tmp_path: Path) -> None:
    """METADATA of 100 MB is TooLarge without being read."""
    files = members(**{"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\n" + b"\n" * 100_000_000})
    with pytest.raises(TooLarge):
        contents_of(write_zip(tmp_path / NAME, files.items()))


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members than any honest wheel has are TooLarge."""
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(TooLarge):
        contents_of(make_wheel(tmp_path, "demo", "1.0"))


def test_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """A wheel that cannot be read is InvalidWheel, not a traceback."""
    with pytest.raises(InvalidWheel, match="cannot read"):
        read_contents(tmp_path / NAME, filename=NAME, sha256=None)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_escapes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes of a wheel are changed, the answer is contents or one of our errors."""
    made = make_wheel(tmp_path_factory.getbasetemp() / "fuzz", "demo", "1.0", scripts={"s": b"#!python\nx\n"})
    body = bytearray(made.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidWheel, UnsafePath, TooLarge):
        read_contents(io.BytesIO(bytes(body)), filename=made.name, sha256=None)


def test_digest_depends_on_places_and_bytes_alone(tmp_path: Path) -> None:
    """Order, compression, modes, RECORD and the tail-less first line of scripts do not change the content digest."""
    one = make_wheel(tmp_path / "a", "demo", "1.0", scripts={"s": b"#!python\nx\n"})
    files = wheel_files("demo", "1.0", scripts={"s": b"#!python3.9 -u\nx\n"})
    files["demo-1.0.dist-info/RECORD"] = b""
    two = write_zip(tmp_path / "b" / NAME, reversed(files.items()), modes={"demo/__init__.py": PROGRAM})
    three = make_wheel(tmp_path / "c", "demo", "1.0", scripts={"s": b"#!python\ny\n"})
    assert contents_of(one).digest == contents_of(two).digest != contents_of(three).digest


def test_second_implementation_agrees(tmp_path: Path) -> None:
    """The content digest, computed from docs/contents.md with zipfile and hashlib alone, is the same."""
    path = make_wheel(
        tmp_path, "Demo_Pkg", "1.0",
        files={"demo/a.py": b"1", "demo/__pycache__/a.cpython-312.pyc": b"2", "demo/b.pyc": b"3", "é.py": b"4",
               "Demo_Pkg-1.0.dist-info/INSTALLER": b"5"},
        scripts={"run": b"#!python\nx\n", "plain": b"#!/bin/sh\n", "tool": b"#!python\n"},
        data={"share/x": b"6", "bin/y": b"#!python\n", "lib/python3.9/site-packages/z.py": b"7",
              "include/site/python3.9/demo.pkg/i.h": b"8", "include/other/i.h": b"9"},
        headers={"h.h": b"10"},
        entry_points="[console_scripts]\ntool = demo.a:main\n",
    )  # fmt: skip
    sha = {name: hashlib.sha256(body).hexdigest() for name, body in unzipped(path).items()}
    info, data = "Demo_Pkg-1.0.dist-info", "Demo_Pkg-1.0.data"
    lines = {
        "lib/demo/a.py": sha["demo/a.py"], "lib/demo/b.pyc": sha["demo/b.pyc"], "lib/é.py": sha["é.py"],
        f"lib/{info}/METADATA": sha[f"{info}/METADATA"], f"lib/{info}/WHEEL": sha[f"{info}/WHEEL"],
        f"lib/{info}/entry_points.txt": sha[f"{info}/entry_points.txt"],
        "bin/plain": sha[f"{data}/scripts/plain"], "bin/y": sha[f"{data}/data/bin/y"],
        "data/share/x": sha[f"{data}/data/share/x"],
        "lib/z.py": sha[f"{data}/data/lib/python3.9/site-packages/z.py"],
        "include/i.h": sha[f"{data}/data/include/site/python3.9/demo.pkg/i.h"],
        "data/include/other/i.h": sha[f"{data}/data/include/other/i.h"], "include/h.h": sha[f"{data}/headers/h.h"],
    }  # fmt: skip
    forms = {**{place: f"sha256:{digest}" for place, digest in lines.items()},
             "bin/run": f"script:{blake3(b'x' + bytes([10])).hexdigest()}"}  # fmt: skip
    text = b"".join(sorted(f"{place}\0{form}\n".encode() for place, form in forms.items()))
    assert contents_of(path).digest == blake3(text, derive_key_context="envid-contents/1").hexdigest()


def unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def in_zip64(data: bytes, *, extent: int = 44, disks: int = 1, count: int | None = None) -> bytes:
    """Return the archive with its end in zip64 form, as for more than 65,535 members."""
    _, _, _, _, members_count, length, start, _ = struct.unpack("<4s4H2LH", data[-22:])
    count = members_count if count is None else count
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", extent, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, disks)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, length, start, 0)
    return data[:-22] + record + locator + end


def test_zip64_end_is_read(tmp_path: Path) -> None:
    """The end record of large archives is understood, and refused where it contradicts itself."""
    path = make_wheel(tmp_path, "demo", "1.0")
    data, expected = path.read_bytes(), contents_of(path)
    path.write_bytes(in_zip64(data))
    assert zipfile.ZipFile(path).testzip() is None
    assert contents_of(path).digest == expected.digest
    for wrong in (in_zip64(data, extent=45), in_zip64(data, disks=2), in_zip64(data, count=9)):
        path.write_bytes(wrong)
        with pytest.raises(InvalidWheel):
            contents_of(path)
    whole = bytearray(in_zip64(data))
    struct.pack_into("<Q", whole, len(whole) - 22 - 12, 2**60)
    path.write_bytes(whole)
    with pytest.raises(InvalidWheel):
        contents_of(path)


EXTRAS: dict[str, bytes] = {
    "a second name": struct.pack("<HH", 0x7075, 5) + b"\1\0\0\0\0",
    "an extra field that does not end": struct.pack("<HH", 1, 99),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_hostile_extra_fields_are_refused(tmp_path: Path, extra: str) -> None:
    """An extra field that gives a file two names, or is damaged, refuses the wheel."""
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as made:
        for name, body in members().items():
            info = zipfile.ZipInfo(name)
            info.extra = EXTRAS[extra]
            made.writestr(info, body)
    with pytest.raises(InvalidWheel):
        contents_of(path)


def test_directory_with_contents_is_refused(tmp_path: Path) -> None:
    """A name that ends in a slash and has bytes is a file to one reader and a directory to another."""
    with pytest.raises(InvalidWheel, match="directory with contents"):
        contents_of(hostile(tmp_path, {"demo/d/": b"x"}))
    honest = write_zip(tmp_path / "b" / NAME, [("demo/", b""), *members().items()], modes={"demo/": 0o040755})
    assert contents_of(honest).digest == contents_of(make_wheel(tmp_path / "c", "demo", "1.0")).digest


def test_many_notes_are_counted(tmp_path: Path) -> None:
    """Ten notes of a kind are kept; the rest is a number."""
    files = {f"demo/{n:02}.py": b"" for n in range(30)}
    contents = contents_of(make_wheel(tmp_path, "demo", "1.0", files=files, record_override=b""))
    assert len([note for note in contents.notes if note.startswith("record-missing")]) == 11
    assert "record-missing: and 22 more" in contents.notes
    unreadable = contents_of(make_wheel(tmp_path / "b", "demo", "1.0", record_override=b"\xff"))
    assert unreadable.notes == ("record: RECORD is not UTF-8: invalid start byte at byte 0",)


def test_entry_points_that_are_not_text(tmp_path: Path) -> None:
    """An entry_points.txt that is not UTF-8 is InvalidWheel."""
    with pytest.raises(InvalidWheel, match="UTF-8"):
        contents_of(hostile(tmp_path, {"demo-1.0.dist-info/entry_points.txt": b"\xff"}))


def test_versions_before_pep_440(tmp_path: Path) -> None:
    """A version that PEP 440 does not know is compared as text."""
    contents = contents_of(make_wheel(tmp_path, "demo", "2004d_x"))
    assert contents.version == "2004d-x"


def test_limits_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel, a member or a whole that is larger than the limits is TooLarge."""
    path = make_wheel(tmp_path, "demo", "1.0")
    for module, limit in ((wheel, "MAX_WHEEL"), (archive, "MAX_MEMBER"), (archive, "MAX_UNPACKED")):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 5)
            with pytest.raises(TooLarge):
                contents_of(path)


file_names = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\:"), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(file_names, st.binary(max_size=400), max_size=6))
def test_honest_archives_read_as_zipfile_reads_them(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """For any honest names and bytes, the entries are what ``zipfile`` finds, or the names clash and are refused."""
    inside = {f"demo/f{name}": body for name, body in files.items()}
    path = make_wheel(tmp_path_factory.getbasetemp() / "honest", "demo", "1.0", files=inside)
    clash = len({normalize("NFC", name) for name in inside}) < len(inside)
    if clash:
        with pytest.raises(UnsafePath):
            contents_of(path)
        return
    found = {entry.path: entry.sha256 for entry in contents_of(path).entries}
    read = {name: hashlib.sha256(body).hexdigest() for name, body in unzipped(path).items()}
    del read["demo-1.0.dist-info/RECORD"]
    assert found == read


@pytest.mark.parametrize(
    "members",
    [
        {"data": {"pyvenv.cfg": b"home = elsewhere"}},
        {"data": {"PyVenv.cfg": b"home = elsewhere"}},
        {"data": {"bin/python": b"#!/bin/sh"}},
        {"scripts": {"python3": b"#!/bin/sh"}},
        {"entry_points": "[console_scripts]\npython3.12 = evil:main\n"},
    ],
)
def test_the_environments_own_interpreter_is_no_wheels_to_replace(tmp_path: Path, members: dict[str, Any]) -> None:
    """A wheel that would put something in the place of pyvenv.cfg or of the interpreter is refused."""
    wheel = make_wheel(tmp_path, "evil", "1", **members)
    with pytest.raises(UnsafePath, match="own"):
        read_contents(wheel, filename=wheel.name, sha256=None)
