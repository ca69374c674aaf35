"""Why a cache was not read, or not written: every reason has a name."""

from __future__ import annotations

from typing import Final

MISSES: Final[dict[str, str]] = {
    "absent": "nothing was made under this key",
    "stale": "something was made, under another identity",
    "truncated": "the entry is shorter or longer than it says",
    "damaged": "the bytes of the entry are not those that were written",
    "misnamed": "a sound entry of another key stands in this one's place",
    "header": "the entry's header is not one that envid writes",
    "oversized": "the entry is larger than any that envid writes",
    "newer-format": "a newer envid wrote the entry",
    "older-format": "an older envid wrote the entry",
    "foreign": "not a regular file of this user's stands in the entry's place",
    "unreadable": "the operating system did not give the entry's bytes",
    "incomplete": "a file that the entry names is missing or damaged",
}
"""Reasons why a read gave nothing; the documentation is generated from it."""

BYPASSES: Final[dict[str, str]] = {
    "no-directory": "there is no place for a cache: no home directory, or it cannot be made",
    "read-only": "the cache cannot be written",
    "untrusted": "others can write the cache, or it belongs to somebody else",
    "space": "there is too little free space beside the cache",
    "unwritable": "writing the entry failed",
    "moved": "the identity changed while the entry was made",
    "diverged": "the same key gave other bytes before; the first are kept",
    "volatile": "an input cannot be measured, so nothing may be kept",
    "drifted": "the installed environment is not what the lock says",
    "failed": "the command failed",
    "inputs-changed": "an input changed while the command ran",
    "wrote-outside": "the command changed files outside of its outputs",
    "no-output": "the command did not make an output",
    "foreign-files": "an output directory held files that no run made and that the command did not make",
    "odd-output": "an output is neither file, directory nor link, or leads outside",
}
"""Reasons why nothing was kept; the documentation is generated from it."""

KEPT: Final[dict[str, str]] = {
    "hit": "an entry was read",
    "stored": "an entry was written",
    "kept": "the entry to be written was there already, with the same bytes",
    "quarantined": "a damaged entry was set aside",
    "waited": "another process was making the same entry",
    "wait-expired": "another process was making the same entry for longer than the wait",
}
"""What else is counted."""

PASSED: Final[dict[str, str]] = {
    "name": "the name is not that of a file of the store: absolute, with `..`, of another area, or too long",
    "kind": "a directory, a link, a device or a pipe",
    "extension": "a pax or GNU extension, or the file that one is about",
    "no-header": "bytes that are no header stand where one belongs",
    "unproven": "nothing here tells whether the content belongs to the key",
    "refuted": "the wheel itself says otherwise",
}
"""Reasons, beside those of misses and bypasses, why a member of an archive is passed over."""
