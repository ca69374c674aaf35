"""uv's answer, laid out as the writer lays out a lock, so that the quick reader can read it.

Parsing uv's TOML with tomllib costs more than all the rest that envid does in a resolution. Whatever
is not the plain case (directories, archives, links with a query) is left to the thorough way.
"""

from __future__ import annotations

import re
from typing import Final

from envid.lock.reader import scan
from envid.values.artifact import LockedDistribution

_HEAD: Final = re.compile(r'lock-version = "1\.0"\ncreated-by = "uv"\nrequires-python = "([^"\\\n]+)"\n')
_TIME: Final = re.compile(
    r", upload-time = \d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"T(?:[01]\d|2[0-3])(?::[0-5]\d){2}(?:\.\d{1,9})?Z(?=[, ])"
)
_ONE_LINE: Final = re.compile(r"^wheels = \[(\{ .* \})\]$", re.MULTILINE)
_TAIL: Final = "\n[tool.envid]\nformat = 1\n"


def read_plain(text: str) -> tuple[LockedDistribution, ...] | None:
    """Return the distributions in uv's answer as the quick reader gives them, None when it declines."""
    head = _HEAD.match(text)
    if head is None:
        return None
    body = _ONE_LINE.sub(r"wheels = [\n    \1,\n]", _TIME.sub("", text[head.end() :]))
    laid_out = f'lock-version = "1.0"\nrequires-python = "{head[1]}"\ncreated-by = "envid"\n{body.rstrip()}\n{_TAIL}'
    found = scan(laid_out.encode())
    return None if found is None else tuple(row.distribution() for row in found[1])
