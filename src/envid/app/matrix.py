"""``envid matrix``: keys and wheel coverage of all declared targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from envid.app.keys import layer_key
from envid.app.outcome import Outcome
from envid.app.project import lock_shown
from envid.app.selecting import target_for
from envid.app.workspace import Workspace
from envid.errors import NoCompatibleArtifact, TargetNotCovered
from envid.lock.coverage import Coverage, coverage
from envid.lock.pylock import read
from envid.values.artifact import Lock
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.target import Target

KINDS: Final = ("wheel", "abi3", "pure", "sdist", "source", "nothing")


def matrix(ws: Workspace, *, layer: str = "wheels", name: str = "default") -> Outcome:
    """Answer for every declared target, or for the host when none is declared.

    ``data``: ``{"layer", "keys": {target: key}, "coverage": {target: COVERAGE}}``, where COVERAGE is
    ``{"packages": {name: kind}, "floor": {"family", "version"} or null, "missing": [name]}``. A target that
    the lock cannot serve has the key null and a finding. Raises as ``read``, and IdentityUnknown for a
    target that needs its patch release named.
    """
    lock = read(ws.read_lock(name), path=lock_shown(name))
    declared = ws.intent.settings.targets
    keys: dict[str, str | None] = {}
    covered: dict[str, Coverage] = {}
    findings: list[Finding] = []
    for target in declared or (target_for(None),):
        key, view, found = _one(ws, lock, target, layer=layer, name=name, given=target.name if declared else "host")
        keys[target.name] = key
        if view is not None:
            covered[target.name] = view
        findings += found
    data: dict[str, JSONValue] = {
        "layer": layer,
        "keys": dict(keys),
        "coverage": {target: _json(view) for target, view in covered.items()},
    }
    return Outcome(command="matrix", answer=_table(layer, keys, covered), data=data, findings=tuple(findings))


def _one(
    ws: Workspace, lock: Lock, target: Target, *, layer: str, name: str, given: str
) -> tuple[str | None, Coverage | None, list[Finding]]:
    try:
        view = coverage(lock, target)
    except TargetNotCovered as error:
        return None, None, [_uncovered(target, error.message)]
    try:
        key = layer_key(ws, layer=layer, target=given, lock=lock, name=name)
    except NoCompatibleArtifact:
        problems = [
            _uncovered(target, f"{package} has neither a wheel nor a source archive for {target.name}")
            for package in view.missing
        ]
        return None, view, problems
    return key, view, []


def _uncovered(target: Target, message: str) -> Finding:
    return Finding(
        code="lock.uncovered-target", severity="error", subject=target.name, message=message, hint=TargetNotCovered.hint
    )


def _json(view: Coverage) -> JSONValue:
    return {
        "packages": dict(view.packages),
        "floor": None if view.floor is None else dict(view.floor),
        "missing": list(view.missing),
    }


def _table(layer: str, keys: Mapping[str, str | None], covered: Mapping[str, Coverage]) -> str:
    """Return one block per target, then a row for each distribution that is not pure everywhere."""
    lines = []
    for number, (target, key) in enumerate(keys.items(), start=1):
        lines.append(f"[{number}] {target}")
        lines.append(f"    {layer}: {key or 'no key: the lock cannot serve this target'}")
        view = covered.get(target)
        if view is None:
            continue
        counts = Counter(view.packages.values())
        kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
        lines.append(f"    {kinds}; {_floor(view)}")
    packages = sorted({package for view in covered.values() for package in view.packages})
    rows = [[package, *(str(view.packages.get(package, "-")) for view in covered.values())] for package in packages]
    rows = [row for row in rows if set(row[1:]) != {"pure"}]
    if rows:
        numbers = [f"[{number}]" for number, target in enumerate(keys, start=1) if target in covered]
        table = [["", *numbers], *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines.append("")
        for row in table:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _floor(view: Coverage) -> str:
    if view.floor is None:
        return "runs on any platform"
    family, version = view.floor["family"], view.floor["version"]
    return f"needs {family}" if version is None else f"needs {family} {version} or later"
