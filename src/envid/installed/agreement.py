"""Does an installed RECORD say what the contents of the wheel say? Answered by comparing lines, not by reading them.

Nearly every line of a RECORD is one that can be written down from the contents; an environment has 40,000.
Only what is left over is parsed. The answer is never no: what does not agree is for the digest to judge.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection

from envid.errors import InvalidRecord, TooLarge, UnsafePath
from envid.installed.published import Noted, forms
from envid.installed.record import lines_from_record, parse_record


def agrees(
    data: bytes,
    rows: Noted,
    *,
    site_packages: str,
    launchers: Collection[str],
    script_tail: Callable[[str], str | None],
) -> bool:
    """Return True only if the content digest that ``data`` implies is that of ``rows``.

    The other arguments are those of ``record.content_digest_from_record``.
    """
    library = _library(rows)
    try:
        there = set(data.decode("utf-8").split("\n"))
    except UnicodeDecodeError:
        return False
    if not library <= there:
        return False
    left = "".join([f"{line}\n" for line in there - library if line])
    try:
        lines = lines_from_record(
            parse_record(left.encode()) if left else (), site_packages=site_packages, name=rows.name,
            launchers=launchers, script_tail=script_tail,
        )  # fmt: skip
    except (InvalidRecord, UnsafePath, TooLarge):
        return False
    others = {f"{place}\0{form}\n" for place, form in forms(rows, ("scripts", "data", "headers"))}
    return lines is not None and set(lines) == others


def _library(rows: Noted) -> set[str]:
    """Return the lines of the files in site-packages, as every installer writes them."""
    lines: set[str] = set()
    for scheme, start, end in rows.schemes:
        if scheme not in ("purelib", "platlib"):
            continue
        # 33 bytes, the digest and a zero, are 44 digits of base64, of which the first 43 are the digest's.
        column = "00".join([rows.sha256s[at : at + 64] for at in range(64 * start, 64 * end, 64)])
        digits = urlsafe_b64encode(bytes.fromhex(f"{column}00")).decode("ascii")
        sizes, paths = rows.sizes[start:end], rows.paths[start:end]
        lines.update([
            f"{path},sha256={digits[at : at + 43]},{size}"
            for path, size, at in zip(paths, sizes, range(0, 44 * (end - start), 44), strict=True)
        ])  # fmt: skip
    return lines
