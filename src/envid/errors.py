"""What can go wrong: every error, with its slug, exit code and next step.

Imported on every path, the hot ones too: nothing but builtins here.
"""

from __future__ import annotations


class EnvidError(Exception):
    """An expected failure: what happened, where, and what to do next.

    ``slug`` (``family.fact``) names the failure for machines and docs, ``exit_code`` is the
    process status, ``hint`` the next step, ``context`` flat facts (file, line, package).
    Only leaves are raised; the documentation table is generated from the classes.
    """

    slug = "envid"
    exit_code = 70
    hint = ""

    def __init__(self, message: str, *, hint: str | None = None, **context: str | int | None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint
        self.context: dict[str, str | int] = {k: v for k, v in context.items() if v is not None}

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries (parallel hashing); the default drops keywords.
        return (_rebuild, (type(self), self.message, self.hint, self.context))


def _rebuild(kind: type[EnvidError], message: str, hint: str, context: dict[str, str | int]) -> EnvidError:
    return kind(message, hint=hint, **context)


class UsageError(EnvidError):
    """The command line is not one envid knows."""

    slug = "usage"
    exit_code = 2
    hint = "run `envid --help`"


class InputRefused(UsageError):
    """An input that is not there, leads out of the project, or cannot be measured."""

    slug = "usage.run-input"
    hint = "inputs are files and directories of the project: `--in 'proto/**/*.proto'`"


class OutputRefused(UsageError):
    """A path that no command may declare as its output."""

    slug = "usage.run-output"
    hint = "outputs are files and directories of the project: `--out src/generated`"


class NotExportable(UsageError):
    """A value that the form of a CI system cannot carry unaltered."""

    slug = "usage.output"
    hint = "give the environment or the project a plain path"


# --- 3: configuration -------------------------------------------------------------------


class ConfigError(EnvidError):
    """pyproject.toml cannot be understood."""

    slug = "config.invalid"
    exit_code = 3


class ProjectNotFound(ConfigError):
    """No pyproject.toml in this directory or above."""

    slug = "config.no-project"
    hint = "run envid inside a project, or pass --project DIR"


class UnknownOption(ConfigError):
    """A key in ``[tool.envid]`` that envid does not know."""

    slug = "config.unknown-key"


class InvalidTarget(ConfigError):
    """Text that is not a target."""

    slug = "config.target"
    hint = "a target looks like cp312-manylinux_2_28_x86_64, or `host`"


class CredentialInConfig(ConfigError):
    """A credential in a file that is meant to be committed."""

    slug = "config.credential"
    hint = "give credentials through the environment (UV_INDEX_NAME_USERNAME and _PASSWORD) or netrc"


# --- 4: lock ----------------------------------------------------------------------------


class LockError(EnvidError):
    """The lock cannot be made or used."""

    slug = "lock.error"
    exit_code = 4


class LockNotFound(LockError):
    """The project has no lock of that name."""

    slug = "lock.not-found"
    hint = "run `envid lock`"


class InvalidLock(LockError):
    """A file that is not a valid PEP 751 lock."""

    slug = "lock.invalid"
    hint = "run `envid lock` to write it again"


class UnreadableLock(LockError):
    """Something is in the lock's place that cannot be read as a file."""

    slug = "lock.unreadable"
    hint = "a directory, a pipe or a file without permission stands where the lock should be: see to it"


class ConflictMarkers(InvalidLock):
    """The lock holds version-control conflict markers."""

    slug = "lock.conflict-markers"
    hint = "take either side and run `envid lock`"


class UnhashedArtifact(LockError):
    """An artifact without a sha256."""

    slug = "lock.unhashed"
    hint = "run `envid lock`, which computes what the index does not give"


class ResolutionFailed(LockError):
    """No set of versions satisfies the requirements."""

    slug = "lock.unresolvable"


class SdistRefused(LockError):
    """A distribution that has only source archives for a target, not allowed by name."""

    slug = "lock.sdist-refused"


class NoCompatibleArtifact(LockError):
    """A locked distribution has no artifact for the target."""

    slug = "lock.no-artifact"


class TargetNotCovered(LockError):
    """The lock does not cover the target asked for."""

    slug = "lock.uncovered-target"
    hint = "add the target to [tool.envid] targets and run `envid lock`"


class DependencyRefused(LockError):
    """A requirement that cannot be locked by content."""

    slug = "lock.refused"


class DynamicMetadata(LockError):
    """The dependencies of a project are only known by running its build."""

    slug = "lock.dynamic-metadata"
    hint = "list the dependencies statically under [project]"


# --- 5: integrity -----------------------------------------------------------------------


class IntegrityError(EnvidError):
    """Bytes are not what was promised."""

    slug = "integrity.error"
    exit_code = 5


class DigestMismatch(IntegrityError):
    """An artifact's bytes do not have the digest in the lock."""

    slug = "integrity.digest"
    hint = "the file was corrupted or replaced: find out which before you lock again"


class Rehashed(IntegrityError):
    """A file that was locked before is offered with other bytes under the same name."""

    slug = "integrity.rehashed"
    hint = "an honest index never replaces a file: find out why before you accept it"


class UnsafePath(IntegrityError):
    """A path that leaves the place it belongs to, or could not be written safely."""

    slug = "integrity.unsafe-path"


class InvalidWheel(IntegrityError):
    """A file that is not a well-formed wheel."""

    slug = "integrity.wheel"


class InvalidRecord(IntegrityError):
    """A RECORD that no installer writes."""

    slug = "integrity.record"
    hint = "run `envid sync`, which installs the distribution again"


class TooLarge(IntegrityError):
    """Input beyond a limit that no honest file reaches."""

    slug = "integrity.too-large"


# --- 6: identity ------------------------------------------------------------------------


class IdentityError(EnvidError):
    """An identity cannot be computed or read."""

    slug = "identity.error"
    exit_code = 6


class IdentityUnknown(IdentityError):
    """A component cannot be measured; envid never guesses one."""

    slug = "identity.unknown"


class UnsupportedSchema(IdentityError):
    """An identity document of another schema."""

    slug = "identity.schema"


class IdentityMoved(IdentityError):
    """The identity changed while the work that was to be kept under it was done."""

    slug = "identity.moved"
    hint = "run it again, with nothing else changing the project meanwhile"


# --- 7: store ---------------------------------------------------------------------------


class StoreError(EnvidError):
    """envid's own files cannot be used."""

    slug = "store.error"
    exit_code = 7


class WriteFailed(StoreError):
    """A file could not be written; nothing half-written was left."""

    slug = "store.write"


class SystemRefused(StoreError):
    """The operating system refused something that no command works without: space, descriptors, a device, a right."""

    slug = "store.refused"
    hint = "see to it, and run the command again: nothing has to be repaired"


class GuardTimeout(StoreError):
    """Another process holds the guard for longer than the wait."""

    slug = "store.guard"


class BadManifest(StoreError):
    """What was made cannot be written down, or bytes are not a manifest."""

    slug = "store.manifest"


class ArchiveUnreadable(StoreError):
    """A file to import is not there, or cannot be opened."""

    slug = "store.archive"
    hint = "name an archive that `envid cache export` wrote"


class SealBroken(StoreError):
    """The seal of a restored tree cannot be read."""

    slug = "store.seal"
    hint = "remove the tree and make it again"


class NetworkFilesystem(StoreError):
    """The cache is on a filesystem of a network, where guards do not keep other machines out."""

    slug = "store.network"
    hint = "while no other machine uses the cache: run it again with --force"


class EntryNotFound(StoreError):
    """The cache has no entry of this key."""

    slug = "store.no-entry"


# --- 8: toolchain -----------------------------------------------------------------------


class ToolchainError(EnvidError):
    """A program that envid drives is missing or failed."""

    slug = "toolchain.error"
    exit_code = 8


class UvNotFound(ToolchainError):
    """The uv binary of the `uv` package is missing."""

    slug = "toolchain.uv"
    hint = "reinstall envid with its dependencies"


class EngineFailed(ToolchainError):
    """uv or pip-tools failed for a reason that is not the requirements."""

    slug = "toolchain.failed"


class InterpreterNotFound(ToolchainError):
    """No usable Python where one was expected."""

    slug = "toolchain.interpreter"


class EnvironmentNotFound(ToolchainError):
    """There is no virtual environment where one was expected."""

    slug = "toolchain.no-environment"
    hint = "run `envid sync`, or pass --venv PATH"


class InvalidEnvironment(ToolchainError):
    """A directory that is not a usable virtual environment."""

    slug = "toolchain.environment"
    hint = "remove it and run `envid sync`"


class GitNotFound(ToolchainError):
    """A git revision was asked for and there is no git."""

    slug = "toolchain.git"
    hint = "install git, or compare files"


class CommandNotStarted(ToolchainError):
    """The command that is to be run is not there, or cannot be started."""

    slug = "toolchain.command"
    hint = "commands are looked for in the environment, then in PATH"


class TargetUnfit(ToolchainError):
    """The environment or this host cannot run what the target asked for needs."""

    slug = "toolchain.unfit"
    hint = "sync on a host of that target, or use `envid vendor` to prepare the files here"


class InstallFailed(ToolchainError):
    """The installer failed; the environment is as it was before."""

    slug = "toolchain.install"


# --- 9: network -------------------------------------------------------------------------


class NetworkError(EnvidError):
    """The network is needed."""

    slug = "network.error"
    exit_code = 9


class Offline(NetworkError):
    """The network is needed and was denied."""

    slug = "network.denied"
    hint = "run again without --offline"


class Unreachable(NetworkError):
    """The index could not be reached, or did not serve what the lock names."""

    slug = "network.unreachable"


class InvalidIndexPage(NetworkError):
    """An index answered with something that is not a project page."""

    slug = "network.page"
    hint = "check the URL of the index: it should end in /simple/ or the like"


# --- 10: backend ------------------------------------------------------------------------


class BackendError(EnvidError):
    """A generator backend is missing or failed."""

    slug = "backend.error"
    exit_code = 10


class BackendNotFound(BackendError):
    """No installed distribution offers the configured backend."""

    slug = "backend.not-found"


INTERRUPTED = 130
"""Exit status after Ctrl-C."""

BUG = 70
"""Exit status for a failure that envid did not foresee."""

FINDINGS = 1
"""Exit status when the answer is no: a finding, not an error."""
