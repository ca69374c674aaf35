"""Bytecode: what real Pythons and installers write is ok, and nothing else is."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import marshal
import os
import py_compile
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.errors import EngineFailed, InterpreterNotFound
from envid.installed import judged as judged_before
from envid.installed import marshalled
from envid.installed.bytecode import MAGIC, Judgement, Suspect, judge, judge_header, judge_many
from envid.installed.interpreter import measure, probe
from envid.installed.judged import recall, remember
from envid.installed.marshalled import Malformed, normal
from interpreters import interpreters

SOURCE = b'''"""Doc."""
import os
X = (1, 2.5, -0.0, 1 << 80, 10 ** 30, 3j, "a", "\xc3\xa9", b"b", None, True, ..., frozenset({1}))
def f(a, /, b=1, *, c: int = 2, **k):
    """Doc of f."""
    assert a, "assertion"
    return [x in {"one", "two", "three"} for x in (lambda: k)()]
class C:
    def m(self): return super().m()
    async def n(self):
        async with self: yield 1
'''
HERE = measure()
TAG = sys.implementation.cache_tag
NAME = f"mod.{TAG}.pyc"


def compiled(source: bytes = SOURCE, filename: str = "/x/mod.py", level: int = 0) -> bytes:
    return marshal.dumps(compile(source, filename, "exec", dont_inherit=True, optimize=level))


def header(flags: int = 0, mtime: int = 1000, size: int = len(SOURCE)) -> bytes:
    return importlib.util.MAGIC_NUMBER + struct.pack("<LLL", flags, mtime, size)


def judged(pyc: bytes, source: bytes | None = SOURCE, name: str = NAME) -> Judgement:
    return judge(pyc, source, mtime=1000, interpreter=HERE, name=name, filename="/x/mod.py")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_own_bytecode_is_ok(level: int) -> None:
    """What the source compiles to is ok, at the level that the file name tells and at no other."""
    name = NAME if not level else f"mod.{TAG}.opt-{level}.pyc"
    assert judged(header() + compiled(level=level), name=name) == "ok"
    other = f"mod.{TAG}.opt-{2 if level == 1 else 1}.pyc"
    assert judged(header() + compiled(level=level), name=other) == "forged"


def test_moved_environment_is_ok() -> None:
    """Bytecode compiled under another path is the same code."""
    assert judged(header() + compiled(filename="/elsewhere/mod.py")) == "ok"


def test_hash_based_bytecode() -> None:
    """Checked and unchecked hash-based bytecode (PEP 552) is ok, stale with another hash, forged with other code."""
    right = importlib.util.source_hash(SOURCE)
    for flags in (1, 3):
        start = importlib.util.MAGIC_NUMBER + struct.pack("<L", flags)
        assert judged(start + right + compiled()) == "ok"
        assert judged(start + right + compiled(b"evil = 1")) == "forged"
    checked = importlib.util.MAGIC_NUMBER + struct.pack("<L", 3)
    assert judged(checked + bytes(8) + compiled()) == "stale"
    unchecked = importlib.util.MAGIC_NUMBER + struct.pack("<L", 1)
    assert judged(unchecked + bytes(8) + compiled(b"evil = 1")) == "forged"


FORGERIES: dict[str, bytes] = {
    "other code": compiled(SOURCE.replace(b"-0.0", b" 0.0")),
    "one more statement": compiled(SOURCE + b"import evil\n"),
    "another constant": compiled(SOURCE.replace(b'"two"', b'"tw0"')),
    "another name": compiled(SOURCE.replace(b"import os", b"import op")),
    "another line": compiled(b"\n" + SOURCE),
    "int for bool": compiled(SOURCE.replace(b"True", b"1")),
    "empty": b"",
    "cut short": compiled()[:-1],
    "bytes after the end": compiled() + b"N",
    "no code": marshal.dumps(None),
    "a string": marshal.dumps("x" * 100),
    "another stack size": compiled()[:13] + b"\xff" + compiled()[14:],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_bytecode_is_found(forgery: str) -> None:
    """Bytecode that Python would run and that is not of the source is forged."""
    assert judged(header() + FORGERIES[forgery]) == "forged"


def test_what_python_would_not_run() -> None:
    """Other times and sizes are stale, other magic and names foreign, no source an orphan."""
    assert judged(header(mtime=999) + compiled()) == "stale"
    assert judged(header(size=1) + compiled()) == "stale"
    assert judged(header(flags=4) + compiled()) == "stale"
    assert judged(header()[:9]) == "stale"
    assert judged(b"\0\0\r\n" + header()[4:] + compiled()) == "foreign"
    assert judged(b"") == "foreign"
    assert judged(header() + compiled(), name="mod.cpython-27.pyc") == "foreign"
    assert judged(header() + compiled(), name=f"mod.{TAG}-pytest-8.0.pyc") == "foreign"
    assert judged(header() + compiled(), None) == "orphan"


def test_source_that_does_not_compile() -> None:
    """No bytecode can be of a source that has none."""
    source = b"def:"
    pyc = header(size=len(source)) + compiled()
    assert judged(pyc, source) == "forged"


def test_judge_wants_the_same_python() -> None:
    """Another Python's bytecode is not judged in this process."""
    from dataclasses import replace

    with pytest.raises(EngineFailed):
        judge(b"", b"", mtime=0, interpreter=replace(HERE, version="3.9.1"), name=NAME)


@pytest.mark.parametrize("minor", sorted(set(interpreters()) & set(MAGIC)))
def test_magic_numbers(minor: str) -> None:
    """The table of magic numbers is that of the real interpreters."""
    code = "import importlib.util as u; print(int.from_bytes(u.MAGIC_NUMBER[:2], 'little'))"
    done = subprocess.run([interpreters()[minor], "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == MAGIC[minor]


def test_judge_header() -> None:
    """The first 16 bytes tell whether Python would load the file."""

    def quick(head: bytes) -> Judgement:
        return judge_header(head, mtime=1000, size=len(SOURCE), interpreter=HERE)

    assert quick(header()) == "ok"
    assert quick(header(mtime=1)) == "stale"
    assert quick(header(size=1)) == "stale"
    assert quick(header(flags=1, mtime=5)) == "ok"
    assert quick(header(flags=9)) == "stale"
    assert quick(header()[:15]) == "stale"
    assert quick(b"abcd" + bytes(12)) == "foreign"


# --- the reader of marshalled values ----------------------------------------------------------


constants = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False),
        st.text(), st.binary(), st.just(...), st.integers(min_value=2**70),
    ),
    lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12,
)  # fmt: skip


@given(constants)
def test_equal_values_have_equal_numbers(value: Any) -> None:
    """A value marshalled in two ways, with references and without, is one number."""
    known: dict[object, int] = {}
    assert normal(marshal.dumps(value), known) == normal(marshal.dumps(value, 2), known)
    copy = marshal.loads(marshal.dumps(value))
    assert normal(marshal.dumps((value, value)), known) == normal(marshal.dumps((value, copy)), known)


@given(constants, constants)
def test_different_values_have_different_numbers(one: Any, two: Any) -> None:
    """Numbers are equal only where Python's own representation is: type, sign of zero and all."""
    known: dict[object, int] = {}
    assert (normal(marshal.dumps(one), known) == normal(marshal.dumps(two), known)) == (repr(one) == repr(two))


@settings(max_examples=300)
@given(st.data())
def test_damaged_code_is_never_ok(data: st.DataObject) -> None:
    """A change of any byte of the code is forged, or of something without meaning; never a crash."""
    whole = bytearray(compiled())
    at = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.integers(1, 255))
    whole[at] ^= change
    if marshalled.same_code(bytes(whole), SOURCE, filename="/x/mod.py", level=0):
        # What is left is without meaning: flags of references and of interning, the file names. Python agrees, or
        # does not take it for code at all.
        with contextlib.suppress(ValueError, TypeError):
            assert marshal.loads(bytes(whole)) == compile(SOURCE, "/x/mod.py", "exec", dont_inherit=True)


@pytest.mark.parametrize("code", [b"a", b"A"], ids=["ascii", "interned ascii"])
def test_text_of_another_encoding_is_forged(code: bytes) -> None:
    """Text that is not ASCII, marked as if it were, is another text to Python, and so it is here."""
    forged = bytearray(compiled())
    at = forged.index(struct.pack("<I", 2) + "é".encode()) - 1
    # The flag that others refer to it stays: Pythons differ in which texts they intern and refer to.
    forged[at] = code[0] | forged[at] & 0x80
    assert judged(header() + bytes(forged)) == "forged"


@given(st.binary(max_size=200))
def test_noise_never_escapes(data: bytes) -> None:
    """Any bytes are a value or Malformed."""
    try:
        normal(data, {})
    except Malformed:
        return


LAUGHS = [struct.pack("<BBclcl", 0xA9, 2, b"r", n, b"r", n) for n in range(50)]
BOMBS: dict[str, bytes] = {
    "nesting": b")\x01" * 100_000 + b"N",
    "a giant tuple": b"(\xff\xff\xff\x7fN",
    "a giant string": b"s\xff\xff\xff\x7f",
    "a giant number": b"l\xff\xff\xff\x7f",
    "a long number": b"l" + struct.pack("<l", 2_000_000) + b"\x01\x00" * 2_000_000,
    "a negative length": b"s\xff\xff\xff\xff",
    "a reference to itself": b"\xa9\x01r\0\0\0\0",
    "a reference to nothing": b"r\x05\0\0\0",
    "an unknown type": b"\x7f",
    "a list": b"[\0\0\0\0",
    "a dictionary": b"{0",
    "a set with equal elements": b">\x02\0\0\0NN",
    "references to references": b"(\x33\0\0\0\xa9\x00" + b"".join(LAUGHS),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_forged_quickly(bomb: str) -> None:
    """Deep nesting, giant lengths and references to references are forged within a second."""
    start = time.perf_counter()
    assert judged(header() + BOMBS[bomb]) == "forged"
    assert time.perf_counter() - start < 1


# --- files ------------------------------------------------------------------------------------


def write_module(directory: Path, name: str, source: bytes = SOURCE) -> Path:
    path = directory / f"{name}.py"
    path.write_bytes(source)
    return path


def cache_of(path: Path, minor: str, suffix: str = "") -> Path:
    return path.parent / "__pycache__" / f"{path.stem}.cpython-{minor.replace('.', '')}{suffix}.pyc"


@pytest.mark.parametrize("minor", sorted(interpreters()))
def test_imports_and_compileall_are_ok(tmp_path: Path, minor: str) -> None:
    """What each real Python writes on import, optimised or not, and through compileall, is ok."""
    python = interpreters()[minor]
    module = write_module(tmp_path, "mod")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for option in ("-W", "-O", "-OO"):
        arguments = [str(python), option, *(["ignore"] if option == "-W" else []), "-c", "import mod"]
        subprocess.run(arguments, cwd=tmp_path, check=True, env=env)
    hashed = write_module(tmp_path, "hashed", b"y = 2\n")
    command = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(hashed)]
    subprocess.run(command, check=True, env=env)
    suspects = [
        *(Suspect(pyc=str(cache_of(module, minor, suffix)), source=str(module)) for suffix in ("", ".opt-1", ".opt-2")),
        Suspect(pyc=str(cache_of(hashed, minor)), source=str(hashed)),
    ]  # fmt: skip
    assert judge_many(suspects, python=python, interpreter=probe(python)) == ("ok",) * 4


def test_judgements_keep_their_order(tmp_path: Path) -> None:
    """Answers come in the order of the questions, over several batches."""
    good, bad = write_module(tmp_path, "good"), write_module(tmp_path, "bad")
    for path in (good, bad):
        py_compile.compile(str(path), doraise=True)
    forge(cache_here(bad), b"evil = 1")
    suspects = [Suspect(pyc=str(cache_here(path)), source=str(path)) for path in (good, bad) * 150]
    answers = judge_many(suspects, python=Path(HERE.executable), interpreter=HERE)
    assert answers == ("ok", "forged") * 150


def cache_here(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(path)))


def forge(pyc: Path, source: bytes) -> None:
    pyc.write_bytes(pyc.read_bytes()[:16] + compiled(source))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A missing source makes an orphan; a missing .pyc is nothing that Python would run."""
    path = write_module(tmp_path, "mod")
    py_compile.compile(str(path), doraise=True)
    pyc = str(cache_here(path))
    suspects = [
        Suspect(pyc=pyc, source=None), Suspect(pyc=pyc, source=str(tmp_path / "gone.py")),
        Suspect(pyc=str(tmp_path / "gone.pyc"), source=str(path)),
    ]  # fmt: skip
    answers = judge_many(suspects, python=Path(HERE.executable), interpreter=HERE)
    assert answers == ("orphan", "orphan", "stale")
    assert judge_many([], python=tmp_path / "gone", interpreter=HERE) == ()


def test_source_that_kills_the_compiler(tmp_path: Path) -> None:
    """An interpreter that dies over a file makes that file forged, and the others are judged all the same."""
    paths = [write_module(tmp_path, f"m{n}") for n in range(3)]
    for path in paths:
        py_compile.compile(str(path), doraise=True)
    wrapper = tmp_path / "python"
    # Dies as a crashed compiler would: after the answers before it, without one for the second file.
    wrapper.write_text(
        f"#!{HERE.executable}\nimport json, os, subprocess, sys\n"
        "asked = json.load(sys.stdin)\n"
        "for n, item in enumerate(asked):\n"
        "    if item[0].find('m1.') >= 0: sys.stdout.flush(); os.kill(os.getpid(), 11)\n"
        f"    done = subprocess.run([{HERE.executable!r}, *sys.argv[1:]], input=json.dumps([item]), text=True,"
        " capture_output=True)\n"
        "    print(done.stdout.strip(), flush=True)\n"
    )
    wrapper.chmod(0o755)
    suspects = [Suspect(pyc=str(cache_here(path)), source=str(path)) for path in paths]
    assert judge_many(suspects, python=wrapper, interpreter=HERE) == ("ok", "forged", "ok")


@pytest.mark.parametrize("body", ["exit 3", "echo fine; echo fine", "echo ok; echo ok; echo ok", "echo no >&2; exit 1"])
def test_interpreter_that_does_not_answer(tmp_path: Path, body: str) -> None:
    """A program that does not answer as a Python does is InterpreterNotFound, not a verdict."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f"#!/bin/sh\ncat >/dev/null\n{body}\n")
    wrapper.chmod(0o755)
    with pytest.raises(InterpreterNotFound):
        judge_many([Suspect(pyc="/x.pyc", source=None)] * 2, python=wrapper, interpreter=HERE)


def test_deep_source_does_not_hang(tmp_path: Path) -> None:
    """A source at the limits of the compiler is judged, whatever the verdict."""
    deep = b"x = " + b"(" * 90 + b"1" + b",)" * 90
    path = write_module(tmp_path, "deep", deep)
    py_compile.compile(str(path), doraise=True)
    suspect = Suspect(pyc=str(cache_here(path)), source=str(path))
    assert judge_many([suspect], python=Path(HERE.executable), interpreter=HERE) == ("ok",)


def test_what_was_ok_is_not_compiled_again(tmp_path: Path) -> None:
    """With a cache, good files are remembered; a change of either file, or of the source's time, is judged anew."""
    path = write_module(tmp_path, "mod")
    py_compile.compile(str(path), doraise=True)
    pyc, cache = cache_here(path), tmp_path / "cache"
    suspect = Suspect(pyc=str(pyc), source=str(path))
    python = Path(HERE.executable)
    broken = tmp_path / "gone"
    assert judge_many([suspect], python=python, interpreter=HERE, cache=cache) == ("ok",)
    # An interpreter that is not there proves that none was asked.
    assert judge_many([suspect], python=broken, interpreter=HERE, cache=cache) == ("ok",)
    good = pyc.read_bytes()
    forge(pyc, b"evil = 1")
    assert judge_many([suspect], python=python, interpreter=HERE, cache=cache) == ("forged",)
    assert judge_many([suspect], python=python, interpreter=HERE, cache=cache) == ("forged",)
    pyc.write_bytes(good)
    os.utime(path, (1, 1))
    assert judge_many([suspect], python=python, interpreter=HERE, cache=cache) == ("stale",)


def test_memory_that_is_not_ours_is_not_believed(tmp_path: Path) -> None:
    """A damaged memory, or one that every user can write, is as none."""
    path = write_module(tmp_path, "mod")
    py_compile.compile(str(path), doraise=True)
    cache = tmp_path / "cache"
    suspect = Suspect(pyc=str(cache_here(path)), source=str(path))
    judge_many([suspect], python=Path(HERE.executable), interpreter=HERE, cache=cache)
    kept = next((cache / "bytecode-v1").iterdir())
    assert recall(cache, HERE)
    kept.chmod(0o666)
    assert recall(cache, HERE) == frozenset()
    kept.chmod(0o644)
    kept.write_bytes(b"0" * 64 + kept.read_bytes()[64:])
    assert recall(cache, HERE) == frozenset()


@pytest.mark.parametrize("place", [".", "bytecode-v1"])
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_memory_in_a_directory_of_others_is_not_believed(tmp_path: Path, place: str, mode: int) -> None:
    """Where anybody else may put files, nothing is remembered: the interpreter is asked again."""
    path = write_module(tmp_path, "mod")
    py_compile.compile(str(path), doraise=True)
    cache = tmp_path / "cache"
    suspect = Suspect(pyc=str(cache_here(path)), source=str(path))
    judge_many([suspect], python=Path(HERE.executable), interpreter=HERE, cache=cache)
    assert judge_many([suspect], python=tmp_path / "gone", interpreter=HERE, cache=cache) == ("ok",)
    (cache / place).chmod(mode)
    with pytest.raises(InterpreterNotFound):
        judge_many([suspect], python=tmp_path / "gone", interpreter=HERE, cache=cache)


def test_a_link_to_another_memory_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the place of the memory is as none."""
    remember(tmp_path, HERE, frozenset(), ["1" * 64])
    kept = next((tmp_path / "bytecode-v1").iterdir())
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert recall(tmp_path, HERE) == frozenset()


def test_a_file_exchanged_while_it_is_judged_is_not_remembered(tmp_path: Path) -> None:
    """Good bytes put there for the judge alone do not make the bad ones, that are back afterwards, good for ever."""
    path = write_module(tmp_path, "mod")
    py_compile.compile(str(path), doraise=True)
    pyc, cache = cache_here(path), tmp_path / "cache"
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pyc.read_bytes())
    forge(pyc, b"evil = 1")
    bad.write_bytes(pyc.read_bytes())
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\ncp {good} {pyc}\n{HERE.executable} "$@"\ncp {bad} {pyc}\n')
    wrapper.chmod(0o755)
    suspect = Suspect(pyc=str(pyc), source=str(path))
    assert judge_many([suspect], python=wrapper, interpreter=HERE, cache=cache) == ("ok",)
    assert judge_many([suspect], python=Path(HERE.executable), interpreter=HERE, cache=cache) == ("forged",)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its limit the memory begins anew; one that cannot be written is no error."""
    monkeypatch.setattr(judged_before, "MAX_ENTRIES", 2)
    remember(tmp_path, HERE, frozenset(), ["1" * 64, "2" * 64])
    assert recall(tmp_path, HERE) == {"1" * 64, "2" * 64}
    remember(tmp_path, HERE, recall(tmp_path, HERE), ["3" * 64])
    assert recall(tmp_path, HERE) == {"3" * 64}
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file", HERE, frozenset(), ["1" * 64])
    assert recall(tmp_path / "file", HERE) == frozenset()


def test_nothing_is_unmarshalled() -> None:
    """The comparison uses ``marshal.dumps`` and nothing else of ``marshal``, and nothing of envid."""
    tree = ast.parse(Path(marshalled.__file__).read_bytes())
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if ast.unparse(node.value) == "marshal"}
    assert used == {"dumps"}
    imported = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [line for line in imported if "envid" in line or "from marshal" in line or "marshal as" in line] == []
