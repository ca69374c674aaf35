"""The quick reader: declines, or equals tomllib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envid.errors import EnvidError
from envid.lock.pylock import parse, read, skim
from envid.lock.select import resolve_quick, select
from envid.values.artifact import Resolution
from envid.values.target import parse_target

P = ParamSpec("P")

VALID = Path(__file__).parents[2] / "fixtures" / "pylock" / "valid"
CANONICAL = ["pylock.everywhere.toml", "pylock.targets.toml", "pylock.neutral.toml"]
HASH = "0123456789abcdef" * 4

SMALL = f"""\
lock-version = "1.0"
environments = [
    "python_version == '3.12'",
]
requires-python = ">=3.11"
created-by = "envid"

[[packages]]
name = "foo"
version = "1.0"
marker = "sys_platform == 'linux'"
requires-python = ">=3.8"
index = "https://index.example/simple"
sdist = {{ url = "https://index.example/foo-1.0.tar.gz", size = 7, hashes = {{ sha256 = "{HASH}" }} }}
wheels = [
    {{ url = "https://index.example/foo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hashes = {{ sha256 = "{HASH}" }} }},
    {{ path = "wheelhouse/foo-1.0-py3-none-any.whl", size = 10, hashes = {{ sha256 = "{HASH}" }} }},
    {{ name = "foo-1.0-1-py3-none-any.whl", url = "https://index.example/foo-1.0%2D1-py3-none-any.whl", size = 10, hashes = {{ sha256 = "{HASH}" }} }},
]

[[packages]]
name = "x-y"
version = "2"
wheels = [
    {{ path = "X.y-2.0-py2.py3-none-any.whl", hashes = {{ sha256 = "{HASH}" }} }},
]

[tool.other]
key = [1, 2]

[tool.envid]
format = 1
resolver = "uv"
digest = "{HASH}"

[tool.envid.inputs]
requirements = [
    "foo",
    "x-y",
]

[tool.envid.contents]
{HASH} = "{HASH}"
"""  # noqa: E501

FRAGMENTS = [
    "",
    '"',
    "'",
    "\\",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "#",
    "# x\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "=",
    ".",
    "..",
    "../",
    "/",
    "\\\\",
    "\\u0041",
    '"""',
    "'''",
    "\0",
    "\u00e9",
    "\u2028",
    "%2F",
    "%",
    "@",
    "u:p@",
    "?token=x",
    ":",
    "//",
    "-",
    "_",
    "A",
    "0",
    "99999999999999999999",
    "x = 1\n",
    "[[packages]]\n",
    "\n[[packages]]\n",
    "[packages.tool.x]\n",
    "[tool]\n",
    "[tool.envid]\n",
    "\n[tool.envid.contents]\n",
    "[lock-version]\n",
    'version = "1.0"\n',
    'name = "foo"\n',
    'directory = { path = "x" }\n',
    f'{HASH} = "{HASH}"\n',
    "contents = {}\n",
    "envid = {}\n",
    "format = 2\n",
    "extras = []\n",
    "a = '''\n[tool.envid]\n",
    "'''\n",
    "wheels = []\n",
    "inputs = 1\n",
    "size = 00, ",
    "size = +1, ",
    "size = 1_0, ",
    "size = 1.0, ",
]


def outcome(function: Callable[P, Resolution], *args: P.args, **kwargs: P.kwargs) -> object:
    """Return what a selection gives, or what it says when it refuses."""
    try:
        return function(*args, **kwargs)
    except EnvidError as error:
        return error.slug, error.message, error.hint


def agree(data: bytes) -> bool:
    """Hold the quick reader to the slow one for ``data``; return whether it took it."""
    quick = skim(data, path="p")
    if quick is None:
        return False
    slow = parse(data, path="p")
    assert read(data, path="p") == slow
    for name in ("cp312-manylinux_2_28_x86_64", "cp3.12.1-macosx_14_0_arm64"):
        target = parse_target(name)
        assert outcome(resolve_quick, data, target, path="p") == outcome(select, slow, target)
    return True


@pytest.mark.parametrize("name", CANONICAL)
def test_the_quick_reader_takes_what_the_writer_writes(name: str) -> None:
    """Real locks in canonical form are read quickly and equal to tomllib's reading, for several targets."""
    assert agree((VALID / name).read_bytes())


def test_the_small_lock_has_every_feature_of_the_layout() -> None:
    """The lock that is mutated below is itself in the quick layout."""
    assert agree(SMALL.encode())


def test_another_tools_layout_is_left_to_the_full_reader() -> None:
    """uv's own output is declined, and still read."""
    data = (VALID / "pylock.uv.toml").read_bytes()
    assert skim(data, path="p") is None
    assert read(data, path="p") == parse(data, path="p")


@settings(max_examples=700, deadline=None)
@given(st.integers(0, len(SMALL)), st.integers(0, 3), st.sampled_from(FRAGMENTS) | st.text(max_size=2))
@example(SMALL.index("://index.example/foo-1.0-cp"), 3, "/")
@example(SMALL.index('},\n    { name = "foo-1.0-1'), 3, "\u2028")
@example(SMALL.index("[tool.envid]"), 0, "a = '''\n[tool.envid]\n")
@example(SMALL.index("[tool.other]"), 0, "[tool]\nenvid = {}\n\n")
def test_damage_of_a_few_characters_is_declined_or_read_as_tomllib_reads_it(at: int, cut: int, put: str) -> None:
    """For single edits of a canonical lock the quick reader never gives anything but tomllib's answer."""
    agree((SMALL[:at] + put + SMALL[at + cut :]).encode("utf-8", "surrogatepass"))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_of_whole_lines_is_declined_or_read_as_tomllib_reads_it(data: st.DataObject) -> None:
    """Lines dropped, doubled, swapped, moved or spliced in make no difference either."""
    lines = SMALL.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        if not lines:
            break
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "move", "splice", "copy"]))
        if kind == "drop":
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "move":
            lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        elif kind == "copy":
            end = data.draw(st.integers(at, len(lines)))
            lines += lines[at:end]
        else:
            lines.insert(at, data.draw(st.sampled_from(FRAGMENTS)))
    agree("".join(lines).encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_a_single_changed_byte_is_declined_or_read_as_tomllib_reads_it(at: int, byte: int) -> None:
    """Any byte value at any place: declined, or the same answer."""
    data = bytearray(SMALL.encode())
    data[at] = byte
    agree(bytes(data))


@pytest.mark.parametrize("seed", range(4))
def test_real_locks_survive_the_same_damage(seed: int) -> None:
    """Sixty random edits of a real lock per seed, read alike or declined."""
    from random import Random

    random = Random(seed)
    original = (VALID / "pylock.neutral.toml").read_bytes()
    for _ in range(15):
        at = random.randrange(len(original))
        put = random.choice(FRAGMENTS).encode()
        agree(original[:at] + put + original[at + random.randrange(4) :])
