"""Hot answers: what the same question was answered before, given again with nothing of envid loaded.

Every import here is paid by every CI job: sys, os, blake3, and envid's own sidecar. No dataclass,
no typing, no pathlib. Anything unusual in a question makes it None, and the cold path answers.
The answer holds for the same bytes of pyproject.toml and lock, the same options, the same
interpreter and host, and the same code of envid; all of that is one digest, which the sidecar is bound to.
"""

import os
import sys

from blake3 import blake3

from envid.store import sidecar

VERBS = ("key", "identity", "lock", "verify")
_VALUED = ("--layer", "--target", "--name", "--project", "--venv")
_FLAGS = ("--json", "--quiet", "--offline", "--check", "--quick")
DECISIVE = (
    "identity.py", "app/keys.py", "app/measuring.py", "app/checking.py", "lock/select.py", "lock/reader.py",
    "lock/pylock.py", "lock/freshness.py", "values/component.py", "values/marker.py", "values/target.py",
    "values/wheel_tags.py", "values/digest.py",
)  # fmt: skip
"""Modules that make the answers. Where envid runs from a checkout, every one of its modules is looked at instead."""
VERIFYING = (
    "app/asking.py", "app/knowledge.py", "app/members.py", "app/outcome.py", "app/project.py", "app/recall.py",
    "app/seeds.py", "app/selecting.py", "app/sourced.py", "app/sources.py", "app/still.py", "app/storing.py",
    "app/tracked.py", "app/trust.py", "app/verify.py", "app/workspace.py", "atomic.py", "errors.py", "gate.py",
    "guard.py", "installed/agreement.py", "installed/archive.py", "installed/bytecode.py", "installed/check.py",
    "installed/compiled.py", "installed/distributions.py", "installed/entry_points.py", "installed/expected.py",
    "installed/files.py", "installed/hashing.py", "installed/interpreter.py", "installed/judged.py",
    "installed/launcher.py", "installed/listing.py", "installed/marks.py", "installed/marshalled.py",
    "installed/measuring.py", "installed/moved.py", "installed/neighbours.py", "installed/note.py",
    "installed/prefix.py", "installed/proof.py", "installed/published.py", "installed/reading.py",
    "installed/record.py", "installed/statindex.py", "installed/strays.py", "installed/walk.py", "installed/wheel.py",
    "installed/wheelhouse.py", "installed/witness.py", "lock/canonical.py", "lock/entries.py", "lock/toml.py",
    "lock/write.py", "process.py", "slot.py", "store/cache.py", "store/contents.py", "store/counts.py",
    "store/entry.py", "store/place.py", "store/roots.py", "store/sidecar.py", "store/tally.py", "store/wheels.py",
    "surface/ci.py", "surface/cli.py", "surface/commands/verify.py", "surface/console.py", "surface/options.py",
    "surface/session.py", "surface/wire.py", "values/amount.py", "values/artifact.py", "values/contents.py",
    "values/finding.py", "values/frozen.py", "values/inputs.py", "values/intent.py", "values/interpreter.py",
    "values/nearest.py", "values/progress.py", "values/requirement.py", "whole.py",
)  # fmt: skip
"""Every other module that `envid verify` loads; it alone pays for looking at them."""
_MAX_INPUT = 64 * 1024 * 1024


class Question:
    """One command line on one state of the project: where its sidecar is, and the digest of all it depends on."""

    __slots__ = ("directory", "files", "name", "request", "verb")

    def __init__(self, verb: str, directory: str, name: str, request: bytes, files: dict[str, str]) -> None:
        self.verb = verb
        self.directory = directory
        self.name = name
        self.request = request
        self.files = files


def recall(argv: list[str]) -> tuple[str, int] | None:
    """Return ``(stdout, exit status)`` of an answer that still holds, or None: compute it."""
    question = ask(argv)
    if question is None:
        return None
    data = sidecar.read_private(question.directory, question.name)
    answer = None if data is None else sidecar.decode(question.request, data)
    if answer is None:
        return None
    status, stdout, document = answer
    # What `verify` says depends on an environment, too: `app.still` looks at it.
    if question.verb == "verify":
        return None
    if question.verb != "lock" and not _says(document, stdout):
        return None
    try:
        return stdout.decode("ascii"), status
    except UnicodeDecodeError:
        return None


def _says(document: bytes, stdout: bytes) -> bool:
    """Return whether ``stdout`` tells ``document`` or the key that follows from it."""
    head, _, rest = document.partition(b'"layer":"')
    layer, quote, _ = rest.partition(b'"')
    if not head or not quote or not layer.isascii():
        return False
    name = layer.decode("ascii")
    digest = blake3(document, derive_key_context=f"envid-identity/1 {name}").hexdigest()
    return f"envid1-{name}-{digest}".encode() in stdout or document in stdout


def ask(argv: list[str]) -> Question | None:
    """Return the question that ``argv`` asks of the project as it is on disk now; None for an unusual one."""
    options = parse(argv)
    if options is None or os.name != "posix":
        return None
    root = find_project(options.get("--project"))
    cache = cache_directory(os.environ, root)
    if cache is None or root is None:
        return None
    paths = _inputs(root, options)
    if paths is None:
        return None
    files = {}
    for path in paths:
        digest = _digest(path)
        if digest is None:
            return None
        files[path] = digest
    said = [f"{name}={options[name]}" for name in sorted(options)]
    slot = bound([root, *said])
    try:
        facts = [*host_facts(), *code_facts(VERIFYING if options[""] == "verify" else ())]
    except (OSError, ValueError):
        return None
    request = bound([root, *said, *facts, *(f"{path}={files[path]}" for path in sorted(files))])
    return Question(options[""], os.path.join(cache, "answers-v1"), slot.hex(), request, files)


def parse(argv: list[str]) -> dict[str, str] | None:
    """Return the options of an ordinary ``key``, ``identity`` or ``lock --check``, the verb under ``""``; else None."""
    if not argv or argv[0] not in VERBS:
        return None
    options = {"": argv[0]}
    rest = iter(argv[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _VALUED:
            given = value if equals else next(rest, None)
            if given is None or given.startswith("-"):
                return None
        elif name in _FLAGS and not equals:
            given = "yes"
        else:
            return None
        if name in options:
            return None
        options[name] = given
    checking = options[""] == "lock"
    if checking is not ("--check" in options) or (checking and ("--layer" in options or "--target" in options)):
        return None
    return options


def cache_directory(variables: "os._Environ[str] | dict[str, str]", root: str | None = None) -> str | None:
    """Return where answers are kept: ``ENVID_CACHE_DIR``, else the user's cache directory.

    A relative one is below the project ``root``: the caller's directory would make one cache for each of them.

    Never ``[tool.envid.cache] dir``: a directory that a repository brings along must not answer for envid.
    """
    given = variables.get("ENVID_CACHE_DIR")
    if given:
        if not os.path.isabs(given) and root is None:
            return None
        return os.path.abspath(os.path.join(root or "", given))
    home = variables.get("HOME")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "envid") if home else None
    xdg = variables.get("XDG_CACHE_HOME", "")
    if xdg.strip():
        return os.path.join(xdg, "envid") if os.path.isabs(xdg) else None
    return os.path.join(home, ".cache", "envid") if home else None


def find_project(given: str | None) -> str | None:
    """Return the absolute directory ``given``, or the nearest one with a pyproject.toml; None where there is none."""
    try:
        if given is not None:
            return os.path.abspath(given)
        current = os.getcwd()
    except OSError:
        return None
    while not os.path.isfile(os.path.join(current, "pyproject.toml")):
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent
    return current


def _inputs(root: str, options: dict[str, str]) -> list[str] | None:
    directory = os.path.join(root, "lockfiles")
    paths = [os.path.join(root, "pyproject.toml")]
    # `verify` looks at every lock, whichever of them is installed.
    name = None if options[""] == "verify" else options.get("--name", None if options[""] == "lock" else "default")
    if name is not None:
        if "/" in name or os.sep in name:
            return None
        return [*paths, os.path.join(directory, "pylock.toml" if name == "default" else f"pylock.{name}.toml")]
    try:
        found = sorted(os.listdir(directory))
    except OSError:
        return None
    locks = [one for one in found if one.startswith("pylock.") and one.endswith(".toml")]
    return paths + [os.path.join(directory, one) for one in locks]


def _digest(path: str) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    digest = blake3()
    left = _MAX_INPUT
    try:
        # By pieces: the first touch of two fresh megabytes costs three times what hashing them does.
        while left > 0 and (piece := os.read(handle, 65536)):
            digest.update(piece)
            left -= len(piece)
    except OSError:
        return None
    finally:
        os.close(handle)
    return digest.hexdigest() if left > 0 else None


def host_facts() -> list[str]:
    """Return what of the interpreter and the host an answer may depend on, as text; raise OSError, ValueError."""
    executable = getattr(sys, "_base_executable", None) or sys.executable
    found = os.stat(executable)
    stamp = f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"
    system = os.uname()
    # The release of Darwin tells the version of macOS. Where a Linux has no glibc, nothing this quick tells which musl.
    libc = "" if system.sysname == "Darwin" else os.confstr("CS_GNU_LIBC_VERSION") or ""
    return [
        sys.version, sys.platform, sys.abiflags, sys.executable, sys.prefix, sys.base_prefix, executable, stamp, libc,
        system.sysname, system.release, system.version, system.machine,
    ]  # fmt: skip


def code_facts(more: tuple[str, ...] = ()) -> list[str]:
    """Return what tells this code of envid, and of what is installed beside it, from another."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    beside = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["blake3"].__file__ or "")))
    if os.path.dirname(package) == beside:
        # Installed: every installer makes or replaces a directory entry there.
        paths = [beside, package, *(os.path.join(package, name) for name in (*DECISIVE, *more))]
    else:
        paths = [beside, *_sources(package)]
    facts = []
    for path in paths:
        found = os.stat(path)
        facts.append(f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ino}")
    return facts


def _sources(package: str) -> list[str]:
    paths = []
    waiting = [package]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            if entry.name.endswith(".py"):
                paths.append(entry.path)
            elif "." not in entry.name and entry.name != "__pycache__":
                waiting.append(entry.path)
    return sorted(paths)


def bound(parts: list[str]) -> bytes:
    """Return one digest of a list of texts."""
    # Length before text: no two lists of parts run together into the same bytes.
    framed = [f"{len(part)}:{part}" for part in parts]
    return blake3("".join(framed).encode("utf-8", "surrogateescape"), derive_key_context="envid-request/1").digest()
