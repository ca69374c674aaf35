"""The uv engine: ``uv pip compile --universal`` in a generated project, translated and checked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from envid import atomic, process
from envid.errors import (
    DependencyRefused,
    EngineFailed,
    IdentityUnknown,
    NetworkError,
    NoCompatibleArtifact,
    Rehashed,
    ResolutionFailed,
    SdistRefused,
    ToolchainError,
    UnhashedArtifact,
)
from envid.lock.answer import read_plain
from envid.lock.complaint import blocked, reason_of, translate
from envid.lock.entries import distribution
from envid.lock.indexes import located
from envid.lock.install import uv_binary
from envid.lock.pylock import load
from envid.lock.redact import clean_url, secrets_of
from envid.lock.resolver import Listing, RawLock, ResolveRequest
from envid.lock.scratch import transport_variables, write_inputs, write_pins, write_settings
from envid.lock.select import select
from envid.lock.unusable import unusable_versions
from envid.values.artifact import Lock, LockedDistribution, NormalizedName
from envid.values.marker import truth
from envid.values.progress import Progress
from envid.values.target import Target

TESTED: Final = ((0, 13), (0, 14))
"""Versions of uv that this module is tested with: from the first one, below the second one."""

MAX_ROUNDS: Final = 24
"""Times uv is asked again because a version it chose has nothing for a declared target."""

_TIMEOUT: Final = 1800.0
_SDIST: Final = re.compile(r"\.(tar\.(gz|bz2|xz)|tgz|zip)$")
_WARNING: Final = re.compile(r"^warning: (.+(?:\n(?!error:|hint:|warning:|Resolved ).+)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UvResolver:
    """Resolves with a uv binary; ``None``: the one of the `uv` package."""

    name: str = "uv"
    binary: str | None = None
    listing: Listing | None = None
    """Where to see at once which versions have a wheel for a target; without it they are tried one by one."""

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:
        """Resolve for all targets at once; see `Resolver.resolve`."""
        uv = self.binary or uv_binary()
        version = version_of(uv)
        progress.begin("resolving with uv", None, "runs")
        try:
            with atomic.temporary_directory(prefix="envid-lock-") as made:
                # The real path: uv writes paths relative to where its output really is.
                scratch = Path(os.path.realpath(made))
                return _Run(
                    uv=uv, version=version, request=request, scratch=scratch, progress=progress, listing=self.listing
                ).whole()
        finally:
            progress.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One resolution: the generated project, and what was learnt so far by asking uv."""

    uv: str
    version: str
    request: ResolveRequest
    scratch: Path
    progress: Progress
    listing: Listing | None
    undecided: dict[str, str] = field(default_factory=dict)
    """By target: why what it takes depends on something that it leaves open."""

    def whole(self) -> RawLock:
        request = self.request
        # What was built before is built again; else every run would first have to fail.
        known = request.previous.distributions if request.previous is not None and not request.upgrade else ()
        building = {*request.allow_sdist}.intersection(entry.name for entry in known if entry.sdist is not None)
        settled = settled_forks(request)
        excluded: list[str] = []
        ruled: dict[tuple[str, Target], list[str]] = {}
        self.put("config/uv/uv.toml", write_settings(request.user_settings))
        # An empty one for the system: without it uv would go on to /etc.
        self.put("system/uv/uv.toml", "")
        gap: NoCompatibleArtifact | None = None
        for _ in range(MAX_ROUNDS):
            self.progress.advance(1)
            done = self.ask(building, [*settled, *excluded])
            if done.status != 0 and settled:
                settled = ()
                continue
            if done.status != 0:
                wanted = (blocked(done.stderr) & {*request.allow_sdist}) - building
                if wanted:
                    building |= wanted
                    continue
                error = translate(
                    done.stderr, status=done.status, request=request, hide=self.hidden(), secrets=known_secrets(request)
                )
                # With a version ruled out the rest may contradict itself; the gap is what there is to tell.
                raise gap if gap is not None and isinstance(error, (ResolutionFailed, NoCompatibleArtifact)) else error
            self.undecided.clear()
            lock = self.read()
            found = self.gap(lock)
            if found is None:
                notes = (*self.told(ruled, lock), *self.undecided.values(), *self.warnings(done.stderr))
                return RawLock(lock=lock, warnings=notes, engine=f"uv {self.version}")
            settled = ()
            gap, target = found
            name = str(gap.context.get("package", ""))
            if name in request.allow_sdist and name not in building:
                building.add(name)
                continue
            version, text = self.way_out(lock, name, target, gap)
            if text in excluded:
                raise gap
            excluded.append(text)
            ruled.setdefault((name, target), []).append(version)
        raise gap if gap is not None else EngineFailed("uv came to no result", hint="report this as a bug of envid")

    def way_out(self, lock: Lock, name: str, target: Target, gap: NoCompatibleArtifact) -> tuple[str, str]:
        """Return the version of ``name`` that has nothing for ``target``, and a constraint without all such versions.

        Raises ``gap`` when no other version could help.
        """
        where = next((marker for marker in self.request.environments if truth(marker, target)), None)
        for entry in lock.distributions:
            if entry.name != name or (entry.marker is not None and truth(entry.marker, target) is False):
                continue
            if entry.version and entry.wheels:
                out = ",".join(f"!={version}" for version in self.ruled_out(entry.name, entry.version, target))
                return entry.version, name + out + (f" ; {where}" if where else "")
        raise gap

    def told(self, ruled: Mapping[tuple[str, Target], list[str]], lock: Lock) -> Iterable[str]:
        """Yield for each version that was ruled out what is locked instead, and for which targets."""
        for (name, target), versions in ruled.items():
            others = f" and {len(versions) - 1} more versions have" if len(versions) > 1 else " has"
            lead = f"{name} {versions[0]}{others} no wheel for {target.name}"
            taken = {one.name: _locked_on(lock, name, one) for one in self.request.targets}
            instead = taken[target.name]
            also = [one for one, version in taken.items() if version == instead and one != target.name]
            if instead is None:
                yield f"{lead}: nothing of that name is locked there"
            elif also and len(also) == len(taken) - 1:
                yield f"{lead}: {instead} is locked for every target"
            else:
                yield f"{lead}: {instead} is locked there" + (f", and for {', '.join(also)}" if also else "")

    def ruled_out(self, name: NormalizedName, version: str, target: Target) -> tuple[str, ...]:
        if self.listing is None:
            return (version,)
        try:
            files = self.listing([name]).get(name, ())
        except NetworkError:
            # uv may reach what envid does not (a keyring, a cache): then one by one.
            return (version,)
        return unusable_versions(files, name=name, target=target, chosen=version)

    # --- asking ---------------------------------------------------------------------------

    def put(self, name: str, text: str) -> None:
        # Nobody reads it after a crash: no need to wait for the disk.
        atomic.write(self.scratch / name, text.encode(), durable=False)

    def ask(self, building: Iterable[str], excluded: list[str]) -> process.Completed:
        request = self.request
        self.put("pyproject.toml", write_inputs(request, constraints=excluded))
        atomic.remove_file(self.scratch / "pylock.toml")
        if pins := write_pins(request):
            self.put("pylock.toml", pins)
        argv = [
            self.uv, "pip", "compile", "--universal", "--format", "pylock.toml", "--no-header", "--no-annotate",
            "--no-progress", "--no-python-downloads", "--python", sys.executable, "--python-version",
            request.minimum_python, "--output-file", "pylock.toml", "--quiet",
        ]  # fmt: skip
        if names := sorted(building):
            argv += ["--only-binary", ":all:", *(part for name in names for part in ("--no-binary", name))]
        else:
            argv.append("--no-build")
        if request.exclude_newer is not None:
            argv += ["--exclude-newer", request.exclude_newer]
        if request.upgrade:
            argv.append("--upgrade")
        for name in request.upgrade_packages:
            argv += ["--upgrade-package", name]
        if request.offline:
            argv.append("--offline")
        # uv has an option for it and no variable.
        if request.variables.get("UV_NO_INDEX", "").lower() in ("1", "true"):
            argv.append("--no-index")
        argv.append("pyproject.toml")
        settings = {
            **located(transport_variables(request.variables), root=str(request.root)),
            "XDG_CONFIG_HOME": str(self.scratch / "config"),
            "XDG_CONFIG_DIRS": str(self.scratch / "system"),
            "APPDATA": str(self.scratch / "config"),
            "PROGRAMDATA": str(self.scratch / "system"),
            "GIT_TERMINAL_PROMPT": "0",
        }
        return process.run(argv, env=process.environment(extra=settings), cwd=self.scratch, timeout=_TIMEOUT)

    def hidden(self) -> tuple[tuple[str, str], ...]:
        """Return the texts that only tell of the generated project, and what to show instead."""
        return ((f"{self.scratch}/", ""), (str(self.scratch), "."), (f"{self.request.root}/", ""))

    def warnings(self, said: str) -> tuple[str, ...]:
        hide, secrets = self.hidden(), known_secrets(self.request)
        return tuple(reason_of(match[1], hide=hide, secrets=secrets) for match in _WARNING.finditer(said))

    # --- reading ----------------------------------------------------------------------------

    def read(self) -> Lock:
        """Return uv's answer without credentials and machine paths, its sdists held to the policy."""
        try:
            data = (self.scratch / "pylock.toml").read_bytes()
        except OSError as error:
            raise EngineFailed("uv ended well and wrote no lock", hint="check the version of uv") from error
        entries = read_plain(data.decode("utf-8"))
        if entries is None:
            tables = load(data, path="uv's answer").get("packages", [])
            if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
                raise EngineFailed("uv's answer is not a lock", hint="check the version of uv")
            entries = tuple(self.entry(table) for table in tables)
        return Lock(
            created_by="envid",
            distributions=tuple(self.permitted(entry) for entry in entries),
            requires_python=self.request.requires_python,
            environments=self.request.environments,
        )

    def entry(self, table: dict[str, Any]) -> LockedDistribution:
        name = str(table.get("name"))
        vcs = table.get("vcs")
        if isinstance(vcs, dict) and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", str(vcs.get("commit-id"))):
            raise DependencyRefused(f"{name}: no full commit id is known", package=name, hint='name one: rev = "..."')
        fields = ("wheels", "sdist", "archive", "directory", "vcs")
        placed = {**table, **{key: self.placed(table[key], name, key) for key in fields if key in table}}
        if "wheels" in placed:
            placed["wheels"] = _once(placed["wheels"], name)
        return distribution(placed, where=name, path="uv's answer", drop_credentials=True)

    def permitted(self, entry: LockedDistribution) -> LockedDistribution:
        """Return ``entry`` without a source archive that nobody allowed; raise SdistRefused when nothing is left."""
        name = entry.name
        allowed = name in self.request.allow_sdist
        if entry.archive is not None and not allowed and _SDIST.search(entry.archive.filename):
            raise SdistRefused(
                f"{name} comes as a source archive ({entry.archive.filename}), and installing it runs its code",
                package=name, hint=f'allow it by name: allow-sdist = ["{name}"], or name a wheel',
            )  # fmt: skip
        if entry.sdist is not None and not allowed:
            entry = replace(entry, sdist=None)
        if not (entry.wheels or entry.sdist or entry.archive or entry.source):
            raise SdistRefused(
                f"{name} {entry.version} has no wheel, and building it runs its code", package=name,
                hint=f'allow it by name: allow-sdist = ["{name}"]',
            )  # fmt: skip
        return entry

    def placed(self, given: object, name: str, kind: str) -> object:
        """Return the value of wheels, sdist, archive, directory or vcs, URLs clean and paths relative to the lock."""
        if isinstance(given, list):
            return [self.placed(item, name, kind) for item in given]
        if not isinstance(given, dict):
            return given
        table = {key: value for key, value in given.items() if key != "upload-time"}
        url, path = table.get("url"), table.get("path")
        if isinstance(url, str) and url.startswith("file:") and "commit-id" not in table:
            path = unquote(urlsplit(url).path)
            table.pop("url")
        elif isinstance(url, str):
            table["url"] = clean_url(url)
        if isinstance(path, str):
            table["path"] = self.relative(path, kind=kind)
        if "hashes" in table and not table["hashes"]:
            raise UnhashedArtifact(f"{name}: the index gives no sha256 and uv computed none", package=name)
        return table

    def relative(self, path: str, *, kind: str) -> str:
        """Return ``path`` (as uv writes it, from the generated project) as the lock has it.

        What the project asks for by path is found from the lock. A file that a local index offers goes
        by its name: where that index lies is a fact of this machine.
        """
        absolute = os.path.normpath(self.scratch / path)
        if kind in ("wheels", "sdist"):
            return f"wheelhouse/{os.path.basename(absolute)}"
        # A symbolic link on the way to the project must not show in the path.
        root = str(self.request.root)
        real = os.path.realpath(root)
        if absolute == real or absolute.startswith(real + os.sep):
            absolute = root + absolute[len(real) :]
        return Path(os.path.relpath(absolute, self.request.lock_path.parent)).as_posix()

    def gap(self, lock: Lock) -> tuple[NoCompatibleArtifact, Target] | None:
        """Return why some declared target cannot be served, and which; None when all can."""
        for target in self.request.targets:
            try:
                select(lock, target)
            except NoCompatibleArtifact as error:
                return error, target
            except IdentityUnknown as error:
                # The lock is right, and serves each patch release; it is the short target that says too little.
                self.undecided[target.name] = f"{error.message}; {error.hint}"
        return None


def settled_forks(request: ResolveRequest) -> tuple[str, ...]:
    """Return constraints that keep what targets take of distributions locked in several versions.

    uv prefers the versions of the lock before, but of several it prefers the highest everywhere: each
    run would first have to find out again which target cannot use it.
    """
    if request.previous is None or not request.settled:
        return ()
    entries = [entry for entry in request.previous.distributions if entry.wheels and entry.version and entry.marker]
    count: dict[str, set[str]] = {}
    for entry in entries:
        count.setdefault(entry.name, set()).add(str(entry.version))
    return tuple(f"{entry.name}=={entry.version} ; {entry.marker}" for entry in entries if len(count[entry.name]) > 1)


def _locked_on(lock: Lock, name: str, target: Target) -> str | None:
    for entry in lock.distributions:
        if entry.name == name and (entry.marker is None or truth(entry.marker, target) is not False):
            return entry.version
    return None


def _once(wheels: object, name: str) -> object:
    """Return uv's wheels with each file once: a local folder and an index may both offer it.

    The place that is a URL is kept, because where a folder lies is a fact of this machine. Raises
    Rehashed when the two do not have the same bytes.
    """
    if not isinstance(wheels, list) or not all(isinstance(table, dict) for table in wheels):
        return wheels
    found: dict[str, dict[str, Any]] = {}
    for table in wheels:
        filename = unquote(str(table.get("url") or table.get("path"))).rpartition("/")[2]
        other = found.setdefault(filename, table)
        digests = [str(one["hashes"].get("sha256")) if isinstance(one.get("hashes"), dict) else "none"
                   for one in (other, table)]  # fmt: skip
        if digests[0] != digests[1]:
            raise Rehashed(
                f"{name}: {filename} is offered with sha256 {digests[0]} in one place and with {digests[1]} in another",
                package=name, file=filename, expected=digests[0], actual=digests[1],
                hint="find out which of the two is right, and take the other place out of the index settings",
            )  # fmt: skip
        if "url" in table and "url" not in other:
            found[filename] = table
    return list(found.values())


def known_secrets(request: ResolveRequest) -> tuple[str, ...]:
    """Return every secret that the request carries, so that none appears in a message."""
    found: list[str] = []
    for name, value in request.variables.items():
        if name.endswith("_PASSWORD") and name.startswith("UV_"):
            found.append(value)
        elif name.startswith(("UV_", "PIP_")) and "://" in value:
            for part in value.split():
                found += [*secrets_of(part), *secrets_of(part.partition("=")[2])]
    for text in _texts(request.user_settings):
        if "://" in text:
            found += secrets_of(text)
    return tuple(sorted({secret for secret in found if secret}))


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def version_of(binary: str) -> str:
    """Return the version of a uv binary; raise ToolchainError when it is not one this module is tested with."""
    done = process.run([binary, "--version"], env=process.environment(), timeout=60.0)
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", done.stdout)
    if done.status != 0 or found is None:
        raise ToolchainError(f"{os.path.basename(binary)} does not say its version", hint="reinstall the `uv` package")
    number = (int(found[1]), int(found[2]))
    if not TESTED[0] <= number < TESTED[1]:
        low, high = (".".join(map(str, bound)) for bound in TESTED)
        raise ToolchainError(
            f"uv {found[1]}.{found[2]}.{found[3]} is outside the tested range >={low},<{high}",
            hint=f'install "uv>={low},<{high}"',
        )
    return f"{found[1]}.{found[2]}.{found[3]}"
