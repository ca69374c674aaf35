"""Requirements and inputs in one spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envid.errors import ConfigError, CredentialInConfig, DynamicMetadata
from envid.values.intent import Intent, parse_intent
from envid.values.requirement import (
    Reader,
    canonical_inputs,
    canonical_marker,
    canonical_requirement,
    canonical_specifier,
    flatten,
    refuse_credentials,
)

DEMO = """\
[project]
name = "Demo_App"
requires-python = ">=3.11"
dependencies = ["numpy>=1.0", "rich"]
[project.optional-dependencies]
cli = ["click>=8", "demo.app[Table]; sys_platform == 'linux'"]
table = ["tabulate; python_version < '3.13'"]
all = ["demo-app[cli,table,all]"]
[dependency-groups]
test = ["pytest>=9", { include-group = "lint" }]
lint = ["ruff", "numpy>=1.0"]
uses-extra = ["demo-app[table]", "demo-app"]
"""


ASK_A = '[tool.envid.lock]\ngroups = ["a"]\n'


def texts(pyproject: str, lock: str = "default") -> list[str]:
    intent = parse_intent(pyproject.encode())
    return [item.text for item in flatten(intent, intent.lock_settings(lock), pyproject=pyproject.encode())]


def inputs(pyproject: str, lock: str = "default", read: Reader | None = None) -> dict[str, Any]:
    intent: Intent = parse_intent(pyproject.encode())
    return canonical_inputs(intent, intent.lock_settings(lock), read=read, pyproject=pyproject.encode())


def locked(pyproject: str, **settings: object) -> str:
    """Return the project with ``[tool.envid.lock]`` settings."""
    lines = [f"{key.replace('_', '-')} = {value!r}" for key, value in settings.items()]
    return pyproject + "[tool.envid.lock]\n" + "\n".join(lines) + "\n"


# --- one requirement -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Foo.Bar_baz", "foo-bar-baz"),
        ("foo ( >= 1.0 )", "foo>=1"),
        ("foo>=1.0.0,<2", "foo<2,>=1"),
        ("foo<2.0,>=1", "foo<2,>=1"),
        ("foo>=1,>=1.0", "foo>=1"),
        ("foo==v1.0.0RC1", "foo==1rc1"),
        ("foo==1.0.0+Local.1", "foo==1+local.1"),
        ("foo~=1.0", "foo~=1.0"),
        ("foo~=1.0.0", "foo~=1.0.0"),
        ("foo==01.0.*", "foo==1.0.*"),
        ("foo!=1.*", "foo!=1.*"),
        ("foo===1.0.0", "foo===1.0.0"),
        ("foo===weird version".replace(" ", "-"), "foo===weird-version"),
        ("foo[B.c,a,A]>=1", "foo[a,b-c]>=1"),
        ('foo;python_version<"3.12"', 'foo; python_version < "3.12"'),
        ("foo ;  ( os_name=='nt' )", 'foo; os_name == "nt"'),
        ("foo @ https://index.example/foo-1.zip", "foo @ https://index.example/foo-1.zip"),
        ("foo@ https://index.example/f.zip ; os_name=='nt'", 'foo @ https://index.example/f.zip ; os_name == "nt"'),
    ],
)
def test_one_requirement_has_one_spelling(written: str, canonical: str) -> None:
    """Case, order, white space, quotes and trailing zeros do not show; what changes the meaning does."""
    assert canonical_requirement(written).text == canonical
    assert canonical_requirement(canonical).text == canonical


@pytest.mark.parametrize("text", ["", "foo >=", "foo; nonsense == 1", "foo[", "-r other.txt", "foo @", "(" * 5000])
def test_text_that_is_no_requirement_is_a_configuration_error(text: str) -> None:
    """Malformed requirements are ConfigError naming where they were written."""
    with pytest.raises(ConfigError, match="group x"):
        canonical_requirement(text, origin="group x")


RELEASES = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "~="])
VERSIONS = st.builds("{}{}".format, RELEASES, st.sampled_from(["", "", "a1", "rc2", ".post1", ".dev3"]))


@given(st.lists(st.tuples(OPERATORS, VERSIONS), max_size=4), st.lists(VERSIONS, min_size=1, max_size=8))
def test_the_canonical_range_holds_the_same_versions(clauses: list[tuple[str, str]], versions: list[str]) -> None:
    """Rewriting a specifier never admits or refuses another version."""
    text = ",".join(f"{op}{v}" for op, v in clauses if op != "~=" or "." in v.split("a")[0].split("r")[0])
    try:
        given_set = SpecifierSet(text)
    except ValueError:
        return
    canonical = SpecifierSet(canonical_specifier(text, where="test"))
    for version in versions:
        assert canonical.contains(Version(version), prereleases=True) == given_set.contains(version, prereleases=True)


@given(st.permutations(["foo>=1", "foo<3", "Bar[y,x]", "baz; os_name == 'nt'", "qux==1.0"]))
def test_the_order_of_dependencies_is_none(order: list[str]) -> None:
    """Every permutation of the dependencies gives equal inputs."""
    other = "'bar[x,y]', 'Baz;os_name==\"nt\"', 'foo>=1.0', 'foo<3.0', 'qux==1'"
    expected = inputs(f'[project]\nname = "d"\ndependencies = [{other}]')
    listed = ", ".join('"' + text.replace('"', "'") + '"' for text in order)
    assert inputs(f'[project]\nname = "d"\ndependencies = [{listed}]\n') == expected


def test_specifiers_and_markers_that_are_none_are_configuration_errors() -> None:
    """Malformed ranges and markers name their place."""
    with pytest.raises(ConfigError, match="requires-python"):
        canonical_specifier(">=banana", where="requires-python")
    with pytest.raises(ConfigError, match="here"):
        canonical_marker("os_name ==", where="here")
    assert canonical_marker("os_name=='nt'", where="here") == 'os_name == "nt"'


# --- credentials -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host.example/x.whl",
        "https://hunter2@host.example/x.whl",
        "git+https://hunter2@host.example/repo.git",
        "git+ssh://git:hunter2@host.example/repo.git",
        "https://host.example/x.whl?token=hunter2",
        "https://host.example/x.whl?X-Amz-Signature=hunter2&a=1",
        "https://host.example/x.whl?sig=",
    ],
)
def test_a_credential_in_a_requirement_is_refused_and_not_repeated(url: str) -> None:
    """A password, a token or a signed query never gets past the configuration, nor into the error."""
    with pytest.raises(CredentialInConfig) as caught:
        canonical_requirement(f"foo @ {url}")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.context)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "url", ["git+ssh://git@host.example/repo.git@abc", "https://host.example/x?platform=linux", "../x"]
)
def test_what_is_no_credential_is_let_through(url: str) -> None:
    """The account that everybody shares over SSH, and ordinary queries, are no secrets."""
    refuse_credentials(url, where="test")


def test_a_broken_url_is_a_configuration_error_without_its_secret() -> None:
    """A URL that cannot be split is refused; neither it nor a broken requirement shows what may be a password."""
    with pytest.raises(ConfigError):
        refuse_credentials("https://[::1/x", where="test")
    with pytest.raises(ConfigError) as caught:
        canonical_requirement("foo bar @ https://user:hunter2@host/x?token=hunter3")
    assert "hunter" not in str(caught.value)


# --- expansion -------------------------------------------------------------------------------


def test_a_lock_is_asked_for_dependencies_extras_and_groups() -> None:
    """Extras, groups, included groups and references of the project to itself are expanded, each with its origin."""
    pyproject = locked(DEMO, extras=["CLI"], groups=["Test"])
    intent = parse_intent(pyproject.encode())
    asked = {(item.text, item.origin) for item in flatten(intent, intent.lock_settings("default"))}
    assert asked == {
        ("numpy>=1", "project"),
        ("rich", "project"),
        ("click>=8", "extra cli"),
        ('tabulate; sys_platform == "linux" and python_version < "3.13"', "extra table"),
        ("pytest>=9", "group test"),
        ("ruff", "group lint"),
        ("numpy>=1", "group lint"),
    }


def test_an_extra_that_reaches_itself_adds_nothing() -> None:
    """`all = ["demo[all]"]` ends, and brings what the other extras bring."""
    assert texts(locked(DEMO, extras=["all"])) == [
        "click>=8",
        "numpy>=1",
        "rich",
        'tabulate; python_version < "3.13"',
        'tabulate; sys_platform == "linux" and python_version < "3.13"',
    ]


def test_a_group_may_ask_for_an_extra_of_the_project() -> None:
    """A reference to the project itself stands for its extras, and for nothing where it names none."""
    assert texts(locked(DEMO, groups=["uses-extra"])) == ["numpy>=1", "rich", 'tabulate; python_version < "3.13"']


@pytest.mark.parametrize(
    ("pyproject", "message", "line"),
    [
        (locked(DEMO, extras=["gui"]), "undefined extra gui", 14),
        (locked(DEMO, groups=["docs"]), "undefined group docs", 14),
        (f'[dependency-groups]\na = [{{include-group = "b"}}]\nb = [{{include-group = "A"}}]\n{ASK_A}',
         "include each other: a -> b -> a", 3),
        (f'[dependency-groups]\na = [{{include-group = "b"}}]\n{ASK_A}', "undefined group b", 2),
        (f'[dependency-groups]\na = [{{path = "b"}}]\n{ASK_A}', "a table other than", 2),
        (f'[dependency-groups]\na = [{{include-group = 1}}]\n{ASK_A}', "a table other than", 2),
        ('[dependency-groups]\n"x.y" = []\nx-y = []\n[tool.envid.lock]\ngroups = ["x-y"]\n', "the same name", 3),
        ('[project]\nname = "d"\ndependencies = [\n  "ok",\n  "not ok",\n]\n', "not a requirement", 5),
        ('[project]\nname = "d"\ndependencies = ["d[gone]"]\n', "undefined extra gone", None),
    ],
)  # fmt: skip
def test_nonsense_names_its_line(pyproject: str, message: str, line: int | None) -> None:
    """Undefined extras and groups, cycles and broken requirements are ConfigError with the line where they stand."""
    with pytest.raises(ConfigError, match=message) as caught:
        texts(pyproject)
    assert caught.value.context.get("line") == line


@pytest.mark.parametrize(
    ("dynamic", "extras"), [("dependencies", ""), ("requires-python", ""), ("optional-dependencies", "x")]
)
def test_dependencies_that_only_a_build_would_tell_are_refused(dynamic: str, extras: str) -> None:
    """A dynamic field that the lock depends on is DynamicMetadata."""
    listed = f'"{extras}"' if extras else ""
    text = f'[project]\nname = "d"\ndynamic = ["{dynamic}"]\n[tool.envid.lock]\nextras = [{listed}]\n'
    with pytest.raises(DynamicMetadata, match=dynamic):
        texts(text)


def test_a_dynamic_version_or_unused_extra_is_none_of_the_locks_business() -> None:
    """Dynamic fields that no lock depends on are let through."""
    dynamic = 'dynamic = ["version", "optional-dependencies"]'
    assert texts(f'[project]\nname = "d"\n{dynamic}\ndependencies = ["a"]\n') == ["a"]


def test_groups_without_a_project_are_enough() -> None:
    """A pyproject.toml with nothing but dependency groups can be locked."""
    assert texts('[dependency-groups]\na = ["x"]\n[tool.envid.lock]\ngroups = ["a"]\n') == ["x"]


# --- inputs ----------------------------------------------------------------------------------

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
        ('explicit = true', 'explicit = true\nauthenticate = "always"\ndefault = false'),
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
