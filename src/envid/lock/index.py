"""The Simple repository API: what an index page says about the files of a project. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from envid.values.artifact import Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file that an index offers."""

    filename: str
    url: str
    """Absolute, without fragment; may hold a credential or a signature: never to be shown or stored."""
    sha256: Sha256 | None = None
    size: int | None = None
    """Bytes."""
    requires_python: str | None = None
    yanked: bool = False


def parse_page(data: bytes, *, content_type: str, url: str) -> tuple[IndexFile, ...]:
    """Return the files on one project page, or in one find-links listing, in the order of the page.

    HTML as in PEP 503, 592 and 629; JSON as in PEP 691 and 700 when ``content_type`` says so.
    ``url`` is where the page was read, for relative links. Raises InvalidIndexPage.
    """
    raise NotImplementedError
