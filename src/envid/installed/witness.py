"""A short proof that an environment is still as it was when ``verify`` last passed.

The witness of a pass is kept with its answer; the same question asked again measures it anew and
compares 32 bytes. Imported on the hot path: no dataclass, no typing.
"""

import os

from blake3 import blake3

from envid.installed.walk import walk

_SCRIPT = 1 << 20
"""Programs larger than this, which no installer generates, count by their size."""
_CONTEXT = "envid 2026 verify witness 1"


def of_walk(root: str, tops: list[str], singles: list[str], walked: bytes) -> bytes:
    """Return the witness of a walk that was verified: ``walked`` is what ``walk`` gave for the other arguments."""
    digest = blake3(walked, derive_key_context=_CONTEXT).digest()
    return _frame([b"walk", os.fsencode(root), _texts(tops), _texts(singles), digest])


def of_tops(root: str, sites: list[str], scripts: str, singles: list[str]) -> bytes:
    """Return the witness of the quick check, measured now: names at the top level, every RECORD, some whole files."""
    parts = [b"tops", os.fsencode(root), _texts(sites), os.fsencode(scripts), _texts(singles)]
    return _frame([*parts, _measure_tops(root, sites, scripts, singles)])


def holds(witness: bytes) -> bool:
    """Return whether the environment is still the one that ``witness`` was taken of."""
    parts = _unframe(witness)
    if parts is None:
        return False
    if len(parts) == 5 and parts[0] == b"walk":
        tops, singles = _unframe(parts[2]), _unframe(parts[3])
        if tops is None or singles is None:
            return False
        walked = walk(os.fsdecode(parts[1]), list(map(os.fsdecode, tops)), list(map(os.fsdecode, singles)))
        return blake3(walked, derive_key_context=_CONTEXT).digest() == parts[4]
    if len(parts) == 6 and parts[0] == b"tops":
        sites, singles = _unframe(parts[2]), _unframe(parts[4])
        if sites is None or singles is None:
            return False
        measured = _measure_tops(
            os.fsdecode(parts[1]), list(map(os.fsdecode, sites)), os.fsdecode(parts[3]), list(map(os.fsdecode, singles))
        )
        return measured == parts[5]
    return False


def _measure_tops(root: str, sites: list[str], scripts: str, singles: list[str]) -> bytes:
    parts = []
    for directory in (*sites, scripts):
        try:
            names = sorted(name for name in os.listdir(f"{root}/{directory}") if name != "__pycache__")
        except OSError:
            names = []
        # A link in the directory's place has the same names in it, and is no longer this environment.
        parts += [_texts(names), os.fsencode(os.path.realpath(f"{root}/{directory}"))]
        for name in names:
            path = f"{root}/{directory}/{name}"
            if directory == scripts:
                parts.append(os.fsencode(os.path.realpath(path)) if os.path.islink(path) else _digest(path, _SCRIPT))
            elif name.endswith(".dist-info"):
                parts.append(_digest(f"{path}/RECORD"))
                parts.append(_digest(f"{path}/direct_url.json"))
    for single in singles:
        parts.append(_digest(os.path.join(root, single)))
    return blake3(_frame(parts), derive_key_context=_CONTEXT).digest()


def _digest(path: str, limit: int = 1 << 40) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        status = os.fstat(handle)
        if status.st_size > limit:
            return b"%d" % status.st_size
        digest = blake3(b"%d" % status.st_mode)
        while data := os.read(handle, 1 << 20):
            digest.update(data)
        return digest.digest()
    except OSError:
        return b""
    finally:
        os.close(handle)


def _texts(texts: list[str]) -> bytes:
    return _frame([os.fsencode(text) for text in texts])


def _frame(parts: list[bytes]) -> bytes:
    # Length before bytes: no two lists of parts run together into the same frame.
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _unframe(data: bytes) -> list[bytes] | None:
    parts = []
    at = 0
    while at < len(data):
        colon = data.find(b":", at, at + 12)
        digits = data[at:colon] if colon > at else b""
        if not digits.isdigit():
            return None
        end = colon + 1 + int(digits)
        if end > len(data):
            return None
        parts.append(data[colon + 1 : end])
        at = end
    return parts
