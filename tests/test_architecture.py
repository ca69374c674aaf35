"""The rules of the house that import-linter cannot say (ARCHITECTURE.md, "Rules")."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "envid"
MODULES = sorted(SOURCE.rglob("*.py"))
NAMES = [path.relative_to(SOURCE).as_posix() for path in MODULES]

LONGEST_MODULE = 450
LONGEST_FUNCTION = 65
BANNED_NAMES = {"utils", "helpers", "common", "base", "core", "manager", "misc", "models"}

LATE_IMPORTS_OF_ENVID = {"surface/cli.py", "surface/session.py", "surface/options.py", "__init__.py"}
"""Modules that load others late through one table, because start-up is part of the product."""

DOORS = {
    "subprocess": {"process.py"},
    "socket": {"lock/fetch.py"},
    "urllib.request": {"lock/fetch.py"},
    "http.client": {"lock/fetch.py"},
    "packaging.pylock": {"lock/pylock.py"},
    "pickle": set(),
    "marshal": {"installed/marshalled.py"},
}
"""Module of the outside world to the rooms that may import it; everyone else is refused."""

WRITERS = {"atomic.py", "guard.py", "whole.py"}
CHANGING = {
    "rename",
    "replace",
    "unlink",
    "remove",
    "rmdir",
    "makedirs",
    "mkdir",
    "symlink",
    "link",
    "truncate",
    "chmod",
}
ENVIRONMENT = {"app/project.py", "app/recall.py", "app/running/rerun.py", "process.py", "surface/console.py"}
CLOCK = {"app/workspace.py", "atomic.py", "process.py", "guard.py", "lock/fetch.py"}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_fits_a_head(path: Path) -> None:
    """No module is longer than 450 lines, no function longer than 65, and none has a name that says nothing."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_MODULE
    assert path.stem not in BANNED_NAMES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_module_function_and_class_says_what_it_is(path: Path) -> None:
    """Every module, public class and public function has a docstring."""
    tree = _tree(path)
    assert ast.get_docstring(tree)
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_envid_is_imported_at_the_top_only(path: Path) -> None:
    """No module imports envid inside a function or under TYPE_CHECKING; the tables of the surface are the exception."""
    name = path.relative_to(SOURCE).as_posix()
    tree = _tree(path)
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")
    top = {id(node) for node in tree.body}
    late = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and id(node) not in top
        and any(imported.split(".")[0] == "envid" for _, imported in _imports(node))
    ]
    assert late == [] or name in LATE_IMPORTS_OF_ENVID


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_each_outside_thing_has_one_door(path: Path) -> None:
    """Processes, sockets, the lock parser and unsafe loaders are imported only where DOORS says."""
    name = path.relative_to(SOURCE).as_posix()
    for line, imported in _imports(_tree(path)):
        for outside, rooms in DOORS.items():
            if imported == outside or imported.startswith(f"{outside}."):
                assert name in rooms, f"{name}:{line} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_atomic_changes_files(path: Path) -> None:
    """Opening for writing, renaming and removing happen in atomic.py and whole.py alone."""
    name = path.relative_to(SOURCE).as_posix()
    if name in WRITERS:
        return
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Attribute, ast.Name)):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if called in {"write_text", "write_bytes", "touch", "rmtree", "copyfile", "copytree", "move"}:
            pytest.fail(f"{name}:{node.lineno} calls {called}")
        if called in CHANGING and isinstance(owner, ast.Name) and owner.id in {"os", "shutil"}:
            pytest.fail(f"{name}:{node.lineno} calls os.{called}")
        if called == "open":
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            for mode in modes:
                if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
                    assert not set(mode.value) & set("wax+"), f"{name}:{node.lineno} opens for writing"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_the_environment_and_the_clock_are_read_in_few_places(path: Path) -> None:
    """Environment variables, the wall clock and print are used only where the rules allow them."""
    name = path.relative_to(SOURCE).as_posix()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            access = f"{node.value.id}.{node.attr}"
            if access in {"os.environ", "os.getenv", "os.environb"}:
                assert name in ENVIRONMENT, f"{name}:{node.lineno} reads {access}"
            if access in {"time.time", "datetime.now", "time.time_ns", "date.today", "time.monotonic"}:
                assert name in CLOCK, f"{name}:{node.lineno} reads {access}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            pytest.fail(f"{name}:{node.lineno} prints")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_values_are_frozen_and_nothing_inherits_but_exceptions(path: Path) -> None:
    """Every dataclass is frozen, slotted and keyword-only; only exceptions, protocols and enums have a base."""
    name = path.relative_to(SOURCE).as_posix()
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
                if decorator.func.id != "dataclass":
                    continue
                options = {k.arg: getattr(k.value, "value", None) for k in decorator.keywords}
                assert options.get("frozen") and options.get("slots") and options.get("kw_only"), f"{name}: {node.name}"
        bases = [
            base.id if isinstance(base, ast.Name) else base.attr
            for base in node.bases
            if isinstance(base, (ast.Name, ast.Attribute))
        ]
        for base in bases:
            allowed = base in {"Protocol", "Enum", "TypedDict", "NamedTuple"} or base.endswith(("Error", "Exception"))
            known = name == "errors.py" or base in _exception_names()
            assert allowed or known, f"{name}: {node.name} inherits {base}"


def _exception_names() -> set[str]:
    tree = _tree(SOURCE / "errors.py")
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_floors_hold() -> None:
    """import-linter finds no import upward, none sideways between columns, and no module outside the floors."""
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=SOURCE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_every_test_states_its_claim() -> None:
    """Every test function has a docstring of one sentence or more."""
    silent = []
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.name}:{node.lineno} {node.name}")
    assert silent == []
