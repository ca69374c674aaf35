"""What is to be run: a command with its inputs, outputs and variables, and the slot that all of that names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from envid.app.keys import DEFAULT_LAYER, identify_for
from envid.app.measuring import is_repeatable
from envid.app.project import read_limited
from envid.app.running import inputs, outputs, program
from envid.app.workspace import Workspace
from envid.errors import (
    CommandNotStarted,
    CredentialInConfig,
    EnvironmentNotFound,
    OutputRefused,
    ProjectNotFound,
    UsageError,
)
from envid.identity import components_of
from envid.process import PINNED
from envid.slot import Slot, narrow
from envid.values.component import refuse_secret_words
from envid.values.digest import JSONValue, canonical, derive_hex
from envid.values.frozen import dataclass
from envid.values.intent import parse_intent

LAYER: Final = "run"
"""Of the slots of commands."""
PROTOCOL: Final = 1
"""Changes when the same task would be run in another way."""
VARIABLE: Final = "envid-run-variable/1"
"""BLAKE3 ``derive_key`` context of a variable's value."""
EPOCH: Final = "315532800"
"""1980-01-01, the earliest time that a zip archive can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command line of ``envid run``."""

    argv: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str | None = None
    name: str = "default"
    venv: str | None = None
    named: tuple[str, ...] = ()
    """Variables that are passed, and whose values are part of the key."""
    passed: tuple[str, ...] = ()
    """Variables that are passed and no part of the key."""
    clean: bool = False
    """Whether an output directory holds only what the command makes, whatever was in it."""
    wait: float = 600.0
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An order as it stands in one project, before anything was measured."""

    ws: Workspace
    order: Order
    root: str
    """Real path of the project."""
    layer: str
    environment: str | None
    """Absolute path of the environment whose programs come first."""
    outputs: tuple[tuple[str, bool], ...]
    """Path, and whether it is to be a directory."""
    left: tuple[str, ...]
    """What no pattern matches and no look at the project sees: outputs, environment, envid's own directory."""
    program: str
    """Absolute path of the command's file."""
    variables: Mapping[str, str]
    """What the command sees, but for its private directories."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The outputs."""
        return tuple(path for path, _ in self.outputs)

    @property
    def checks_environment(self) -> bool:
        """Whether what the command makes depends on what is installed."""
        declared = {own: settings.components for own, settings in self.ws.intent.settings.layers.items()}
        return self.environment is not None and "distributions" in components_of(self.layer, declared)


def task_of(ws: Workspace, order: Order) -> Task:
    """Return the task of ``order`` in the project; raise UsageError, CommandNotStarted."""
    _check(order)
    root = os.path.realpath(ws.place)
    environment = program.environment_of(ws.place, order.venv)
    declared = outputs.declared(list(order.outputs))
    own = [place for place in (environment, ws.kept) if place is not None]
    inside = [path for path in (_within(root, place) for place in own) if path is not None]
    for place in own:
        if os.path.realpath(place) == root:
            inside.append("pyproject.toml")
    protected = [".git", ".venv", "pyproject.toml", "lockfiles", *inside]
    outputs.refuse_protected(root, declared, protected)
    path = program.search_path(environment, dict(ws.variables))
    found = program.find(order.argv[0], root, path)
    if found is None:
        raise CommandNotStarted(f"there is no command {inputs.escaped(order.argv[0])}", path=order.argv[0])
    return Task(
        ws=ws, order=order, root=root, layer=order.layer or DEFAULT_LAYER, environment=environment,
        outputs=tuple(declared), left=(*(output for output, _ in declared), *inside), program=found,
        variables=_variables(ws, order, environment, path),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A task as it was measured."""

    slot: Slot
    inputs: Mapping[str, str]
    """As ``inputs.measure`` gives them."""
    volatile: str
    """A program that chooses another by rules that nobody can see; empty when there is none."""
    repeatable: bool
    """Whether the same bytes of pyproject.toml, lock and inputs, on this host, must give the same slot again."""


def measure(task: Task) -> Measured:
    """Return the slot of ``task``, measured now.

    Raises InputRefused, what ``identify_for`` raises, and CredentialInConfig for a command that holds one.
    """
    ws, order = task.ws, task.order
    identified = identify_for(ws, layer=task.layer, name=order.name, venv=task.environment)
    selected = identified.identity.components.get("distributions")
    if task.environment is None and selected:
        raise EnvironmentNotFound(
            f"the layer {task.layer} depends on distributions of the lock, and there is no environment that has them",
            hint="run `envid sync`, pass --venv PATH, or take a layer of the project's own that has no distributions",
        )
    rows = inputs.measure(
        task.root, list(order.inputs), pruned=list(task.left), words=list(order.argv), outputs=list(task.paths)
    )  # fmt: skip
    for path in task.paths:
        if any(inputs.escaped(path) == one or one.startswith(f"{inputs.escaped(path)}/") for one in rows):
            raise OutputRefused(f"--out {inputs.escaped(path)} is an input as well")
    words = [inputs.escaped(word) for word in order.argv]
    try:
        refuse_secret_words(words, "the command")
    except CredentialInConfig as error:
        raise CredentialInConfig(
            error.message, hint="put it into a variable that the command reads, and pass that on: --env-pass NAME"
        ) from None
    volatile = ""
    digests: JSONValue = None
    try:
        digests = _program(task)
    except program.Volatile as error:
        volatile = str(error)
    components: dict[str, JSONValue] = {
        **identified.identity.components,
        "layer": identified.identity.layer,
        "inputs": rows,
        "command": words,
        "environment": {name: _digest(ws.variables.get(name)) for name in order.named},
        "outputs": [inputs.escaped(f"{path}/" if directory else path) for path, directory in task.outputs],
        "program": digests,
        "within": "host" if task.environment is None else "environment",
        "protocol": PROTOCOL,
    }
    # Where the environment lies is looked at anew by the identity that depends on it.
    repeatable = is_repeatable(identified.identity.components) and "prefix" not in identified.identity.components
    return Measured(
        slot=narrow(LAYER, components), inputs=rows, volatile=volatile, repeatable=repeatable and not volatile
    )


def again(task: Task) -> Measured:
    """Return ``measure`` of ``task`` with everything read from the disk once more."""
    path = os.path.join(task.ws.place, "pyproject.toml")
    data = read_limited(path, 8 * 1024 * 1024, missing=ProjectNotFound(f"there is no {path} any more"))
    from dataclasses import replace

    ws = task.ws
    if data != ws.pyproject:
        ws = replace(ws, pyproject=data, intent=parse_intent(data, path=path))
    return measure(replace(task, ws=ws))


def purpose(task: Task) -> str:
    """Return what a waiter is told that this task is."""
    return f"envid run {inputs.escaped(os.path.basename(task.order.argv[0]))} in {inputs.escaped(task.root)}"


def question(task: Task) -> str:
    """Return the name of all runs of this command for these outputs, whatever they read."""
    words = [inputs.escaped(text) for text in (*task.order.argv, "", *task.paths)]
    return derive_hex("envid-run-question/1", canonical(words))


def _check(order: Order) -> None:
    if not order.argv or not order.argv[0]:
        raise UsageError("there is no command to run", hint="envid run --in 'proto/*.proto' --out gen -- COMMAND")
    if not order.outputs:
        raise UsageError("there is no output", hint="say with --out what the command makes")
    if any("\0" in word for word in order.argv):
        raise UsageError("the command has a NUL in it")
    for name in (*order.named, *order.passed):
        if not name or "=" in name or "\0" in name or not name.isascii():
            raise UsageError(
                f"`{inputs.escaped(name)}` is not the name of a variable",
                hint="--env NAME passes a variable of the caller on; its value is not given here",
            )
    if both := set(order.named) & set(order.passed):
        raise UsageError(f"{min(both)} is given to --env and to --env-pass", hint="take one of them")


def _variables(ws: Workspace, order: Order, environment: str | None, path: str) -> dict[str, str]:
    seen = {
        "PATH": path, **PINNED, "SOURCE_DATE_EPOCH": EPOCH, "PYTHONDONTWRITEBYTECODE": "1",
        **({"VIRTUAL_ENV": environment} if environment else {}),
    }  # fmt: skip
    given = {name: ws.variables[name] for name in (*order.named, *order.passed) if name in ws.variables}
    return {**seen, **given}


def _digest(value: str | None) -> str | None:
    return None if value is None else derive_hex(VARIABLE, value.encode("utf-8", "surrogateescape"))


def _program(task: Task) -> JSONValue:
    """Return digests of the program and of its interpreters; None where the layer covers it. Raises Volatile."""
    declared = {own: settings.components for own, settings in task.ws.intent.settings.layers.items()}
    within = program.is_within(task.program, task.environment)
    if within and {"python", "distributions"} <= set(components_of(task.layer, declared)):
        return None
    try:
        files = program.chain(task.program, task.root, task.variables["PATH"])
        if within:
            files.append(os.path.realpath(f"{task.environment}/bin/python"))
        digests: list[JSONValue] = [outputs.digest_of(path) for path in dict.fromkeys(files)]
    except OSError as error:
        raise CommandNotStarted(f"cannot read {task.program}: {error.strerror}", path=task.program) from error
    return digests[0] if len(digests) == 1 else digests


def _within(root: str, place: str) -> str | None:
    real = os.path.realpath(place)
    return os.path.relpath(real, root) if real.startswith(f"{root}/") else None
