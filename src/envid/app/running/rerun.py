"""The run that need not be: nothing that the command reads has changed, and what it made is in place.

The other half of ``app.recall`` for ``envid run``. What was made is remembered as a private answer, bound to one digest
of all that the run depends on: the words of the command line, the bytes of ``pyproject.toml``, lock and inputs, the
variables that count, the interpreter and the programs, the code of envid. Outputs are compared by content, modes and
names. Any doubt at all, and every unusual word, is left to ``app.run``.
"""

import os

from envid.app import recall
from envid.app.running import inputs, outputs, program
from envid.errors import EnvidError
from envid.store import sidecar

_LISTS = ("--in", "--out")
_REPEATED = ("--env", "--env-pass")
_VALUED = ("--layer", "--name", "--venv", "--project", "--wait")
_FLAGS = ("--quiet", "--offline", "--strict", "--clean")
_MODULES = (
    "app/running/aside.py", "app/running/foreign.py", "app/running/inputs.py", "app/running/ledger.py",
    "app/running/outputs.py", "app/running/performing.py", "app/running/products.py", "app/running/program.py",
    "app/running/rerun.py", "app/running/run.py", "app/running/surroundings.py", "app/running/task.py",
    "app/running/turns.py", "app/verify.py", "manifest.py", "process.py", "slot.py",
)  # fmt: skip


class Words:
    """What of a command line the key depends on."""

    __slots__ = ("argv", "inputs", "layer", "name", "named", "outputs", "project", "venv")

    def __init__(
        self, *, argv: list[str], inputs: list[str], outputs: list[str], named: list[str], layer: str | None = None,
        name: str = "default", venv: str | None = None, project: str | None = None,
    ) -> None:  # fmt: skip
        self.argv = argv
        self.inputs = inputs
        self.outputs = outputs
        self.named = named
        self.layer = layer or "env"
        self.name = name
        self.venv = venv
        self.project = project


def parse(arguments: list[str]) -> Words | None:
    """Return the words of an ordinary command line, as the grammar in ``surface.commands.run`` has it; else None."""
    if arguments[:1] != ["run"] or "--" not in arguments:
        return None
    end = arguments.index("--")
    options: dict[str, str] = {}
    lists: dict[str, list[str]] = {name: [] for name in (*_LISTS, *_REPEATED)}
    at = 1
    while at < end:
        word = arguments[at]
        at += 1
        if word in _FLAGS:
            continue
        start = at
        most = end if word in _LISTS else min(at + 1, end)
        while at < most and not arguments[at].startswith("-"):
            at += 1
        if at == start:
            return None
        if word in lists:
            lists[word] += arguments[start:at]
        elif word in _VALUED and word not in options:
            options[word] = arguments[start]
        else:
            return None
    argv = arguments[end + 1 :]
    if not argv or not argv[0] or not lists["--out"]:
        return None
    return Words(
        argv=argv, inputs=lists["--in"], outputs=lists["--out"], named=lists["--env"], layer=options.get("--layer"),
        name=options.get("--name", "default"), venv=options.get("--venv"), project=options.get("--project"),
    )  # fmt: skip


class Bound:
    """One command line on one state of the project: where its answer is, and the digest of all it depends on."""

    __slots__ = ("directory", "name", "outputs", "request", "root")

    def __init__(self, root: str, outputs: list[str], directory: str, name: str, request: bytes) -> None:
        self.root = root
        self.outputs = outputs
        self.directory = directory
        self.name = name
        self.request = request


def bind(words: Words) -> Bound | None:
    """Return what ``words`` ask of the project as it is on disk now; None for an unusual question.

    Raises EnvidError, OSError, ValueError, each of which means the same.
    """
    place = recall.find_project(words.project)
    cache = recall.cache_directory(os.environ, place)
    if cache is None or place is None or os.name != "posix":
        return None
    root = os.path.realpath(place)
    environment = program.environment_of(place, words.venv)
    found = program.find(words.argv[0], root, program.search_path(environment, os.environ))
    if found is None:
        return None
    declared = outputs.declared(words.outputs)
    pruned = [path for path, _ in declared]
    for own in (environment, cache):
        real = os.path.realpath(own) if own else ""
        if real.startswith(f"{root}/"):
            pruned.append(real[len(root) + 1 :])
    said = [place, root, words.layer, words.name, words.venv or ""]
    for several in (words.inputs, words.outputs, words.named, words.argv):
        said += [str(len(several)), *several]
    facts = [*_files(place, words.name), *_environment(environment)]
    try:
        files = program.chain(found, root, program.search_path(environment, os.environ))
    except program.Volatile:
        if not program.is_within(found, environment):
            return None
        files = [found]
    facts += [
        found,
        *(f"{path} {program.stamp(path)}" for path in files),
        *recall.host_facts(),
        *recall.code_facts(_MODULES),
    ]
    for name in words.named:
        value = os.environ.get(name)
        facts.append("-" if value is None else f"+{value}")
    paths = pruned[: len(declared)]
    rows = inputs.measure(root, words.inputs, pruned=pruned, words=words.argv, outputs=paths)
    for path, measured in rows.items():
        facts += [path, measured]
    directory = os.path.join(cache, "answers-v1")
    return Bound(root, paths, directory, recall.bound(said).hex(), recall.bound([*said, *facts]))


def _files(place: str, name: str) -> list[str]:
    if "/" in name:
        raise ValueError(name)
    lock = "pylock.toml" if name == "default" else f"pylock.{name}.toml"
    return [outputs.digest_of(path) for path in (f"{place}/pyproject.toml", f"{place}/lockfiles/{lock}")]


def _environment(environment: str | None) -> list[str]:
    if environment is None:
        return ["-"]
    configuration = f"{environment}/pyvenv.cfg"
    python = f"{environment}/bin/python"
    return [environment, outputs.digest_of(configuration), os.path.realpath(python), program.stamp(python)]


def unchanged(arguments: list[str]) -> str | None:
    """Return what there is to say of a run that need not be, or None: it must be looked at."""
    words = parse(arguments)
    try:
        bound = None if words is None else bind(words)
        data = None if bound is None else sidecar.read_private(bound.directory, bound.name)
        answer = None if bound is None or data is None else sidecar.decode(bound.request, data)
        if bound is None or answer is None:
            return None
        _, said, document = answer
        rows = decoded(document)
        for output in bound.outputs:
            if not outputs.has_real_parents(bound.root, output) or any(
                os.path.lexists(f"{bound.root}/{outputs.beside(output, what)}") for what in inputs.OWN
            ):
                return None
        if outputs.differing(bound.root, bound.outputs, rows) != ([], []):
            return None
        return said.decode("utf-8")
    except (EnvidError, OSError, ValueError):
        return None


def request_of(words: Words) -> bytes | None:
    """Return the digest of what ``words`` ask now; None for an unusual question."""
    try:
        bound = bind(words)
    except (EnvidError, OSError, ValueError):
        return None
    return None if bound is None else bound.request


def encoded(rows: dict[str, outputs.Row]) -> bytes:
    """Return what was made, as it is remembered."""
    fields: list[str] = []
    for path, (kind, mode, size, digest, target) in rows.items():
        fields += [path, kind, str(mode), str(size), digest, target]
    # No path has a NUL in it.
    return "\0".join(fields).encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> dict[str, outputs.Row]:
    """Return what ``encoded`` wrote; raise ValueError."""
    fields = data.decode("utf-8", "surrogateescape").split("\0")
    rows: dict[str, outputs.Row] = {}
    for at in range(0, len(fields), 6):
        path, kind, mode, size, digest, target = fields[at : at + 6]
        rows[path] = (kind, int(mode), int(size), digest, target)
    return rows
