"""What a command reads: files of the project, found by patterns and measured by content.

Imports as little as ``app.recall``: ``envid run`` looks at its inputs before it knows whether there is anything to do.
"""

import os
import stat

from blake3 import blake3

from envid.errors import InputRefused

UNSEEN = (".git", ".venv", ".envid", "__pycache__")
"""Never matched by a wildcard, nor part of a directory that is an input."""
MOST = 1_000_000
"""Inputs of one command."""
_MOST_LINKS = 10_000
_PIECE = 65536
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def measure(
    root: str,
    patterns: list[str],
    *,
    pruned: list[str],
    words: "list[str] | None" = None,
    outputs: "list[str] | None" = None,
) -> dict[str, str]:
    """Return ``{path: measure}`` of every input below ``root`` (a real path), sorted by path.

    Paths are POSIX, relative and ``escaped``. A measure is ``100644 BLAKE3``, ``100755 BLAKE3`` for a file that its
    owner may run, or ``120000 BLAKE3`` of a link's text, followed by the measure of the file it leads to. ``pruned``
    (relative paths) and all below them are no inputs; a pattern that names one of them is refused. ``words`` are
    those of the command: files that they name are inputs, too. A link to one of ``outputs`` (default: all of
    ``pruned``) counts as its text, for there is nothing when the command starts; one to another of ``pruned`` is
    refused. Raises InputRefused.
    """
    found = _Search(root, pruned, pruned if outputs is None else outputs)
    try:
        for pattern in patterns:
            before = found.taken
            found.look(pattern)
            if found.taken == before:
                raise _nothing(root, pattern)
        for path in named(root, words or [], pruned=pruned):
            found.look(path)
    except RecursionError:
        raise InputRefused("the inputs are in directories that are nested too deeply") from None
    return dict(sorted(found.rows.items()))


def named(root: str, words: list[str], *, pruned: list[str]) -> list[str]:
    """Return the files of the project that ``words`` of a command name, relative: whole words, and `--option=WORD`.

    The first word is none of them: it is the program, which is measured wherever it lies.
    """
    found: dict[str, None] = {}
    for word in words[1:]:
        text = word.partition("=")[2] if word.startswith("-") and "=" in word else word
        if not text or "\0" in text:
            continue
        path = os.path.relpath(os.path.normpath(os.path.join(root, text)), root)
        if not os.path.isfile(os.path.join(root, path)):
            continue
        parts = path.split("/")
        real = os.path.realpath(os.path.join(root, path))
        if (
            parts[0] != ".."
            and not set(parts) & set(UNSEEN)
            and not is_own(parts[-1])
            and real.startswith(f"{root}/")
            and not is_below(path, pruned)
            and not is_below(os.path.relpath(real, root), pruned)
        ):
            found[path] = None
    return list(found)


def escaped(text: str) -> str:
    r"""Return ``text`` in printable ASCII: other bytes and the backslash as ``\xHH``; no two texts become one."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in data)


def unescaped(text: str) -> str:
    """Return the text of which ``escaped`` made ``text``."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\x")
    data = first.encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in rest)
    return data.decode("utf-8", "surrogateescape")


def is_below(path: str, places: list[str]) -> bool:
    """Return whether ``path`` is one of ``places`` or below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def matches(name: str, pattern: str) -> bool:
    """Return whether one part of a path matches ``*``, ``?``, ``[a-z]`` and ``[!a-z]``."""
    at = now = mark = 0
    star = -1
    while at < len(name):
        if now < len(pattern) and pattern[now] == "*":
            star, mark = now, at
            now += 1
            continue
        used = _one(name[at], pattern, now) if now < len(pattern) else 0
        if used:
            at += 1
            now += used
        elif star >= 0:
            mark += 1
            at, now = mark, star + 1
        else:
            return False
    return not pattern[now:].strip("*")


def _one(character: str, pattern: str, at: int) -> int:
    """Return how much of ``pattern`` matches ``character``; 0 when it does not."""
    if pattern[at] == "?":
        return 1
    if pattern[at] != "[":
        return 1 if pattern[at] == character else 0
    negated = pattern[at + 1 : at + 2] in ("!", "^")
    start = at + 2 if negated else at + 1
    end = pattern.find("]", start + 1)
    if end < 0:
        return 1 if character == "[" else 0
    inside, place, hit = pattern[start:end], 0, False
    while place < len(inside):
        if inside[place + 1 : place + 2] == "-" and place + 2 < len(inside):
            hit = hit or inside[place] <= character <= inside[place + 2]
            place += 3
        else:
            hit = hit or inside[place] == character
            place += 1
    return end + 1 - at if hit is not negated else 0


def _parts(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
        raise InputRefused(f"--in {ascii(pattern)[1:-1]}: not a path or pattern below the project")
    return parts


def _nothing(root: str, pattern: str) -> InputRefused:
    from difflib import get_close_matches

    folder = os.path.dirname(pattern.rstrip("/"))
    while folder and (set(folder) & set("*?[") or not os.path.isdir(os.path.join(root, folder))):
        folder = os.path.dirname(folder)
    try:
        there = [os.path.join(folder, name) for name in sorted(os.listdir(os.path.join(root, folder)))]
    except OSError:
        there = []
    near = get_close_matches(pattern, there, n=3, cutoff=0.5) or there[:3]
    named = f"the nearest names are: {', '.join(escaped(name) for name in near)}" if near else "the directory is empty"
    return InputRefused(f"--in {escaped(pattern)}: nothing in the project matches", hint=named)


class _Search:
    """Rows as they are found."""

    def __init__(self, root: str, pruned: list[str], outputs: list[str]) -> None:
        self.root = root
        self.outputs = outputs
        self.followed = 0
        self.pruned = pruned
        self.rows: dict[str, str] = {}
        self.taken = 0
        self.there: set[str] = set()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()

    def look(self, pattern: str) -> None:
        """Add what ``pattern`` matches."""
        parts = _parts(pattern)
        path = "/".join(parts)
        # A name with brackets in it is more often meant than a pattern that happens to be a name.
        if os.path.lexists(os.path.join(self.root, path)):
            above = os.path.realpath(os.path.join(self.root, os.path.dirname(path)))
            real = os.path.relpath(os.path.join(above, os.path.basename(path)), self.root)
            if is_below(path, self.pruned) or is_below(real, self.pruned):
                raise InputRefused(
                    f"--in {escaped(pattern)} is an output, or belongs to envid or the environment",
                    hint="name what the command reads, not what it makes",
                )
            self._inside(os.path.dirname(path))
            self._take(path, ())
            return
        self.seen.clear()
        self._walk("", tuple(parts))

    def _walk(self, folder: str, parts: tuple[str, ...]) -> None:
        if (folder, parts) in self.seen:
            return
        self.seen.add((folder, parts))
        head, rest = parts[0], parts[1:]
        if head == "**":
            if rest:
                self._walk(folder, rest)
            for path, kind in self._entries(folder):
                if kind is stat.S_IFDIR or (rest and self._leads_on(path)):
                    self._walk(path, parts)
                elif not rest:
                    self._take(path, ())
        elif not set(head) & set("*?["):
            path = f"{folder}/{head}" if folder else head
            if is_below(path, self.pruned) or not os.path.lexists(os.path.join(self.root, path)):
                return
            self._inside(path if rest else folder)
            if rest and os.path.isdir(os.path.join(self.root, path)):
                self._walk(path, rest)
            elif not rest:
                self._take(path, ())
        else:
            for path, kind in self._entries(folder):
                if not matches(path.rpartition("/")[2], head):
                    continue
                if not rest:
                    self._take(path, ())
                elif kind is stat.S_IFDIR or self._leads_on(path):
                    self._walk(path, rest)

    def _leads_on(self, path: str) -> bool:
        """Return whether ``path`` is a link to a directory that a wildcard goes into: none that it lies in."""
        full = os.path.join(self.root, path)
        if not os.path.islink(full) or not os.path.isdir(full):
            return False
        self._inside(path)
        self.followed += 1
        if self.followed > _MOST_LINKS:
            raise InputRefused(f"links lead to more than {_MOST_LINKS} directories, the last {escaped(path)}")
        real = os.path.realpath(full)
        relative = os.path.relpath(real, self.root)
        if is_below(relative, self.pruned) or set(relative.split("/")) & set(UNSEEN):
            return False
        above = os.path.dirname(path)
        while above:
            if os.path.realpath(os.path.join(self.root, above)) == real:
                return False
            above = os.path.dirname(above)
        return real != self.root

    def _entries(self, folder: str) -> list[tuple[str, int]]:
        """Return path and kind of what a wildcard may match in ``folder``."""
        found = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name in UNSEEN or is_own(entry.name) or is_below(path, self.pruned):
                        continue
                    kind = stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else stat.S_IFREG
                    found.append((path, kind))
        except OSError as error:
            raise InputRefused(f"cannot read {folder or self.root}: {error.strerror}") from error
        return sorted(found)

    def _inside(self, path: str) -> None:
        """Refuse a path that leads out of the project."""
        real = os.path.realpath(os.path.join(self.root, path))
        if real != self.root and not real.startswith(f"{self.root}/"):
            raise InputRefused(f"the input {escaped(path)} leads out of the project, to {escaped(real)}")

    def _take(self, path: str, above: tuple[str, ...]) -> None:
        """Add a file, a link with what it leads to, or a directory with all below; ``above`` are links on the way."""
        self.taken += 1
        if path in self.there:
            return
        self.there.add(path)
        full = os.path.join(self.root, path)
        try:
            found = os.lstat(full)
            if stat.S_ISREG(found.st_mode):
                self._add(path, _file(full))
            elif stat.S_ISDIR(found.st_mode):
                for inner, _ in self._entries(path):
                    self._take(inner, above)
            elif stat.S_ISLNK(found.st_mode):
                self._link(path, full, above)
            else:
                raise InputRefused(f"the input {escaped(path)} is neither file, directory nor link")
        except OSError as error:
            raise InputRefused(f"cannot read the input {escaped(path)}: {error.strerror}") from error

    def _link(self, path: str, full: str, above: tuple[str, ...]) -> None:
        self._inside(path)
        said = f"120000 {blake3(os.fsencode(os.readlink(full))).hexdigest()}"
        real = os.path.realpath(full)
        relative = os.path.relpath(real, self.root)
        if is_below(relative, self.pruned) and not is_below(relative, self.outputs):
            raise InputRefused(
                f"the input {escaped(path)} is a link to {escaped(relative)}, which is envid's or the environment's",
                hint="name what the command reads; the environment is part of the key by its lock",
            )
        if is_below(relative, self.outputs) or not os.path.exists(real):
            self._add(path, said)
        elif os.path.isdir(real):
            if real in above or f"{os.path.realpath(os.path.dirname(full))}/".startswith(f"{real}/"):
                raise InputRefused(f"the input {escaped(path)} is a link to a directory that it lies in")
            self._add(path, said)
            for inner, _ in self._entries(path):
                self._take(inner, (*above, real))
        else:
            self._add(path, f"{said} {_file(real)}")

    def _add(self, path: str, measured: str) -> None:
        self.rows[escaped(path)] = measured
        if len(self.rows) > MOST:
            raise InputRefused(f"more than {MOST} files are inputs")


def is_own(name: str) -> bool:
    """Return whether envid made the file ``name`` beside an output, for as long as it works on that."""
    return name.startswith(".") and name.rpartition(".")[2] in OWN


OWN = ("envid-aside", "envid-absent", "envid-old", "envid-torn", "envid-new")
"""What the names of such files end with, after a dot."""


def _file(path: str) -> str:
    # Not waited for: a pipe that took the file's place would hold us up for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | _NOFOLLOW)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise InputRefused(f"the input {escaped(path)} is no file any more")
        digest = blake3()
        while piece := os.read(handle, _PIECE):
            digest.update(piece)
    finally:
        os.close(handle)
    # As version control has it: which bits of a checkout are set depends on its owner's umask.
    return f"{'100755' if found.st_mode & 0o100 else '100644'} {digest.hexdigest()}"
