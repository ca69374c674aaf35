"""The file of a remembered answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envid.store.sidecar import MAGIC, _trailer, decode, encode

REQUEST = st.binary(min_size=32, max_size=32)


@given(request=REQUEST, status=st.integers(0, 255), stdout=st.binary(max_size=80), document=st.binary(max_size=80))
def test_what_is_encoded_is_decoded(request: bytes, status: int, stdout: bytes, document: bytes) -> None:
    """An answer comes back as it was, for its own request."""
    assert decode(request, encode(request, status, stdout, document)) == (status, stdout, document)


@given(request=REQUEST, other=REQUEST, stdout=st.binary(max_size=40))
def test_an_answer_is_bound_to_its_request(request: bytes, other: bytes, stdout: bytes) -> None:
    """For any other request the same file is no answer."""
    assert (decode(other, encode(request, 0, stdout, b"")) is None) is (request != other)


@given(request=REQUEST, at=st.integers(0, 200), bit=st.integers(0, 7), stdout=st.binary(max_size=40))
def test_no_altered_bit_is_taken(request: bytes, at: int, bit: int, stdout: bytes) -> None:
    """Any single altered bit makes it no answer."""
    data = bytearray(encode(request, 0, stdout, b"document"))
    data[at % len(data)] ^= 1 << bit
    assert decode(request, bytes(data)) is None


@given(request=REQUEST, data=st.binary(max_size=120))
def test_other_bytes_are_no_answer(request: bytes, data: bytes) -> None:
    """Arbitrary bytes, with or without the right beginning, are no answer and raise nothing."""
    assert decode(request, data) is None
    assert decode(request, MAGIC + data) is None


@given(
    request=REQUEST,
    head=st.sampled_from([b"", b"1 2", b"0 0 0 0", b"a b c", b"0 -1 1", b"0 9 9", b"0 " + b"9" * 12 + b" 0"]),
)
def test_a_wrong_head_is_no_answer_however_well_bound(request: bytes, head: bytes) -> None:
    """A file whose trailer is right and whose lengths are not is refused."""
    body = MAGIC + head + b"\n" + b"x"
    assert decode(request, body + _trailer(request, body)) is None
