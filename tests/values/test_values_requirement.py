"""Requirements in one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envid.errors import ConfigError, CredentialInConfig, DynamicMetadata
from envid.values.intent import parse_intent
from envid.values.marker import evaluate
from envid.values.requirement import (
    canonical_marker,
    canonical_requirement,
    canonical_specifier,
    flatten,
    refuse_credentials,
)
from envid.values.target import parse_target

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
    """Every permutation of the dependencies asks for the same."""
    other = "'bar[x,y]', 'Baz;os_name==\"nt\"', 'foo>=1.0', 'foo<3.0', 'qux==1'"
    expected = texts(f'[project]\nname = "d"\ndependencies = [{other}]')
    listed = ", ".join('"' + text.replace('"', "'") + '"' for text in order)
    assert texts(f'[project]\nname = "d"\ndependencies = [{listed}]\n') == expected


def test_specifiers_and_markers_that_are_none_are_configuration_errors() -> None:
    """Malformed ranges and markers name their place."""
    with pytest.raises(ConfigError, match="requires-python"):
        canonical_specifier(">=banana", where="requires-python")
    with pytest.raises(ConfigError, match="here"):
        canonical_marker("os_name ==", where="here")
    assert canonical_marker("os_name=='nt'", where="here") == 'os_name == "nt"'


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("os_name=='nt'", 'os_name == "nt"'),
        ("'nt' == os_name", 'os_name == "nt"'),
        ("'3.12' > python_version", '"3.12" > python_version'),
        ("'linux' in sys_platform", '"linux" in sys_platform'),
        ("sys_platform == 'x' and os_name == 'y'", 'os_name == "y" and sys_platform == "x"'),
        ("(os_name == 'b') or (os_name == 'a' or os_name == 'b')", 'os_name == "a" or os_name == "b"'),
        ("(os_name == 'a' or os_name == 'a') and sys_platform == 'x'", 'os_name == "a" and sys_platform == "x"'),
        ("sys_platform == 'x' and (os_name == 'b' or os_name == 'a')",
         '(os_name == "a" or os_name == "b") and sys_platform == "x"'),
        ("os_name == 'b' and os_name == 'c' or os_name == 'a'", 'os_name == "a" or os_name == "b" and os_name == "c"'),
        ("os_name==sys_platform", "os_name == sys_platform"),
        ("""os_name == 'a"b'""", """os_name == 'a"b'"""),
    ],
)  # fmt: skip
def test_one_marker_has_one_spelling(written: str, canonical: str) -> None:
    """Order of operands, sides of an equality, quotes and parentheses do not show."""
    assert canonical_marker(written, where="test") == canonical
    assert canonical_marker(canonical, where="test") == canonical


ATOMS = st.sampled_from([
    "os_name == 'nt'", "'linux' == sys_platform", "python_version >= '3.12'", "'arm64' in platform_machine",
    "platform_machine != 'arm64'", "implementation_name == 'pypy'",
])  # fmt: skip
MARKERS = st.recursive(
    ATOMS, lambda inner: st.lists(inner, min_size=2, max_size=3).flatmap(
        lambda parts: st.sampled_from(["and", "or"]).map(lambda word: "(" + f" {word} ".join(parts) + ")")
    ), max_leaves=6,
)  # fmt: skip
NAMES = ("cp311-win_amd64", "cp312-manylinux_2_28_aarch64", "cp313-macosx_14_0_arm64", "pp311-win32")
TARGETS = [parse_target(name) for name in NAMES]


@given(MARKERS)
def test_the_canonical_marker_says_the_same(text: str) -> None:
    """Rewriting a marker changes its truth nowhere, and rewriting it twice changes nothing more."""
    canonical = canonical_marker(text, where="test")
    assert canonical_marker(canonical, where="test") == canonical
    assert [evaluate(text, target) for target in TARGETS] == [evaluate(canonical, target) for target in TARGETS]


def test_the_slot_of_a_requirement_is_all_but_its_range() -> None:
    """Requirements that differ only in range share a slot."""
    one, two = canonical_requirement("Foo[b,a]>=1; os_name=='nt'"), canonical_requirement("foo[a,b]<3; 'nt'==os_name")
    assert one.slot == two.slot == ("foo", ("a", "b"), 'os_name == "nt"')


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
        ('tabulate; python_version < "3.13" and sys_platform == "linux"', "extra table"),
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
        'tabulate; python_version < "3.13" and sys_platform == "linux"',
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
