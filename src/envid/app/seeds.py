"""pip and setuptools as ``python -m venv`` puts them into a new environment: from the interpreter's own wheels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.errors import InvalidWheel, TooLarge, UnsafePath
from envid.installed.check import Survey
from envid.installed.interpreter import Environment
from envid.installed.wheel import read_contents
from envid.store.contents import ContentRows, load_rows, rows_of, save
from envid.store.wheels import file_sha256
from envid.values.artifact import Artifact, NormalizedName, Selected
from envid.values.finding import Finding

SEEDS: Final = ("pip", "setuptools", "wheel")
"""What uv, too, leaves alone when the lock does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A survey in which the seeds are accounted for, and what their files should be."""

    survey: Survey
    rows: dict[str, ContentRows]
    """By name."""


def recognise(ws: Workspace, environment: Environment, surveyed: Survey) -> Seeded:
    """Take out of the extra distributions those that the interpreter's own bundled wheels account for.

    They are then held to those wheels, byte for byte, and told as information. A pip of any other
    version stays an extra distribution: nothing says what its files should be.
    """
    rows: dict[str, ContentRows] = {}
    matched = dict(surveyed.matched)
    others = []
    for place in surveyed.others:
        version = place.directory.removesuffix(".dist-info").rpartition("-")[2]
        found = _bundled(ws, environment, place.name, version) if place.name in SEEDS else None
        if found is None or place.name in matched:
            others.append(place)
            continue
        filename, known = found
        rows[place.name] = known
        artifact = Artifact(kind="wheel", filename=filename, sha256=known.sha256)
        matched[place.name] = (Selected(name=NormalizedName(place.name), version=version, artifact=artifact), place)
    findings = tuple(
        _seed(finding) if finding.code == "env.extra" and finding.subject in rows else finding
        for finding in surveyed.findings
    )
    return Seeded(survey=replace(surveyed, matched=matched, others=tuple(others), findings=findings), rows=rows)


def _seed(finding: Finding) -> Finding:
    message = f"{finding.subject} {finding.actual} is not in the lock; it came with the interpreter, and may stay"
    return replace(finding, severity="info", message=message, hint=None)


def _bundled(ws: Workspace, environment: Environment, name: str, version: str) -> tuple[str, ContentRows] | None:
    for path in _candidates(environment, f"{name}-{version}-py3-none-any.whl"):
        sha256 = file_sha256(path)
        if sha256 is None:
            continue
        with opened(ws) as place:
            known = load_rows(place, sha256)
            if known is None:
                try:
                    contents = read_contents(path, filename=path.name, sha256=sha256)
                except (InvalidWheel, UnsafePath, TooLarge):
                    continue
                save(place, contents)
                known = rows_of(contents)
        return path.name, known
    return None


def _candidates(environment: Environment, filename: str) -> Iterator[Path]:
    base = Path(os.path.dirname(os.path.dirname(environment.base_executable)))
    short = ".".join(environment.version.split(".")[:2])
    suffix = "t" if environment.free_threaded else ""
    for directory in (f"lib/python{short}{suffix}", f"lib/python{short}", f"lib/pypy{short}"):
        yield base / directory / "ensurepip" / "_bundled" / filename
    # Where Debian keeps them.
    yield base / "share" / "python-wheels" / filename
