"""envid's keys, ladder and restore check on a model of GitHub's cache service; and the model itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_histories import PYTHONS, World, histories, named
from envid.app.ci import LADDERS, ladder
from envid.identity import LAYERS
from github_cache import DAY, MAX_BYTES, MAX_KEY, MAX_KEYS, KeyRefused, Service, check, is_hit, version

V = version([".venv"])
MAIN, TOPIC, OTHER = "refs/heads/main", "refs/heads/topic", "refs/heads/other"


def service(*saved: tuple[str, str], scope: str = MAIN) -> Service[str]:
    """Return a service that holds (key, payload) pairs, the last one the newest."""
    made: Service[str] = Service()
    for number, (key, payload) in enumerate(saved):
        assert made.save(key, V, payload, scope=scope, size=1, now=float(number))
    return made


def restored(made: Service[str], *keys: str, scope: str = MAIN, base: str | None = None, now: float = 100.0) -> str:
    """Return the payload that a job gets, empty for none."""
    found = made.restore(keys, V, scope=scope, base=base, now=now)
    return "" if found is None else found.payload


@pytest.mark.slow
def test_no_history_ends_in_a_wrong_restore() -> None:
    """In 10,000 histories no tree made under another identity, or torn, is used; the naive ways use thousands."""
    counts = histories(10_000)
    assert counts.histories == 10_000
    assert counts.used["envid"] > 10_000
    assert counts.wrong["envid"] == 0
    assert counts.wrong["ladder"] > counts.wrong["exact"] > 1000
    assert counts.other["ladder"] > counts.other["exact"] > 1000
    # Each check of the seal is needed: every one refused something, and without them the same keys are not enough.
    assert {code for code, number in counts.refused.items() if number > 10} == {
        "restore.miss", "restore.key", "restore.unsealed", "restore.identity", "restore.torn",
    }  # fmt: skip
    assert counts.wrong["unjudged"] > 1000
    assert counts.prefixed > 1000
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8").replace("*", "")
    for way in ("envid", "unjudged", "exact", "ladder"):
        assert f"| {counts.used[way]:,} | {counts.wrong[way]:,} |" in page, way


def test_even_the_primary_key_matches_as_a_prefix() -> None:
    """What begins with the key asked for is given, the newest first; an equal key goes before all."""
    made = service(("a-1", "old"), ("a-2", "new"))
    assert restored(made, "a-") == "new"
    assert restored(made, "a-1") == "old"
    assert restored(service(("a", "equal"), ("a-9", "longer")), "a") == "equal"


def test_case_does_not_count() -> None:
    """A key that differs in case only is a match, and even a hit."""
    assert restored(service(("KEY", "x")), "key") == "x"
    assert is_hit("key", "KEY")


def test_keys_are_tried_in_order() -> None:
    """A later key is tried only when no earlier one matches anything."""
    made = service(("b-1", "b"), ("a-1", "a"))
    assert restored(made, "c", "b-", "a-") == "b"
    assert restored(made, "c") == ""


def test_a_branch_sees_its_own_its_base_and_the_default() -> None:
    """An entry of a sibling branch is not seen; that of the default branch is, after one's own."""
    made = service(("k", "main"))
    made.save("k", V, "topic", scope=TOPIC, size=1, now=5.0)
    assert restored(made, "k", scope=TOPIC) == "topic"
    assert restored(made, "k", scope=OTHER) == "main"
    assert restored(made, "k", scope=OTHER, base=TOPIC) == "topic"
    assert restored(service(("k", "topic"), scope=TOPIC), "k", scope=OTHER) == ""


def test_an_entry_never_changes() -> None:
    """A second save under a key of the same scope and version is refused, and what was there stays."""
    made = service(("k", "first"))
    assert not made.save("k", V, "second", scope=MAIN, size=1, now=9.0)
    assert restored(made, "k") == "first"
    assert made.save("k", version(["elsewhere"]), "third", scope=MAIN, size=1, now=9.0)


def test_paths_and_compression_are_part_of_the_version() -> None:
    """The same key with another path, or another compressor, is a miss."""
    made = service(("k", "x"))
    assert made.restore(["k"], version([".venv/"]), scope=MAIN, now=1.0) is None
    assert made.restore(["k"], version([".venv"], "gzip"), scope=MAIN, now=1.0) is None


def test_a_week_without_use_and_the_oldest_beyond_ten_gigabytes_go() -> None:
    """Eviction is by the time of last use: a restore keeps an entry alive."""
    made = service(("a", "a"), ("b", "b"))
    assert restored(made, "a", now=6 * DAY) == "a"
    assert restored(made, "b", now=8 * DAY) == ""
    assert restored(made, "a", now=8 * DAY) == "a"
    made.save("c", V, "c", scope=MAIN, size=MAX_BYTES, now=8 * DAY + 1)
    assert [one.key for one in made.entries] == ["c"]


def test_the_client_refuses_what_is_no_key() -> None:
    """More than ten keys, more than 512 characters and commas are refused."""
    for keys in (["k"] * (MAX_KEYS + 1), ["k" * (MAX_KEY + 1)], ["a,b"], [""]):
        with pytest.raises(KeyRefused):
            check(keys)


WORLDS = st.builds(World, lock=st.integers(0, 5), python=st.integers(0, len(PYTHONS) - 1), image=st.integers(0, 1))


@given(WORLDS, WORLDS, st.sampled_from(["venv", "wheels"]), st.sampled_from(["venv", "wheels"]))
def test_no_key_of_envid_is_found_under_another(one: World, two: World, first: str, second: str) -> None:
    """Of two keys that differ neither is a prefix of the other, in any case of letters; the client takes them all."""
    a, b = named(one, first)[0], named(two, second)[0]
    check([a, *ladder(first, a)])
    assert a == a.lower()
    assert a == b or not (a.startswith(b) or b.startswith(a))
    assert all(a.startswith(rung) for rung in ladder(first, a))


def test_only_layers_that_are_held_to_hashes_have_a_ladder() -> None:
    """venv, adapters, env and a project's own layers have the exact key or nothing; no ladder exceeds ten keys."""
    key = "envid1-x-linux-x86_64-cp312-" + "0" * 64
    assert {layer for layer in (*LAYERS, "own") if ladder(layer, key)} == {"wheels", "store"} == LADDERS
    assert all(len(ladder(layer, key)) < MAX_KEYS for layer in LAYERS)
