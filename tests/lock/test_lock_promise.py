"""Promises about bytes, without an engine: which are read from URLs, kept, broken, accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import DependencyRefused, DigestMismatch, Rehashed
from envid.lock.promise import held, keep, stated, unstated
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName, Sha256

DIGITS = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
FILE = "alpha-1.0-py3-none-any.whl"
URL = f"https://index.example/{FILE}"


def lock_of(digest: str, *, url: str | None = URL, archive: bool = False, name: str = "alpha") -> Lock:
    """Return a lock of one file."""
    artifact = Artifact(
        kind="archive" if archive else "wheel", filename=FILE, sha256=Sha256(digest), url=url,
        path=None if url else f"../{FILE}",
    )  # fmt: skip
    entry = LockedDistribution(
        name=NormalizedName(name), version="1.0", wheels=() if archive else (artifact,),
        archive=artifact if archive else None,
    )  # fmt: skip
    return Lock(created_by="envid", distributions=(entry,))


@given(old=DIGITS, new=DIGITS, accepted=st.booleans())
def test_other_bytes_never_pass_in_silence(old: str, new: str, accepted: bool) -> None:
    """For any two digests of one file: equal ones pass, others are refused, or accepted with a warning of both."""
    before, after = lock_of(old), lock_of(new)
    if old != new and not accepted:
        with pytest.raises(Rehashed) as caught:
            held(before, after, accepted=lambda _: accepted)
        assert old in caught.value.message
        assert new in caught.value.message
        return
    told = held(before, after, accepted=lambda _: accepted)
    assert [(item.expected, item.actual) for item in told] == ([] if old == new else [(old, new)])


def test_a_file_of_the_project_is_its_own_affair() -> None:
    """An archive by path may change, one by URL may not."""
    assert held(lock_of("a" * 64, url=None, archive=True), lock_of("b" * 64, url=None, archive=True),
                accepted=lambda _: False) == ()  # fmt: skip
    with pytest.raises(Rehashed):
        held(lock_of("a" * 64, archive=True), lock_of("b" * 64, archive=True), accepted=lambda _: False)


def test_the_refusal_names_every_distribution_in_its_way_out() -> None:
    """Two distributions with replaced files are both in the command that would accept them."""
    old = Lock(created_by="x", distributions=(*lock_of("a" * 64).distributions,
                                              *lock_of("a" * 64, name="beta").distributions))  # fmt: skip
    new = Lock(created_by="x", distributions=(*lock_of("b" * 64).distributions,
                                              *lock_of("b" * 64, name="beta").distributions))  # fmt: skip
    with pytest.raises(Rehashed, match="1 more") as caught:
        held(old, new, accepted=lambda _: False)
    assert "--upgrade-package alpha --upgrade-package beta" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "digest", "bare"),
    [
        (f"{URL}#sha256=AA", "aa", URL),
        (f"{URL}#subdirectory=x&sha256=aa", "aa", f"{URL}#subdirectory=x"),
        (f"{URL}#egg=alpha", None, f"{URL}#egg=alpha"),
        (URL, None, URL),
    ],
)
def test_fragments_are_read_and_taken_out(url: str, digest: str | None, bare: str) -> None:
    """A digest is found among the parts of a fragment, and only the digest is kept from uv."""
    assert [promise.sha256 for promise in stated([("alpha", url)])] == ([] if digest is None else [digest])
    assert unstated(url) == bare


def test_a_promise_by_another_algorithm_is_refused() -> None:
    """A digest that a lock does not hold is refused, naming the algorithm."""
    with pytest.raises(DependencyRefused, match="md5"):
        stated([("alpha", f"{URL}#md5=00")])


def test_a_promise_is_held_by_url_then_by_file_name() -> None:
    """The file at the URL is the one held; a local file is found by its name; others of that name are not."""
    (promise,) = stated([("alpha", f"{URL}#sha256={'a' * 64}")])
    keep([promise], lock_of("a" * 64, archive=True))
    for wrong in (lock_of("b" * 64, archive=True), lock_of("b" * 64, url=None, archive=True)):
        with pytest.raises(DigestMismatch):
            keep([promise], wrong)
    keep([promise], lock_of("b" * 64, name="beta", archive=True))
