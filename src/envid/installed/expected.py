"""What should be on disk: the files of every selected wheel, laid out in one environment.

Columns and one dictionary instead of an object per file, for the same reason as in ``walk``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from envid.installed.published import corrections
from envid.values.contents import EntryPoint, Scheme
from envid.values.frozen import dataclass

UNKNOWN_SIZE: Final = -1


class Rows(Protocol):
    """The contents of one wheel as parallel columns (``store.contents.ContentRows``)."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def dist_info(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def schemes(self) -> tuple[tuple[Scheme, int, int], ...]: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def blake3(self) -> tuple[str, ...]: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def executable(self) -> frozenset[int]: ...
    @property
    def tails(self) -> Mapping[int, str]: ...
    @property
    def entry_points(self) -> tuple[EntryPoint, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def sha256s(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The directories of an environment, POSIX, relative to its root."""

    purelib: str
    platlib: str
    scripts: str
    headers: str

    def directory(self, scheme: Scheme, name: str) -> str:
        """Return the directory of ``scheme`` for the distribution ``name``, with a final slash unless empty."""
        if scheme == "data":
            return ""
        where = {"purelib": self.purelib, "platlib": self.platlib, "scripts": self.scripts}.get(scheme)
        return f"{where}/" if where is not None else f"{self.headers}/{name}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One distribution that has files here."""

    name: str
    version: str
    dist_info: str
    """POSIX, relative to the environment."""
    digest: str
    """Content digest of the wheel; empty when its contents are not known."""
    start: int
    """First row."""
    end: int
    """Behind the last row."""
    corrections: Mapping[str, str] | None
    """Where the wheel's own RECORD is wrong (``published.corrections``)."""
    contents: Rows | None
    """Of the wheel; ``None`` where its installed RECORD has proven what is known."""


class Expected:
    """Filled by ``add``, then only read. Row numbers index ``digests`` and ``sizes``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows: dict[str, int] = {}
        """Path relative to the environment, to the row of its last owner."""
        self.digests: list[str] = []
        """64 hexadecimal digits each: BLAKE3, or SHA-256 for rows in ``by_sha256``."""
        self.sizes: list[int] = []
        self.by_sha256: set[int] = set()
        self.executable: set[int] = set()
        """Rows of files that an installer makes executable."""
        self.any_mode: set[int] = set()
        """Rows that may be executable or not: of unknown wheels, and scripts that installers disagree about."""
        self.tails: dict[int, str] = {}
        """Row of each ``#!python`` script, with the BLAKE3 of all after its first line."""
        self.owners: list[Owner] = []
        self.launchers: dict[str, list[tuple[str, EntryPoint]]] = {}
        """Path of a generated script, to distribution and entry point; several when two bring it."""
        self.optional: set[str] = set()
        """Launchers that some installers write and others do not."""
        self.shared: dict[str, list[int]] = {}
        """Path that several distributions bring with different bytes, to all its rows."""

    def add(self, rows: Rows, *, headers_name: str | None = None) -> None:
        """Lay out one wheel; ``headers_name`` is how the installer spelled it below the headers directory."""
        base = len(self.digests)
        paths: list[str] = []
        scripts: set[int] = set()
        for scheme, start, end in rows.schemes:
            where = self.layout.directory(scheme, headers_name or rows.name)
            paths += [where + path for path in rows.paths[start:end]]
            if scheme == "scripts":
                scripts.update(range(base + start, base + end))
        self.digests += rows.blake3
        self.sizes += rows.sizes
        self.executable.update(base + row for row in rows.executable)
        # uv makes every script executable, pip those alone that are so in the archive.
        self.any_mode |= scripts - self.executable
        self.tails.update((base + row, tail) for row, tail in rows.tails.items())
        self._place(paths, base)
        self._own(rows.name, rows.version, rows.dist_info, rows.digest, base, rows.entry_points, rows)

    def add_proven(
        self,
        *,
        name: str,
        version: str,
        dist_info: str,
        digest: str,
        files: Sequence[tuple[str, str, int]],
        tails: Mapping[str, str],
        entry_points: Sequence[EntryPoint],
    ) -> None:
        """Lay out a wheel known only by its installed RECORD, which its content digest has proven.

        ``files`` are ``(path relative to the environment, sha256, size)``; ``tails`` as in a wheel's contents,
        by path; ``dist_info`` is a directory name.
        """
        base = len(self.digests)
        self.digests += [sha256 for _, sha256, _ in files]
        self.sizes += [size for _, _, size in files]
        every = range(base, len(self.digests))
        self.by_sha256.update(every)
        self.any_mode.update(every)
        if tails:
            self.tails.update((row, tails[path]) for row, (path, _, _) in enumerate(files, base) if path in tails)
        self._place([path for path, _, _ in files], base)
        self._own(name, version, dist_info, digest, base, tuple(entry_points), None)

    def _place(self, paths: Sequence[str], base: int) -> None:
        before = len(self.rows)
        fresh = dict(zip(paths, range(base, base + len(paths)), strict=True))
        taken = self.rows.keys() & fresh.keys() if before else ()
        for path in taken:
            first, second = self.rows[path], fresh[path]
            if self.digests[first] != self.digests[second] or (first in self.by_sha256) != (second in self.by_sha256):
                self.shared.setdefault(path, [first]).append(second)
        self.rows.update(fresh)

    def _own(
        self, name: str, version: str, dist_info: str, digest: str, base: int, entry_points: Sequence[EntryPoint],
        contents: Rows | None,
    ) -> None:  # fmt: skip
        where = self.layout.purelib
        info = f"{where}/{dist_info}"
        if f"{info}/METADATA" not in self.rows:
            info = f"{self.layout.platlib}/{dist_info}"
        self.owners.append(
            Owner(
                name=name,
                version=version,
                dist_info=info,
                digest=digest,
                start=base,
                end=len(self.digests),
                corrections={} if contents is None else corrections(contents),
                contents=contents,
            )
        )
        for entry in entry_points:
            self.launchers.setdefault(f"{self.layout.scripts}/{entry.script}", []).append((name, entry))
        if name == "pip":
            self._own_pip(entry_points)

    def _own_pip(self, entry_points: Sequence[EntryPoint]) -> None:
        # pip names its scripts after the interpreter that installs it, whatever its own metadata say.
        version = self.layout.purelib.rpartition("/python")[2].partition("/")[0]
        for entry in entry_points:
            if entry.script != "pip":
                self.optional.add(f"{self.layout.scripts}/{entry.script}")
                continue
            for script in ("pip3", f"pip{version}"):
                path = f"{self.layout.scripts}/{script}"
                if path not in self.launchers:
                    self.optional.add(path)
                    self.launchers[path] = [("pip", entry)]

    def owner(self, row: int) -> Owner:
        """Return the distribution that brings ``row``."""
        return self.owners[bisect_right(self.owners, row, key=lambda owner: owner.start) - 1]
