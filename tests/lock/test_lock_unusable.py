"""Versions without a wheel for a target."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envid.lock.index import IndexFile
from envid.lock.unusable import MAX_VERSIONS, unusable_versions
from envid.values.artifact import NormalizedName
from envid.values.target import parse_target

TARGET = parse_target("cp312-manylinux_2_28_x86_64")
NAME = NormalizedName("demo")
GOOD, BAD = "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_34_x86_64"


def files(*names: str) -> list[IndexFile]:
    """Return listed files of these names."""
    return [IndexFile(filename=name, url=f"https://files.example/{name}") for name in names]


def test_lower_versions_are_ruled_out_newest_first() -> None:
    """What has a usable wheel stays, whatever else it has; higher versions, other projects and sdists are ignored."""
    listed = files(
        f"demo-3.0-{BAD}.whl", f"demo-2.0-{BAD}.whl", f"demo-1.10-{BAD}.whl", f"demo-1.9-{BAD}.whl",
        f"demo-1.9-{GOOD}.whl", f"demo-1.8-{BAD}.whl", f"other-1.7-{BAD}.whl", "demo-1.6.tar.gz", "demo-x-y.whl",
    )  # fmt: skip
    assert unusable_versions(listed, name=NAME, target=TARGET, chosen="2.0") == ("2.0", "1.10", "1.8")


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([GOOD, BAD])), max_size=60), st.integers(0, 30))
def test_the_chosen_one_is_always_out_and_usable_ones_never(rows: list[tuple[int, str]], chosen: int) -> None:
    """Every round rules out something, so that asking again ends; and never another version that would serve."""
    listed = files(*(f"demo-{number}-{tag}.whl" for number, tag in rows))
    out = unusable_versions(listed, name=NAME, target=TARGET, chosen=str(chosen))
    assert out[0] == str(chosen)
    assert not {str(number) for number, tag in rows if tag == GOOD and number != chosen} & {*out}


def test_the_list_is_bounded() -> None:
    """A project with thousands of versions does not make a constraint of thousands of clauses."""
    listed = files(*(f"demo-{number}-{BAD}.whl" for number in range(2000)))
    assert len(unusable_versions(listed, name=NAME, target=TARGET, chosen="1999")) == MAX_VERSIONS
