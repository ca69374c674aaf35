"""A finding: one difference between what should be and what is."""

from __future__ import annotations

from typing import Final, Literal

from envid.values.frozen import dataclass

Severity = Literal["error", "warning", "info"]

CODES: Final[dict[str, str]] = {
    "lock.stale": "the lock does not answer what pyproject.toml asks",
    "lock.undecidable": "whether the lock is current cannot be told offline",
    "lock.edited": "the lock was changed after envid wrote it",
    "lock.compatible": "an input changed and the lock still satisfies it",
    "lock.unhashed": "an artifact without sha256",
    "lock.uncovered-target": "a declared target that the lock cannot serve",
    "lock.missing": "there is no lock",
    "env.absent": "there is no environment",
    "env.incomplete": "an installation into the environment was interrupted",
    "env.missing": "a locked distribution is not installed",
    "env.extra": "an installed distribution is not in the lock",
    "env.version": "another version is installed than the lock has",
    "env.tampered": "an installed file differs from the wheel",
    "env.missing-file": "a file of the wheel is not installed",
    "env.extra-file": "a file that no installed wheel brought",
    "env.unverified": "nothing is known about what should be installed here",
    "env.clobbered": "two wheels install the same file",
    "env.mode": "the permissions of an installed file or directory are not what an installer gives",
    "env.bytecode": "a compiled file that Python would run is not what its source compiles to",
    "env.artifact": "another wheel of the locked version is installed than the target takes",
    "env.source": "it was installed from another source, or state of it, than the lock names",
    "env.config": "pyvenv.cfg or the interpreter links are not those of this environment",
    "env.poisoned": "the altered file is shared with the installer's cache",
    "python.mismatch": "the interpreter is not the one the target names",
    "platform.unfit": "the host does not fit the target",
    "identity.changed": "the recorded identity is not the current one",
    "wheelhouse.missing": "an artifact of the lock is not in the wheelhouse",
    "wheelhouse.corrupt": "a file in the wheelhouse is not what the lock names",
    "wheelhouse.extra": "a file in the wheelhouse that the lock does not name",
    "wheelhouse.sdist": "a source archive in the wheelhouse, whose build needs more than the wheelhouse has",
    "restore.miss": "the cache had nothing for this key",
    "restore.key": "the cache gave what was saved under another key",
    "restore.unsealed": "a restored tree has no seal, or one that cannot be read",
    "restore.identity": "a restored tree was sealed under another identity, or for another place",
    "restore.torn": "a restored tree is not what was sealed: files are missing, surplus or altered",
    "cache.archive": "an archive of the store is none, is not whole, or is damaged",
    "cache.diverged": "the same key has other content in the store than elsewhere",
    "cache.unusable": "the store cannot be read or written",
    "cache.damaged": "a file of the cache does not hold the bytes that were written",
    "cache.misnamed": "an entry of the cache stands under another name than its own",
    "cache.missing-blob": "an entry of the cache names a file that the cache does not have",
    "cache.foreign": "something in the cache that is not envid's, or that another user could have written",
    "cache.unreadable": "the system does not give the bytes of a file of the cache",
    "cache.format": "an entry of the cache that another version of envid made",
    "cache.leftover": "what an ended command or an older version left in the cache",
    "cache.untrusted": "a directory of the cache that others can write",
    "run.no-directory": "a command ran and nothing was kept: there is no place for a cache",
    "run.read-only": "a command ran and nothing was kept: the cache cannot be written",
    "run.untrusted": "a command ran and nothing was kept: others can write the cache",
    "run.space": "a command ran and nothing was kept: there is too little free space beside the cache",
    "run.unwritable": "a command ran and nothing was kept: writing failed",
    "run.moved": "the identity of the environment changed while a command ran",
    "run.diverged": "a command made other bytes than before under the same key",
    "run.drifted": "the environment that a command ran in is not what the lock says",
    "run.inputs-changed": "an input changed while a command ran",
    "run.volatile": "a command's program is chosen by rules that envid does not see",
    "run.wrote-outside": "a command changed files that are not among its outputs",
    "run.no-output": "a command ended well and did not make an output",
    "run.foreign-files": "an output directory holds files that no run made: they stay",
    "run.odd-output": "an output is neither file, directory nor relative link, or leads outside",
    "diff.rehashed": "the same file name of the same version with another hash",
    "diff.source": "another source",
}
"""Every finding code and its meaning; the documentation is generated from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One entry of ``findings`` in the JSON envelope."""

    code: str
    severity: Severity
    subject: str
    """What it is about: a distribution, a target, a file of the project."""
    message: str
    path: str | None = None
    """POSIX; relative to site-packages, the environment or the project, as the code implies."""
    expected: str | None = None
    actual: str | None = None
    hint: str | None = None
