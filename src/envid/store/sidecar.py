"""One remembered answer: a small file bound to its question and checked on every read.

Read before anything else of envid is loaded, so it imports os and blake3 and nothing more.

Layout: ``MAGIC``; a line with exit status and two lengths; standard output; identity document; 32 bytes
of BLAKE3 over the digest of the request and all of that.
"""

import os

from blake3 import blake3

MAGIC = b"envid-answer/1\n"
CONTEXT = "envid-answer/1"
MAX_BYTES = 16 * 1024 * 1024


def encode(request: bytes, status: int, stdout: bytes, document: bytes) -> bytes:
    """Return the file of an answer; ``request`` is the digest of everything that the answer depends on."""
    body = MAGIC + b"%d %d %d\n" % (status, len(stdout), len(document)) + stdout + document
    return body + _trailer(request, body)


def decode(request: bytes, data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return exit status, standard output and document, or None for any doubt at all."""
    body = data[:-32]
    if not body.startswith(MAGIC) or data[-32:] != _trailer(request, body):
        return None
    head, _, rest = body[len(MAGIC) :].partition(b"\n")
    numbers = head.split(b" ")
    if len(numbers) != 3 or not all(number.isdigit() and len(number) < 12 for number in numbers):
        return None
    status, length, document = map(int, numbers)
    if len(rest) != length + document:
        return None
    return status, rest[:length], rest[length:]


def _trailer(request: bytes, body: bytes) -> bytes:
    return blake3(request + body, derive_key_context=CONTEXT).digest()


def read_private(directory: str, name: str) -> bytes | None:
    """Return the bytes of ``directory/name`` when nobody but this user could have written them, else None."""
    if os.name != "posix":
        return None
    user = os.getuid()
    try:
        if not _is_private(os.lstat(directory), user, 0o040000):
            return None
        # Not followed, not waited for: a link or a pipe in the cache is none of ours.
        handle = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        if not _is_private(found, user, 0o100000) or found.st_size > MAX_BYTES:
            return None
        data = os.read(handle, found.st_size + 1)
    except OSError:
        return None
    finally:
        os.close(handle)
    return data if len(data) == found.st_size else None


def _is_private(found: os.stat_result, user: int, kind: int) -> bool:
    return found.st_uid == user and not found.st_mode & 0o022 and found.st_mode & 0o170000 == kind
