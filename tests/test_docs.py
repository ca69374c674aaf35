"""Documentation that cannot lie: generated parts equal the code, links lead somewhere, examples parse."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from envid.surface.cli import COMMANDS
from envid.values.finding import CODES
from envid.values.intent import parse_intent

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(#[^)]*)?\)")
BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROWS = ("L1", "L2", "L3", "L4", "L5", "L6", "I1", "I2", "I3", "V1", "S1")


def test_generated_parts_equal_the_code() -> None:
    """`scripts/docs --check` finds nothing to write."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/docs"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun scripts/docs"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the project."""
    dead = [link for link, _ in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples_of_configuration_are_accepted(page: Path) -> None:
    """Every TOML block with [tool.envid] in it is one that envid reads without complaint."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if "tool.envid" in block and "lock-version" not in block and "[[packages" not in block:
            parse_intent(block.encode())
        else:
            tomllib.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    """A page names no command that envid does not have."""
    shown = re.findall(r"(?:^\$ |`)envid ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(shown) <= set(COMMANDS)


def test_every_page_is_reached_from_the_readme() -> None:
    """README links to each page of docs/."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if name.startswith("docs/") and f"({name})" not in readme] == []


def test_every_finding_code_in_the_source_is_declared() -> None:
    """No finding is made with a code that the table does not have, and each code of the table is made somewhere."""
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py") if p.name != "finding.py")
    assert set(re.findall(r'code="([a-z.-]+)"', source)) - set(CODES) == set()
    assert [code for code in CODES if f'"{code}"' not in source and code.partition(".")[0] != "doctor"] == []


@pytest.mark.parametrize("row", ROWS)
def test_every_capability_has_a_test_of_its_name(row: str) -> None:
    """Each capability row of the product has an end-to-end test that carries its name."""
    text = (ROOT / "tests/e2e/test_e2e_rows.py").read_text(encoding="utf-8")
    assert f"def test_{row}_" in text


def test_nothing_names_a_registry_or_a_home() -> None:
    """No tracked file holds the host of a public package registry or a path of somebody's machine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = ["py" + "pi.org", "python" + "hosted", "registry.npm" + "js", "/ro" + "ot/"]
    bad = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            bad += [f"{name}: {host}" for host in hosts if host.encode() in data]
    assert bad == []
