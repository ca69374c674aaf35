"""Everything that can change a lock, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from envid.errors import ConfigError, CredentialInConfig, DynamicMetadata
from envid.values.inputs import Reader, canonical_inputs
from envid.values.intent import parse_intent


def inputs(pyproject: str, lock: str = "default", read: Reader | None = None) -> dict[str, Any]:
    intent = parse_intent(pyproject.encode())
    return canonical_inputs(intent, intent.lock_settings(lock), read=read, pyproject=pyproject.encode())


FULL = """\
[project]
name = "demo"
requires-python = ">=3.11,<4"
dependencies = ["numpy>=1"]
[project.optional-dependencies]
cli = ["click"]
[dependency-groups]
test = ["pytest"]
[tool.uv]
constraint-dependencies = ["idna<4"]
override-dependencies = ["attrs==25"]
prerelease = "allow"
[tool.uv.sources]
torch = { index = "extra" }
[[tool.uv.index]]
name = "extra"
url = "https://extra.example/simple"
explicit = true
[tool.envid]
targets = ["cp312-win_amd64", "cp311-win_amd64"]
[tool.envid.lock]
extras = ["cli"]
groups = ["test"]
allow-sdist = ["Odf_py"]
exclude-newer = "7 days"
constraints = ["urllib3<3"]
overrides = ["six==1.0"]
indexes = ["https://index.example/simple", "second=https://second.example/simple"]
"""


def test_the_inputs_of_a_lock_are_all_that_can_change_it() -> None:
    """Every policy is there, as text, sorted, and nothing else is."""
    assert inputs(FULL) == {
        "allow-sdist": ["odf-py"],
        "constraints": ["idna<4", "urllib3<3"],
        "contents": False,
        "exclude-newer": "7 days",
        "extras": ["cli"],
        "groups": ["test"],
        "indexes": ["(unnamed) default", "second", "extra explicit=true"],
        "neutral": False,
        "overrides": ["attrs==25", "six==1"],
        "requirements": ["click", "numpy>=1", "pytest"],
        "requires-python": "<4,>=3.11",
        "resolver": "uv",
        "sources": ['torch {"index":"extra"}'],
        "targets": ["cp311-win_amd64", "cp312-win_amd64"],
        "uv": ['prerelease "allow"'],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://index.example/simple", "https://mirror.example/other"),
        ("https://second.example/simple", "https://mirror.example/second"),
        ("https://extra.example/simple", "https://mirror.example/extra"),
        ('name = "demo"', 'name = "demo" # a comment\nversion = "7"\ndescription = "x"'),
        ('"numpy>=1"', '"NumPy >= 1.0.0"'),
        ('">=3.11,<4"', '"<4.0, >=3.11"'),
        ('"Odf_py"', '"odf.py"'),
        ('["cp312-win_amd64", "cp311-win_amd64"]', '["cp311-win_amd64", "cp312-win_amd64"]'),
        ("explicit = true", 'explicit = true\nauthenticate = "always"\ndefault = false'),
    ],
)
def test_what_cannot_change_a_lock_is_no_input(old: str, new: str) -> None:
    """Mirrors, comments, order, spelling, version and description of the project leave the inputs as they are."""
    assert old in FULL
    assert inputs(FULL.replace(old, new)) == inputs(FULL)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('"numpy>=1"', '"numpy>=2"', {"requirements"}),
        ('"numpy>=1"', '"numpy[x]>=1"', {"requirements"}),
        ('"idna<4"', '"idna<3"', {"constraints"}),
        ('"six==1.0"', '"six==1.1"', {"overrides"}),
        ('">=3.11,<4"', '">=3.12,<4"', {"requires-python"}),
        ('requires-python = ">=3.11,<4"', "", {"requires-python"}),
        ('"cp312-win_amd64", ', "", {"targets"}),
        ('extras = ["cli"]', "", {"extras", "requirements"}),
        ('groups = ["test"]', "", {"groups", "requirements"}),
        ('"Odf_py"', '"odfpy"', {"allow-sdist"}),
        ('"7 days"', '"8 days"', {"exclude-newer"}),
        ('explicit = true', "", {"indexes"}),
        ('name = "extra"\n', 'name = "other"\n', {"indexes"}),
        ('"https://index.example/simple", "second=https://second.example/simple"',
         '"second=https://second.example/simple", "https://index.example/simple"', {"indexes"}),
        ('{ index = "extra" }', '{ index = "second" }', {"sources"}),
        ('prerelease = "allow"', 'prerelease = "never"', {"uv"}),
        ('groups = ["test"]', 'groups = ["test"]\nneutral = true', {"neutral"}),
        ('groups = ["test"]', 'groups = ["test"]\ncontents = true', {"contents"}),
        ('groups = ["test"]', 'groups = ["test"]\nresolver = "pip-tools"', {"resolver"}),
    ],
)  # fmt: skip
def test_each_input_shows_in_its_own_place(old: str, new: str, changed: set[str]) -> None:
    """A change of one policy changes the input of that name and no other."""
    assert FULL.count(old) == 1
    before, after = inputs(FULL), inputs(FULL.replace(old, new))
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == changed


def test_an_index_alias_with_an_equals_sign_in_its_url_has_no_name() -> None:
    """`https://host/?a=b` is a URL, not an index called `https://host/?a`."""
    assert inputs('[tool.envid.lock]\nindexes = ["https://index.example/?a=b"]\n')["indexes"] == ["(unnamed) default"]


def test_a_credential_in_a_source_is_refused() -> None:
    """Sources of uv are inputs, which are committed: no credential gets there."""
    with pytest.raises(CredentialInConfig) as caught:
        inputs('[tool.uv.sources]\nx = [{ git = "https://u:hunter2@host.example/r.git" }]\n')
    assert "hunter2" not in caught.value.message


def files(**contents: str) -> Reader:
    """Return a reader over ``contents``: `lib` stands for `lib/pyproject.toml`."""
    known: Mapping[str, bytes] = {
        (path if path.endswith(".whl") else f"{path.replace('__', '../')}/pyproject.toml"): text.encode()
        for path, text in contents.items()
    }
    return known.get


LIB = '[project]\nname = "lib"\nversion = "{}"\ndependencies = ["a>=1"]\nrequires-python = ">=3.11"\n'
WITH_LIB = '[project]\nname = "d"\ndependencies = ["lib"]\n[tool.uv.sources]\nlib = { path = "lib", editable = true }\n'


def test_the_dependencies_of_a_local_source_are_an_input() -> None:
    """A new dependency of a local directory shows; its version and description do not."""
    base = inputs(WITH_LIB, read=files(lib=LIB.format(1)))
    assert base["local"] == ['lib {"dependencies":["a>=1"],"extras":{},"requires-python":">=3.11"}']
    assert inputs(WITH_LIB, read=files(lib=LIB.format(2))) == base
    more = LIB.format(1) + '[project.optional-dependencies]\nX_Y = ["b"]\n'
    assert inputs(WITH_LIB, read=files(lib=more))["local"] != base["local"]


@pytest.mark.parametrize("url", ["./lib", "lib/", "file:lib", "${PROJECT_ROOT}/lib", "file:${PROJECT_ROOT}/lib"])
def test_a_direct_reference_to_a_path_is_a_local_source(url: str) -> None:
    """However a path is written into a requirement, the dependencies behind it are an input."""
    project = f'[project]\nname = "d"\ndependencies = ["lib @ {url}", "web @ https://host.example/web.zip"]\n'
    assert len(inputs(project, read=files(lib=LIB.format(1)))["local"]) == 1


def test_local_sources_of_local_sources_are_followed_once() -> None:
    """Directories that refer to each other end, and each is an input."""
    one = LIB.format(1) + '[tool.uv.sources]\nother = { path = "../other" }\n'
    two = '[project]\nname = "other"\n[tool.uv.sources]\nlib = [{ path = "../lib" }]\n'
    two += 'z = { git = "https://host.example/z" }\n'
    found = inputs(WITH_LIB, read=files(lib=one, other=two))["local"]
    assert [text.partition(" ")[0] for text in found] == ["lib", "other"]


def test_the_bytes_of_a_local_wheel_are_an_input() -> None:
    """A wheel named by path counts by its digest; one that is gone is an error."""
    project = '[tool.uv.sources]\nw = { path = "w-1-py3-none-any.whl" }\n'
    one = inputs(project, read={"w-1-py3-none-any.whl": b"1"}.get)
    two = inputs(project, read={"w-1-py3-none-any.whl": b"2"}.get)
    assert one["local"] != two["local"]
    with pytest.raises(ConfigError, match="cannot be read"):
        inputs(project, read=files())


@pytest.mark.parametrize(
    ("lib", "kind"),
    [
        ('[project]\nname = "lib"\ndynamic = ["dependencies"]\n', DynamicMetadata),
        ("[build-system]\nrequires = []\n", DynamicMetadata),
        ('[project]\nname = "lib"\ndependencies = "a"\n', ConfigError),
        ('[project]\nname = "lib"\noptional-dependencies = { x = [1] }\n', ConfigError),
        ('[project]\nname = "lib"\nrequires-python = ">=x"\n', ConfigError),
        ("not toml", ConfigError),
    ],
)
def test_a_local_source_that_cannot_be_read_is_an_error(lib: str, kind: type[ConfigError | DynamicMetadata]) -> None:
    """Metadata that is dynamic, absent or malformed is never taken for `no dependencies`."""
    with pytest.raises(kind):
        inputs(WITH_LIB, read=files(lib=lib))


def test_a_local_directory_without_metadata_is_dynamic() -> None:
    """A directory without pyproject.toml would have to be built."""
    with pytest.raises(DynamicMetadata, match="lib"):
        inputs(WITH_LIB, read=files())


@pytest.mark.parametrize("tool", ["tool = 1\n", '[tool]\nuv = "x"\n', "[tool.uv]\nsources = 1\n", "[tool.uv]\n"])
def test_odd_tool_tables_of_a_local_source_are_ignored(tool: str) -> None:
    """Only its sources matter, and only where they are tables."""
    text = tool + LIB.format(1) if tool.startswith("tool =") else LIB.format(1) + tool
    assert len(inputs(WITH_LIB, read=files(lib=text))["local"]) == 1


def test_without_a_reader_local_sources_are_not_read() -> None:
    """The function stays pure: it reads nothing by itself."""
    assert "local" not in inputs(WITH_LIB)
