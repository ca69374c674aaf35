"""The form of an archive: what tar makes of ours, and what we make of anybody's."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.store import ustar
from envid.store.ustar import BLOCK, CutShort, Member, NoArchive, Reader

parts = st.text("abcXYZ019._-+", min_size=1, max_size=40).filter(lambda text: text.strip("."))
names = st.lists(parts, min_size=1, max_size=8).map("/".join).filter(lambda name: len(name.rpartition("/")[0]) < 155)
files = st.dictionaries(names, st.binary(max_size=1500), max_size=6)


def ours(members: dict[str, bytes]) -> bytes:
    body = b"".join(ustar.header(n, len(d)) + d + ustar.padding(len(d)) for n, d in members.items())
    return body + ustar.ending(len(body))


def theirs(members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def listed(data: bytes) -> list[tuple[Member, bytes]]:
    reader, found = Reader(io.BytesIO(data)), []
    while (member := reader.next()) is not None:
        found.append((member, b"".join(reader.chunks())))
    return found


def plain(data: bytes) -> dict[str, bytes]:
    return {member.name: content for member, content in listed(data) if member.kind == "file"}


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most, self._at = data, most, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self._data[self._at : self._at + min(size, self._most)]
        self._at += len(part)
        return part


@given(files)
def test_what_is_written_is_what_tarfile_writes(members: dict[str, bytes]) -> None:
    """Our archive is byte for byte the one that tarfile makes of the same files in its ustar form."""
    assert ours(members) == theirs(members)


@given(files, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT]))
def test_a_benign_archive_is_read_as_tarfile_reads_it(members: dict[str, bytes], form: int) -> None:
    """Of an archive of plain files, the reader and tarfile see the same names and bytes, but for pax extensions."""
    data = theirs(members, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        seen = {
            info.name: archive.extractfile(info).read()  # type: ignore[union-attr]
            for info in archive.getmembers()
            if not info.pax_headers
        }
    assert plain(data) == seen


@given(files, st.integers(1, 700))
def test_a_pipe_is_read_as_a_file_is(members: dict[str, bytes], most: int) -> None:
    """A stream that cannot seek, and gives less than is asked for, is read the same."""
    reader = Reader(Pipe(ours(members), most))  # type: ignore[arg-type]
    found: dict[str, bytes] = {}
    while (member := reader.next()) is not None:
        if len(found) % 2:
            assert reader.whole
        found[member.name] = b"".join(reader.chunks())
    assert found == members
    assert reader.length is None


def test_tar_lists_and_proves_ours(tmp_path: Path) -> None:
    """The tar command lists our archive and finds nothing to complain about, long names among them."""
    long = f"wheels-v1/ab/{'c' * 64}/{'d' * 77}/{'e' * 100}"
    path = tmp_path / "a.tar"
    path.write_bytes(ours({"a/b": b"1", long: b"22"}))
    done = subprocess.run(["tar", "-tf", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a/b", long]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "name", ["", "a" * 101, "d/" + "a" * 101, "a" * 156 + "/b", "a\0b", "/" + "a" * 100, "a" * 100 + "/"]
)
def test_a_name_that_the_form_cannot_carry_is_refused(name: str) -> None:
    """No header is made for a name that is empty, too long for its two fields, or holds a NUL."""
    with pytest.raises(ValueError, match="member"):
        ustar.header(name, 0)


@pytest.mark.parametrize("size", [-1, ustar.MAX_SIZE + 1])
def test_a_size_that_the_form_cannot_carry_is_refused(size: int) -> None:
    """No header is made for a size of more than eleven octal digits."""
    with pytest.raises(ValueError, match="bytes"):
        ustar.header("a", size)
    assert tarfile.TarInfo.frombuf(ustar.header("a", ustar.MAX_SIZE), "ascii", "strict").size == ustar.MAX_SIZE


def special(kind: bytes, *, name: str = "a/b", size: int = 0, link: str = "/etc/passwd") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_links_devices_and_directories_are_no_files(kind: bytes) -> None:
    """A link, a device, a directory or a pipe is told as such, and the file behind it read, whatever size it says."""
    data = special(kind, size=700) + ours({"next": b"1"})
    assert [(m.kind, content) for m, content in listed(data)] == [("other", b""), ("file", b"1")]


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"X"])
def test_what_an_extension_is_about_is_none_of_ours(kind: bytes) -> None:
    """A pax or GNU header is passed over together with the member that it renames, and the next is read again."""
    data = special(kind, size=600) + b"x" * 1024 + ours({"renamed": b"1", "next": b"2"})
    assert [m.kind for m, _ in listed(data)] == ["extension", "extension", "file"]
    assert plain(data) == {"next": b"2"}


@pytest.mark.parametrize("kind", [b"g", b"S", b"7", b"V", b"M", b"N", b"D", b"A", b"z", b"\xff"])
def test_other_kinds_of_members_are_passed_over(kind: bytes) -> None:
    """A global header, a sparse file, a volume and kinds that nobody knows are passed over with their bytes."""
    data = special(kind, size=600) + b"x" * 1024 + ours({"next": b"2"})
    assert [(m.kind, m.size) for m, _ in listed(data)] == [("extension", 600), ("file", 1)]


def test_gnu_headers_are_no_files() -> None:
    """A member in GNU's own form is none of ours: where ustar has the prefix of a name it has other things."""
    data = theirs({"a": b"1", "b" * 150: b"2"}, tarfile.GNU_FORMAT)
    assert {m.kind for m, _ in listed(data)} == {"extension"}


def test_a_real_long_pax_name_is_no_file() -> None:
    """Of tarfile's own pax archive, a member whose name is in an extension is passed over, and the others are read."""
    data = theirs({"a": b"1", "b" * 150: b"2", "c": b"3"}, tarfile.PAX_FORMAT)
    assert plain(data) == {"a": b"1", "c": b"3"}


@pytest.mark.parametrize("size", [10 * 1024**3, 2**63, 2**80])
def test_a_member_that_claims_more_than_there_is_ends_the_archive(size: int) -> None:
    """A member of 10 GB and more, of which nothing follows, is no more than an archive that was cut short."""
    block = bytearray(special(b"0"))
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    for stream in (io.BytesIO(bytes(block) + b"x" * 2048), Pipe(bytes(block) + b"x" * 2048, 512)):
        reader = Reader(stream)  # type: ignore[arg-type]
        member = reader.next()
        assert member is not None
        assert (member.kind, member.size) == ("extension", size)
        with pytest.raises(CutShort):
            reader.next()


def test_every_truncation_gives_what_was_whole() -> None:
    """Of an archive cut at any byte, every member before the cut is read, and the cut is told."""
    members = {"a": b"1" * 600, "b": b"", "c": b"3"}
    data = ours(members)
    ends = [1536, 2048, 3072]
    for cut in range(4096):
        reader, found = Reader(io.BytesIO(data[:cut])), 0
        with pytest.raises(NoArchive if cut < BLOCK else CutShort):
            while reader.next() is not None:
                b"".join(reader.chunks())
                found += 1
        assert found >= sum(cut >= end for end in ends)
    assert len(listed(data[:4096])) == 3


def test_every_flipped_bit_costs_one_member_at_most() -> None:
    """With any one bit flipped, all members but one are read as they were, and the reader comes to an end."""
    members = {"a": b"1" * 40, "b": b"2" * 600, "c": b"3"}
    data = bytearray(ours(members)[: 512 * 8 + 512])
    lost = set()
    for at in range(len(data) * 8):
        data[at // 8] ^= 1 << at % 8
        seen: dict[str, bytes] = {}
        try:
            seen = plain(bytes(data))
        except NoArchive:
            lost.add(at // 8)
        except CutShort:
            # The bit was in the end mark.
            assert at // 8 >= 512 * 7
            seen = members
        if at // 8 not in lost:
            assert sum(seen.get(name) == content for name, content in members.items()) >= 2
        data[at // 8] ^= 1 << at % 8
    # Only who flips the first five bytes that say what it is makes it no archive.
    assert lost == set(range(257, 262))


@given(st.binary(max_size=3000))
def test_bytes_that_are_no_archive_are_refused_at_once(data: bytes) -> None:
    """What does not begin as an archive is refused; blocks of zeros are an archive of nothing."""
    reader = Reader(io.BytesIO(data))
    if data[:BLOCK] != bytes(BLOCK):
        with pytest.raises(NoArchive):
            reader.next()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_archive_says_what_to_do(compress: Callable[[bytes], bytes]) -> None:
    """An archive that somebody compressed is told as such, with the command that helps."""
    with pytest.raises(NoArchive, match=r"compressed with \w+: .* -dc FILE \| envid"):
        Reader(io.BytesIO(compress(ours({"a": bytes(range(256)) * 9})))).next()
    with pytest.raises(NoArchive, match="empty"):
        Reader(io.BytesIO(b"")).next()


@settings(max_examples=200)
@given(files, st.lists(st.tuples(st.integers(0, 20000), st.binary(min_size=1, max_size=30)), max_size=5))
def test_a_mutated_archive_ends(members: dict[str, bytes], changes: list[tuple[int, bytes]]) -> None:
    """However an archive is mutated, reading it comes to an end, or says that it was cut short or is none."""
    data = bytearray(ours(members))
    for at, change in changes:
        at %= len(data)
        data[at : at + len(change)] = change
    try:
        total = sum(BLOCK + len(content) for _, content in listed(bytes(data)))
    except (CutShort, NoArchive):
        return
    assert total <= len(data)


def test_many_members_take_no_memory() -> None:
    """20,000 members and 10 MB of blocks that are no header are gone through in less than 1 MiB."""
    member = ustar.header("a/b", 1) + b"x" + ustar.padding(1)

    class Endless(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            place, self.at = self.at, self.at + size
            if place < 20_000 * len(member):
                return (member * 2)[place % len(member) :][:size]
            return b"y" * size if place < 20_000 * len(member) + 10_000_000 else bytes(size)

    reader, count = Reader(Endless()), 0  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        while reader.next() is not None:
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, reader.flaws) == (20_000, 1)
    assert peak < 1024 * 1024


def test_a_stream_that_fails_is_an_archive_cut_short() -> None:
    """An error of the disk while an archive is read is told as a cut, not raised."""

    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, _size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(CutShort, match="Input/output error"):
        Reader(Failing()).next()  # type: ignore[arg-type]
