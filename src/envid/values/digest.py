"""Canonical bytes and their digests.

Canonical JSON is the subset of RFC 8785 that docs/identity.md defines: no floats, ASCII keys in
order, NFC strings, integers below 2**53, no white space. The encoder is written out here because
``json`` costs more at start-up than everything that ``envid key`` does with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Union

from blake3 import blake3

from envid.errors import IdentityError

JSONValue = Union[None, bool, int, str, Sequence["JSONValue"], Mapping[str, "JSONValue"]]  # noqa: UP007 - the names in quotes cannot stand in X | Y

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 64

_ESCAPES: Final = {
    **{chr(n): f"\\u{n:04x}" for n in range(0x20)},
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip
_ESCAPE_TABLE: Final = str.maketrans(_ESCAPES)


class NotCanonical(IdentityError):
    """A value that canonical JSON cannot carry, or bytes that are not canonical JSON."""

    slug = "identity.not-canonical"


def canonical(value: JSONValue) -> bytes:
    """Return ``value`` as canonical JSON, UTF-8.

    Raises NotCanonical for floats, integers of 2**53 and more, non-ASCII keys, strings that are
    not NFC or hold lone surrogates, and nesting beyond ``MAX_DEPTH``.
    """
    parts: list[str] = []
    _encode(value, parts, 0)
    return "".join(parts).encode("utf-8")


def _encode(value: JSONValue, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        parts.append(_string(value))
    elif isinstance(value, list):
        _encode_array(value, parts, depth)
    elif value is None:
        parts.append("null")
    elif value is True or value is False:
        parts.append("true" if value else "false")
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical(f"integer {value} does not fit in 53 bits")
        parts.append(str(value))
    elif isinstance(value, Mapping):
        _encode_object(value, parts, depth)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):  # type: ignore[redundant-expr]
        _encode_array(value, parts, depth)
    else:
        raise NotCanonical(f"{type(value).__name__} is not a canonical JSON type")


def _encode_array(value: Sequence[JSONValue], parts: list[str], depth: int) -> None:
    parts.append("[")
    for index, item in enumerate(value):
        if index:
            parts.append(",")
        _encode(item, parts, depth + 1)
    parts.append("]")


def _encode_object(value: Mapping[str, JSONValue], parts: list[str], depth: int) -> None:
    for key in value:
        if not isinstance(key, str) or not key.isascii():  # type: ignore[redundant-expr]
            raise NotCanonical(f"object key {key!r} is not ASCII text")
    parts.append("{")
    for index, key in enumerate(sorted(value)):
        if index:
            parts.append(",")
        parts.append(_string(key))
        parts.append(":")
        _encode(value[key], parts, depth + 1)
    parts.append("}")


def _string(text: str) -> str:
    if text.isascii():
        # Nearly every string needs no escape, and looking so is quicker than translating.
        if text.isprintable() and '"' not in text and "\\" not in text:
            return f'"{text}"'
    else:
        from unicodedata import is_normalized

        if not is_normalized("NFC", text):
            raise NotCanonical(f"string {text!r} is not in normal form C")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise NotCanonical(f"string {text!r} holds a lone surrogate")
    return f'"{text.translate(_ESCAPE_TABLE)}"'


def parse_canonical(data: bytes) -> JSONValue:
    """Return the value that canonical ``data`` encodes.

    Raises NotCanonical for anything that ``canonical`` would not have written byte for byte,
    duplicate keys and other spellings of the same value among them.
    """
    import json

    try:
        value: JSONValue = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_float=_no_float)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise NotCanonical(f"not canonical JSON: {error}") from error
    if canonical(value) != data:
        raise NotCanonical("JSON, but not in canonical form")
    return value


def _unique(pairs: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate object key")
    return result


def _no_float(text: str) -> JSONValue:
    raise ValueError(f"number {text} is not an integer")


def blake3_hex(data: bytes) -> str:
    """Return the 256-bit BLAKE3 digest of ``data``, 64 lower-case hexadecimal digits."""
    return blake3(data).hexdigest()


def derive_hex(context: str, data: bytes) -> str:
    """Return BLAKE3 ``derive_key(context)`` of ``data``, 64 hexadecimal digits (domain separation)."""
    return blake3(data, derive_key_context=context).hexdigest()
