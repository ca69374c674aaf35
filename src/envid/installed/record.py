"""RECORD: the rows that installers write (PEP 376, PEP 627), and the content digest they imply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

INSTALLER_FILES: Final = frozenset(
    {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json", "provenance_url.json",
     "RECORD", "RECORD.jws", "RECORD.p7s"}
)  # fmt: skip
"""Names in a ``.dist-info`` directory that belong to the installer, whoever wrote them."""


class RecordRow(NamedTuple):
    """One row: ``path`` as written (POSIX, relative to site-packages), the digest and the size claimed."""

    path: str
    sha256: str
    """64 hexadecimal digits; empty when the row has no sha256."""
    size: int | None
    """Bytes."""


def parse_record(data: bytes) -> tuple[RecordRow, ...]:
    """Return the rows of an installed RECORD, in its order; raise InvalidRecord, UnsafePath, TooLarge."""
    raise NotImplementedError


def content_digest_from_record(
    rows: Iterable[RecordRow],
    *,
    site_packages: str,
    name: str,
    launchers: Collection[str],
    script_tail: Callable[[str], str | None],
) -> str | None:
    """Return the content digest of the wheel that ``rows`` were installed from (docs/contents.md).

    ``site_packages`` is POSIX, relative to the environment (``lib/python3.12/site-packages``);
    ``launchers`` the script names of the entry points; ``script_tail(name)`` answers for a file in
    the scripts directory with the BLAKE3 of all after its shebang when that is one an installer
    wrote, else ``None``. ``None`` when a row that counts has no sha256. Raises UnsafePath.
    """
    raise NotImplementedError
