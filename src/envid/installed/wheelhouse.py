"""A directory of artifacts against the lock that names them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from envid.installed.hashing import SAME, UNREADABLE, Job, compare
from envid.values.artifact import Artifact, Lock
from envid.values.finding import Finding

NOT_ARTIFACTS: Final = frozenset({"pylock.toml", "requirements.txt", ".gitignore", "CACHEDIR.TAG"})
"""What ``vendor`` puts beside the artifacts."""
EXTRA_HINT: Final = "remove it if nothing else needs it: hashed installs do not use it, an installer without hashes may"


def check_wheelhouse(directory: str, lock: Lock) -> list[Finding]:
    """Return every artifact of ``lock`` that is missing from ``directory`` or altered there, and every other archive.

    A wheelhouse for some of the lock's targets is whole when every distribution has at least one artifact in it.
    """
    try:
        present = set(os.listdir(directory))
    except OSError as error:
        return [Finding(
            code="wheelhouse.missing", severity="error", subject=os.path.basename(directory), path=directory,
            message=f"the wheelhouse cannot be read: {error.strerror}", hint="run `envid vendor DIR`",
        )]  # fmt: skip
    findings = []
    named: dict[str, Artifact] = {}
    for distribution in lock.distributions:
        artifacts = _artifacts(distribution.wheels, distribution.sdist, distribution.archive)
        own = {artifact.filename: artifact for artifact in artifacts}
        named.update(own)
        if own and not own.keys() & present:
            what = f"{distribution.name} {distribution.version or ''}".rstrip()
            findings.append(Finding(
                code="wheelhouse.missing", severity="error", subject=distribution.name, path=next(iter(own)),
                message=f"no artifact of {what} is in the wheelhouse",
                hint="run `envid vendor DIR`",
            ))  # fmt: skip
    there = sorted(named.keys() & present)
    jobs = [
        Job(os.path.join(directory, name), -1 if (size := named[name].size) is None else size, named[name].sha256, True)
        for name in there
    ]  # fmt: skip
    for name, answer in zip(there, compare(jobs), strict=True):
        if answer != SAME:
            findings.append(Finding(
                code="wheelhouse.corrupt", severity="error", subject=name, path=name, expected=named[name].sha256,
                message=f"the file {'cannot be read' if answer == UNREADABLE else 'does not have the locked sha256'}",
                hint="remove it and run `envid vendor DIR`",
            ))  # fmt: skip
    findings += (
        Finding(
            code="wheelhouse.extra", severity="warning", subject=name, path=name,
            message="the lock does not name this file", hint=EXTRA_HINT,
        )
        for name in sorted(present - named.keys() - NOT_ARTIFACTS) if name.endswith((".whl", ".tar.gz", ".zip"))
    )  # fmt: skip
    return findings


def _artifacts(wheels: tuple[Artifact, ...], *others: Artifact | None) -> Iterator[Artifact]:
    yield from wheels
    yield from (other for other in others if other is not None)
