"""The program of a command: what its chain of interpreters is made of, and where that leads out of sight."""

from __future__ import annotations

import venv
from pathlib import Path

import pytest

from commands import Commands
from envid.app.running.program import Volatile, chain, is_within


def script(path: Path, text: str) -> Path:
    """Write a file that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_chain_is_the_script_and_its_interpreters(tmp_path: Path) -> None:
    """A script's interpreter belongs to it, and that of a script that interprets; env's is the one in the PATH."""
    binary = script(tmp_path / "bin/real", "\x7fELF")
    middle = script(tmp_path / "bin/middle", f"#!{binary} -x\n")
    first = script(tmp_path / "tool", "#!/usr/bin/env middle\n")
    env = Path("/usr/bin/env").resolve()
    found = chain(str(first), str(tmp_path), f"{tmp_path}/bin")
    assert found == [str(first), str(env), str(middle), str(binary)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyenv/shims/python", "\x7fELF"),
        ("bin/python", '#!/bin/bash\nset -e\nexec "/opt/pyenv/libexec/pyenv" exec "$program" "$@"\n'),
        ("bin/node", '#!/bin/sh\nexec asdf exec "node" "$@"\n'),
        ("bin/ruby", '#!/bin/sh\nexec /home/me/.rbenv/shims/ruby "$@"\n'),
        ("bin/lost", "#!/usr/bin/env no-such-program\n"),
    ],
)
def test_a_shim_leads_out_of_sight(tmp_path: Path, path: str, text: str) -> None:
    """A program of a version manager, found itself or as a script's interpreter, is volatile."""
    shim = script(tmp_path / path, text)
    with pytest.raises(Volatile, match=shim.name):
        chain(str(shim), str(tmp_path), "")
    tool = script(tmp_path / "tool", f"#!{shim}\n")
    with pytest.raises(Volatile, match=shim.name):
        chain(str(tool), str(tmp_path), "")


def test_a_chain_without_end_is_volatile(tmp_path: Path) -> None:
    """A script that interprets itself is followed a few steps and no further."""
    tool = script(tmp_path / "tool", f"#!{tmp_path}/tool\n")
    with pytest.raises(Volatile):
        chain(str(tool), str(tmp_path), "")


def test_what_only_looks_like_the_environments_is_not(tmp_path: Path) -> None:
    """`..` and links that lead out of the environment are followed; its interpreter is its own all the same."""
    env = str(tmp_path / ".venv")
    python = script(tmp_path / "python", "\x7fELF")
    tool = script(tmp_path / "tool.sh", "#!/bin/sh\n")
    own = script(tmp_path / ".venv/bin/own", "#!/bin/sh\n")
    (tmp_path / ".venv/bin/python").symlink_to(python)
    (tmp_path / ".venv/bin/out").symlink_to(tool)
    assert is_within(str(own), env) and is_within(f"{env}/bin/python", env)
    assert not is_within(f"{env}/../tool.sh", env)
    assert not is_within(f"{env}/bin/out", env)
    assert not is_within(str(own), None)


def test_a_shim_is_run_and_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of a version manager runs each time, and is told why nothing was kept."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    project = Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()
    script(tmp_path / "shims/tool", "#!/bin/sh\ncat src/a.txt > out.txt\n")
    for _ in range(2):
        outcome = project.run("", argv=(str(tmp_path / "shims/tool"),))
        assert (outcome.data["outcome"], outcome.data["reason"]) == ("unkept", "volatile")
        assert "shims/tool" in outcome.findings[0].message and "name the program itself" in str(
            outcome.findings[0].hint
        )


def test_the_interpreter_of_a_script_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another interpreter for the same script is another key."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    project = Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()
    interpreter = script(tmp_path / "interpreter", "#!/bin/sh\ncat src/a.txt > out.txt\n")
    script(project.root / "tool", f"#!{interpreter}\n")
    assert project.outcome("", argv=("./tool",)) == ("ran", "absent")
    assert project.outcome("", argv=("./tool",)) == ("hit", "hit")
    interpreter.write_text("#!/bin/sh\ncat src/b.txt > out.txt\n")
    assert project.outcome("", argv=("./tool",)) == ("ran", "absent")
    assert (project.root / "out.txt").read_text() == "beta\n"


def test_a_program_of_the_environment_is_keyed_where_the_layer_does_not_cover_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a layer of a salt only, the bytes of a program in the environment are part of the key."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))
    project = Commands(root=tmp_path / "project", cache=tmp_path / "cache").given()
    venv.create(project.root / ".venv", symlinks=True)
    tool = script(project.root / ".venv/bin/tool", "#!/bin/sh\ncat src/a.txt > out.txt\n")
    assert project.outcome("", argv=("tool",)) == ("ran", "absent")
    tool.write_text("#!/bin/sh\ncat src/b.txt > out.txt\n")
    assert project.outcome("", argv=("tool",)) == ("ran", "absent")
