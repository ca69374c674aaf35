"""A tree is removed though somebody still makes files in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envid import atomic

FILES = 900
"""Fewer than the tries of ``remove_tree``: each that fails has met a new file, so that the last one meets none."""
HOLDER = f"""
import os, sys
handle = os.open(sys.argv[1], os.O_RDONLY)
print("writing", flush=True)
for number in range({FILES}):
    try:
        os.close(os.open(f"made-{{number}}", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    except FileNotFoundError:
        break  # the directory is gone
"""
NAMER = HOLDER.replace('f"made-', 'f"{sys.argv[1]}/made-').replace(", dir_fd=handle", "")


@pytest.mark.parametrize("writer", [HOLDER, NAMER], ids=["holds the directory open", "names the directory"])
def test_a_tree_is_removed_while_another_process_makes_files_in_it(tmp_path: Path, writer: str) -> None:
    """A process that goes on making files, as the child of a killed sync does, cannot keep the tree or what it made."""
    tree = tmp_path / "tree"
    tree.mkdir()
    # So that removing takes long enough for the other to make more.
    for number in range(200):
        (tree / f"there-{number}").touch()
    with subprocess.Popen([sys.executable, "-c", writer, str(tree)], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "writing\n"
            atomic.remove_tree(tree)
            assert not tree.exists()
            # It ends by itself, when there is no directory any more.
            assert child.wait(timeout=30) == 0
        finally:
            child.kill()
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_recursion_and_than_a_path_goes(tmp_path: Path) -> None:
    """A tree of 3000 directories inside of each other, whose lowest no path can name, is removed."""
    top = tmp_path / "top"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("dd", dir_fd=handle)
        below = os.open("dd", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    atomic.remove_tree(top)
    assert list(tmp_path.iterdir()) == []
