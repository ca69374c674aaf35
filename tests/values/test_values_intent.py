"""pyproject.toml to intent, and every complaint with its file, line and next step."""

from __future__ import annotations

import pytest

from envid.errors import ConfigError, CredentialInConfig, InvalidTarget, TooLarge, UnknownOption
from envid.values.intent import MAX_BYTES, Intent, parse_intent

WHOLE = """
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["six"]
dynamic = ["readme"]
[project.optional-dependencies]
x = ["idna"]
[dependency-groups]
dev = ["attrs", {include-group = "lint"}]
lint = []
[tool.uv]
constraint-dependencies = ["certifi<9"]
override-dependencies = ["idna==3"]
prerelease = "allow"
[tool.uv.sources]
six = {path = "../six"}
[[tool.uv.index]]
name = "internal"
url = "https://index.example/simple"
[tool.envid]
targets = ["cp312-manylinux_2_28_x86_64", "cp311-win_amd64", "cp312-manylinux_2_28_x86_64"]
salt = "s"
[tool.envid.lock]
extras = ["x"]
exclude-newer = "7 days"
[tool.envid.locks.dev]
groups = ["dev"]
neutral = true
[tool.envid.layers.compiled]
components = ["python"]
facts = {otp = "27"}
[tool.envid.cache]
dir = "cache"
[tool.envid.adapters]
backend = "elixir"
options = {a = 1}
"""


def intent(text: str) -> Intent:
    """Parse ``text``."""
    return parse_intent(text.encode())


def test_every_table_is_read() -> None:
    """Each key of the tables that envid reads arrives in its place."""
    got = intent(WHOLE)
    assert (got.name, got.version, got.requires_python) == ("demo", "1.0", ">=3.11")
    assert got.dependencies == ("six",)
    assert got.dynamic == ("readme",)
    assert got.extras == {"x": ("idna",)}
    assert got.groups["dev"] == ("attrs", {"include-group": "lint"})
    assert got.uv.constraints == ("certifi<9",)
    assert got.uv.overrides == ("idna==3",)
    assert got.uv.sources == {"six": {"path": "../six"}}
    assert got.uv.indexes[0]["name"] == "internal"
    assert got.uv.other == {"prerelease": "allow"}
    settings = got.settings
    assert [target.name for target in settings.targets] == ["cp311-win_amd64", "cp312-manylinux_2_28_x86_64"]
    assert (settings.salt, settings.cache_dir, settings.backend) == ("s", "cache", "elixir")
    assert settings.backend_options == {"a": 1}
    assert settings.layers["compiled"].facts == {"otp": "27"}


def test_a_named_lock_adds_to_the_general_one() -> None:
    """A named lock inherits settings, adds extras and groups, and replaces the rest."""
    dev = intent(WHOLE).lock_settings("dev")
    assert (dev.extras, dev.groups, dev.neutral, dev.exclude_newer) == (("x",), ("dev",), True, "7 days")


def test_an_undeclared_lock_is_refused_with_the_declared_ones() -> None:
    """Asking for a lock that is not declared names those that are."""
    with pytest.raises(ConfigError) as caught:
        intent(WHOLE).lock_settings("nope")
    assert "default, dev" in caught.value.hint


def test_an_empty_file_asks_for_nothing() -> None:
    """Every table is optional."""
    got = intent("")
    assert got.name is None
    assert got.settings.targets == ()
    assert set(got.settings.locks) == {"default"}


@pytest.mark.parametrize(
    ("text", "nearest", "line"),
    [
        ("[tool.envid]\nsalt = ''\ntarget = []\n", "targets", 3),
        ("[tool.envid.lock]\n\nneutrl = true\n", "neutral", 3),
        ("[tool.envid.locks.dev]\ngroup = []\n", "groups", 2),
        ("[tool.envid.layers.mine]\ncomponent = []\n", "components", 2),
        ("[tool.envid.libraries.numpy]\ngenerat = 'all'\n", "generate", 2),
        ("[tool.envid.cache]\nmaxsize = 1\n", "max-size", 2),
    ],
)
def test_an_unknown_key_names_the_nearest_and_its_line(text: str, nearest: str, line: int) -> None:
    """A key that envid does not know is an error with the nearest known key and the line."""
    with pytest.raises(UnknownOption) as caught:
        intent(text)
    assert nearest in caught.value.hint
    assert caught.value.context["line"] == line


@pytest.mark.parametrize(
    "text",
    [
        "[project]\ndependencies = 'six'\n",
        "[project]\nname = 1\n",
        "project = 1\n",
        "[project]\ndependencies = [1]\n",
        "[dependency-groups]\ndev = 'x'\n",
        "[dependency-groups]\ndev = [1]\n",
        "[tool.uv]\nindex = {}\n",
        "[tool.envid]\ntargets = 'host'\n",
        "[tool.envid.lock]\nneutral = 'yes'\n",
        "[tool.envid.lock]\nresolver = 'poetry'\n",
        "[tool.envid.lock]\nexclude-newer = 'yesterday'\n",
        "[tool.envid.locks.Bad]\n",
        "[tool.envid.locks.default]\n",
        "[tool.envid.locks.'a.b']\n",
        "[tool.envid.layers.'a b']\n",
        "[tool.envid.locks]\ndev = 1\n",
    ],
)
def test_a_value_of_the_wrong_shape_is_a_config_error_with_a_line(text: str) -> None:
    """Each value of another type or outside its set is refused, with file and line."""
    with pytest.raises(ConfigError) as caught:
        intent(text)
    assert caught.value.exit_code == 3
    assert int(caught.value.context["line"]) >= 1


def test_an_invalid_target_says_where() -> None:
    """A bad target is reported with the file and line it stands in."""
    with pytest.raises(InvalidTarget) as caught:
        intent("[tool.envid]\nsalt = ''\ntargets = ['py3-any']\n")
    assert caught.value.context["line"] == 3


def test_the_host_is_no_target_of_a_project() -> None:
    """`host` is refused in the configuration, and the hint does not offer it there."""
    with pytest.raises(InvalidTarget) as caught:
        intent("[tool.envid]\ntargets = ['host']\n")
    assert "host" not in caught.value.hint
    assert "cp312-manylinux_2_28_x86_64" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "[[tool.uv.index]]\nurl = 'https://user:secret-token@index.example/simple'\n",
        "[tool.envid.lock]\nindexes = ['internal=https://secret-token@index.example/simple']\n",
    ],
)
def test_a_credential_in_the_file_is_refused_without_repeating_it(text: str) -> None:
    """An index address with userinfo is refused, and the secret is not in the message."""
    with pytest.raises(CredentialInConfig) as caught:
        intent(text)
    assert "secret-token" not in f"{caught.value.message}{caught.value.hint}{caught.value.context}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a = \xff", "UTF-8"),
        (b"a = 1\na = 2\n", "TOML"),
        (b"<<<<<<< HEAD\n", "TOML"),
        (b"a = " + b"[" * 100_000, "nested"),
    ],
)
def test_bytes_that_are_no_toml_are_a_config_error(data: bytes, reason: str) -> None:
    """Wrong encoding, duplicate keys, conflict markers and bottomless nesting are told apart from a bug."""
    with pytest.raises(ConfigError, match=reason):
        parse_intent(data)


def test_a_huge_file_is_refused_unread() -> None:
    """A file beyond the limit is refused before it is parsed."""
    with pytest.raises(TooLarge):
        parse_intent(b"#" * (MAX_BYTES + 1))


def test_the_policy_of_the_cache_is_read() -> None:
    """Sizes become bytes, ages seconds, and `group` is the one way to share."""
    text = 'shared = "group"\nmin-free = 5\nmax-size = "10 GB"\nmax-age = "2 weeks"\n'
    got = intent(f"[tool.envid.cache]\n{text}").settings
    assert (got.cache_shared, got.cache_min_free, got.cache_max_size, got.cache_max_age) == (True, 5, 10**10, 1209600)
    unsaid = intent("[tool.envid.cache]\nshared = false\n").settings
    limits = (unsaid.cache_min_free, unsaid.cache_max_size, unsaid.cache_max_age)
    assert (unsaid.cache_shared, limits) == (False, (None, None, None))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("shared = true", 'false or "group"'), ("shared = 0", 'false or "group"'), ("max-size = '10 GiBs'", "10 GB"),
        ("min-free = -1", "10 GB"), ("min-free = 1.5", "10 GB"), ("max-age = 30", "30 days"), ("max-age = '1d'", "30"),
    ],
)  # fmt: skip
def test_a_policy_that_is_none_is_refused_at_its_line(line: str, words: str) -> None:
    """A value that is no size, age or way to share is an error with file, line and what it should be."""
    with pytest.raises(ConfigError, match=words) as caught:
        intent(f"[tool.envid.cache]\n\n{line}\n")
    assert caught.value.context["line"] == 3
    assert caught.value.hint
