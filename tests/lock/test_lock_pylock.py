"""Reading a lock: what is taken, what is refused."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.errors import (
    ConflictMarkers,
    EnvidError,
    IntegrityError,
    InvalidLock,
    LockError,
    TooLarge,
    UnhashedArtifact,
)
from envid.lock import pylock
from envid.lock.pylock import parse, read

FIXTURES = Path(__file__).parents[2] / "fixtures" / "pylock"
VALID = sorted((FIXTURES / "valid").glob("*.toml"))
INVALID = sorted((FIXTURES / "invalid").glob("*.toml"))
ONLY_VALIDATED = {"lock.invalid--attestation-without-kind.toml", "lock.invalid--extra-not-normal.toml"}
GOOD = (
    'lock-version = "1.0"\ncreated-by = "x"\n\n[[packages]]\nname = "foo-bar"\nversion = "1.0"\n'
    'wheels = [{ url = "https://index.example/Foo.Bar-1.0.0-py3-none-any.whl", hashes = { sha256 = "'
    + "a" * 64
    + '" } }]\n'
)


def text() -> bytes:
    return GOOD.encode()


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_valid_lock_is_taken_whole(path: Path) -> None:
    """Every package, wheel and digest that tomllib sees in a real lock is in what parse gives."""
    data = path.read_bytes()
    lock = parse(data, path=str(path))
    document = tomllib.loads(data.decode())
    assert [entry.name for entry in lock.distributions] == [table["name"] for table in document["packages"]]
    for entry, table in zip(lock.distributions, document["packages"], strict=True):
        assert [wheel.sha256 for wheel in entry.wheels] == [
            wheel["hashes"]["sha256"] for wheel in table.get("wheels", [])
        ]
        assert (entry.sdist is None) == ("sdist" not in table)
    assert parse(data, path=str(path)) == lock == read(data, path=str(path))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_a_bad_lock_is_refused_with_its_slug(path: Path) -> None:
    """Every file of fixtures/pylock/invalid raises the error its name begins with, naming the file and no secret."""
    slug = path.name.partition("--")[0]
    # What only the whole specification forbids is left to parse; a key does not pay for it.
    for reader in (parse,) if path.name in ONLY_VALIDATED else (parse, read):
        with pytest.raises(EnvidError) as caught:
            reader(path.read_bytes(), path="locks/pylock.toml")
        assert caught.value.slug == slug
        assert "locks/pylock.toml" in caught.value.message
        assert "hunter2" not in caught.value.message + caught.value.hint + str(caught.value.context)
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 600


def test_there_is_a_bad_lock_for_every_leaf_that_parsing_raises() -> None:
    """The corpus covers each error that parse documents, TooLarge excepted, which takes 64 MiB."""
    slugs = {path.name.partition("--")[0] for path in INVALID}
    assert slugs == {"lock.invalid", "lock.conflict-markers", "lock.unhashed", "integrity.unsafe-path"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf" + text(), "byte order mark"),
        (text() + b"\0", "NUL"),
        (text() + b"# \xff\n", "UTF-8"),
        (text() + b"x = " + b"[" * 100_000, "nested"),
        (text() + b"x = " + b"{a=" * 100_000, "nested"),
        (b"", "there is no lock-version: this is not a lock"),
        (b"\x7fELF", "invalid"),
    ],
    ids=["bom", "nul", "latin", "arrays", "tables", "empty", "binary"],
)
def test_bytes_that_are_no_text_or_no_end_of_nesting_are_refused(data: bytes, words: str) -> None:
    """Encodings, NUL bytes and bottomless nesting end in InvalidLock, from both readers."""
    for reader in (parse, read):
        with pytest.raises(InvalidLock) as caught:
            reader(data, path="pylock.toml")
        assert words.lower() in caught.value.message.lower()


def test_a_lock_beyond_the_limit_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size is checked before anything is decoded."""
    monkeypatch.setattr(pylock, "MAX_BYTES", 100)
    for reader in (parse, read):
        with pytest.raises(TooLarge):
            reader(b"\xff" * 101, path="pylock.toml")


def test_one_half_of_a_conflict_is_no_conflict() -> None:
    """A line of a heading in a text of another tool is not taken for a merge conflict; both ends are."""
    heading = b'[tool.other]\ntext = """\nTitle\n=======\n<<<<<<< x\n"""\n'
    assert parse(text() + heading, path="p").distributions
    with pytest.raises(ConflictMarkers):
        parse(text() + heading + b">>>>>>> y\n", path="p")


def test_an_unhashed_artifact_is_named() -> None:
    """The error carries the package and the file, for machines too."""
    with pytest.raises(UnhashedArtifact) as caught:
        parse(GOOD.replace("sha256", "sha512").encode(), path="p")
    assert caught.value.context["package"] == "foo-bar"
    assert caught.value.context["file"] == "Foo.Bar-1.0.0-py3-none-any.whl"


def test_credentials_of_an_engines_answer_can_be_dropped() -> None:
    """What an index put into URLs is taken out on request, user name, password and signature alike."""
    leaky = GOOD.replace(
        "https://index.example/Foo.Bar-1.0.0-py3-none-any.whl",
        "https://u:hunter2@index.example/Foo.Bar-1.0.0-py3-none-any.whl?sig=hunter2",
    )
    with pytest.raises(InvalidLock):
        parse(leaky.encode(), path="p")
    lock = parse(leaky.encode(), path="p", drop_credentials=True)
    assert lock.distributions[0].wheels[0].url == "https://index.example/Foo.Bar-1.0.0-py3-none-any.whl"


def test_credentials_of_a_repository_can_be_dropped() -> None:
    """A password in the address of a repository goes; the user name that ssh needs stays."""
    body = (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "foo"\n'
        'vcs = { type = "git", url = "URL", commit-id = "' + "b" * 40 + '" }\n'
    )
    for url, clean in (
        ("https://u:hunter2@git.example/foo", "https://git.example/foo"),
        ("ssh://git@git.example/foo", "ssh://git@git.example/foo"),
    ):
        source = parse(body.replace("URL", url).encode(), path="p", drop_credentials=True).distributions[0].source
        assert source is not None
        assert source.url == clean


WHEEL = "https://index.example/Foo.Bar-1.0.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (WHEEL, WHEEL + "?" + "token" * 100_000),
        (WHEEL, "https://index.example/" + "a/" * 300_000 + "x"),
        (WHEEL, "https://index.example/" + "a-" * 300_000 + "1.whl"),
        (WHEEL, "https://index.example/foo-bar-1.0-py3-none-" + "any." * 100_000 + "any.whl"),
        ("foo-bar", "foo-" * 300_000 + "bar"),
        ('"1.0"\nwheels', '"' + "1." * 300_000 + '0"\nwheels'),
        ('version = "1.0"', 'version = "1.0"\nmarker = "' + "os_name == 'a' or " * 3_000 + "os_name == 'b'\""),
        ('version = "1.0"', 'version = "1.0"\nrequires-python = "' + ">=3.8," * 100_000 + '"'),
        ("\n\n[[packages]]", "\n" + "# x\n" * 100_000 + "[[packages]]"),
    ],
    ids=["query", "slashes", "dashes", "tags", "name", "version", "marker", "bounds", "comments"],
)
def test_long_input_takes_time_in_proportion(old: str, new: str) -> None:
    """Half a megabyte of what a bad expression would chew on for hours is answered at once, whatever the answer."""
    for text in (GOOD, GOOD.replace('"x"', '"envid"')):
        assert old in text
        for reader in (parse, read):
            with contextlib.suppress(LockError, IntegrityError):
                reader(text.replace(old, new).encode(), path="p")


def test_the_tables_of_envid_are_disposable() -> None:
    """Without [tool.envid], or with one of a later format, a lock means the same and knows less."""
    plain = parse(text(), path="p")
    later = parse(text() + b'[tool.envid]\nformat = 2\ninputs = "of another shape"\n', path="p")
    ours = parse(text() + b'[tool.envid]\nformat = 1\ndigest = "d"\n[tool.envid.inputs]\nx = 1\n', path="p")
    assert plain == later
    assert plain.distributions == ours.distributions
    assert (plain.inputs, plain.contents, plain.body_digest) == (None, None, None)
    assert (ours.inputs, ours.body_digest) == ({"x": 1}, "d")


@pytest.mark.parametrize(
    ("body", "check"),
    [
        (
            'directory = { path = "../libs/foo", editable = true }',
            lambda source: (source.path, source.editable) == ("../libs/foo", True),
        ),
        ('directory = { path = "." }', lambda source: source.path == "."),
        ('directory = { path = "./a/./b" }', lambda source: source.path == "a/b"),
        (
            (
                'vcs = { type = "git", url = "ssh://git@git.example/foo", subdirectory = "x", '
                f'commit-id = "{"b" * 40}" }}'
            ),
            lambda source: (source.vcs, source.commit, source.subdirectory) == ("git", "b" * 40, "x"),
        ),
    ],
)
def test_source_trees_keep_what_identifies_them(body: str, check: object) -> None:
    """Directories (beside the lock's own too) and pinned checkouts are read with their fields."""
    data = f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "foo"\n{body}\n'
    source = parse(data.encode(), path="p").distributions[0].source
    assert callable(check)
    assert check(source)


@pytest.mark.parametrize(
    ("url", "filename"),
    [
        ("https://index.example/foo_bar-1.0+cpu-py3-none-any.whl", None),
        ("https://index.example/a/foo_bar-1.0-py3-none-any.whl#sha256=abc", "foo_bar-1.0-py3-none-any.whl"),
        ("https://index.example/foo_bar-1%2E0-py3-none-any.whl", "foo_bar-1.0-py3-none-any.whl"),
        ("file:///srv/wheels/foo_bar-1.0-1-py3-none-any.whl", "foo_bar-1.0-1-py3-none-any.whl"),
    ],
)
def test_the_file_name_comes_from_the_url(url: str, filename: str | None) -> None:
    """Without a name the last part of the URL is the file name, decoded; it must be of that version."""
    data = GOOD.replace("https://index.example/Foo.Bar-1.0.0-py3-none-any.whl", url).encode()
    if filename is None:
        with pytest.raises(InvalidLock):
            parse(data, path="p")
    else:
        assert parse(data, path="p").distributions[0].wheels[0].filename == filename


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_a_lock_is_an_error_of_ours_or_harmless(data: st.DataObject) -> None:
    """Changed, cut or repeated bytes of a lock never make parse fail with anything but an EnvidError."""
    original = GOOD.encode()
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 40)))
    patch = data.draw(
        st.binary(max_size=12) | st.sampled_from([b'"', b"\\", b"[[", b"]]", b"{", b"}", b"\n", b"'''", b"\0", b"../"])
    )
    # Anything but an EnvidError gets through and fails the test.
    with contextlib.suppress(LockError, IntegrityError):
        parse(original[:start] + patch + original[end:], path="p")


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["lock-version", "created-by", "packages", "environments", "requires-python", "tool", "extras"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("1.0"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "version", "wheels", "hashes", "url", "sha256", "envid", "path"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_no_document_of_any_shape_breaks_the_checks(document: dict[str, object]) -> None:
    """Values of every type in every place end in an EnvidError or in a lock."""
    from envid.lock import toml

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {name: clean(item) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            return [clean(item) for item in value if item is not None]
        return value

    lines = [f"{toml.key(name)} = {toml.value(clean(item))}\n" for name, item in document.items() if item is not None]
    with contextlib.suppress(LockError, IntegrityError):
        parse("".join(lines).encode("utf-8", "surrogatepass"), path="p")
