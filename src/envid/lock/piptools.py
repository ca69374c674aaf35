"""The pip-tools engine: ``piptools compile`` for the running interpreter, converted to a lock.

It knows one environment only: the one it runs in. File names, sizes and URLs come from the pages of
the same indexes, matched by the sha256 that pip-tools wrote.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from envid import atomic, process
from envid.errors import (
    ConfigError,
    DependencyRefused,
    EngineFailed,
    EnvidError,
    Offline,
    ResolutionFailed,
    SdistRefused,
    TargetNotCovered,
    ToolchainError,
    UnhashedArtifact,
)
from envid.lock.index import IndexFile
from envid.lock.indexes import Index
from envid.lock.redact import clean_url, redact
from envid.lock.resolver import Listing, RawLock, ResolveRequest
from envid.lock.select import select
from envid.values.artifact import Artifact, ArtifactKind, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.progress import Progress
from envid.values.target import Target, marker_environment
from envid.values.wheel_tags import sdist_belongs, wheel_belongs

USE_UV: Final = 'set resolver = "uv" under [tool.envid.lock]'

_COMPARED: Final = (
    "implementation_name", "os_name", "platform_machine", "platform_python_implementation", "platform_system",
    "python_version", "sys_platform",
)  # fmt: skip
_PINNED: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)")
_DIRECT: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? @ (?P<url>\S+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NOT_FOUND: Final = re.compile(r"No matching distribution found for (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)")
_NEEDED: Final = re.compile(
    r"SpecifierRequirement\('(?P<need>[^']+)'\), parent=(?:None|LinkCandidate\('[^' ]*/(?P<by>[^/' ]+)[ '])"
)
_DURATION: Final = re.compile(r"(\d+) (day|week)s?")
_TIMEOUT: Final = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PipToolsResolver:
    """Resolves with the pip-tools of this environment, for targets that the running interpreter stands for."""

    indexes: tuple[Index, ...]
    """Places to ask, in order, without uv's builtin one."""
    builtin: bool
    """Whether pip's own default index is asked besides."""
    listing: Listing
    name: str = "pip-tools"

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:
        """Resolve; see `Resolver.resolve`. Raises TargetNotCovered for a target that is not this interpreter."""
        check_request(request)
        check_targets(request.targets, running_environment())
        progress.begin("resolving with pip-tools", None, "runs")
        try:
            with atomic.temporary_directory(prefix="envid-lock-") as scratch:
                text = self.compile(request, scratch)
        finally:
            progress.end()
        pinned = parse_requirements(text)
        files = self.listing(NormalizedName(line.name) for line in pinned if line.url is None)
        lock = Lock(
            created_by="envid",
            distributions=tuple(_entry(line, files.get(line.name, ()), request) for line in pinned),
            requires_python=request.requires_python,
            environments=request.environments,
        )
        for target in request.targets:
            select(lock, target)
        return RawLock(lock=lock, engine=self.name)

    def compile(self, request: ResolveRequest, scratch: Path) -> str:
        """Return the hashed requirements that pip-tools writes."""
        atomic.write(scratch / "requirements.in", self.inputs(request).encode(), mode=0o600, durable=False)
        output = scratch / "requirements.txt"
        if request.previous is not None and not request.upgrade:
            pins = [
                f"{entry.name}=={entry.version}\n"
                for entry in request.previous.distributions
                if entry.version and entry.name not in request.upgrade_packages and (entry.wheels or entry.sdist)
            ]
            atomic.write(output, "".join(pins).encode(), durable=False)
        argv = [
            sys.executable, "-m", "piptools", "compile", "--no-config", "--generate-hashes", "--allow-unsafe",
            "--strip-extras", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-trusted-host",
            "--no-emit-find-links", "--no-emit-options", "--quiet", "--output-file", "requirements.txt",
        ]  # fmt: skip
        if request.exclude_newer is not None:
            argv += ["--uploaded-prior-to", _prior(request.exclude_newer)]
        if request.options.get("prerelease") == "allow":
            argv.append("--pre")
        if request.upgrade:
            argv.append("--upgrade")
        if request.constraints:
            atomic.write(scratch / "constraints.txt", "\n".join((*request.constraints, "")).encode(), durable=False)
            argv += ["--constraint", "constraints.txt"]
        argv.append("requirements.in")
        settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        done = process.run(argv, env=process.environment(extra=settings), cwd=scratch, timeout=_TIMEOUT)
        if done.status != 0:
            raise self.failure(done.stderr, scratch)
        return output.read_text(encoding="utf-8")

    def inputs(self, request: ResolveRequest) -> str:
        """Return the requirements file: where to look, what may be built, what is asked."""
        lines = [f"--find-links {_with_credential(index)}" for index in self.indexes if index.flat]
        simple = [index for index in self.indexes if not index.flat]
        if simple and not self.builtin:
            lines.append(f"--index-url {_with_credential(simple.pop())}")
        elif not simple and not self.builtin:
            lines.append("--no-index")
        lines += [f"--extra-index-url {_with_credential(index)}" for index in simple]
        lines.append("--only-binary :all:")
        lines += [f"--no-binary {name}" for name in request.allow_sdist]
        return "\n".join([*lines, *request.requirements]) + "\n"

    def failure(self, said: str, scratch: Path) -> EnvidError:
        """Return what a failed run of pip-tools amounts to."""
        if "No module named piptools" in said or "No module named pip" in said:
            return ToolchainError("pip-tools is not installed beside envid", hint=f"install pip-tools, or {USE_UV}")
        if match := _NOT_FOUND.search(said):
            name = NormalizedName(re.sub(r"[-_.]+", "-", match["name"]).lower())
            # pip says the same of a dead index, of a name nobody has, and of one with source archives alone.
            files = self.listing([name]).get(name, ())
            if files and not any(file.filename.endswith(".whl") for file in files):
                return SdistRefused(
                    f"{name} would have to be built from source, which runs its code", package=name,
                    hint=f'allow it by name: allow-sdist = ["{name}"]',
                )  # fmt: skip
            return ResolutionFailed(f"no version of {name} satisfies the requirements", hint="check its name and range")
        reasons = [f"{match['by'] or 'this project'} needs {match['need']}" for match in _NEEDED.finditer(said)]
        if "ResolutionImpossible" in said:
            told = "; ".join(dict.fromkeys(reasons)) or "pip gives no reason"
            return ResolutionFailed(f"no set of versions satisfies the requirements: {told}", hint="relax one of them")
        last = said.strip().rpartition("\n")[2].replace(f"{scratch}/", "")
        return EngineFailed(f"pip-tools failed: {redact(last)[:1000]}", hint=f"or {USE_UV}")


# --- limits ---------------------------------------------------------------------------------------


def running_environment() -> Mapping[str, str]:
    """Return the marker variables of the interpreter that runs envid, and so pip-tools."""
    from packaging.markers import default_environment

    return {key: str(value) for key, value in default_environment().items()}


def check_targets(targets: Sequence[Target], here: Mapping[str, str]) -> None:
    """Raise TargetNotCovered for a target whose markers are not those of ``here``, ConfigError without any target."""
    if not targets:
        raise ConfigError(
            "pip-tools resolves for one environment: declare it in [tool.envid] targets", hint=f"or {USE_UV}"
        )
    for target in targets:
        wanted = marker_environment(target)
        names = (*_COMPARED, "python_full_version") if target.patch is not None else _COMPARED
        for name in names:
            if wanted.get(name) != here.get(name):
                raise TargetNotCovered(
                    f"pip-tools resolves for the interpreter it runs in, and {target.name} is another one "
                    f"({name} {wanted.get(name)}, here {here.get(name)})",
                    hint=USE_UV, target=target.name,
                )  # fmt: skip


def check_request(request: ResolveRequest) -> None:
    """Raise for what pip-tools cannot do: it must not be left out in silence."""
    unknown = sorted(key for key in request.options if key != "prerelease" or request.options[key] != "allow")
    for what in (
        "overrides" if request.overrides else "",
        "[tool.uv.sources]" if request.sources else "",
        f"tool.uv.{unknown[0]}" if unknown else "",
        "an explicit index" if any(table.get("explicit") for table in request.indexes) else "",
    ):
        if what:
            raise DependencyRefused(f"pip-tools has no way to honour {what}", hint=USE_UV)
    for text in request.requirements:
        direct = _DIRECT.match(text)
        parts = urlsplit(direct["url"]) if direct else None
        if direct and parts and not (parts.scheme in ("http", "https") and parts.path.endswith(".whl")):
            name = direct["name"]
            raise DependencyRefused(f"{name}: pip-tools takes only wheels by URL", hint=USE_UV, package=name)
    if request.offline:
        raise Offline("pip-tools asks the index for every resolution")


def _prior(text: str) -> str:
    """Return ``exclude-newer`` as pip takes it: an ISO 8601 moment, or a duration in days."""
    if match := _DURATION.fullmatch(text):
        return f"P{int(match[1]) * (7 if match[2] == 'week' else 1)}D"
    if text.endswith(("hour", "hours")):
        raise ConfigError(f"pip-tools cannot count `{text}`", hint=f"give whole days, or {USE_UV}")
    return text if "T" in text else f"{text}T00:00:00Z"


def _with_credential(index: Index) -> str:
    if index.credential is None:
        return index.url
    parts = urlsplit(index.url)
    user, password = (quote(text, safe="") for text in (index.credential.username, index.credential.password))
    return f"{parts.scheme}://{user}:{password}@{parts.netloc}{parts.path}"


# --- conversion -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One hashed requirement."""

    name: NormalizedName
    version: str | None
    url: str | None
    hashes: frozenset[str]


def parse_requirements(text: str) -> tuple[Pinned, ...]:
    """Return the hashed requirements that pip-tools wrote; raise EngineFailed, UnhashedArtifact."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _PINNED.match(line) or _DIRECT.match(line)
        if match is None:
            raise EngineFailed(f"pip-tools wrote a line that is no pin: {redact(line)[:200]}", hint=f"or {USE_UV}")
        parts = match.groupdict()
        name = NormalizedName(re.sub(r"[-_.]+", "-", parts["name"]).lower())
        hashes = frozenset(_HASH.findall(line))
        if not hashes:
            raise UnhashedArtifact(f"{name}: pip-tools found no sha256", package=name)
        found.append(Pinned(name=name, version=parts.get("version"), url=parts.get("url"), hashes=hashes))
    return tuple(found)


def _entry(line: Pinned, files: Iterable[IndexFile], request: ResolveRequest) -> LockedDistribution:
    if line.url is not None:
        filename = unquote(urlsplit(line.url).path.rpartition("/")[2])
        (digest,) = sorted(line.hashes)[:1]
        archive = Artifact(kind="archive", filename=filename, sha256=Sha256(digest), url=clean_url(line.url))
        return LockedDistribution(name=line.name, version=filename.split("-")[1], archive=archive)
    wheels: dict[str, Artifact] = {}
    sdist: Artifact | None = None
    for file in files:
        if file.sha256 is None or file.sha256 not in line.hashes:
            continue
        if wheel_belongs(file.filename, line.name, line.version):
            wheels.setdefault(file.filename, _artifact("wheel", file))
        elif line.name in request.allow_sdist and sdist_belongs(file.filename, line.name, line.version):
            sdist = sdist or _artifact("sdist", file)
    if not wheels and sdist is None:
        raise UnhashedArtifact(
            f"{line.name} {line.version}: no index lists a file with a digest that pip-tools found",
            hint=f"the index must give sha256 on its pages; or {USE_UV}", package=line.name,
        )  # fmt: skip
    return LockedDistribution(name=line.name, version=line.version, wheels=tuple(wheels.values()), sdist=sdist)


def _artifact(kind: ArtifactKind, file: IndexFile) -> Artifact:
    assert file.sha256 is not None
    local = file.url.startswith("file:")
    return Artifact(
        kind=kind,
        filename=file.filename,
        sha256=file.sha256,
        size=file.size,
        url=None if local else clean_url(file.url),
        # Where a local index lies is a fact of this machine: it goes by file name.
        path=f"wheelhouse/{file.filename}" if local else None,
    )
