"""Hot answers: given again only where nothing that they depend on has changed, and with nothing imported."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import envid
from envid.app import recall as hot
from envid.app.keys import identity, key
from envid.app.outcome import Memory, Outcome
from envid.app.project import open_project
from envid.app.remember import remember
from envid.app.workspace import cache_directory
from envid.lock.pylock import parse
from envid.lock.write import write
from envid.store import sidecar
from envid.values.finding import Finding
from keyed import Keyed, Package, keyed

PACKAGE = Path(envid.__file__).parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    """A project that is the current directory, with a cache of its own."""
    made = keyed(tmp_path).given()
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("ENVID_CACHE_DIR", str(made.cache))
    return made


def _kept(project: Keyed, *argv: str) -> str:
    outcome = key(project.workspace, layer=argv[2] if len(argv) > 2 else None)
    text = f"{outcome.answer}\n"
    assert remember(list(argv), outcome, stdout=text)
    return text


def _sidecar(project: Keyed) -> Path:
    (found,) = (project.cache / "answers-v1").iterdir()
    return found


def test_the_same_question_has_the_same_answer(project: Keyed) -> None:
    """What was printed and remembered is given again, with its exit status; another question is not answered."""
    text = _kept(project, "key")
    assert hot.recall(["key"]) == (text, 0)
    assert hot.recall(["key", "--layer", "wheels"]) is None
    assert hot.recall(["identity"]) is None
    assert hot.recall(["key", "--json"]) is None


def test_the_document_is_recalled_too(project: Keyed) -> None:
    """`identity` is given again from the document that its key follows from."""
    outcome = identity(project.workspace)
    assert remember(["identity"], outcome, stdout=f"{outcome.answer}\n")
    assert hot.recall(["identity"]) == (f"{outcome.answer}\n", 0)


def _edit(path: Path) -> Callable[[Keyed], None]:
    def change(project: Keyed) -> None:
        place = project.root / path
        place.write_bytes(place.read_bytes() + b"\n")

    return change


def _flip(at: int) -> Callable[[Keyed], None]:
    def change(project: Keyed) -> None:
        file = _sidecar(project)
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)

    return change


def _forge(project: Keyed) -> None:
    # Bound to the right request, and with a key that does not follow from its document.
    question = hot.ask(["key"])
    assert question is not None
    document = b'{"components":{"salt":""},"layer":"own","schema":"envid-identity/1"}'
    _sidecar(project).write_bytes(sidecar.encode(question.request, 0, b"envid1-own-" + b"0" * 64 + b"\n", document))


def _link(project: Keyed) -> None:
    file = _sidecar(project)
    real = project.cache / "elsewhere"
    file.rename(real)
    file.symlink_to(real)


def _pipe(project: Keyed) -> None:
    file = _sidecar(project)
    file.unlink()
    os.mkfifo(file, 0o600)


CHANGES: dict[str, Callable[[Keyed], object]] = {
    "a byte of pyproject.toml": _edit(Path("pyproject.toml")),
    "a byte of the lock": _edit(Path("lockfiles/pylock.toml")),
    "no lock": lambda project: project.lock_file().unlink(),
    "no pyproject.toml": lambda project: (project.root / "pyproject.toml").unlink(),
    "first byte of the answer": _flip(0),
    "a byte within the answer": _flip(40),
    "last byte of the answer": _flip(-1),
    "an empty answer": lambda project: _sidecar(project).write_bytes(b""),
    "a cut answer": lambda project: _sidecar(project).write_bytes(_sidecar(project).read_bytes()[:-1]),
    "an answer that does not follow from its document": _forge,
    "a directory that others may write to": lambda project: (project.cache / "answers-v1").chmod(0o777),
    "a file that others may write to": lambda project: _sidecar(project).chmod(0o666),
    "a link in its place": _link,
    "a pipe in its place": _pipe,
    "no answer": lambda project: shutil.rmtree(project.cache / "answers-v1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_doubt_means_no_answer(project: Keyed, what: str) -> None:
    """A changed input or a touched sidecar is never answered from memory, and nothing is raised."""
    text = _kept(project, "key")
    assert hot.recall(["key"]) == (text, 0)
    CHANGES[what](project)
    assert hot.recall(["key"]) is None


@pytest.mark.parametrize("name", ["version", "executable", "prefix", "base_prefix", "platform"])
def test_another_interpreter_means_no_answer(project: Keyed, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer given under one interpreter is not given under another."""
    _kept(project, "key")
    monkeypatch.setattr(sys, name, f"{getattr(sys, name)} ")
    assert hot.recall(["key"]) is None


@pytest.mark.parametrize("error", [OSError("no"), ValueError("unrecognized configuration name")])
def test_a_host_that_cannot_be_told_means_no_answer(
    project: Keyed, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the libc or the interpreter's file cannot be told at once, as on musl, nothing is kept or recalled."""
    _kept(project, "key")

    def fail(_: object) -> str:
        raise error

    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "1", "1", "x86_64")))
    monkeypatch.setattr(os, "confstr", fail)
    assert hot.recall(["key"]) is None


def test_an_edit_of_envid_means_no_answer(project: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where envid runs from a checkout, a change of any of its modules forgets every answer."""
    copy = tmp_path / "checkout" / "envid"
    shutil.copytree(PACKAGE, copy)
    monkeypatch.setattr(hot, "__file__", str(copy / "app" / "recall.py"))
    text = _kept(project, "key")
    assert hot.recall(["key"]) == (text, 0)
    (copy / "values" / "target.py").write_text("# edited\n", encoding="utf-8")
    assert hot.recall(["key"]) is None


def test_the_modules_that_decide_exist() -> None:
    """Every module that an installed envid looks at for a change is there."""
    assert [name for name in (*hot.DECISIVE, *hot.VERIFYING) if not (PACKAGE / name).is_file()] == []


LOADED = """
import sys
from envid.surface.cli import main
main(["verify"]), main(["verify", "--json"])
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] == "envid" and not hasattr(module, "__path__"):
        print("module", name.removeprefix("envid.").replace(".", "/") + ".py")
"""


def test_every_module_that_verifies_is_looked_at(project: Keyed) -> None:
    """An installed envid looks for a change at exactly the modules that a real `envid verify` loads, no fewer."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=project.root, capture_output=True, text=True, check=True
    )  # fmt: skip
    loaded = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("module ")}
    assert "installed/check.py" in loaded
    assert set(hot.VERIFYING) == loaded - set(hot.DECISIVE)
    assert len(hot.VERIFYING) == len(set(hot.VERIFYING))


def test_package_markers_hold_no_code() -> None:
    """No `__init__.py` has anything but a docstring: none of them needs to be looked at."""
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [node.targets[0] for node in tree.body[1:] if isinstance(node, ast.Assign)]
        assert len(names) == len(tree.body) - 1, path


@pytest.mark.parametrize(
    "argv",
    [
        [], ["key", "--github"], ["key", "--layer"], ["key", "--layer", "--json"], ["key", "x"], ["key", "--json=yes"],
        ["key", "--json", "--json"], ["key", "--check"], ["lock"], ["lock", "--check", "--layer", "env"],
        ["--json", "key"], ["sync"], ["key", "--name", "../x"], ["key", "-h"], ["lock", "--check", "--upgrade"],
        ["key", "--project", "/nonexistent/project"],
    ],
)  # fmt: skip
def test_unusual_questions_are_left_to_the_cold_path(project: Keyed, argv: list[str]) -> None:
    """Anything but the ordinary forms of the hot verbs is not even looked up."""
    assert hot.ask(argv) is None


def test_an_equals_sign_is_the_same_question(project: Keyed) -> None:
    """`--layer=env` and `--layer env` are one question."""
    assert hot.parse(["key", "--layer=env", "--quiet"]) == hot.parse(["key", "--layer", "env", "--quiet"])


LOCAL = Package(name="mine", version=None, directory="../mine")
FACTS = '[tool.envid.layers.mine]\ncomponents = ["facts"]\n[tool.envid.layers.mine.facts]\n'


@pytest.mark.parametrize("fact", ['x = { file = "pyproject.toml" }', 'x = { command = ["echo", "x"] }', 'x = "text"'])
def test_answers_that_depend_on_more_are_not_kept(project: Keyed, fact: str) -> None:
    """Source trees, files and programs are not in the question, so an answer made of them is not remembered."""
    (project.root / "mine").mkdir()
    project.given(LOCAL, envid=FACTS + fact)
    assert key(project.workspace, layer="wheels").memory is not None
    assert key(project.workspace, layer="env").memory is None
    assert key(project.workspace, layer="mine").memory is None


def test_a_file_that_changed_meanwhile_binds_no_answer(project: Keyed) -> None:
    """An answer made from other bytes than those on disk when it is kept is not kept."""
    outcome = key(project.workspace)
    _edit(Path("lockfiles/pylock.toml"))(project)
    assert not remember(["key"], outcome, stdout=f"{outcome.answer}\n")


def test_only_plain_answers_without_findings_are_kept(project: Keyed) -> None:
    """Findings, a failure, text beyond ASCII, or an outcome without memory: not kept."""
    memory = Memory(files={})
    finding = Finding(code="lock.stale", severity="error", subject="x", message="y")
    assert not remember(["key"], Outcome(command="key"), stdout="x")
    assert not remember(["key"], Outcome(command="key", memory=memory, findings=(finding,)), stdout="x")
    assert not remember(["key"], Outcome(command="key", memory=memory), stdout="\u00e9")
    assert not remember(["key", "--github"], Outcome(command="key", memory=memory), stdout="x")


def test_a_cache_that_cannot_be_written_is_no_error(project: Keyed) -> None:
    """Where the cache is a file, nothing is kept, nothing recalled, and the key is computed as ever."""
    project.cache.write_bytes(b"")
    outcome = key(project.workspace)
    assert outcome.exit_code == 0
    assert not remember(["key"], outcome, stdout=f"{outcome.answer}\n")
    assert hot.recall(["key"]) is None


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/home/u"},
        {"HOME": "/home/u", "XDG_CACHE_HOME": "/var/c"},
        {"ENVID_CACHE_DIR": "/e", "HOME": "/home/u"},
    ],
)
def test_hot_and_cold_agree_on_the_cache(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path finds the same cache directory as the workspace does."""
    for name in ("HOME", "XDG_CACHE_HOME", "ENVID_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hot.cache_directory(os.environ) == str(cache_directory(variables))


@pytest.mark.parametrize("given", ["c", "../c", "a/../c"])
def test_a_relative_cache_is_the_projects_wherever_envid_is_called(
    project: Keyed, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """A relative ENVID_CACHE_DIR is below the project for the hot path and the cold one, called from anywhere in it."""
    monkeypatch.setenv("ENVID_CACHE_DIR", given)
    below = project.root / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    wanted = os.path.normpath(project.root / given)
    question = hot.ask(["key"])
    assert question is not None
    assert os.path.dirname(question.directory) == open_project(None).kept == wanted
    assert hot.cache_directory(os.environ) is None


def test_no_home_means_no_answer() -> None:
    """Without a home directory, or with a relative cache directory, there is no memory."""
    assert hot.cache_directory({}) is None
    assert hot.cache_directory({"HOME": "/h", "XDG_CACHE_HOME": "relative"}) is None


ENTRY = "import envid.__main__; from envid.surface.cli import main; status = main()"
SHOW = "; sys.stderr.write(' '.join(sorted(m for m in sys.modules if m not in before)))"
HEAVY = {
    "dataclasses", "re", "json", "typing", "pathlib", "argparse", "tomllib", "importlib.metadata", "subprocess",
    "hashlib", "functools", "collections", "contextlib", "enum", "inspect",
}  # fmt: skip


def _run(project: Keyed, *argv: str) -> tuple[str, set[str]]:
    code = f"import sys; before = set(sys.modules); sys.argv[1:] = {list(argv)!r}; {ENTRY}{SHOW}"
    # -S: what site-packages' own .pth files import is no doing of envid's.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=project.root, capture_output=True, text=True, check=True,
        env={
            "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib")]),
            "ENVID_CACHE_DIR": str(project.cache), "PATH": os.environ["PATH"],
        },
    )  # fmt: skip
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("argv", [("key",), ("identity",), ("key", "--json"), ("key", "--layer=wheels", "--quiet")])
def test_a_hot_answer_imports_next_to_nothing(project: Keyed, argv: tuple[str, ...]) -> None:
    """The second run of the real command prints the same bytes, and imports blake3 and five modules of envid's."""
    cold, loaded = _run(project, *argv)
    assert "envid.app.keys" in loaded
    again, loaded = _run(project, *argv)
    assert again == cold
    assert {name for name in loaded if name.startswith("envid")} == {
        "envid", "envid.__main__", "envid.surface", "envid.surface.cli", "envid.app", "envid.app.recall", "envid.store",
        "envid.store.sidecar",
    }  # fmt: skip
    assert not loaded & HEAVY
    if "--json" in argv:
        assert json.loads(again)["ok"] is True


@pytest.mark.parametrize("argv", [("key",), ("identity", "--layer", "wheels")])
def test_a_first_key_imports_nothing_heavy(project: Keyed, argv: tuple[str, ...]) -> None:
    """Of a lock that envid wrote: no class is compiled, no paths, no parser of options, no JSON is loaded."""
    path = project.lock_file()
    path.write_bytes(write(parse(path.read_bytes(), path="p"), targets=()))
    _, loaded = _run(project, *argv)
    assert "envid.lock.reader" in loaded
    assert not loaded & {
        "pathlib", "dataclasses", "inspect", "argparse", "json", "importlib.metadata", "packaging", "platformdirs",
        "subprocess", "sysconfig", "urllib", "envid.atomic", "envid.surface.wire",
    }  # fmt: skip


@pytest.mark.parametrize("argv", [("key",), ("key", "--json"), ("identity", "--layer", "wheels")])
def test_the_process_ends_with_everything_written(project: Keyed, argv: tuple[str, ...]) -> None:
    """Cold and hot, the real process prints its whole answer into a pipe and gives its exit status."""
    env = {**os.environ, "ENVID_CACHE_DIR": str(project.cache), "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "envid", *argv]
    texts = {
        subprocess.run(command, cwd=project.root, env=env, capture_output=True, check=True).stdout for _ in range(3)
    }
    assert len(texts) == 1
    assert texts.pop().endswith(b"\n")
    failed = subprocess.run(
        [*command, "--target", "nonsense"], cwd=project.root, env=env, capture_output=True, check=False
    )
    assert failed.returncode == 3
    assert b"nonsense" in failed.stdout + failed.stderr
