"""Archives of the store: what goes in comes out, and of what anybody else wrote only what proves itself is taken."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envid.errors import UnsafePath
from envid.slot import Slot, narrow
from envid.store import archive, blobs, entry, ustar
from envid.store.archive import Item, Prover, Taken, item_of
from envid.store.cache import Miss, Stored, get, keep
from envid.store.entry import Damage
from envid.store.place import Place, Policy, open_place
from envid.store.proving import EntryProof
from envid.store.wheels import artifact_path
from envid.values.artifact import Sha256
from locked import picture

NONE: Mapping[str, Prover] = {}
EASY = Policy(min_free=0)


def place_in(root: Path) -> Place:
    return open_place(root, EASY)


def slot(number: int) -> Slot:
    return narrow("run", {"number": number})


def put_wheel(root: Path, data: bytes, file: str = "a-1-py3-none-any.whl") -> Path:
    path = artifact_path(root, Sha256(hashlib.sha256(data).hexdigest()), file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(place: Place) -> None:
    """Two entries, two blobs and two wheels, one of which has a name that is too long for one field."""
    for number in (1, 2):
        assert isinstance(keep(place, slot(number), b"payload %d\n" % number * 200), Stored)
        assert isinstance(blobs.keep_bytes(place, b"blob %d" % number), blobs.Kept)
    put_wheel(Path(place.root), b"wheel")
    put_wheel(Path(place.root), b"long", f"{'n' * 90}-{'9' * 60}-py3-none-any.whl")


def exported(place: Place) -> bytes:
    stream = io.BytesIO()
    archive.write(place, archive.everything(place), stream)
    return stream.getvalue()


def imported(place: Place, data: bytes, *, trust: bool = True, provers: Mapping[str, Prover] = NONE) -> Taken:
    return archive.read(place, io.BytesIO(data), provers=provers, trust=trust)


def kept(root: Path) -> dict[str, bytes]:
    """Return every file of the three areas that archives hold."""
    found = {}
    for area in ("wheels-v1", "blobs-v1", "entries-v1"):
        for path in (root / area).rglob("*"):
            if path.is_file():
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def members(files: Mapping[str, bytes]) -> bytes:
    body = b"".join(ustar.header(n, len(d)) + d + ustar.padding(len(d)) for n, d in files.items())
    return body + ustar.ending(len(body))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with something in every area."""
    place = place_in(tmp_path_factory.mktemp("full") / "store")
    fill(place)
    return place


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    """A store that is not there yet."""
    return place_in(tmp_path / "empty")


# --- there and back -----------------------------------------------------------------------


def test_what_is_exported_is_imported(full: Place, empty: Place) -> None:
    """An import gives the other store the same files, byte for byte, which its readers accept."""
    taken = imported(empty, exported(full))
    assert kept(Path(empty.root)) == kept(Path(full.root))
    assert (dict(taken.new), dict(taken.skipped), taken.fault) == ({"wheels": 2, "blob": 2, "run": 2}, {}, "")
    assert taken.size == sum(map(len, kept(Path(full.root)).values()))
    assert get(empty, slot(1)) == b"payload 1\n" * 200
    assert blobs.load(empty, blake3(b"blob 2").hexdigest(), limit=100) == b"blob 2"
    assert not list(Path(empty.area("tmp-v1")).iterdir())


def test_equal_stores_give_equal_archives(full: Place, empty: Place) -> None:
    """What was imported exports to the same bytes, and so does a store that was filled in another order."""
    data = exported(full)
    imported(empty, data)
    assert exported(empty) == data
    assert exported(full) == data


def test_an_import_again_changes_nothing(full: Place, empty: Place) -> None:
    """A second import of the same archive writes nothing and says that all was there."""
    data = exported(full)
    imported(empty, data)
    before = picture(Path(empty.root))
    taken = imported(empty, data)
    assert picture(Path(empty.root)) == before
    assert (dict(taken.new), dict(taken.kept), taken.size) == ({}, {"wheels": 2, "blob": 2, "run": 2}, 0)


def test_tar_and_tarfile_see_our_members(full: Place, tmp_path: Path) -> None:
    """tar lists the files of the store by their paths, but for a long name, and what others name before them."""
    path = tmp_path / "a.tar"
    path.write_bytes(exported(full))
    done = subprocess.run(["tar", "-tf", str(path)], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert [name.partition("-")[0] for name in names] == ["wheels"] * 2 + ["blobs"] * 2 + ["entries"] * 2
    long = next(name for name in names if len(name) > 200)
    assert {name.replace(f"{'n' * 77}/", "n" * 77) for name in names} == set(kept(Path(full.root)))
    assert long.count("/") == 4
    with tarfile.open(path) as opened:
        for info in opened:
            assert (info.mode, info.mtime, info.uid, info.gid, info.uname, info.pax_headers) == (0o644, 0, 0, 0, "", {})


def test_a_store_that_is_not_there_gives_an_empty_archive(empty: Place) -> None:
    """Of no store at all an archive without members is made, which imports as nothing."""
    data = exported(empty)
    assert data == bytes(ustar.RECORD)
    taken = imported(empty, data)
    assert (dict(taken.new), dict(taken.skipped), taken.fault) == ({}, {}, "")


def test_an_item_is_where_the_store_keeps_it(tmp_path: Path) -> None:
    """The path of an item is that of the rooms that read it."""
    place, digest = place_in(tmp_path), "ab" * 32
    assert Item(layer="run", digest=slot(1).digest).path(place) == place.entry_path(slot(1))
    assert Item(layer="run", digest=slot(1).digest).key == slot(1).key
    assert Item(layer="blob", digest=digest).path(place) == place.blob_path(digest)
    assert Item(layer="blob", digest=digest).key == blobs.blob_key(digest)
    wheel = Item(layer="wheels", digest=digest, file="a-1.whl")
    assert wheel.path(place) == str(artifact_path(tmp_path, Sha256(digest), "a-1.whl"))


hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
items = st.one_of(
    st.builds(Item, layer=st.sampled_from(["blob", "run", "contents", "a-b_c9"]), digest=hexes),
    st.builds(
        Item, layer=st.just("wheels"), digest=hexes,
        file=st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._+!-]{0,175}[0-9A-Za-z]", fullmatch=True),
    ),
)  # fmt: skip


@given(items)
def test_a_name_is_read_back(item: Item) -> None:
    """The name of a member says which file it is, also where it had to be cut, and the form can carry it."""
    assert item_of(item.name) == item
    assert ustar.header(item.name, 1)


@given(items, st.integers(0, 300), st.sampled_from(["", "/", ".", "..", "\0", "A", "é", "/../", "\n", " ", "-"]))
def test_a_name_has_one_spelling(item: Item, at: int, change: str) -> None:
    """A name that is changed anywhere is none, or that of another file, and never leaves its area."""
    name = item.name[:at] + change + item.name[at + 1 :]
    found = item_of(name)
    if found is not None and name != item.name:
        assert found != item
    if found is not None:
        assert ".." not in found.relative.split("/")
        assert found.name == name
        with_root = open_place("/srv/cache", EASY)
        assert os.path.normpath(found.path(with_root)) == found.path(with_root)


@pytest.mark.parametrize(
    "file", ["", ".", "..", ".hidden", "a/b", "a b", "a\\b", "ends.", "-a", "a\n", "\u00e4.whl", "x" * 178]
)
def test_a_wheel_that_no_archive_can_name_is_left_out(tmp_path: Path, file: str) -> None:
    """A file name that is no wheel's, or too long for the form, never becomes a member."""
    name = Item(layer="wheels", digest="ab" * 32, file=file).name
    assert item_of(name) is None
    try:
        path = artifact_path(tmp_path, Sha256(hashlib.sha256(b"x").hexdigest()), file)
    except UnsafePath:
        return
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    stream = io.BytesIO()
    written = archive.write(place_in(tmp_path), archive.everything(place_in(tmp_path)), stream)
    assert stream.getvalue() == bytes(ustar.RECORD)
    assert dict(written.skipped) == ({"name": 1} if len(file) > 170 else {})


# --- writing ------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", "cut", "grown", "swapped"])
def test_a_damaged_file_is_not_exported(tmp_path: Path, damage: str) -> None:
    """A file that does not prove itself is left out, and the archive is the one of a store without it."""
    place = place_in(tmp_path / "store")
    first, last = sorted((slot(1), slot(2)), key=lambda one: one.digest)
    keep(place, first, b"one")
    wheel = put_wheel(tmp_path / "store", b"wheel")
    good = exported(place)
    # Last and large, so that what was begun of it is longer than what ends an archive.
    keep(place, last, os.urandom(50_000))
    other = put_wheel(tmp_path / "store", b"other", "b-1-py3-none-any.whl")
    path = Path(place.entry_path(last))
    for file, sound in ((path, Path(place.entry_path(first))), (other, wheel)):
        data = file.read_bytes()
        changed = {"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1], "grown": data + b"x"}
        file.chmod(0o600)
        file.write_bytes(changed.get(damage, sound.read_bytes()))
    stream = io.BytesIO()
    written = archive.write(place, archive.everything(place), stream)
    assert stream.getvalue() == good
    assert sum(written.skipped.values()) == 2
    assert dict(written.files) == {"wheels": 1, "run": 1}
    # As when it is read: out of the way, for a look later.
    assert not path.exists()


def test_a_file_that_changes_while_it_is_read_is_not_exported(tmp_path: Path) -> None:
    """A wheel that has another length at its end than at its beginning is left out, though its bytes are right."""
    place = place_in(tmp_path / "store")
    wheel = put_wheel(tmp_path / "store", b"wheel")
    wheel.write_bytes(b"wheel and more")

    class Meddling(io.BytesIO):
        def write(self, data: object) -> int:
            wheel.write_bytes(b"wheel")
            return super().write(data)  # type: ignore[arg-type]

    stream = Meddling()
    written = archive.write(place, archive.everything(place), stream)
    assert (dict(written.skipped), stream.getvalue()) == ({"unreadable": 1}, bytes(ustar.RECORD))


def test_links_and_strangers_in_the_store_are_not_exported(tmp_path: Path) -> None:
    """A link, a pipe, a directory and a file of another name in the store's areas are not followed and not exported."""
    place = place_in(tmp_path / "store")
    keep(place, slot(1), b"one")
    good = exported(place)
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    area = Path(place.area("entries-v1"))
    (area / "run" / "aa").mkdir(parents=True)
    (area / "run" / "aa" / ("aa" * 32)).symlink_to(secret)
    (area / "run" / "aa" / "readme").write_bytes(b"x")
    os.mkfifo(area / "run" / "aa" / ("aa" + "bb" * 31))
    (area / "wheels" / "aa").mkdir(parents=True)
    (area / "wheels" / "aa" / ("aa" * 32)).write_bytes(b"x")
    (area / "linked").symlink_to(tmp_path)
    assert exported(place) == good


def test_an_export_does_not_count_as_use(full: Place) -> None:
    """The times of the files stay, so that exporting all of a store keeps nothing from being collected."""
    path = Path(full.entry_path(slot(1)))
    os.utime(path, (1, 1))
    exported(full)
    assert path.stat().st_mtime == 1


# --- what an archive may not do -----------------------------------------------------------


def sound_entry(number: int = 1, payload: bytes = b"payload") -> tuple[str, bytes]:
    """Return the name and the bytes of an entry that any store takes on trust."""
    one = slot(number)
    return Item(layer="run", digest=one.digest).name, entry.encode(one.key, one.document, payload)


def sound_blob(payload: bytes = b"blob") -> tuple[str, bytes]:
    digest = blake3(payload).hexdigest()
    return Item(layer="blob", digest=digest).name, entry.encode(blobs.blob_key(digest), b"", payload)


ENTRY, BLOB = sound_entry(), sound_blob()
SLOT = (slot(1).key, slot(1).document)
AREA = ENTRY[0].rpartition("/")[0]


@pytest.mark.parametrize(
    "name",
    [
        f"../{ENTRY[0]}", f"/{ENTRY[0]}", f"./{ENTRY[0]}", f"{AREA}/../../../../../x", f"{ENTRY[0]}/", f"{ENTRY[0]}x",
        ENTRY[0].upper(), ENTRY[0].replace("run", "Run"), ENTRY[0].replace("run", ".."),
        ENTRY[0].replace("run", "blob"), ENTRY[0].replace("run", "wheels"),
        ENTRY[0].replace("entries-v1", "entries-v2"), f"{AREA}//{ENTRY[0][-64:]}",
        f"{AREA[:-2]}zz/{ENTRY[0][-64:]}", "tmp-v1/x", "guards-v1/gc", "roots-v1/" + "a" * 64, "stats-v1/log",
        "contents-v1/ab/" + "ab" * 32, "answers-v1/" + "a" * 64, "CACHEDIR.TAG", "a", "\\..\\x",
        f"wheels-v1/ab/{'ab' * 32}/../x", f"wheels-v1/ab/{'ab' * 32}/..", f"wheels-v1/ab/{'ab' * 32}/.x.part",
        f"wheels-v1/ab/{'ab' * 32}/a/b.whl", f"wheels-v1/ab/{'ab' * 32}",
    ],
)  # fmt: skip
def test_a_name_of_no_file_of_the_store_is_passed_over(empty: Place, tmp_path: Path, name: str) -> None:
    """A member of any other name is counted and passed over, whatever it holds, and the next one is taken."""
    taken = imported(empty, members({name: ENTRY[1], BLOB[0]: BLOB[1]}))
    assert (dict(taken.skipped), dict(taken.new), taken.fault) == ({"name": 1}, {"blob": 1}, "")
    assert list(kept(Path(empty.root))) == [BLOB[0]]
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "kind"), (tarfile.LNKTYPE, "kind"), (tarfile.CHRTYPE, "kind"), (tarfile.BLKTYPE, "kind"),
        (tarfile.FIFOTYPE, "kind"), (tarfile.DIRTYPE, "kind"), (tarfile.CONTTYPE, "extension"),
        (tarfile.GNUTYPE_SPARSE, "extension"), (tarfile.XGLTYPE, "extension"), (tarfile.SOLARIS_XHDTYPE, "extension"),
        (tarfile.XHDTYPE, "extension"), (tarfile.GNUTYPE_LONGNAME, "extension"),
        (tarfile.GNUTYPE_LONGLINK, "extension"),
    ],
)  # fmt: skip
def test_a_member_that_is_no_plain_file_is_passed_over(empty: Place, tmp_path: Path, kind: bytes, reason: str) -> None:
    """A link, a device, a pipe, a directory or an extension under a good name is passed over; the next is taken."""
    info = tarfile.TarInfo(ENTRY[0])
    info.type, info.linkname = kind, "../../../../../../etc/passwd"
    data = info.tobuf(tarfile.USTAR_FORMAT) + members({ENTRY[0]: ENTRY[1], BLOB[0]: BLOB[1]})
    taken = imported(empty, data)
    about = {tarfile.SOLARIS_XHDTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
    assert dict(taken.skipped) == {reason: 2 if kind in about else 1}
    assert dict(taken.new) == ({"blob": 1} if kind in about else {"run": 1, "blob": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_real_pax_and_gnu_archives_are_passed_over(empty: Place) -> None:
    """What tarfile writes for long names in its other forms is passed over, with the files that it is about."""
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as opened:
            info = tarfile.TarInfo("x" * 300)
            info.size = len(ENTRY[1])
            opened.addfile(info, io.BytesIO(ENTRY[1]))
        taken = imported(empty, buffer.getvalue())
        assert (dict(taken.skipped), dict(taken.new)) == ({"extension": 2}, {})


def header_of(header: entry.Header, document: bytes, stored: bytes) -> bytes:
    start = entry.preface(header) + document
    return start + stored + entry.trailer(start, blake3(stored).digest())


def forged(**changes: object) -> bytes:
    """Return an entry of slot 1 whose header is changed, under a trailer that is right."""
    one, payload = slot(1), b"payload"
    fields: dict[str, object] = {
        "codec": "raw", "digest": blake3(payload).hexdigest(), "document": len(one.document), "key": one.key,
        "made_by": entry.MADE_BY, "size": len(payload), "stored": len(payload),
    }  # fmt: skip
    stored, document = changes.pop("payload", payload), changes.pop("text", one.document)
    assert isinstance(stored, bytes)
    assert isinstance(document, bytes)
    fields |= {"stored": len(stored), "document": len(document), **changes}
    return header_of(entry.Header(**fields), document, stored)  # type: ignore[arg-type]


def squeezed(data: bytes) -> bytes:
    result: bytes = entry.zstd_module().compress(data, level=1)
    return result


def wide(data: bytes) -> bytes:
    """Return a zstd frame that has its reader hold 64 MiB."""
    zstd = entry.zstd_module()
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={parameter.window_log: 26, parameter.content_size_flag: 0})
    result: bytes = compressor.compress(data) + compressor.flush()
    return result


def endless(data: bytes) -> bytes:
    """Return a zstd frame with all of the data and without its end."""
    zstd = entry.zstd_module()
    compressor = zstd.ZstdCompressor()
    result: bytes = compressor.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK)
    return result


def bomb(size: int) -> bytes:
    return forged(codec="zstd", payload=squeezed(bytes(size)), size=size, digest=blake3(bytes(size)).hexdigest())


LIES: dict[str, tuple[bytes, str]] = {
    "bit in the payload": (ENTRY[1].replace(b"payload", b"Payload"), "damaged"),
    "bit in the trailer": (ENTRY[1][:-1] + bytes([ENTRY[1][-1] ^ 1]), "damaged"),
    "cut": (ENTRY[1][:-1], "truncated"),
    "grown": (ENTRY[1] + b"x", "truncated"),
    "empty": (b"", "truncated"),
    "magic": (b"x" + ENTRY[1][1:], "header"),
    "newer": (ENTRY[1][:8] + b"\xff" + ENTRY[1][9:], "newer-format"),
    "older": (ENTRY[1][:8] + b"\x00" + ENTRY[1][9:], "older-format"),
    "header of 4 GiB": (ENTRY[1][:9] + b"\xff\xff\xff\xff" + ENTRY[1][13:], "header"),
    "another slot": (sound_entry(2)[1], "misnamed"),
    "a blob": (BLOB[1], "misnamed"),
    "another document": (forged(text=slot(2).document), "misnamed"),
    "no document": (forged(text=b""), "misnamed"),
    "another digest": (forged(digest="0" * 64), "damaged"),
    "another size": (forged(codec="zstd", payload=squeezed(b"x" * 500), size=5), "damaged"),
    "size too small": (forged(codec="zstd", payload=squeezed(bytes(10**6)), size=7), "damaged"),
    "two frames": (forged(codec="zstd", payload=squeezed(b"pay") + squeezed(b"load"), size=7), "damaged"),
    "garbage behind the frame": (forged(codec="zstd", payload=squeezed(b"payload") + b"x", size=7), "damaged"),
    "cut frame": (forged(codec="zstd", payload=squeezed(b"payload")[:-1], size=7), "damaged"),
    "frame without end": (forged(codec="zstd", payload=endless(b"payload"), size=7), "damaged"),
    "no frame": (forged(codec="zstd", payload=b"payload", size=7), "damaged"),
    "wide window": (forged(codec="zstd", payload=wide(b"payload"), size=7), "damaged"),
    "bomb": (bomb(20_000_000), "oversized"),
    "larger than what is read": (forged(codec="zstd", size=2**30, payload=bytes(2**21)), "oversized"),
    "claims a terabyte": (forged(codec="zstd", size=2**40, payload=squeezed(b"payload")), "oversized"),
}


@pytest.mark.parametrize("case", LIES)
def test_an_entry_that_lies_is_passed_over(empty: Place, case: str) -> None:
    """Bytes that are not the entry of their name are passed over even on trust and leave nothing; the next is taken."""
    data, reason = LIES[case]
    taken = imported(empty, members({ENTRY[0]: data, BLOB[0]: BLOB[1]}))
    assert (dict(taken.skipped), dict(taken.new), taken.fault) == ({reason: 1}, {"blob": 1}, "")
    assert list(kept(Path(empty.root))) == [BLOB[0]]
    assert not list(Path(empty.area("tmp-v1")).iterdir())


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_make_no_difference(size: int) -> None:
    """An entry that passes in pieces of any size is judged as it is judged in one."""
    noise = os.urandom(6000)
    cases = {
        "raw": (entry.encode(*SLOT, noise), ""),
        "zstd": (entry.encode(*SLOT, noise * 2), ""),
        # Only the first four kilobytes are always in one piece.
        "garbage far behind": (forged(codec="zstd", payload=squeezed(noise) + noise, size=6000), "damaged"),
        **LIES,
    }
    for case, (data, reason) in cases.items():
        if len(data) > 20_000:
            continue
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        found = ""
        try:
            assert b"".join(EntryProof(pieces, len(data), SLOT[0]).parts()) == data
        except Damage as damage:
            found = damage.reason
        assert found == reason, case


def test_what_is_too_much_is_not_read_on() -> None:
    """An entry that expands to more than it says is given up there and then, not at its end."""
    data, read = forged(codec="zstd", payload=squeezed(os.urandom(4_000_000)), size=7), 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        for at in range(0, len(data), 10_000):
            read += 1
            yield data[at : at + 10_000]

    with pytest.raises(Damage):
        list(EntryProof(pieces(), len(data), SLOT[0]).parts())
    # A block of zstd is 128 KiB.
    assert read < 20


@pytest.mark.parametrize("case", ["content", "document", "sha256"])
def test_a_blob_or_wheel_of_another_digest_is_passed_over(empty: Place, case: str) -> None:
    """A blob with other content than its name says, or with a document, is passed over; and so is such a wheel."""
    digest = blake3(b"blob").hexdigest()
    key = blobs.blob_key(digest)
    files = {
        "content": {BLOB[0]: entry.encode(key, b"", b"else")},
        "document": {BLOB[0]: entry.encode(key, b"{}", b"blob")},
        "sha256": {Item(layer="wheels", digest="ab" * 32, file="a-1-py3-none-any.whl").name: b"wheel"},
    }
    taken = imported(empty, members(files[case]))
    assert dict(taken.skipped) == {"damaged" if case == "sha256" else "misnamed": 1}
    assert kept(Path(empty.root)) == {}


def test_what_is_read_is_what_the_store_reads(empty: Place) -> None:
    """Every lie that an import refuses, but for mere size, is a miss for the store's own reader, too."""
    for case, (data, reason) in LIES.items():
        path = Path(empty.entry_path(slot(1)))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        accepted = not isinstance(get(empty, slot(1)), Miss)
        assert not accepted or reason == "oversized" or case == "wide window", case


# --- whom to believe ----------------------------------------------------------------------


def test_what_nobody_can_check_is_taken_on_trust_only(empty: Place) -> None:
    """A sound entry with content that does not belong to its key is passed over, unless the archive is trusted."""
    poisoned = members({ENTRY[0]: sound_entry(1, b"evil")[1], BLOB[0]: BLOB[1]})
    taken = imported(empty, poisoned, trust=False)
    assert (dict(taken.skipped), dict(taken.new)) == ({"unproven": 1}, {"blob": 1})
    assert isinstance(get(empty, slot(1)), Miss)
    assert dict(imported(empty, poisoned).new) == {"run": 1}
    assert get(empty, slot(1)) == b"evil"


def test_a_prover_decides_what_is_taken(empty: Place) -> None:
    """An entry is taken when its prover computes the same content, refuted or unproven otherwise, on trust, too."""
    good, other = blake3(b"payload").hexdigest(), blake3(b"other").hexdigest()
    asked: list[tuple[str, bytes]] = []

    def said(answer: str | None) -> Mapping[str, Prover]:
        def prove(key: str, document: bytes) -> str | None:
            asked.append((key, document))
            return answer

        return {"run": prove}

    data = members({ENTRY[0]: ENTRY[1]})
    for trust in (True, False):
        assert dict(imported(empty, data, trust=trust, provers=said(None)).skipped) == {"unproven": 1}
        assert dict(imported(empty, data, trust=trust, provers=said(other)).skipped) == {"refuted": 1}
    assert dict(imported(empty, data, trust=False, provers=said(good)).new) == {"run": 1}
    assert asked == [(slot(1).key, slot(1).document)] * 5


def test_the_first_content_stays(empty: Place) -> None:
    """Other content under a key that the store has is told and not taken; neither trust nor a double name helps."""
    keep(empty, slot(1), b"first")
    taken = imported(empty, members({ENTRY[0]: ENTRY[1]}))
    assert (dict(taken.skipped), taken.diverged) == ({"diverged": 1}, (slot(1).key,))
    assert get(empty, slot(1)) == b"first"
    other = place_in(Path(empty.root) / "other")
    second = sound_entry(1, b"second")[1]
    body = b"".join(ustar.header(ENTRY[0], len(d)) + d + ustar.padding(len(d)) for d in (ENTRY[1], second, ENTRY[1]))
    taken = imported(other, body + ustar.ending(len(body)))
    assert (dict(taken.new), dict(taken.kept), dict(taken.skipped)) == ({"run": 1}, {"run": 1}, {"diverged": 1})
    assert get(other, slot(1)) == b"payload"


def test_many_divergences_are_counted(empty: Place) -> None:
    """Of many keys with other content the first hundred are named, and all are counted."""
    files = {}
    for number in range(archive.MAX_TOLD + 3):
        keep(empty, slot(number), b"first")
        name, data = sound_entry(number)
        files[name] = data
    taken = imported(empty, members(files))
    assert (len(taken.diverged), taken.skipped["diverged"]) == (archive.MAX_TOLD, archive.MAX_TOLD + 3)


@pytest.mark.parametrize("planted", ["same", "damaged", "link"])
def test_another_writer_may_be_quicker(empty: Place, tmp_path: Path, planted: str) -> None:
    """What another process puts in the place of a member while it is read stays if it is sound, and is told if not."""
    name, data = sound_entry(1, os.urandom(600_000))
    imported(empty, bytes(ustar.RECORD))
    path = Path(empty.root, name)

    class Racing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 300_000 and not os.path.lexists(path):
                path.parent.mkdir(parents=True)
                if planted == "link":
                    path.symlink_to(tmp_path / "target")
                else:
                    path.write_bytes(data if planted == "same" else data[:-1])
            return super().read(size)

    taken = archive.read(empty, Racing(members({name: data})), provers={}, trust=True)
    reasons = {"same": {}, "damaged": {"unwritable": 1}, "link": {"foreign": 1}}
    assert (dict(taken.new), dict(taken.skipped)) == ({}, reasons[planted])
    assert dict(taken.kept) == ({"run": 1} if planted == "same" else {})
    assert not (tmp_path / "target").exists()
    assert not os.listdir(empty.area("tmp-v1"))


def test_a_lie_is_no_divergence(empty: Place) -> None:
    """An entry that says another digest, and is damaged, is not told as a divergence of what the store has."""
    keep(empty, slot(1), b"first")
    taken = imported(empty, members({ENTRY[0]: LIES["bit in the trailer"][0]}))
    assert (dict(taken.skipped), taken.diverged) == ({"damaged": 1}, ())


def test_an_import_mends_what_is_damaged(full: Place, empty: Place) -> None:
    """Damaged files of the store are put out of the way and imported anew."""
    data = exported(full)
    imported(empty, data)
    for name in kept(Path(empty.root)):
        path = Path(empty.root, name)
        path.chmod(0o600)
        data_there = path.read_bytes()
        path.write_bytes(data_there[:-1] + bytes([data_there[-1] ^ 1]))
    assert sum(imported(empty, data).new.values()) == 6
    assert kept(Path(empty.root)) == kept(Path(full.root))


@pytest.mark.parametrize("seekable", [True, False])
def test_a_file_of_another_length_is_mended_where_the_archive_is_a_file(
    full: Place, empty: Place, seekable: bool
) -> None:
    """A file that was cut short is put out of the way, and imported anew when the archive can be read once more."""
    data = exported(full)
    imported(empty, data)
    for name in kept(Path(empty.root)):
        os.truncate(Path(empty.root, name), 1)
    stream: io.BytesIO = io.BytesIO(data)
    if not seekable:
        stream.seekable = lambda: False  # type: ignore[method-assign]
    taken = archive.read(empty, stream, provers={}, trust=True)
    assert dict(taken.skipped) == ({} if seekable else {"unwritable": 6})
    if not seekable:
        taken = imported(empty, data)
    assert sum(taken.new.values()) == 6
    assert kept(Path(empty.root)) == kept(Path(full.root))


def test_a_small_lie_does_not_have_a_large_file_read(empty: Place) -> None:
    """Members that are not what they say cost their own bytes: what the store has in their place is not looked at."""
    wheel = Item(layer="wheels", digest="ab" * 32, file="a-1-py3-none-any.whl")
    there = [Path(empty.root, name) for name in (wheel.name, BLOB[0], ENTRY[0])]
    imported(empty, bytes(ustar.RECORD))
    for path in there:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        os.truncate(path, 2**40)
    lies = {wheel.name: b"x", BLOB[0]: BLOB[1][:-1] + bytes([BLOB[1][-1] ^ 1]), ENTRY[0]: LIES["bit in the trailer"][0]}
    for _ in range(10):
        assert dict(imported(empty, members(lies)).skipped) == {"damaged": 3}
    # Whoever had looked at them would have put them out of the way, an hour later.
    assert all(path.exists() for path in there)


def test_what_is_planted_in_the_store_is_not_followed(empty: Place, tmp_path: Path) -> None:
    """A link in the place of an entry stays, as does what it leads to; the member is passed over."""
    imported(empty, bytes(ustar.RECORD))
    target = tmp_path / "target"
    path = Path(empty.root, ENTRY[0])
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    assert dict(imported(empty, members({ENTRY[0]: ENTRY[1]})).skipped) == {"foreign": 1}
    assert path.is_symlink()
    assert not target.exists()


def test_a_newer_entry_stays(empty: Place) -> None:
    """An entry of a newer form in the place of one that is imported stays where it is."""
    path = Path(empty.root, ENTRY[0])
    imported(empty, bytes(ustar.RECORD))
    path.parent.mkdir(parents=True)
    path.write_bytes(LIES["newer"][0])
    assert dict(imported(empty, members({ENTRY[0]: ENTRY[1]})).skipped) == {"newer-format": 1}
    assert path.read_bytes() == LIES["newer"][0]


def test_without_room_nothing_is_written(full: Place, tmp_path: Path) -> None:
    """Below the floor of free space every member is passed over, and nothing is left."""
    place = open_place(tmp_path / "store", Policy(min_free=2**60))
    taken = imported(place, exported(full))
    assert (dict(taken.skipped), taken.fault) == ({"space": 6}, "")
    assert kept(tmp_path / "store") == {}


@pytest.mark.parametrize("planted", ["file", "open"])
def test_a_store_that_cannot_be_used_takes_nothing(full: Place, tmp_path: Path, planted: str) -> None:
    """Where the store cannot be written or trusted, the archive is not read, and the trouble is told."""
    root = tmp_path / "store"
    if planted == "file":
        root.write_bytes(b"x")
    else:
        root.mkdir()
        root.chmod(0o777)
    taken = imported(place_in(root), exported(full))
    assert taken.trouble is not None
    assert taken.trouble.reason == {"file": "no-directory", "open": "untrusted"}[planted]
    assert sum(taken.new.values()) == 0


# --- damage, exhaustively -----------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, dict[str, bytes]]:
    """A folder for stores, an archive of one entry, one blob and one wheel, and its files."""
    root = tmp_path_factory.mktemp("small")
    place = place_in(root / "store")
    keep(place, slot(1), b"payload")
    blobs.keep_bytes(place, b"blob")
    put_wheel(root / "store", b"wheel")
    return root, exported(place), kept(root / "store")


def after(small: tuple[Path, bytes, dict[str, bytes]], data: bytes) -> tuple[Taken, dict[str, bytes]]:
    """Import ``data`` into an empty store; return what was said, and which of the small archive's files it has."""
    root, _, files = small
    taken = imported(place_in(root / "copy"), data)
    found = {}
    for name in files:
        path = root / "copy" / name
        if path.exists():
            found[name] = path.read_bytes()
            path.unlink()
    assert sum(taken.new.values()) == len(found)
    return taken, found


def check_nothing_else(small: tuple[Path, bytes, dict[str, bytes]]) -> None:
    place = place_in(small[0] / "copy")
    assert kept(small[0] / "copy") == {}
    assert not os.listdir(place.area("tmp-v1"))


def check_cuts(small: tuple[Path, bytes, dict[str, bytes]], step: int) -> None:
    _, data, files = small
    order = sorted(files, key=lambda name: ("wheels", "blobs", "entries").index(name.partition("-")[0]))
    ends, at = [], 0
    for name in order:
        ends.append(at + 512 + len(files[name]))
        at += 512 + len(files[name]) + len(ustar.padding(len(files[name])))
    corners = {end + near for end in (*ends, at, at + 512, at + 1024) for near in (-1, 0, 1)}
    for cut in sorted({*range(0, at + 1536, step), *corners}):
        taken, found = after(small, data[:cut])
        whole = sum(cut >= end for end in ends)
        assert found == {name: files[name] for name in order[:whole]}, cut
        assert bool(taken.fault) == (cut < at + 1024)
    check_nothing_else(small)


def test_every_truncation_gives_only_what_is_whole(small: tuple[Path, bytes, dict[str, bytes]]) -> None:
    """Of an archive cut anywhere (every fifth byte, and all where something ends), what is before is imported."""
    check_cuts(small, 5)


def check_flips(small: tuple[Path, bytes, dict[str, bytes]], step: int) -> int:
    _, data, files = small
    used = len(data.rstrip(b"\0")) + 1024
    changed, lost, flips = bytearray(data), 0, range(0, used * 8, step)
    for bit in flips:
        changed[bit // 8] ^= 1 << bit % 8
        _, found = after(small, bytes(changed))
        changed[bit // 8] ^= 1 << bit % 8
        assert found.items() <= files.items()
        lost += len(files) - len(found)
    check_nothing_else(small)
    # Many bits are padding, times and owners; of the others, each costs one file.
    assert lost <= len(flips) + 5 * 8 * len(files)
    return len(flips)


def test_a_flipped_bit_gives_exact_bytes_or_nothing(small: tuple[Path, bytes, dict[str, bytes]]) -> None:
    """With one bit flipped anywhere (every eleventh is tried), each imported file has its exact bytes."""
    assert check_flips(small, 11) > 2_000


pieces = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 5000), st.binary(min_size=1, max_size=20)),
    st.tuples(st.just("cut"), st.integers(0, 5000), st.integers(0, 1500)),
    st.tuples(st.just("copy"), st.integers(0, 10), st.integers(0, 10)),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces, min_size=1, max_size=6))
def test_a_mutated_archive_gives_exact_bytes_or_nothing(
    small: tuple[Path, bytes, dict[str, bytes]], changes: list[tuple[str, int, object]]
) -> None:
    """However an archive is mutated (bytes, cuts, blocks copied), each imported file has its exact bytes."""
    _, original, files = small
    data = bytearray(original[:5120])
    for what, at, change in changes:
        if what == "set":
            assert isinstance(change, bytes)
            data[at : at + len(change)] = change
            continue
        assert isinstance(change, int)
        if what == "cut":
            del data[at : at + change]
        else:
            data[512 * at : 512 * at + 512] = data[512 * change : 512 * change + 512]
    _, found = after(small, bytes(data))
    assert found.items() <= files.items()
    check_nothing_else(small)


def test_a_member_of_ten_gigabytes_reserves_nothing(empty: Place) -> None:
    """A member that claims 8 GiB or 10 GB, and is not there, takes no space and no time."""
    wheel = ustar.header(f"wheels-v1/ab/{'ab' * 32}/a-1.whl", ustar.MAX_SIZE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
    try:
        taken = imported(empty, wheel + bytes(4096))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (taken.fault, dict(taken.skipped)) == ("the archive ends within a member", {})
    for size in (ustar.MAX_SIZE, 10 * 10**9):
        block = bytearray(ustar.header(BLOB[0], 0))
        block[124:136] = b"%011o\0" % size if size <= ustar.MAX_SIZE else b"\x80" + size.to_bytes(11, "big")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        taken = imported(empty, members({ENTRY[0]: ENTRY[1]})[:1024] + bytes(block) + BLOB[1] + bytes(4096))
        assert taken.fault == "the archive ends within a member"
        assert sum(taken.new.values()) + sum(taken.kept.values()) == 1


LIMITED = """
import io, resource, sys
from envid.store import archive, ustar
from envid.store.place import Policy, open_place
place = open_place(sys.argv[1], Policy(min_free=0))
block = ustar.header("../x", 1) + b"x" + ustar.padding(1)
link = bytearray(ustar.header("entries-v1/run/ab/" + "ab" * 32, 0)); link[156:157] = b"2"
link[148:156] = b" " * 8; link[148:156] = b"%06o\\0 " % sum(link)
class Endless(io.RawIOBase):
    at = 0
    def readable(self): return True
    def read(self, size=-1):
        start, self.at = self.at, self.at + size
        if start >= 100_000 * 1536: return bytes(size)
        unit = (block + bytes(link)) * 2
        return unit[start % 1536:][:size]
archive.read(place, io.BytesIO(bytes(10240)), provers={})
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + 8 * 1024 * 1024,) * 2)
taken = archive.read(place, Endless(), provers={})
print(taken.skipped["name"], taken.skipped["kind"], taken.fault)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_a_hundred_thousand_members_fit_in_eight_mebibytes(tmp_path: Path) -> None:
    """200,000 hostile members are gone through by a process that may grow by 8 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "store")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["100000", "100000"], done.stderr


LARGE = """
import io, resource, sys
from blake3 import blake3
from envid.store import archive, blobs, entry, ustar
from envid.store.place import Policy, open_place
place, size = open_place(sys.argv[1], Policy(min_free=0)), 64 * 1024 * 1024
piece = bytes(range(256)) * 4096
digest = blake3(piece * 64).hexdigest()
header = entry.Header(codec="raw", digest=digest, document=0, key=blobs.blob_key(digest), made_by=entry.MADE_BY,
                      size=size, stored=size)
first = entry.preface(header)
name = f"blobs-v1/{digest[:2]}/{digest}"
length = header.length
with open(sys.argv[2], "wb") as stream:
    stream.write(ustar.header(name, length) + first)
    for _ in range(64):
        stream.write(piece)
    stream.write(entry.trailer(first, bytes.fromhex(digest)) + ustar.padding(length))
    stream.write(ustar.ending(stream.tell()))
archive.read(place, io.BytesIO(bytes(10240)), provers={})
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + 16 * 1024 * 1024,) * 2)
with open(sys.argv[2], "rb") as stream:
    print(dict(archive.read(place, stream, provers={}).new))
with open(sys.argv[2], "wb") as stream:
    print(dict(archive.write(place, archive.everything(place), stream).files))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_a_large_blob_goes_through_in_pieces(tmp_path: Path) -> None:
    """A blob of 64 MiB is imported and exported by a process that may grow by 16 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE), str(tmp_path / "store"), str(tmp_path / "a.tar")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["{'blob': 1}"] * 2, done.stderr
    shutil.rmtree(tmp_path / "store")


def test_two_imports_at_once_are_one(full: Place, empty: Place) -> None:
    """Two processes that import the same archive at the same time both succeed, and the store has each file once."""
    data = exported(full)
    script = (
        "import sys; from envid.store import archive; from envid.store.place import Policy, open_place\n"
        "for _ in range(5):\n"
        "    place = open_place(sys.argv[1], Policy(min_free=0))\n"
        "    taken = archive.read(place, open(sys.argv[2], 'rb'), provers={}, trust=True)\n"
        "    assert not taken.skipped and not taken.fault, taken\n"
    )
    path = Path(empty.root).parent / "a.tar"
    path.write_bytes(data)
    running = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, empty.root, str(path)]) for _ in range(3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert kept(Path(empty.root)) == kept(Path(full.root))
