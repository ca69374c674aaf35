"""Which indexes are configured: uv's rules, and credentials that never show."""

from __future__ import annotations

import pytest

from envid.errors import ConfigError
from envid.lock.indexes import Credential, Index, builtin, configured, located, located_settings, variables_of

A, B, C, D, E = (f"https://{letter}.example/simple" for letter in "abcde")


def urls(indexes: tuple[Index, ...]) -> list[str]:
    return [index.url for index in indexes]


def test_nothing_configured_leaves_uvs_own_default() -> None:
    """Without any setting there is no place of ours, and uv's default is wanted."""
    found = configured({})
    assert (found.places, found.wants_builtin) == ((), True)


def test_the_order_is_uvs() -> None:
    """Variables, then the project's tables, then the user's; one default index, the last of all."""
    found = configured(
        {"UV_INDEX": f"one={A} {B}", "UV_EXTRA_INDEX_URL": C, "UV_DEFAULT_INDEX": E},
        project=[{"url": D, "name": "d"}, {"url": "https://other-default.example", "default": True}],
        user={"index": [{"url": "https://user.example/simple"}], "index-url": "https://user-default.example"},
    )
    assert urls(found.places) == [A, B, C, D, "https://user.example/simple", E]
    assert [index.default for index in found.places] == [False] * 5 + [True]
    assert found.wants_builtin is False


def test_the_first_declared_index_is_the_default() -> None:
    """Of [tool.envid.lock] indexes the first is asked last; a variable goes before it."""
    assert urls(configured({}, declared=[A, f"two={B}"]).places) == [B, A]
    assert urls(configured({"UV_INDEX_URL": C}, declared=[A, f"two={B}"]).places) == [B, C]


def test_find_links_come_first_and_no_index_leaves_only_them() -> None:
    """UV_FIND_LINKS is a list with commas, of URLs or directories, relative ones from the project."""
    variables = {"UV_FIND_LINKS": "wheels, /opt/more,https://flat.example/list.html", "UV_INDEX_URL": A}
    found = configured(variables, root="/project")
    assert urls(found.places) == ["file:///project/wheels", "file:///opt/more", "https://flat.example/list.html", A]
    assert [index.flat for index in found.places] == [True, True, True, False]
    assert len(configured({**variables, "UV_NO_INDEX": "1"}, root="/project").places) == 3


def test_credentials_come_out_of_urls_and_variables() -> None:
    """Userinfo leaves the URL; UV_INDEX_NAME_USERNAME and _PASSWORD win over it, by the name in capitals."""
    found = configured(
        {
            "UV_INDEX": "my-corp.index=https://user:p%40ss@corp.example:8443/simple/",
            "UV_DEFAULT_INDEX": "https://token@d.example/simple",
            "UV_INDEX_OTHER_ONE_USERNAME": "u",
            "UV_INDEX_OTHER_ONE_PASSWORD": "p",
        },
        project=[{"url": "https://x:y@other.example/simple", "name": "other-one"}],
    )
    assert urls(found.places) == [
        "https://corp.example:8443/simple", "https://other.example/simple", "https://d.example/simple"
    ]  # fmt: skip
    assert [index.credential for index in found.places] == [
        Credential(username="user", password="p@ss"),
        Credential(username="u", password="p"),
        Credential(username="token", password=""),
    ]


def test_no_credential_shows_in_a_repr() -> None:
    """Whatever prints an index, or all of them, shows no credential."""
    found = configured({"UV_INDEX": "https://sesame:sesame@a.example/simple"})
    assert "sesame" not in repr(found)


@pytest.mark.parametrize(
    "text", ["https://user:sesame@[bad/simple", "s3://user:sesame@bucket/simple", "https://u:sesame@h:x/"]
)
def test_an_index_that_is_no_url_is_refused_without_being_shown(text: str) -> None:
    """ConfigError (exit 3) tells what is wrong, and not the URL."""
    with pytest.raises(ConfigError) as raised:
        configured({"UV_INDEX_URL": text})
    assert "sesame" not in raised.value.message
    assert raised.value.exit_code == 3


def test_a_user_table_may_be_of_any_shape() -> None:
    """Settings of other types than expected are passed over; a missing url is ConfigError."""
    assert configured({}, user={"index": "x", "find-links": 3, "pip": {"find-links": ["/w"]}}).places == ()
    assert urls(configured({}, user={"pip": {"find-links": ["/w"], "index-url": A}}).places) == ["file:///w", A]
    with pytest.raises(ConfigError):
        configured({}, user={"index": [{"name": "x"}]})


def test_a_place_is_asked_once() -> None:
    """The same index named twice is one place, at its first position."""
    assert urls(configured({"UV_INDEX": f"{A}/ {B} {A}", "UV_DEFAULT_INDEX": B}).places) == [A, B]


def test_uv_tells_its_default() -> None:
    """What uv prints under --emit-index-url is read; anything else is ConfigError."""
    assert builtin("--index-url https://index.example/simple\n\n").url == "https://index.example/simple"
    with pytest.raises(ConfigError):
        builtin("nothing of the sort\n")


def test_a_child_is_told_the_same_places() -> None:
    """The variables for uv give back the same places and credentials when they are read again."""
    found = configured(
        {
            "UV_INDEX": f"https://us%40er:p%2Fw@a.example/simple {B}", "UV_DEFAULT_INDEX": C, "UV_FIND_LINKS": "/w,/x",
            "UV_INSECURE_HOST": "a.example b.example",
        }
    )  # fmt: skip
    assert configured(variables_of(found)) == found
    assert variables_of(configured({"UV_NO_INDEX": "1"})) == {"UV_NO_INDEX": "1"}
    assert variables_of(configured({})) == {}


def test_paths_are_told_as_places_on_this_machine() -> None:
    """Relative and absolute paths of every index variable become file URLs; URLs, names and the rest stay."""
    given = {
        "UV_FIND_LINKS": "wheels, ../more,https://flat.example/x,",
        "UV_INDEX": f"corp=./simple {A}",
        "UV_EXTRA_INDEX_URL": "/abs/simple",
        "UV_DEFAULT_INDEX": "main=with space/simple",
        "UV_INDEX_URL": A,
        "UV_CACHE_DIR": "cache",
    }
    assert located(given, root="/srv/demo") == {
        "UV_FIND_LINKS": "file:///srv/demo/wheels,file:///srv/more,https://flat.example/x",
        "UV_INDEX": f"corp=file:///srv/demo/simple {A}",
        "UV_EXTRA_INDEX_URL": "file:///abs/simple",
        "UV_DEFAULT_INDEX": "main=file:///srv/demo/with%20space/simple",
        "UV_INDEX_URL": A,
        "UV_CACHE_DIR": "cache",
    }


def test_paths_of_a_settings_file_start_from_its_folder() -> None:
    """Each way that uv.toml names a place is made absolute, in [pip] too; what is malformed stays as it is."""
    given = {
        "index": [{"url": "a", "name": "x"}, {"url": A}, 3], "index-url": "b", "find-links": ["c", A],
        "pip": {"extra-index-url": ["d"]}, "native-tls": True,
    }  # fmt: skip
    assert located_settings(given, folder="/home/me/uv") == {
        "index": [{"url": "file:///home/me/uv/a", "name": "x"}, {"url": A}, 3],
        "index-url": "file:///home/me/uv/b",
        "find-links": ["file:///home/me/uv/c", A],
        "pip": {"extra-index-url": ["file:///home/me/uv/d"]},
        "native-tls": True,
    }
