"""Manifests: one canonical text for what was made, and nothing in it that leads elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envid import manifest
from envid.errors import BadManifest
from envid.manifest import Kind, Made, decode, encode

DIGEST = "0123456789abcdef" * 4


def file(path: str, *, mode: int = 0o644, size: int = 3) -> Made:
    return Made(path=path, kind="file", mode=mode, size=size, digest=DIGEST)


def directory(path: str, *, mode: int = 0o755) -> Made:
    return Made(path=path, kind="directory", mode=mode, size=0, digest="")


def link(path: str, target: str) -> Made:
    return Made(path=path, kind="link", mode=0, size=0, digest="", target=target)


def odd(*, kind: str, size: int = 0, digest: str = "", target: str = "") -> Made:
    return Made(path="a", kind=kind, mode=0, size=size, digest=digest, target=target)  # type: ignore[arg-type]


names = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..") and name[1:2] != ":"
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
rows = st.one_of(
    st.builds(file, paths, mode=st.integers(0, 0o777), size=st.integers(0, 2**53)),
    st.builds(directory, paths, mode=st.integers(0, 0o777)),
    st.builds(link, paths, names),
)


@given(st.lists(rows, max_size=8, unique_by=lambda row: row.path))
def test_what_was_made_survives(made: list[Made]) -> None:
    """What can be written down is read back the same, sorted, and written again to the same bytes."""
    try:
        data = encode(made)
    except BadManifest:
        assume(False)
    again = decode(data)
    assert sorted(again, key=lambda row: row.path) == sorted(made, key=lambda row: row.path)
    assert encode(reversed(again)) == data
    assert data.count(b"\n") == len(made) + 1


def test_the_form() -> None:
    """A manifest is a line for each fact, sorted by path; the bits beyond the permissions are left out."""
    made = [link("docs/latest", "../v 2"), file("docs/a page", mode=0o104755, size=12), directory("docs")]
    text = f"envid-manifest 1\ndirectory 0755 docs\nfile 0755 12 {DIGEST} docs/a page\nlink docs/latest\t../v 2\n"
    assert encode(made).decode() == text
    assert encode([]) == b"envid-manifest 1\n"
    assert decode(b"envid-manifest 1\n") == ()


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", ".", "./a", "a/./b", "a//b", "a/", "a\0b", "a\nb", "a\tb",
     "a\x1bb", "a\x7f", "a\x85b", "a\\b", "C:x", "c:/x", "\udcff", "x" * 256, "x/" * 2100 + "x"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_path_that_is_none_is_refused(path: str, kind: Kind) -> None:
    """Absolute, upward, empty, over-long, ambiguous and unprintable paths are refused for every kind of thing."""
    makers: dict[Kind, Callable[[str], Made]] = {
        "file": file,
        "directory": directory,
        "link": lambda path: link(path, "x"),
    }
    make = makers[kind]
    with pytest.raises(BadManifest):
        encode([make(path)])


@pytest.mark.parametrize(
    ("path", "target"),
    [("l", "/etc/passwd"), ("l", ".."), ("l", "../x"), ("a/l", "../../x"), ("a/l", "x/../../.."), ("l", "./.."),
     ("l", "a/.."), ("l", "C:x"), ("l", "a\\b"), ("l", "a\nb"), ("l", ""), ("l", "\udcff"), ("l", "x" * 4096)],
)  # fmt: skip
def test_a_link_that_may_lead_out_is_refused(path: str, target: str) -> None:
    """A link leads upward only first, and no further than the root of the tree."""
    with pytest.raises(BadManifest):
        encode([link(path, target)])


@pytest.mark.parametrize(
    ("path", "target"), [("l", "x"), ("l", "./x"), ("l", "."), ("a/l", "../x"), ("a/b/l", "../../x/y/"), ("a/l", "..")]
)
def test_a_link_inside_is_taken(path: str, target: str) -> None:
    """A link that stays in the tree keeps its target as it is."""
    assert decode(encode([link(path, target)]))[0].target == target


@pytest.mark.parametrize(
    "made",
    [(file("a"), file("a")), (file("a"), directory("a")), (file("a"), file("a/b")), (link("a", "x"), file("a/b")),
     (link("a", "x"), file("A/b")), (link("é", "x"), file("e\u0301/b")), (link("Straße", "x"), file("STRASSE/b/c")),
     (file("A"), link("a", "x")), (directory("A"), link("a", "x")), (file("a"), file("A/b"))],
    ids=str,
)  # fmt: skip
def test_things_in_the_way_of_one_another_are_refused(made: tuple[Made, ...]) -> None:
    """Twice the same path, a path through a file or a link, or through one that some filesystem takes for it."""
    with pytest.raises(BadManifest):
        encode(made)
    with pytest.raises(BadManifest):
        decode(b"envid-manifest 1\n" + b"".join(sorted(encode([one]).split(b"\n")[1] + b"\n" for one in made)))


def test_names_that_differ_in_case_are_two_names() -> None:
    """Two files of names that differ in case only are two facts: on this filesystem they are two files."""
    assert len(decode(encode([file("Index.html"), file("index.html"), directory("A"), file("a/x")]))) == 4


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"envid-manifest 1", b"envid-manifest 2\n", b"envid-manifest 1\n\n", b"\xff", b"envid-manifest 1\nx\n",
     b"envid-manifest 1\r\n", b"envid-manifest 1\ndirectory 755 a\n", b"envid-manifest 1\ndirectory 1755 a\n",
     b"envid-manifest 1\ndirectory 0755  a\n", b"envid-manifest 1\ndirectory 0755 b\ndirectory 0755 a\n",
     b"envid-manifest 1\ndirectory 0755 a", b"envid-manifest 1\nfile 0644 03 " + DIGEST.encode() + b" a\n",
     b"envid-manifest 1\nfile 0644 3 " + DIGEST.upper().encode() + b" a\n", b"envid-manifest 1\nlink a b\n",
     b"envid-manifest 1\nlink a\tb\tc\n", b"envid-manifest 1\nfile 0644 9999999999999999 " + DIGEST.encode() + b" a\n"],
)  # fmt: skip
def test_other_bytes_are_no_manifest(data: bytes) -> None:
    """Only the form that is written is read."""
    if data == b"envid-manifest 1\ndirectory 0755  a\n":
        assert decode(data)[0].path == " a"
        return
    with pytest.raises(BadManifest):
        decode(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    """Whatever follows the first line, there is a manifest that is written the same again, or BadManifest."""
    data = b"envid-manifest 1\n" + tail
    try:
        made = decode(data)
    except BadManifest:
        return
    assert encode(made) == data


@pytest.mark.parametrize(
    "made",
    [
        odd(kind="file"),
        odd(kind="file", digest="0" * 63),
        odd(kind="file", digest=DIGEST, size=-1),
        odd(kind="file", digest=DIGEST, target="x"),
        odd(kind="directory", size=1),
        odd(kind="directory", digest=DIGEST),
        odd(kind="link"),
        odd(kind="pipe"),
    ],
)
def test_facts_that_do_not_fit_are_refused(made: Made) -> None:
    """A file has a digest and a size, a link a target, and nothing else has."""
    with pytest.raises(BadManifest):
        encode([made])


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More things than a manifest holds are refused, written or read."""
    monkeypatch.setattr(manifest, "MAX_FILES", 2)
    three = [file("a"), file("b"), file("c")]
    with pytest.raises(BadManifest, match="at most 2"):
        encode(three)
    monkeypatch.setattr(manifest, "MAX_FILES", 3)
    data = encode(three)
    monkeypatch.setattr(manifest, "MAX_FILES", 2)
    with pytest.raises(BadManifest, match="at most 2"):
        decode(data)
