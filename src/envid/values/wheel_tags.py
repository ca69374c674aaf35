"""The name of a wheel: which tags it carries, how it ranks, how low a platform it runs on."""

from __future__ import annotations

from envid.values.artifact import Resolution
from envid.values.target import Target


def platform_floor(resolution: Resolution, target: Target) -> dict[str, str | None] | None:
    """Return the lowest platform on which every selected wheel runs, for the ``platform`` component.

    ``{"family": "glibc"|"musl"|"macos"|"windows", "version": "2.17"|None}`` (Windows wheels name no
    version); None when every selected wheel is pure. Sdists and sources are not looked at: what
    is built here runs on the exact host version, which only the caller knows.
    """
    raise NotImplementedError
