"""Which Pythons a lock answers for."""

from __future__ import annotations

import pytest

from envid.errors import ConfigError
from envid.lock.python_range import DEFAULT, python_range
from envid.values.target import parse_target


@pytest.mark.parametrize(
    ("said", "targets", "lowest", "written"),
    [
        (None, (), DEFAULT, f">={DEFAULT}"),
        (None, ("cp312-win_amd64",), "3.12", ">=3.12"),
        (">=3.9", (), "3.9", ">=3.9"),
        (">=3.9", ("cp313-win_amd64", "cp311-win_amd64"), "3.11", ">=3.11"),
        (">=3.9,<4", ("cp311-win_amd64",), "3.11", ">=3.11,<4"),
        ("<3.14, >=3.11.0", (), "3.11", ">=3.11,<3.14"),
        (">=3.11.4", (), "3.11.4", ">=3.11.4"),
        (">=3.11", ("cp3.11.7-win_amd64",), "3.11.7", ">=3.11.7"),
        ("~=3.11", (), "3.11", ">=3.11,~=3.11"),
        (">=3.11,!=3.12.1", (), "3.11", ">=3.11,!=3.12.1"),
        ("==3.12.*", ("cp312-win_amd64",), "3.12", ">=3.12,==3.12.*"),
    ],
)
def test_range(said: str | None, targets: tuple[str, ...], lowest: str, written: str) -> None:
    """The higher one of the project's bound and the oldest target; other clauses of the project stay."""
    assert python_range(said, tuple(parse_target(target) for target in targets)) == (lowest, written)


@pytest.mark.parametrize(
    ("said", "target"),
    [
        (">=3.12", "cp311-win_amd64"),
        ("<3.13", "cp313-win_amd64"),
        (">3.11", "cp310-win_amd64"),
        ("<=3.11", "cp312-win_amd64"),
    ],
)
def test_targets_outside_are_refused(said: str, target: str) -> None:
    """A target whose minor release the project excludes is named, with the range."""
    with pytest.raises(ConfigError, match=target):
        python_range(said, (parse_target(target),))


@pytest.mark.parametrize("said", ["3.11", ">=three", ">=3.11;<4", "~3.11"])
def test_text_that_is_no_range_is_refused(said: str) -> None:
    """Text that is no version specifier is a configuration error."""
    with pytest.raises(ConfigError, match="specifier"):
        python_range(said, ())
