"""No false alarm: more than a hundred real wheels, installed by uv and by pip, used, and verified."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.fetching import fetch_artifacts
from envid.app.locking import lock
from envid.app.selecting import select_for
from envid.app.verify import verify
from envid.app.workspace import Workspace, open_workspace
from envid.installed.check import Depth
from envid.lock.write import write
from envid.values.finding import Finding

pytestmark = [pytest.mark.online, pytest.mark.slow]

WANTED = """
aiohttp aiosignal alembic anyio argon2-cffi arrow asgiref asttokens async-lru attrs babel backoff bcrypt
beautifulsoup4 billiard bleach blinker build cachetools celery certifi cffi charset-normalizer click cloudpickle
colorama comm contourpy coverage cryptography cycler decorator defusedxml dill distlib dnspython docutils
email-validator executing fastjsonschema filelock flask frozenlist fsspec greenlet gunicorn h11 hatchling httpcore
httptools httpx hypothesis idna imagesize iniconfig invoke isodate isort itsdangerous jedi jinja2 jmespath joblib
jsonpatch jsonpointer jsonschema jupyter-client jupyter-core kiwisolver lark lxml mako markdown markdown-it-py
markupsafe marshmallow mdurl mistune more-itertools msgpack multidict mypy-extensions nest-asyncio networkx oauthlib
orjson packaging paramiko parso pathspec pexpect pip pluggy prompt-toolkit propcache psutil ptyprocess pure-eval
pyasn1 pycparser pydantic pygments pyjwt pynacl pyparsing pytest python-dateutil python-dotenv pytz pyyaml pyzmq redis
referencing regex requests rich rpds-py setuptools simplejson six sniffio sortedcontainers soupsieve sqlalchemy
starlette tabulate tenacity tomlkit toolz tornado tqdm traitlets typer typing-extensions tzdata urllib3 uvicorn
virtualenv watchfiles wcwidth websockets werkzeug wheel widgetsnbextension wrapt yarl zipp zope-interface
""".split()  # noqa: SIM905 - a list of 150 quoted names is not read by anybody

IMPORTS = "aiohttp, attr, click, flask, httpx, hypothesis, lxml.etree, networkx, pydantic, pytest, sqlalchemy, yaml"
FEW = "attr, click, h11, idna, markupsafe, six, sortedcontainers, toolz"
"""Imported where pip installs, which takes ten times as long as uv: of small wheels that need few others."""


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a project with a lock of all of them, and what their wheels contain."""
    base = tmp_path_factory.mktemp("alarms")
    wanted = ", ".join(f'"{name}"' for name in WANTED)
    (base / "pyproject.toml").write_text(
        '[project]\nname = "many"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{wanted}]\n[tool.envid]\n[tool.envid.cache]\ndir = 'cache'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ENVID_CACHE_DIR", raising=False)
        ws = open_workspace(str(base))
    lock(ws)
    _, _, resolution = select_for(ws, "default", None)
    assert len(resolution.selected) >= 100
    fetch_artifacts(ws, [item.artifact for item in resolution.selected if item.artifact is not None])
    return ws


@pytest.fixture(scope="module")
def small(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a project with a lock of pip and the hundred smallest of those wheels, in a cache of its own."""
    base = tmp_path_factory.mktemp("small")
    locked, _, resolution = select_for(ws, "default", None)
    items = [item for item in resolution.selected if item.artifact is not None]
    files = fetch_artifacts(ws, [item.artifact for item in items if item.artifact is not None])
    by_size = sorted(items, key=lambda item: files[item.artifact.sha256].stat().st_size if item.artifact else 0)
    names = {*(item.name for item in by_size[:100]), "pip"}
    # Every name is asked for: what the others need and is too large to be here is not missed.
    wanted = ", ".join(f'"{name}"' for name in sorted(names))
    (base / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{wanted}]\n[tool.envid]\n[tool.envid.cache]\ndir = '{ws.cache}'\n"
    )
    kept = tuple(entry for entry in locked.distributions if entry.name in names)
    (base / "lockfiles").mkdir()
    (base / "lockfiles/pylock.toml").write_bytes(write(replace(locked, distributions=kept, inputs=None), targets=()))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ENVID_CACHE_DIR", raising=False)
        return open_workspace(str(base))


def use(env: Path, imports: str) -> None:
    """Import a good part of what is installed, so that compiled files appear."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([str(env / "bin/python"), "-c", f"import {imports}"], check=True, env=variables)
    assert any(env.rglob("click/__pycache__/*.pyc"))


def alarms(ws: Workspace, env: Path, *depths: Depth) -> list[Finding]:
    """Return the findings of all ``depths`` that are more than information."""
    found: list[Finding] = []
    for depth in depths:
        outcome = verify(ws, venv=str(env), depth=depth)
        assert outcome.data["unverified"] == 0
        # The lock of the small ones was cut out of a larger one, which says nothing about environments.
        found += (one for one in outcome.findings if one.severity != "info" and not one.code.startswith("lock."))
    return found


def test_uv_installs_raise_no_alarm(ws: Workspace, tmp_path: Path) -> None:
    """What uv installed, linked from its cache, compiled in part by imports, has no finding at any depth."""
    env = tmp_path / "env"
    run = [sys.executable, "-m", "uv"]
    subprocess.run([*run, "venv", "-q", "--python", sys.executable, str(env)], check=True)
    subprocess.run(
        [*run, "pip", "sync", "-q", "--preview-features", "pylock", "--python", str(env / "bin/python"),
         str(ws.lock_path())],
        check=True,
    )  # fmt: skip
    assert alarms(ws, env, "default") == []
    use(env, IMPORTS)
    assert alarms(ws, env, "default", "quick", "full", "default") == []
    done = subprocess.run(
        [*run, "pip", "sync", "-q", "--check", "--preview-features", "pylock", "--python", str(env / "bin/python"),
         str(ws.lock_path())],
        check=False,
    )  # fmt: skip
    assert done.returncode == 0


def test_pip_installs_raise_no_alarm(small: Workspace, tmp_path: Path) -> None:
    """What pip installed and compiled, from the wheels that the lock names, has no finding at any depth."""
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    _, _, resolution = select_for(small, "default", None)
    files = fetch_artifacts(small, [item.artifact for item in resolution.selected if item.artifact is not None])
    subprocess.run(
        [str(env / "bin/python"), "-m", "pip", "install", "-q", "--no-index", "--no-deps",
         "--disable-pip-version-check", "--no-compile", *map(str, files.values())],
        check=True,
    )  # fmt: skip
    assert len(files) >= 100
    # What pip's own compilation does, on a part: judging thousands of compiled files takes a minute.
    compiled = next((env / "lib").glob("python3*")) / "site-packages" / "toolz"
    subprocess.run([str(env / "bin/python"), "-m", "compileall", "-q", str(compiled)], check=True)
    assert alarms(small, env, "default") == []
    use(env, FEW)
    assert alarms(small, env, "default", "quick", "full") == []
