"""The components of an identity, measured from the project, the target and what the target takes.

Each component has one function here, found through one table; a component that the layer does
not list is not measured, so that `--layer wheels` needs neither a compiler nor a backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from envid.app.project import Site, environment_place, lock_file
from envid.app.selecting import Aim
from envid.app.sources import tree_digest
from envid.errors import BackendNotFound, ConfigError, EnvidError, IdentityUnknown, UnsafePath
from envid.process import environment, run
from envid.values import component
from envid.values.artifact import Artifact, Lock, Resolution, Selected
from envid.values.digest import JSONValue, blake3_hex
from envid.values.frozen import dataclass
from envid.values.interpreter import MARKERS, Interpreter
from envid.values.marker import truth, variables
from envid.values.target import marker_environment
from envid.values.wheel_tags import wheels_floor
from envid.whole import open_regular

BACKEND_PROTOCOL: Final = 1
"""The protocol that envid speaks with generator backends."""
MAX_FACT: Final = 256
"""Characters of a command's output that are kept as text; longer output is kept as its digest."""
FACT_TIMEOUT: Final = 60.0
"""Seconds."""

FOREIGN: Final = "use --layer env or --layer wheels for a target that is not this host, or run envid there"


REPEATABLE: Final = frozenset(
    {"python", "python-build", "platform", "markers", "selection", "distributions", "prefix", "salt"}
)
"""Components that the lock, pyproject.toml, the interpreter and envid's code determine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an identity is measured of."""

    ws: Site
    name: str
    """Of the lock."""
    lock: Lock | bytes
    aim: Aim
    resolution: Resolution
    layer: str
    venv: str | None = None
    past: bool = False
    """Project and lock are of an earlier revision; what is on disk is not what they meant."""


def asks_host(components: tuple[str, ...], resolution: Resolution) -> bool:
    """Return whether any of ``components`` must be measured on a host that fits the target."""
    wanted = {"python-build", "prefix"} | ({"build", "platform"} if _built(resolution) else set())
    return not wanted.isdisjoint(components)


def measure_components(subject: Subject, components: tuple[str, ...]) -> dict[str, JSONValue]:
    """Return the values of ``components``; raise IdentityUnknown for one that cannot be measured here."""
    values: dict[str, JSONValue] = {}
    for name in components:
        try:
            values[name] = MEASURES[name](subject)
        except IdentityUnknown as error:
            hint = error.hint or FOREIGN
            raise IdentityUnknown(f"component `{name}`: {error.message}", hint=hint, component=name) from error
    return values


def is_repeatable(values: Mapping[str, JSONValue]) -> bool:
    """Return whether the same bytes of pyproject.toml and lock, on this host, must give ``values`` again."""
    empty: tuple[JSONValue, ...] = (None, [])
    return all(name in REPEATABLE or (name in ("local", "build") and values[name] in empty) for name in values)


def _python(subject: Subject) -> JSONValue:
    target = subject.aim.target
    return component.python(implementation=target.implementation, version=target.python, abi=target.abi)


def _host(subject: Subject, what: str) -> Interpreter:
    if subject.aim.interpreter is None:
        raise IdentityUnknown(f"{what} of {subject.aim.target.name} cannot be measured on another host", hint=FOREIGN)
    return subject.aim.interpreter


def _python_build(subject: Subject) -> JSONValue:
    host = _host(subject, "the interpreter")
    return component.python_build(
        version=host.version, soabi=host.soabi, free_threaded=host.free_threaded, debug=host.debug,
        pointer_bits=host.pointer_bits, byteorder=host.byteorder,
    )  # fmt: skip


def _platform(subject: Subject) -> JSONValue:
    target = subject.aim.target
    if _built(subject.resolution):
        host = _host(subject, "the libc that what is built from source will run on")
        version = host.platform.split("_")
        # Windows names no version in its tags, and what is built there depends on none.
        exact = f"{version[1]}.{version[2]}" if target.libc_version is not None else "0"
        return component.platform(os=target.os, arch=target.arch, libc=target.libc, floor=None, exact=exact)
    artifacts = [item.artifact for item in subject.resolution.selected]
    floor = wheels_floor([artifact.filename for artifact in artifacts if artifact is not None], target)
    version_text = None if floor is None else floor["version"]
    return component.platform(os=target.os, arch=target.arch, libc=target.libc, floor=version_text)


def _markers(subject: Subject) -> JSONValue:
    target, resolution = subject.aim.target, subject.resolution
    wanted = {name for name in resolution.consulted if name not in component.RELEASE_MARKERS}
    # `python_full_version >= "3.10"` mentions the patch release and does not depend on it: recording it would give two
    # keys to environments that no byte tells apart, and the host a key that no target in its short form has.
    for marker in resolution.markers:
        mentioned = variables(marker)
        if not mentioned.isdisjoint(component.RELEASE_MARKERS) and truth(marker, target.short) is None:
            wanted |= mentioned.intersection(component.RELEASE_MARKERS)
    known = marker_environment(target)
    for name in wanted.intersection(MARKERS):
        if name not in known:
            raise IdentityUnknown(f"the lock depends on {name}, which {target.name} leaves open")
    return component.markers({name: known[name] for name in wanted if name in known})


def _selection(subject: Subject) -> JSONValue:
    settings = subject.ws.intent.lock_settings(subject.name)
    return component.selection(lock=subject.name, extras=settings.extras, groups=settings.groups)


def _distributions(subject: Subject) -> JSONValue:
    return component.distributions(
        (item.name, item.version, _kind(item), None if item.artifact is None else item.artifact.sha256)
        for item in subject.resolution.selected
    )


def _kind(item: Selected) -> str:
    if item.artifact is not None:
        return item.artifact.kind
    if item.source is None:
        raise IdentityUnknown(f"nothing is selected for {item.name}", package=item.name)
    if item.source.kind == "vcs":
        return "vcs"
    return "editable" if item.source.editable else "directory"


def _local(subject: Subject) -> JSONValue:
    return component.local(
        (item.name, _kind(item), _content(subject, item), item.source.subdirectory or "")
        for item in subject.resolution.selected
        if item.source is not None
    )


def _content(subject: Subject, item: Selected) -> str:
    if item.artifact is not None:
        return item.artifact.sha256
    source = item.source
    if source is not None and source.kind == "vcs" and source.commit is not None:
        return source.commit.lower()
    if source is not None and source.kind == "directory" and source.path is not None:
        if subject.past:
            raise IdentityUnknown(
                f"the source of {item.name} is only here as it is now", package=item.name, hint="use --layer wheels"
            )
        base = os.path.dirname(lock_file(subject.ws.place, subject.name))
        return tree_digest(os.path.normpath(os.path.join(base, source.path)), package=item.name)
    raise IdentityUnknown(f"the content of the source of {item.name} is not known", package=item.name)


def _is_wheel(artifact: Artifact) -> bool:
    return artifact.kind == "wheel" or (artifact.kind == "archive" and artifact.filename.endswith(".whl"))


def _built(resolution: Resolution) -> list[Selected]:
    return [item for item in resolution.selected if item.artifact is None or not _is_wheel(item.artifact)]


def _build(subject: Subject) -> JSONValue:
    built = _built(subject.resolution)
    if not built:
        return None
    _host(subject, f"the compiler that builds {built[0].name}")
    rows = [(item.name, _kind(item), _content(subject, item)) for item in built]
    return component.build(sources=rows, compiler=_compiler())


def _compiler() -> str | None:
    """Return how the C compiler that build backends find by default names itself; None where there is none."""
    if os.name != "posix":
        raise IdentityUnknown(
            "which compiler a build would use cannot be told on this system",
            hint="allow no source distribution (allow-sdist), or use --layer wheels",
        )
    import shlex
    import sysconfig

    words = shlex.split(str(sysconfig.get_config_var("CC") or "cc"))
    for program in dict.fromkeys((words[0], "cc")):
        try:
            said = run([program, "--version"], env=environment(), timeout=FACT_TIMEOUT)
        except EnvidError:
            continue
        first = said.stdout.split("\n", 1)[0].strip()
        if said.status == 0 and first:
            return first
    return None


def _prefix(subject: Subject) -> JSONValue:
    host = _host(subject, "the place of the interpreter")
    return component.prefix(interpreter=host.executable, environment=environment_place(subject.ws.place, subject.venv))


def _generator(subject: Subject) -> JSONValue:
    settings = subject.ws.intent.settings
    if settings.backend is None:
        raise ConfigError(
            f"the layer {subject.layer} needs a generator, and [tool.envid.adapters] names no backend",
            hint="set `backend`, or use --layer env",
        )
    code = tree_digest(_backend_directory(settings.backend), package=f"backend {settings.backend}")
    return component.generator(
        backend=settings.backend, protocol=BACKEND_PROTOCOL, code=code, options=settings.backend_options
    )


def _backend_directory(backend: str) -> str:
    """Return the package directory of a backend, found without running any of its code."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found = [entry for entry in entry_points(group="envid.backends") if entry.name == backend]
    if not found:
        raise BackendNotFound(f"no installed distribution offers the backend {backend}", hint="install it beside envid")
    first, *rest = found[0].module.split(".")
    # Only the top level: looking for the spec of a submodule would import its parents.
    spec = find_spec(first)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        directory = os.path.join(place, *rest)
        if os.path.isdir(directory):
            return directory
        if rest and os.path.isfile(f"{directory}.py"):
            return os.path.dirname(directory)
    raise BackendNotFound(f"the code of the backend {backend} is not to be found", hint="a backend is a package")


def _facts(subject: Subject) -> JSONValue:
    layers = subject.ws.intent.settings.layers
    declared = layers[subject.layer].facts if subject.layer in layers else {}
    if subject.past and not all(isinstance(fact, str) for fact in declared.values()):
        raise IdentityUnknown("files and programs are only here as they are now", hint="use another layer")
    return component.facts({name: _fact(subject.ws, name, declared[name]) for name in declared})


def _fact(ws: Site, name: str, value: object) -> Mapping[str, str]:
    if isinstance(value, str):
        return {"value": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, given),) = value.items()
        if kind == "value" and isinstance(given, str):
            return {"value": given}
        if kind == "file" and isinstance(given, str):
            return {"file": _file_digest(ws, name, given)}
        if kind == "command" and isinstance(given, list) and given and all(isinstance(word, str) for word in given):
            return {"command": _said(ws, name, given)}
    raise ConfigError(
        f"the fact {name} is neither text nor a table with one of `value`, `file`, `command`",
        hint='for example: otp = { command = ["erl", "-version"] }',
    )


def _file_digest(ws: Site, name: str, given: str) -> str:
    root = os.path.realpath(ws.place)
    path = os.path.realpath(os.path.join(root, given))
    if os.path.isabs(given) or not path.startswith(root + os.sep):
        raise UnsafePath(f"the file of the fact {name} is outside the project", path=given)
    if not os.path.isfile(path):
        raise IdentityUnknown(f"the fact {name}: there is no file {given}", hint="mend the path in pyproject.toml")
    try:
        with open_regular(path) as stream:
            return blake3_hex(stream.read())
    except OSError as error:
        raise IdentityUnknown(f"the fact {name}: cannot read {given}: {error.strerror}") from error


def _said(ws: Site, name: str, command: list[str]) -> str:
    from unicodedata import normalize

    try:
        done = run(command, env=environment(), cwd=ws.place, timeout=FACT_TIMEOUT)
    except EnvidError as error:
        raise IdentityUnknown(f"the fact {name}: {error.message}", hint="install it, or drop the fact") from error
    if done.status != 0:
        raise IdentityUnknown(
            f"the fact {name}: {command[0]} exited with {done.status}", hint=f"run it yourself: {' '.join(command)}"
        )
    text = normalize("NFC", done.stdout.strip())
    return text if len(text) <= MAX_FACT else f"blake3:{blake3_hex(text.encode())}"


def _salt(subject: Subject) -> JSONValue:
    return component.salt(subject.ws.intent.settings.salt)


MEASURES: Final[Mapping[str, Callable[[Subject], JSONValue]]] = {
    "python": _python,
    "python-build": _python_build,
    "platform": _platform,
    "markers": _markers,
    "selection": _selection,
    "distributions": _distributions,
    "local": _local,
    "build": _build,
    "prefix": _prefix,
    "generator": _generator,
    "facts": _facts,
    "salt": _salt,
}
"""Component to its measure; a test holds the keys equal to ``identity.COMPONENTS``."""
