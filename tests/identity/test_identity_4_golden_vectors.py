"""What must be true, 4: golden vectors, on which an independent second implementation agrees."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import second_identity
from envid.identity import document, key, parse_document
from identity_vectors import FILE, compute, inputs, result, stored

VECTORS = stored()


def test_there_are_enough_vectors() -> None:
    """The fixture has at least a hundred vectors, each name once, of the inputs that the script lists."""
    names = [vector["name"] for vector in VECTORS]
    assert len(names) >= 100
    assert names == [name for name, _ in inputs()]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_envid_gives_what_the_vector_says(vector: dict[str, Any]) -> None:
    """A vector never changes: what envid made of the input once, it makes of it now."""
    expected = {name: vector[name] for name in vector if name not in ("name", "input")}
    assert result(vector["input"]) == expected


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_second_implementation_agrees(vector: dict[str, Any]) -> None:
    """An implementation written from docs/identity.md alone gives the same."""
    assert second_identity.agrees(vector)


def test_the_second_implementation_is_independent() -> None:
    """It imports the standard library and blake3, nothing of envid, and runs without envid on its path."""
    source = Path(second_identity.__file__)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "json", "re", "sys", "unicodedata", "typing", "blake3"}
    done = subprocess.run(
        [sys.executable, "-I", str(source)], input=FILE.read_text(encoding="utf-8"), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{len(VECTORS)} of {len(VECTORS)} agree")


def test_the_second_implementation_notices() -> None:
    """It does not agree with a vector whose document or key was altered."""
    vector = next(vector for vector in VECTORS if "document" in vector)
    assert not second_identity.agrees({**vector, "key": vector["key"][:-1] + "x"})
    assert not second_identity.agrees({**vector, "document": vector["document"].replace("numpy", "numpi")})


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if "document" in vector], ids=lambda v: str(v["name"]))
def test_a_document_reads_back(vector: dict[str, Any]) -> None:
    """Reading a document and writing it again gives the same bytes and the same key."""
    found = parse_document(vector["document"].encode("utf-8"))
    assert document(found) == vector["document"].encode("utf-8")
    assert key(found) == vector["key"]
    assert found.components == compute(vector["input"]).components
