"""One entry: it proves itself, or it is refused with a reason."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from blake3 import blake3
from hypothesis import assume, given
from hypothesis import strategies as st

from envid.slot import narrow
from envid.store import entry
from envid.store.entry import (
    FORMAT,
    MAGIC,
    PREFACE,
    TRAILER,
    Damage,
    Entry,
    Header,
    decode,
    decode_header,
    encode,
    payload,
)
from envid.values.digest import blake3_hex
from envid.values.reason import MISSES

SLOT = narrow("contents", {"wheel": "ab" * 32, "epoch": 1})
OTHER = narrow("contents", {"wheel": "cd" * 32, "epoch": 1})
LIMIT = 1 << 24

payloads = st.binary(max_size=300) | st.binary(max_size=8).map(lambda part: part * 400)


def raw(size: int = 3300, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def read(data: bytes, key: str = SLOT.key, *, limit: int = LIMIT) -> bytes:
    return payload(decode(data, key), limit=limit)


def reason(data: bytes, key: str = SLOT.key, *, limit: int = LIMIT) -> str:
    """Return why ``data`` is refused; nothing but Damage may tell."""
    with pytest.raises(Damage) as caught:
        read(data, key, limit=limit)
    assert caught.value.reason in MISSES
    return caught.value.reason


def built(header: Header, document: bytes, stored: bytes, *, head: bytes | None = None) -> bytes:
    """Return an entry with a right trailer around whatever it is given."""
    start = (entry.preface(header) if head is None else head) + document
    return start + stored + entry.trailer(start, blake3(stored).digest())


def header_for(data: bytes, **changes: object) -> Header:
    members: dict[str, object] = {
        "codec": "raw", "digest": blake3_hex(data), "document": len(SLOT.document), "key": SLOT.key,
        "made_by": "envid 0.1.0", "size": len(data), "stored": len(data),
    }  # fmt: skip
    return Header(**{**members, **changes})  # type: ignore[arg-type]


@given(payloads, st.booleans())
def test_what_is_written_is_read(data: bytes, squeeze: bool) -> None:
    """Any payload comes back byte for byte, with the document, compressed or not."""
    whole = encode(SLOT.key, SLOT.document, data, squeeze=squeeze)
    found = decode(whole, SLOT.key)
    assert found.document == SLOT.document
    assert payload(found, limit=len(data)) == data
    assert found.header.length == len(whole)
    assert found.header.size == len(data)
    assert encode(SLOT.key, SLOT.document, data, squeeze=squeeze) == whole


def test_compression_is_used_where_it_pays() -> None:
    """Repetitive bytes are stored compressed, random and few ones as they are."""
    codecs = [decode(encode(SLOT.key, b"", data), SLOT.key).header.codec for data in (b"ab" * 5000, raw(), b"ab" * 500)]
    assert codecs == ["zstd", "raw", "raw"]


def test_a_large_payload_is_tried_in_part_first() -> None:
    """Of a large payload a piece out of the middle decides whether the whole is compressed."""
    flat, odd = b"ab" * 500_000, raw(1_000_000)
    middle = flat[:400_000] + raw(200_000) + flat[:400_000]
    codecs = [decode(encode(SLOT.key, b"", data), SLOT.key).header.codec for data in (flat, odd, middle)]
    assert codecs == ["zstd", "raw", "raw"]


@pytest.mark.parametrize("size", [0, 3000, 4000, 5000, 70_000])
@pytest.mark.parametrize("document", [b"", b"x" * 6000])
def test_an_entry_is_read_in_pieces_as_whole(size: int, document: bytes) -> None:
    """Read by number and offset there is the same entry as in one piece, and the same reason for each cut and edit."""
    whole = encode(SLOT.key, document, raw(size), squeeze=False)

    def pieces(data: bytes, length: int) -> Entry:
        return entry.read(lambda number, at: data[at : at + number], length, SLOT.key)

    found = pieces(whole, len(whole))
    assert (found.header, found.document) == (decode(whole, SLOT.key).header, document)
    assert payload(found, limit=LIMIT) == raw(size)
    rng = random.Random(size)
    for _ in range(200):
        at = rng.randrange(len(whole))
        edits = (
            (whole[:at], at), (whole[:at], len(whole)), (whole + b"x", len(whole) + 1), (whole + b"x", len(whole)),
            (whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :], len(whole)),
        )  # fmt: skip
        for data, length in edits:
            with pytest.raises(Damage) as caught:
                pieces(data, length)
            assert caught.value.reason in MISSES
    with pytest.raises(Damage, match="misnamed"):
        entry.read(lambda number, at: whole[at : at + number], len(whole), OTHER.key)


@pytest.mark.parametrize("data", [raw(), b"0123456789abcdef" * 3000], ids=["raw", "zstd"])
def test_every_single_bit_counts(data: bytes) -> None:
    """Each single-bit flip of an entry of about 4 KiB, all of them, is refused."""
    whole = bytearray(encode(SLOT.key, SLOT.document, data))
    for at, bit in itertools.product(range(len(whole)), range(8)):
        whole[at] ^= 1 << bit
        reason(bytes(whole))
        whole[at] ^= 1 << bit
    assert read(bytes(whole)) == data


def test_every_length_but_the_right_one_is_refused() -> None:
    """Each truncation, and each extension by 1 to 64 bytes of any kind, is refused."""
    whole = encode(SLOT.key, SLOT.document, raw())
    for length in range(len(whole)):
        assert reason(whole[:length]) in {"truncated", "header", "damaged"}
    for more in range(1, 65):
        for filler in (b"\0" * more, whole[-more:], raw(more)):
            assert reason(whole + filler) == "truncated"
    assert reason(whole + whole) == "truncated"
    assert reason(whole[1:]) == "header"


def test_entries_of_other_keys_are_refused() -> None:
    """A sound entry under another key, another layer, or the key of a blob is misnamed."""
    data = raw()
    for other in (OTHER, narrow("run", {"wheel": "ab" * 32, "epoch": 1})):
        assert reason(encode(other.key, other.document, data)) == "misnamed"
    assert reason(encode(f"envid1-blob-{blake3_hex(data)}", b"", data)) == "misnamed"


@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_it_raise_something_else(data: bytes) -> None:
    """Whatever stands in an entry's place, there is a reason and nothing else."""
    reason(data)
    reason(MAGIC + data)
    reason(MAGIC + bytes([FORMAT]) + data)


@given(st.data())
def test_a_header_that_envid_does_not_write_is_refused(data: st.DataObject) -> None:
    """Any edit of the header, made with a right length and a right trailer, is refused unless it says the same."""
    stored = b"x" * 40
    text = entry.encode_header(header_for(stored))
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 6)))
    edited = text[:at] + data.draw(st.binary(max_size=6) | st.text('0123456789abcdef",:{}', max_size=6).map(str.encode))
    edited += text[end:]
    assume(edited != text)
    head = MAGIC + bytes([FORMAT]) + len(edited).to_bytes(4, "big") + edited
    whole = built(header_for(stored), SLOT.document, stored, head=head)
    if re.sub(b'envid [0-9A-Za-z.+-]{1,40}"', b'envid 0.1.0"', edited) == text:
        # Only who made it is told in another way.
        assert read(whole) == stored
    else:
        reason(whole)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'{"codec"', b'{ "codec"'), (b'"codec":"raw",', b""), (b"raw", b"gzip"), (b'"size":40', b'"size":040'),
     (b'"size":40', b'"size":-1'), (b'"size":40', b'"size":4e1'), (b'"size":40,', b'"size":40,"x":1,'),
     (b'"size":40', b'"size":"40"'), (b"envid1-contents", b"envid1-../../x"), (b"envid1-contents", b"envid2-contents"),
     (b"envid 0.1.0", b"envid\\n0.1.0"), (b"envid 0.1.0", b"other 0.1.0"), (b"}", b"}\n"), (b"}", b"} ")],
)  # fmt: skip
def test_only_one_form_of_a_header(old: bytes, new: bytes) -> None:
    """White space, other members, other numbers, other names: none of them is a header."""
    stored = b"x" * 40
    text = entry.encode_header(header_for(stored))
    assert old in text
    edited = text.replace(old, new, 1)
    head = MAGIC + bytes([FORMAT]) + len(edited).to_bytes(4, "big") + edited
    assert reason(built(header_for(stored), SLOT.document, stored, head=head)) == "header"


@pytest.mark.parametrize("length", [0, 1, entry.MAX_HEADER + 1, 1 << 24, (1 << 32) - 1])
def test_a_header_length_is_not_believed(length: int) -> None:
    """A header of 4 GiB is refused without looking for it, and so is one that is too short."""
    whole = encode(SLOT.key, SLOT.document, raw())
    head = MAGIC + bytes([FORMAT]) + length.to_bytes(4, "big")
    assert reason(head + whole[PREFACE:]) == "header"


@pytest.mark.parametrize(("number", "expected"), [(0, "older-format"), (2, "newer-format"), (255, "newer-format")])
def test_another_format_is_told(number: int, expected: str) -> None:
    """An entry of a newer or older format is neither read nor called damaged."""
    whole = encode(SLOT.key, SLOT.document, raw())
    assert reason(MAGIC + bytes([number]) + whole[len(MAGIC) + 1 :]) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"size": 41}, "header"), ({"stored": 39}, "header"), ({"size": 39, "stored": 39}, "truncated"),
     ({"size": 41, "stored": 41}, "truncated"), ({"document": 0}, "truncated"), ({"digest": "0" * 64}, "damaged"),
     ({"size": 10**13 - 1, "stored": 10**13 - 1}, "oversized"), ({"document": 10**9 - 1}, "oversized")],
)  # fmt: skip
def test_a_lying_header_is_refused(changes: dict[str, object], expected: str) -> None:
    """Sizes, digest and lengths that are not so are refused even under a right trailer."""
    stored = b"x" * 40
    assert reason(built(header_for(stored, **changes), SLOT.document, stored)) == expected


def test_a_document_is_the_callers_to_compare() -> None:
    """An entry under the right key with another slot's document is given with that document, for the gate to refuse."""
    stored = b"x" * 40
    whole = built(header_for(stored, document=len(OTHER.document)), OTHER.document, stored)
    assert decode(whole, SLOT.key).document == OTHER.document


def squeezed(data: bytes) -> bytes:
    whole = encode(SLOT.key, SLOT.document, data)
    found = decode(whole, SLOT.key)
    assert found.header.codec == "zstd"
    return bytes(found.stored)


@pytest.mark.parametrize("size", [0, 1, 49_999, 50_001, 1 << 30])
def test_a_bomb_goes_no_further_than_it_says(size: int) -> None:
    """Compressed bytes that give more than the header says are refused, and so are those that give less."""
    bomb = squeezed(b"\0" * 50_000)
    header = header_for(bomb, codec="zstd", size=size, digest=blake3_hex(b"\0" * min(size, 100_000)))
    assert reason(built(header, SLOT.document, bomb)) in {"damaged", "oversized"}


def test_a_large_payload_is_refused_before_it_is_expanded() -> None:
    """A payload above the reader's limit is refused by its size alone."""
    whole = encode(SLOT.key, SLOT.document, b"\0" * 100_000)
    assert reason(whole, limit=99_999) == "oversized"
    assert read(whole, limit=100_000) == b"\0" * 100_000


@pytest.mark.parametrize("edit", ["cut", "more", "two", "none", "text"])
def test_a_bad_stream_is_damage(edit: str) -> None:
    """A compressed stream that is cut, followed by something, doubled, empty or none at all is refused."""
    data = b"abc" * 9000
    stream = squeezed(data)
    odd = {
        "cut": stream[:-3], "more": stream + b"x", "two": stream + stream, "none": b"", "text": b"no zstd at all"
    }[edit]  # fmt: skip
    header = header_for(odd, codec="zstd", size=len(data), digest=blake3_hex(data))
    assert reason(built(header, SLOT.document, odd)) == "damaged"


def test_the_header_alone_says_what_it_is() -> None:
    """The beginning of an entry is enough for its header, and too little of it is called truncated."""
    whole = encode(SLOT.key, SLOT.document, raw())
    header, start = decode_header(whole[:600])
    assert header.key == SLOT.key
    assert whole[start : start + len(SLOT.document)] == SLOT.document
    assert start + header.document + header.stored + TRAILER == len(whole)
    with pytest.raises(Damage, match="truncated"):
        decode_header(whole[:100])
