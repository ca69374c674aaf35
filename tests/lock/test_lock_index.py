"""Index pages: honest ones in both forms, and whatever else a server may send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import InvalidIndexPage
from envid.lock.index import HTML_TYPE, JSON_TYPE, IndexFile, parse_page

URL = "https://index.example/simple/alpha/"
DIGEST = "ab" * 32


def html(text: str) -> tuple[IndexFile, ...]:
    return parse_page(text.encode(), content_type="text/html; charset=utf-8", url=URL)


def page(*files: object, **meta: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1", **meta}, "name": "alpha", "files": list(files)}).encode()


def test_an_html_page_gives_name_place_digest_and_marks() -> None:
    """An anchor of PEP 503 with fragment, data-requires-python and data-yanked is read whole."""
    (file,) = html(
        f'<a href="../../f/alpha-1.0%2Blocal.tar.gz#sha256={DIGEST}" data-requires-python="&gt;=3.11" data-yanked>x</a>'
    )
    assert file == IndexFile(
        filename="alpha-1.0+local.tar.gz", url="https://index.example/f/alpha-1.0%2Blocal.tar.gz",
        sha256=file.sha256, requires_python=">=3.11", yanked=True,
    )  # fmt: skip
    assert file.sha256 == DIGEST


def test_a_json_page_gives_the_same_and_the_size() -> None:
    """A file of PEP 691 and 700 is read whole; a digest in capitals is the same digest."""
    entry = {"filename": "alpha-1.0.tar.gz", "url": "../../f/a", "hashes": {"sha256": DIGEST.upper()}, "size": 5,
             "requires-python": ">=3", "yanked": "broken"}  # fmt: skip
    (file,) = parse_page(page(entry), content_type=JSON_TYPE, url=URL)
    assert file.url == "https://index.example/f/a"
    assert (file.filename, file.sha256, file.size, file.yanked) == ("alpha-1.0.tar.gz", DIGEST, 5, True)


def test_base_and_order_are_honoured() -> None:
    """Links start from <base>, and files come in the order of the page."""
    files = html('<base href="https://files.example/d/"><a href="b.whl">b</a><a href="/a.whl">a</a>')
    assert [file.url for file in files] == ["https://files.example/d/b.whl", "https://files.example/a.whl"]


@pytest.mark.parametrize(
    "href",
    ["javascript:x", "ftp://h.example/a.whl", "file:///etc/passwd", "http://[::1/a.whl", "", "..%2f..%2f", "a%00b"],
)
def test_links_to_elsewhere_are_left_out(href: str) -> None:
    """A link that is not to a file over the network, or whose name is no file name, is no file."""
    assert html(f'<a href="{href}">a</a>') == ()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xfe", "text/html"),
        (b"{", JSON_TYPE),
        (b"[" * 200_000, JSON_TYPE),
        (b"[]", JSON_TYPE),
        (b'{"files": 1}', JSON_TYPE),
        (page(**{"api-version": "2.0"}), JSON_TYPE),
        (b'<meta name="pypi:repository-version" content="2.0">', HTML_TYPE),
        (b"PK\x03\x04", "application/zip"),
    ],
)
def test_what_is_no_page_is_refused(data: bytes, kind: str) -> None:
    """Other types, other versions, broken JSON and nesting are InvalidIndexPage (exit 9) that shows the host alone."""
    with pytest.raises(InvalidIndexPage) as raised:
        parse_page(data, content_type=kind, url="https://user:sesame@index.example/simple/a/?token=sesame")
    assert raised.value.exit_code == 9
    assert "sesame" not in raised.value.message


@given(st.binary(max_size=300), st.sampled_from(["text/html", JSON_TYPE]))
def test_any_bytes_are_files_or_refused(data: bytes, kind: str) -> None:
    """No page makes the parser fail otherwise, and no name it gives is a path."""
    try:
        files = parse_page(data, content_type=kind, url=URL)
    except InvalidIndexPage:
        return
    assert all("/" not in file.filename and file.filename not in ("", ".", "..") for file in files)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FILES = st.dictionaries(
    st.sampled_from(["filename", "url", "hashes", "size", "requires-python", "yanked"]), VALUES, max_size=6
)


@given(st.lists(FILES, max_size=4))
def test_any_json_values_are_files_or_left_out(files: list[dict[str, object]]) -> None:
    """Fields of any type are either understood or make the file be left out."""
    for file in parse_page(page(*files), content_type=JSON_TYPE, url=URL):
        assert file.size is None or file.size >= 0
        assert file.sha256 is None or len(file.sha256) == 64
