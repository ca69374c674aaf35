"""The quick way through uv's answer gives what the thorough way gives, or declines."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.lock.answer import read_plain
from envid.lock.entries import distribution

DIGEST = "0123456789abcdef" * 4
PLAIN = f"""lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"

[[packages]]
name = "one"
version = "1.0"
marker = "python_full_version >= '3.12'"
sdist = {{ url = "https://files.example/one-1.0.tar.gz", upload-time = 2026-01-01T10:00:00Z, size = 9, hashes = {{ sha256 = "{DIGEST}" }} }}
wheels = [{{ url = "https://files.example/one-1.0-py3-none-any.whl", upload-time = 2026-01-01T10:00:00.123Z, size = 8, hashes = {{ sha256 = "{DIGEST}" }} }}]

[[packages]]
name = "two"
version = "2.0"
wheels = [
    {{ url = "https://files.example/two-2.0-cp311-cp311-win_amd64.whl", size = 8, hashes = {{ sha256 = "{DIGEST}" }} }},
    {{ url = "https://files.example/two-2.0-cp312-cp312-win_amd64.whl", hashes = {{ sha256 = "{DIGEST}" }} }},
]
"""  # noqa: E501


def thorough(text: str) -> tuple[object, ...]:
    """Read with tomllib and the reader of single entries."""
    tables = tomllib.loads(text)["packages"]
    return tuple(distribution(table, where="x", path="x", drop_credentials=True) for table in tables)


def test_plain_answers_are_read() -> None:
    """An answer of wheels and sdists is taken by the quick way, upload times left out."""
    assert read_plain(PLAIN) == thorough(PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://files.example/one-1.0-py3", "https://u:p@files.example/one-1.0-py3"),
        ('.tar.gz"', '.tar.gz?sig=1"'),
        ('created-by = "uv"', 'created-by = "other"'),
        (f'{{ sha256 = "{DIGEST}" }}', "{}"),
        ('version = "1.0"\n', 'version = "1.0"\ndirectory = { path = "." }\n'),
        ("one-1.0-py3-none-any.whl", "three-1.0-py3-none-any.whl"),
    ],
)
def test_anything_else_is_declined(old: str, new: str) -> None:
    """Credentials, missing digests, other sources and foreign files are left to the thorough way."""
    assert old in PLAIN
    assert read_plain(PLAIN.replace(old, new, 1)) is None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutations_never_mislead(data: st.DataObject) -> None:
    """Whatever is cut out or put in, the quick way declines or gives what the thorough way gives."""
    start = data.draw(st.integers(0, len(PLAIN)))
    end = data.draw(st.integers(start, min(len(PLAIN), start + 12)))
    put = data.draw(st.text(alphabet='ab1.0-"{}[]=,\n #\\', max_size=4))
    text = PLAIN[:start] + put + PLAIN[end:]
    quick = read_plain(text)
    if quick is not None:
        assert quick == thorough(text)
