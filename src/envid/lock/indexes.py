"""Which indexes are configured, as uv has them: a function of variables and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name and password; kept out of ``repr``, so that no log or traceback shows it."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One place where artifacts are looked up, without its credential in the URL."""

    url: str
    name: str | None = None
    flat: bool = False
    """A find-links page or directory instead of a Simple API root."""
    explicit: bool = False
    """Only for the distributions whose source names it."""
    credential: Credential | None = None


def configured(
    variables: Mapping[str, str],
    *,
    declared: Sequence[str] = (),
    project: Sequence[Mapping[str, Any]] = (),
    user: Mapping[str, Any] | None = None,
) -> tuple[tuple[Index, ...], bool]:
    """Return the indexes in the order in which they are asked, and whether uv's own default comes after them."""
    raise NotImplementedError
