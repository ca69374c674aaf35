"""What a ``sync`` did, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envid.app.change import Plan
from envid.app.outcome import Outcome
from envid.app.project import lock_shown
from envid.app.workspace import Workspace
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was changed, over all rounds; its containers grow."""

    installed: dict[str, str | None] = field(default_factory=dict)
    reinstalled: dict[str, str | None] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, planned: Plan) -> None:
        """Note what was done."""
        done, kept = self, {str(item.name) for item in (*planned.install, *planned.reinstall)}
        done.installed.update({str(item.name): item.version for item in planned.install})
        done.reinstalled.update({str(item.name): item.version for item in planned.reinstall})
        for _, one in planned.remove:
            if one.name not in kept:
                done.removed[one.name] = one.version
                done.notes.append(f"removed {one.name} {one.version}, which is not in the lock")
        done.strays.extend(planned.strays)
        done.notes.extend(f"removed {path}, which no locked wheel brought" for path in planned.strays)


def outcome(
    workspace: Workspace, done: Done, *, path: Path, name: str, target: Target, total: int,
    findings: Sequence[Finding],
) -> Outcome:  # fmt: skip
    """Return what was done and what is left."""
    reported = _reported(workspace, name, findings)
    data: dict[str, JSONValue] = {
        "environment": str(path),
        "target": target.name,
        "installed": _rows(done.installed),
        "removed": _rows(done.removed),
        "reinstalled": _rows(done.reinstalled),
        "unchanged": total - len({*done.installed, *done.reinstalled}),
        "removed_files": sorted(done.strays),
    }
    changes = (("installed", done.installed), ("reinstalled", done.reinstalled), ("removed", done.removed))
    parts = [f"{len(rows)} {word}" for word, rows in changes if rows]
    if done.strays:
        parts.append(f"{len(done.strays)} stray {'file' if len(done.strays) == 1 else 'files'} removed")
    return Outcome(
        command="sync", notes=(*done.notes, f"{path}: {', '.join(parts) or _idle(workspace, reported)}"), data=data,
        findings=reported,
    )  # fmt: skip


def _idle(workspace: Workspace, reported: Sequence[Finding]) -> str:
    """Return why nothing was changed."""
    if not any(finding.severity == "error" for finding in reported):
        return "nothing to do: the environment is what the lock says"
    return "nothing that sync could do" + (" without the network" if workspace.offline else "")


def _reported(workspace: Workspace, name: str, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return what ``verify`` still says: about the environment as it stands, about this lock as a warning.

    The lock was installed as it is, which is what was asked; other locks were not.
    """
    own = lock_shown(name)
    found = []
    for finding in findings:
        if finding.code.startswith("lock."):
            about, colon, _ = finding.message.partition(": ")
            if (colon and about.startswith("lockfiles/") and about != own) or _is_other(finding.path, own):
                continue
            found.append(replace(finding, severity="warning") if finding.severity == "error" else finding)
        elif finding.code == "env.unverified" and finding.severity == "error" and workspace.offline:
            hint = "run `envid sync` without --offline, or put the wheel where UV_FIND_LINKS says"
            found.append(replace(finding, hint=hint))
        else:
            found.append(finding)
    return tuple(found)


def _is_other(path: str | None, own: str) -> bool:
    return path is not None and path.startswith("lockfiles/") and path != own


def _rows(versions: Mapping[str, str | None]) -> list[JSONValue]:
    return [{"name": name, "version": versions[name]} for name in sorted(versions)]
