"""Every file that was found against every file that should be there."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

from envid.installed import hashing
from envid.installed.expected import UNKNOWN_SIZE, Expected, Owner
from envid.installed.hashing import Job
from envid.installed.launcher import launcher_ok, script_ok
from envid.installed.listing import Listing
from envid.installed.reading import UNREAD
from envid.installed.strays import INTERPRETER, VENV_SCRIPTS, explain
from envid.installed.walk import FIELDS
from envid.values.finding import Finding

MAX_SCRIPT: Final = 4 * 1024 * 1024
"""Launchers are a few hundred bytes; a script of a wheel beyond this is not read."""

_TYPE: Final = 0o170000
_UNSAFE: Final = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
_PLAIN, _EXECUTABLE, _EITHER, _ODD = range(4)
"""What the mode of a row must be: without the bit that makes a file executable, with it, either; or ask further."""
_UNREAD: Final = UNREAD.hex()
_HEAL: Final = "run `envid sync`, which installs it again from the verified wheel"

Suspects = Mapping[str, "set[str] | None"]
"""Directory to the names whose metadata changed; ``None`` for all of them."""


class Sorted:
    """The files of a walk, by what has to be done with each."""

    def __init__(self, rows: int) -> None:
        self.findings: list[Finding] = []
        self.unproven: set[str] = set()
        """Paths that must not be believed next time."""
        self.files = 0
        self.size = 0
        """Bytes of all files."""
        self.seen = bytearray(rows)
        """1 for each row of ``Expected`` that has a file."""
        self.generated: set[str] = set()
        """Launchers that are there."""
        self.unequal: list[tuple[str, int]] = []
        """Path and row of files whose digest is not that of the row."""
        self.jobs: list[Job] = []
        """Files that are still to be read."""
        self.places: list[tuple[str, int]] = []
        """Path and row of each job."""
        self.scripts: list[tuple[str, int]] = []
        self.launchers: list[str] = []
        self.bare: list[str] = []
        """Directories without files directly in them."""
        self.others: list[tuple[str, int, bool]] = []
        """Path, mode and whether it changed, of files that no wheel brought."""


def examine(
    root: str,
    runs: Iterable[Sequence[Listing]],
    suspects: Suspects | None,
    expected: Expected,
    *,
    pythons: Sequence[str],
    modes: bool = True,
    sha256: bool = False,
    tell: Callable[[int], None] | None = None,
    meanwhile: Callable[[Sorted], None],
) -> Sorted:
    """Sort all files below ``root`` and prove the contents of those that wheels brought.

    ``runs`` are the listings of a walk, in any order; in each, all have digests or none.
    ``suspects`` limits what is read; ``None`` reads everything. ``pythons`` are the spellings of the
    environment's interpreter that a script may name. ``modes`` is False on filesystems that keep none.
    ``sha256`` tells of which kind the digests in ``runs`` are, if they have any.
    ``meanwhile`` is called with the files sorted, while others are read.
    ``others`` of the answer is left for the caller to judge.
    """
    found = Sorted(len(expected.digests))
    sorter = _Sorter(root, suspects, expected, found, modes, sha256)
    for listings in runs:
        sorter.sort(listings)
    answers = hashing.compare(found.jobs, tell=tell, meanwhile=lambda: meanwhile(found))
    _judge(root, expected, found, answers)
    _scripts(root, expected, found, pythons)
    _missing(expected, found)
    return found


class _Sorter:
    """Sorts the names of directories; those that are as they should be, with as little work as can be."""

    def __init__(
        self, root: str, suspects: Suspects | None, expected: Expected, found: Sorted, modes: bool, sha256: bool
    ) -> None:
        self.root = root
        self.suspects = suspects
        self.expected = expected
        self.found = found
        self.modes = modes
        self.sha256 = sha256
        self.kinds = _kinds(expected)
        strict = _TYPE | _UNSAFE | stat.S_IXUSR if modes else _TYPE
        self.masks = (strict, strict, strict & ~stat.S_IXUSR)
        """Bits of the mode that count, by kind."""
        self.right = (stat.S_IFREG, (stat.S_IFREG | stat.S_IXUSR) & strict, stat.S_IFREG)
        """What they must be."""

    def sort(self, listings: Sequence[Listing]) -> None:
        """Note what is there, what is wrong with it, and what is to be read; of many directories at once."""
        found, suspects = self.found, self.suspects
        paths: list[str] = []
        suspicious: list[bool] = []
        alone: set[str] = set()
        for listing in listings:
            if listing.whole:
                _directory(listing, found, self.modes)
            if not listing.names:
                found.bare.append(listing.path)
                continue
            prefix = f"{listing.path}/" if listing.path else ""
            names = listing.files()
            paths += [prefix + name for name in names]
            changed: Container[str] | None = None if suspects is None else suspects.get(listing.path, ())
            suspicious += [changed is None] * len(names) if not changed else [name in changed for name in names]
            if not listing.whole:
                alone.update([prefix + name for name in names])
        numbers = array("q")
        numbers.frombytes(b"".join([listing.stats for listing in listings]))
        modes, sizes = numbers[0::FIELDS], numbers[1::FIELDS]
        found.files += len(modes) - modes.count(0)
        found.size += sum(sizes)
        digests = b"".join([listing.digests for listing in listings]).hex()
        wanted, lengths, seen = self.expected.digests, self.expected.sizes, found.seen
        kinds, masks, right = self.kinds, self.masks, self.right
        rows = map(self.expected.rows.get, paths)
        at = -64
        for path, row, mode, size, doubt in zip(paths, rows, modes, sizes, suspicious, strict=True):
            at += 64
            if row is None or (kind := kinds[row]) == _ODD or mode & masks[kind] != right[kind]:
                if mode != 0:
                    self._one(path, row, mode, size, digests[at : at + 64], doubt, path in alone)
                continue
            seen[row] = 1
            if doubt and (digests[at : at + 64] != wanted[row] or size != lengths[row]):
                self._read(path, row, size, digests[at : at + 64])

    def _one(
        self, path: str, row: int | None, mode: int, size: int, digest: str, suspicious: bool, alone: bool
    ) -> None:
        """Sort one file that is not wholly ordinary."""
        found, expected = self.found, self.expected
        if row is None:
            owners = expected.launchers.get(path)
            if owners is not None:
                found.generated.add(path)
                if suspicious and _sound(path, mode, True, found, self.modes, lambda: owners[-1][0]):
                    found.launchers.append(path)
            elif not alone:
                found.others.append((path, mode, suspicious))
            return
        found.seen[row] = 1
        if not suspicious and path not in expected.shared:
            return
        wanted = None if row in expected.any_mode else row in expected.executable
        if not _sound(path, mode, wanted, found, self.modes, lambda: expected.owner(row).name):
            return
        if row in expected.tails:
            found.scripts.append((path, row))
        else:
            self._read(path, row, size, digest)

    def _read(self, path: str, row: int, size: int, digest: str) -> None:
        """Hold the file to its row by the digest that is known of it, or have it read."""
        found, expected = self.found, self.expected
        by_sha256 = row in expected.by_sha256
        known = digest not in ("", _UNREAD) and by_sha256 == self.sha256
        if known and path not in expected.shared:
            if digest != expected.digests[row] or expected.sizes[row] not in (UNKNOWN_SIZE, size):
                found.unequal.append((path, row))
            return
        found.jobs.append(Job(f"{self.root}/{path}", expected.sizes[row], expected.digests[row], by_sha256))
        found.places.append((path, row))


def _kinds(expected: Expected) -> bytearray:
    """Return of each row what its mode must be, and ``_ODD`` for those that need more than a look at it."""
    kinds = bytearray(len(expected.digests))
    for row in expected.executable:
        kinds[row] = _EXECUTABLE
    for row in expected.any_mode:
        kinds[row] = _EITHER
    for row in expected.tails:
        kinds[row] = _ODD
    for path in expected.shared:
        kinds[expected.rows[path]] = _ODD
    return kinds


def _directory(listing: Listing, found: Sorted, modes: bool) -> None:
    if listing.mode == 0:
        found.findings.append(Finding(
            code="env.unverified", severity="error", subject=listing.path, path=listing.path,
            message="this directory cannot be read (or is a link to another place)",
            hint="give the user who runs envid permission to read it, or replace the link",
        ))  # fmt: skip
    elif modes and listing.mode & stat.S_IWOTH and not listing.mode & stat.S_ISVTX:
        found.findings.append(Finding(
            code="env.mode", severity="error", subject=listing.path, path=listing.path,
            message="every user of this host may add and replace files in this directory",
            expected="not writable by others", actual=stat.filemode(listing.mode),
            hint="chmod o-w, or recreate the environment",
        ))  # fmt: skip


def _sound(path: str, mode: int, executable: bool | None, found: Sorted, modes: bool, owner: Callable[[], str]) -> bool:
    """Tell whether the contents are worth reading; note what is wrong with type and mode.

    ``executable`` is None where either will do; ``owner`` is asked only when there is something to say.
    """
    if mode & 0o170000 == 0o100000 and (
        not modes or (not mode & _UNSAFE and (executable is None or executable == bool(mode & 0o100)))
    ):
        return True
    name = owner()
    found.unproven.add(path)
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
        found.findings.append(Finding(
            code="env.tampered", severity="error", subject=name, path=path,
            message=f"the file was replaced: it is {kind}", expected="a regular file", actual=stat.filemode(mode),
            hint=_HEAL,
        ))  # fmt: skip
        return False
    if mode & (stat.S_ISUID | stat.S_ISGID):
        message = "the file runs with the rights of its owner, which no installer gives"
    elif mode & stat.S_IWOTH:
        message = "every user of this host may write to the file"
    elif executable:
        message = "the file should be executable"
    else:
        message = "the file should not be executable"
    found.findings.append(Finding(
        code="env.mode", severity="error", subject=name, path=path, message=message,
        expected="rwxr-xr-x" if executable else "rw-r--r--", actual=stat.filemode(mode)[1:], hint=_HEAL,
    ))  # fmt: skip
    return True


def _judge(root: str, expected: Expected, found: Sorted, answers: bytes) -> None:
    for index in _unequal(answers, found.places, expected):
        path, row = found.places[index]
        others = expected.shared.get(path, ())
        winner = _winner(root, path, others, expected)
        if winner is not None:
            found.findings.append(_clobbered(path, winner, others, expected))
        else:
            found.unproven.add(path)
            found.findings.append(_tampered(root, path, expected.owner(row), answers[index]))
    for path, row in found.unequal:
        found.unproven.add(path)
        found.findings.append(_tampered(root, path, expected.owner(row), hashing.DIFFERS))


def _unequal(answers: bytes, places: Sequence[tuple[str, int]], expected: Expected) -> list[int]:
    if not expected.shared and answers.count(hashing.SAME) == len(answers):
        return []
    # Shared files that have the bytes of their last owner are as worth telling of as those that have not.
    return [
        index for index, answer in enumerate(answers)
        if answer != hashing.SAME or places[index][0] in expected.shared
    ]  # fmt: skip


def _winner(root: str, path: str, rows: Sequence[int], expected: Expected) -> int | None:
    for row in reversed(rows):
        job = Job(f"{root}/{path}", expected.sizes[row], expected.digests[row], row in expected.by_sha256)
        if hashing.compare([job]) == bytes([hashing.SAME]):
            return row
    return None


def _clobbered(path: str, winner: int, rows: Sequence[int], expected: Expected) -> Finding:
    won = expected.owner(winner).name
    lost = sorted({expected.owner(row).name for row in rows} - {won})
    return Finding(
        code="env.clobbered", severity="info", subject=won, path=path,
        message=f"{', '.join(lost)} and {won} both install this file, with different contents; that of {won} is there",
        hint="which one wins depends on the order of installation; ask their maintainers to rename it",
    )  # fmt: skip


def _tampered(root: str, path: str, owner: Owner, answer: int) -> Finding:
    if answer == hashing.UNREADABLE:
        return Finding(
            code="env.unverified", severity="error", subject=owner.name, path=path, message="the file cannot be read",
            hint="give the user who runs envid permission to read it",
        )  # fmt: skip
    try:
        links = os.lstat(f"{root}/{path}").st_nlink
    except OSError:
        links = 1
    if links > 1:
        return Finding(
            code="env.poisoned", severity="error", subject=owner.name, path=path,
            message=(
                f"the file differs from the wheel and has {links} names on this disk: the altered bytes are very "
                "likely in the installer's cache, and in other environments, too"
            ),
            hint=(
                f"run `uv cache clean {owner.name}`, then `envid sync` here; verify your other environments, which "
                "share the file until they are installed again"
            ),
        )  # fmt: skip
    return Finding(
        code="env.tampered", severity="error", subject=owner.name, path=path,
        message="the contents differ from the locked wheel", hint=_HEAL,
    )  # fmt: skip


def is_installers(root: str, path: str, expected: Expected, pythons: Sequence[str]) -> bool:
    """Tell whether the script ``path`` is what an installer writes there, pointed at one of ``pythons``."""
    data = read_small(f"{root}/{path}", MAX_SCRIPT)
    if data is None:
        return False
    if any(launcher_ok(data, entry, pythons) for _, entry in expected.launchers.get(path, ())):
        return True
    row = expected.rows.get(path)
    rows = (*expected.shared.get(path, ()), *(() if row is None else (row,)))
    return any(each in expected.tails and script_ok(data, expected.tails[each], pythons) for each in rows)


def _scripts(root: str, expected: Expected, found: Sorted, pythons: Sequence[str]) -> None:
    for path, row in found.scripts:
        data = read_small(f"{root}/{path}", MAX_SCRIPT)
        if data is None or not any(
            script_ok(data, expected.tails[each], pythons) for each in (*expected.shared.get(path, ()), row)
        ):
            found.unproven.add(path)
            found.findings.append(_tampered(root, path, expected.owner(row), hashing.DIFFERS))
    for path in found.launchers:
        data = read_small(f"{root}/{path}", MAX_SCRIPT)
        entries = expected.launchers[path]
        if data is None or not any(launcher_ok(data, entry, pythons) for _, entry in entries):
            found.unproven.add(path)
            name, entry = entries[-1]
            found.findings.append(Finding(
                code="env.tampered", severity="error", subject=name, path=path,
                message="the script is not the one that an installer writes for this entry point",
                expected=f"{entry.module}:{entry.attribute}", hint=_HEAL,
            ))  # fmt: skip


def read_small(path: str, limit: int) -> bytes | None:
    """Return the bytes of a regular file of at most ``limit`` bytes, else ``None``; follows no link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        data = os.read(handle, limit + 1)
    except OSError:
        return None
    finally:
        os.close(handle)
    return data if len(data) <= limit else None


def _missing(expected: Expected, found: Sorted) -> None:
    if found.seen.count(1) < len(expected.rows):
        for path, row in expected.rows.items():
            if not found.seen[row]:
                found.findings.append(_absent(path, expected.owner(row).name))
    for path, entries in expected.launchers.items():
        if path not in found.generated and path not in expected.optional and path not in expected.rows:
            found.findings.append(_absent(path, entries[-1][0]))


def _absent(path: str, name: str) -> Finding:
    return Finding(
        code="env.missing-file", severity="error", subject=name, path=path,
        message="the locked wheel brings this file, and it is not there", hint=_HEAL,
    )  # fmt: skip


def known_place(path: str, *, scripts: str) -> bool:
    """Tell whether ``path`` is one of the files that virtual environments have of themselves."""
    directory, _, name = path.rpartition("/")
    return directory == scripts and (name in VENV_SCRIPTS or INTERPRETER.fullmatch(name) is not None)


def strangers(found: Sorted, *, site: Sequence[str], scripts: str, top_level: set[str]) -> None:
    """Add a finding for each of ``found.others``, which virtual environments do not have of themselves."""
    for path, mode, _ in found.others:
        found.unproven.add(path)
        home = next((each for each in site if path.startswith(f"{each}/")), site[0])
        found.findings.append(explain(path, site=home, scripts=scripts, link=stat.S_ISLNK(mode), top_level=top_level))
