"""One environment against what a lock means for it: the decision of ``envid verify``.

In two steps, because the second needs what the store knows about the wheels that the first found
installed: ``survey`` tells which of the selected distributions are there, ``check`` proves the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from envid.installed.compiled import Cached, check_compiled, is_cached, source_of
from envid.installed.distributions import Installed, compare, installed, origin
from envid.installed.expected import Expected, Layout
from envid.installed.files import Sorted, Suspects, examine, known_place, strangers
from envid.installed.hashing import SAME, Job
from envid.installed.hashing import compare as hash_compare
from envid.installed.interpreter import Environment
from envid.installed.launcher import python_paths
from envid.installed.listing import Listing
from envid.installed.marks import check_marks
from envid.installed.neighbours import check_neighbours
from envid.installed.proof import Place, check_record, claims
from envid.installed.record import INSTALLER_FILES, RecordRow
from envid.installed.strays import AT_START, explain
from envid.values.artifact import Resolution, Selected
from envid.values.contents import EntryPoint
from envid.values.finding import Finding
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter

Depth = Literal["quick", "default", "full"]

MAX_DIRECT_URL = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Which distributions an environment has."""

    findings: tuple[Finding, ...]
    matched: Mapping[str, tuple[Selected, Place]]
    """Selected and installed in the selected version, by normalised name."""
    others: tuple[Place, ...]
    """Installed, and not as selected."""


class Report:
    """What was found, and how much was looked at."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.unproven: set[str] = set()
        """Paths, relative to the environment, that must not be believed next time."""
        self.files = 0
        self.size = 0
        """Bytes of all files."""


def layout_of(environment: Environment) -> Layout:
    """Return the directories of ``environment`` relative to its root."""
    root = environment.root
    return Layout(
        purelib=environment.purelib.relative_to(root).as_posix(),
        platlib=environment.platlib.relative_to(root).as_posix(),
        scripts=environment.scripts.relative_to(root).as_posix(),
        headers=environment.headers.relative_to(root).as_posix(),
    )


def sites(layout: Layout) -> tuple[str, ...]:
    """Return the site-packages directories, one or two."""
    return tuple(dict.fromkeys((layout.purelib, layout.platlib)))


def survey(environment: Environment, names: Mapping[str, Sequence[str]], resolution: Resolution) -> Survey:
    """Compare the distributions; ``names`` are those of everything directly in each site-packages directory."""
    layout = layout_of(environment)
    pythons = python_paths(environment)
    root = str(environment.root)

    def place(site: str, one: Installed) -> Place:
        return Place(
            root=root, layout=layout, site=site, directory=one.directory, name=one.name, pythons=pythons
        )  # fmt: skip

    found = [(site, one) for site in sites(layout) for one in installed(names[site])]
    findings, right = compare(resolution.selected, [one for _, one in found])
    where = {id(one): site for site, one in found}
    selected = {str(item.name): item for item in resolution.selected}
    matched = {name: (selected[name], place(where[id(one)], one)) for name, one in right.items()}
    taken = {id(one) for one in right.values()}
    others = tuple(place(site, one) for site, one in found if id(one) not in taken and one.kind == "dist-info")
    return Survey(findings=tuple(findings), matched=matched, others=others)


def top_names(listings: Sequence[Listing], layout: Layout) -> dict[str, list[str]]:
    """Return the names of all files and directories directly in each site-packages directory of a walk."""
    names: dict[str, list[str]] = {site: [] for site in sites(layout)}
    for listing in listings:
        directory, _, name = listing.path.rpartition("/")
        if directory in names:
            names[directory].append(name)
        if listing.path in names and listing.whole:
            names[listing.path] += listing.files()
    return names


def names_now(root: str, layout: Layout) -> dict[str, list[str]]:
    """Return the same as ``top_names``, from a look at those directories now; a link is not followed."""
    names: dict[str, list[str]] = {}
    for site in sites(layout):
        try:
            handle = os.open(f"{root}/{site}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            names[site] = []
            continue
        try:
            names[site] = os.listdir(handle)
        except OSError:
            names[site] = []
        finally:
            os.close(handle)
    return names


def check(
    environment: Environment,
    runs: Iterable[Sequence[Listing]],
    suspects: Suspects | None,
    surveyed: Survey,
    expected: Expected,
    *,
    interpreter: Interpreter,
    deep: bool = True,
    known: Mapping[str, frozenset[str]] | None = None,
    modes: bool = True,
    sha256: bool = False,
    tell: Callable[[int], None] | None = None,
    cache: Path | None = None,
) -> Report:
    """Prove every file of the walk ``runs``; ``suspects`` limits what is read, ``None`` reads everything.

    ``deep`` compares the code of every ``.pyc``. ``known`` holds the names that the index had for each
    directory. ``modes`` is False on a filesystem that keeps none. ``sha256`` tells of which kind the digests in
    ``runs`` are (``files.examine``). ``cache`` is envid's cache directory, where good bytecode is remembered.
    """
    layout = expected.layout
    root = str(environment.root)
    report = Report()
    paths: set[str] = set()

    def records(found: Sorted) -> None:
        paths.update(path for path, _, _ in found.others)
        if suspects is not None:
            _records(report, surveyed, expected, suspects, paths)

    if suspects is None:
        # All of them, and first: listings may be on their way from processes that need no help as yet.
        _records(report, surveyed, expected, None, ())
    found = examine(
        root, runs, suspects, expected, pythons=python_paths(environment), modes=modes, sha256=sha256, tell=tell,
        meanwhile=records,
    )  # fmt: skip
    report.files, report.size = found.files, found.size
    claimed = _claimed(surveyed, {owner.name for owner in expected.owners}, expected)
    marks: list[str] = []
    compiled, remaining = _told_apart(report, found, surveyed, expected, claimed, paths, known, marks)
    _marked(report, surveyed, marks)
    _bare(report, root, found, expected)
    report.findings += check_neighbours(root, layout, expected.rows)
    if suspects is not None:
        remaining = [other for other in remaining if other[2]]
    _claims(report, root, claimed, paths)
    findings = check_compiled(
        root, compiled, interpreter=interpreter, python=environment.base_executable, deep=deep, cache=cache
    )
    report.findings += findings
    report.unproven.update(finding.path for finding in findings if finding.path)
    found.others = [other for other in remaining if not known_place(other[0], scripts=layout.scripts)]
    if found.others:
        strangers(found, site=sites(layout), scripts=layout.scripts, top_level=_top_level(expected))
    # Last: `strangers` adds to what `examine` found.
    report.findings += found.findings
    report.unproven |= found.unproven
    return report


def _told_apart(
    report: Report, found: Sorted, surveyed: Survey, expected: Expected,
    claimed: Mapping[str, tuple[str, RecordRow]], paths: set[str], known: Mapping[str, frozenset[str]] | None,
    marks: list[str],
) -> tuple[list[Cached], list[tuple[str, int, bool]]]:  # fmt: skip
    """Return, of the files that no wheel brought, the compiled ones that are suspicious, and those of nobody.

    ``marks`` gets the suspicious ones that installers leave about themselves.
    """
    compiled: list[Cached] = []
    infos = {place.info for _, place in surveyed.matched.values()} | {place.info for place in surveyed.others}
    remaining = []
    for path, mode, suspicious in found.others:
        directory, _, name = path.rpartition("/")
        if name in INSTALLER_FILES and directory in infos and mode & 0o170000 == 0o100000:
            if suspicious:
                marks.append(path)
            continue
        if path in claimed and mode & 0o170000 == 0o100000 and not is_cached(path):
            report.unproven.add(path)
            continue
        if is_cached(path) and mode & 0o170000 == 0o100000:
            if suspicious:
                compiled.append(_cached(path, paths, expected, claimed, known))
            continue
        remaining.append((path, mode, suspicious))
    return compiled, remaining


def _marked(report: Report, surveyed: Survey, marks: Sequence[str]) -> None:
    places = {place.info: place for _, place in surveyed.matched.values()}
    # A source that the lock does not name is worth saying even where RECORD knows of it, and once is enough.
    told = {finding.path for finding in report.findings}
    for finding in check_marks(places, marks):
        if finding.path is not None and finding.path not in told:
            report.findings.append(finding)
            report.unproven.add(finding.path)


def _bare(report: Report, root: str, found: Sorted, expected: Expected) -> None:
    """Find directories without any file directly in site-packages, which Python imports as packages."""
    homes = sites(expected.layout)
    for path in found.bare:
        if path.rpartition("/")[0] not in homes or any(names for _, _, names in os.walk(f"{root}/{path}")):
            continue
        # Where a wheel's files are gone, that has been said.
        if not any(row.startswith(f"{path}/") for row in expected.rows):
            report.findings.append(Finding(
                code="env.extra-file", severity="error", subject=path.rpartition("/")[2], path=path,
                message="no locked wheel brought this empty directory, which Python imports as a package",
                hint="remove it, or run `envid sync`",
            ))  # fmt: skip


def _top_level(expected: Expected) -> set[str]:
    """Return the names that the wheels bring directly below a site-packages directory."""
    names: set[str] = set()
    for site in sites(expected.layout):
        start = len(site) + 1
        names.update(path[start:].partition("/")[0] for path in expected.rows if path.startswith(f"{site}/"))
    return names


def _cached(
    path: str, paths: set[str], expected: Expected, claimed: Mapping[str, tuple[str, RecordRow]],
    known: Mapping[str, frozenset[str]] | None,
) -> Cached:  # fmt: skip
    source = source_of(path)
    there = source is not None and any(
        source in place for place in (expected.rows, expected.launchers, claimed, paths)
    )  # fmt: skip
    directory, _, name = path.rpartition("/")
    before = frozenset() if known is None else known.get(directory, frozenset())
    return Cached(path=path, source=source if there else None, known=name in before)


def _records(
    report: Report, surveyed: Survey, expected: Expected, suspects: Suspects | None, paths: Container[str]
) -> None:
    points: dict[str, list[EntryPoint]] = {}
    for entries in expected.launchers.values():
        for name, entry in entries:
            points.setdefault(name, []).append(entry)
    for owner in expected.owners:
        item, place = surveyed.matched[owner.name]
        changed: set[str] | None = None if suspects is None else suspects.get(place.info, set())
        # A file that is gone has no metadata to differ.
        suspicious = changed is None or "RECORD" in changed or f"{place.info}/RECORD" not in paths
        # A RECORD that proved what is known was read for that just now.
        if suspicious and owner.contents is not None:
            finding = check_record(place, owner, points.get(owner.name, ()))
            if finding is not None:
                report.findings.append(finding)
                report.unproven.add(f"{place.info}/RECORD")
        if changed is None or "direct_url.json" in changed:
            data = place.read("direct_url.json", MAX_DIRECT_URL)
            finding = origin(item, data, path=f"{place.info}/direct_url.json")
            if finding is not None:
                report.findings.append(finding)
                report.unproven.add(f"{place.info}/direct_url.json")


def _claimed(surveyed: Survey, owned: set[str], expected: Expected) -> dict[str, tuple[str, RecordRow]]:
    """Return what the RECORDs claim of distributions that nothing is known about: path to (distribution, row).

    Such a RECORD is anybody's: it has no say over the packages of proven wheels, nor over what runs at every start.
    """
    claimed: dict[str, tuple[str, RecordRow]] = {}
    places = [place for name, (_, place) in surveyed.matched.items() if name not in owned]
    for place in (*surveyed.others, *places):
        for path, row in claims(place).items():
            directory, _, name = path.rpartition("/")
            if f"{directory}/__init__.py" in expected.rows or name.partition(".")[0] in AT_START:
                continue
            claimed[path] = (place.name, row)
    return claimed


def _claims(report: Report, root: str, claimed: Mapping[str, tuple[str, RecordRow]], paths: set[str]) -> None:
    """Hold unverified distributions to their own RECORD at least: a difference there is a fault for sure."""
    present = [
        (path, name, row) for path, (name, row) in claimed.items()
        if row.sha256 and path in paths and not known_place(path, scripts="bin")
    ]  # fmt: skip
    jobs = [Job(f"{root}/{path}", -1 if row.size is None else row.size, row.sha256, True) for path, _, row in present]
    for (path, name, _), answer in zip(present, hash_compare(jobs), strict=True):
        report.unproven.add(path)
        if answer != SAME:
            report.findings.append(Finding(
                code="env.tampered", severity="error", subject=name, path=path,
                message="the file differs even from the RECORD of its own distribution", hint="run `envid sync`",
            ))  # fmt: skip


def check_quick(
    root: str, surveyed: Survey, expected: Expected, names: Mapping[str, Sequence[str]], scripts: Sequence[str]
) -> Report:
    """Prove the RECORDs of the distributions, and that nothing stands beside them at the top level.

    ``root`` is the environment, ``names`` as in ``survey``; ``scripts`` are the names in the scripts directory.
    """
    report = Report()
    _records(report, surveyed, expected, None, ())
    layout = expected.layout
    report.findings += check_neighbours(root, layout, expected.rows)
    claimed = _claimed(surveyed, {owner.name for owner in expected.owners}, expected)
    tops = {place.info for place in surveyed.others} | {place.info for _, place in surveyed.matched.values()}
    for paths in (expected.rows, expected.launchers, claimed):
        for path in paths:
            home = next((site for site in sites(layout) if path.startswith(f"{site}/")), None)
            tops.add(f"{home}/{path[len(home) + 1 :].split('/', 1)[0]}" if home is not None else path)
    for directory, present in (*names.items(), (layout.scripts, scripts)):
        for name in sorted(present):
            path = f"{directory}/{name}"
            if path in tops or name == "__pycache__" or known_place(path, scripts=layout.scripts):
                continue
            if name.endswith((".egg-info", ".egg-link", ".dist-info")) and directory != layout.scripts:
                continue
            report.findings.append(explain(path, site=directory, scripts=layout.scripts, link=False, top_level=set()))
    return report
