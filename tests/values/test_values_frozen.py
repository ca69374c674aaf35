"""Our quick `dataclass` is, to everyone who looks, what Python's own makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.values.frozen import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A value."""

    number: int
    text: str = "x"
    """With a default."""
    names: tuple[str, ...] = ()
    made: dict[str, int] = field(default_factory=dict)

    @property
    def double(self) -> int:
        """Twice the number."""
        return self.number * 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """A value."""

    number: int
    text: str = "x"
    names: tuple[str, ...] = ()
    made: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """No member at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One that looks at itself when it is made."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


GIVEN = st.fixed_dictionaries(
    {"number": st.integers(0, 3)},
    optional={"text": st.sampled_from(["x", "y"]), "names": st.just(("a",)), "made": st.just({"a": 1})},
)


@given(one=GIVEN, other=GIVEN)
def test_it_compares_and_shows_as_python_s_own(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equality, text, members, copies and replacement are those of the standard library's dataclass."""
    ours, theirs = Ours(**one), Theirs(**one)
    assert repr(ours).removeprefix("Ours") == repr(theirs).removeprefix("Theirs")
    assert (ours == Ours(**other)) is (theirs == Theirs(**other))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert dataclasses.replace(ours, **other) == Ours(**{**one, **other})
    assert copy.deepcopy(ours) == ours
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert ours.double == theirs.number * 2


def test_it_describes_itself_as_python_s_own() -> None:
    """Members, their defaults and slots are described alike."""
    looked_at: Any = Ours
    assert dataclasses.is_dataclass(looked_at)
    one, two = ([(f.name, f.type, f.default, f.default_factory) for f in dataclasses.fields(c)] for c in (Ours, Theirs))
    assert one == two
    assert Ours.__slots__ == Theirs.__slots__
    assert Ours.__match_args__ == Theirs.__match_args__
    assert (Ours.__doc__, Ours.__module__, Ours.__qualname__) == ("A value.", __name__, "Ours")
    assert not hasattr(Ours(number=1), "__dict__")


def test_equal_values_have_equal_hashes() -> None:
    """A value of hashable members is hashable; one that holds a dict is not; another class is never equal."""
    assert hash(Checked(number=1)) == hash(Checked(number=1))
    assert len({Checked(number=1), Checked(number=1), Checked(number=2)}) == 2
    with pytest.raises(TypeError):
        hash(Ours(number=1))
    other: object = Checked(number=1)
    assert Ours(number=1) != other
    assert Empty() == Empty()


def test_the_first_touch_may_be_of_any_kind() -> None:
    """A value that was unpickled before any was made compares and hashes like every other."""

    def fresh() -> Any:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class Fresh:
            """A class that nothing was made of yet."""

            number: int

        return Fresh

    for look in (hash, lambda value: value == value, repr):
        kind = fresh()
        value = kind.__new__(kind)
        value.__setstate__([1])
        assert look(value)


def test_it_cannot_be_changed() -> None:
    """Members cannot be set, deleted or added."""
    value: Any = Ours(number=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.number = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.number
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.other = 1


@pytest.mark.parametrize("given", [{}, {"number": 1, "other": 2}])
def test_wrong_members_are_refused(given: dict[str, Any]) -> None:
    """A missing or unknown member is a TypeError, for the first value as for the next."""
    for _ in range(2):
        with pytest.raises(TypeError):
            Ours(**given)
    with pytest.raises(TypeError):
        Ours(1)  # type: ignore[call-arg]


def test_a_value_that_checks_itself() -> None:
    """`__post_init__` runs, each time."""
    with pytest.raises(ValueError, match="negative"):
        Checked(number=-1)
    assert Checked(number=0).number == 0


def test_defaults_are_made_anew() -> None:
    """Two values do not share a default that can change."""
    one, two = Ours(number=1), Ours(number=1)
    assert one.made is not two.made


def test_a_member_that_is_none_is_refused_as_python_refuses_it() -> None:
    """A misspelled member is a TypeError even when the number of members is right."""
    for make in (Ours, Theirs):
        with pytest.raises(TypeError):
            make(numbr=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Checked(numbr=1)  # type: ignore[call-arg]
