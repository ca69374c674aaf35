"""A command as it runs: in place, its previous outputs put aside, everything around it looked at before and after."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from envid.app.outcome import Outcome
from envid.app.running import aside, foreign, ledger, products, surroundings
from envid.app.running.inputs import OWN, escaped, is_below
from envid.app.running.outputs import OddOutput, Row, beside
from envid.app.running.task import Measured, Task, again
from envid.app.running.turns import VARIABLE, Turn
from envid.app.workspace import Workspace
from envid.atomic import temporary_directory
from envid.errors import BadManifest, EnvidError, WriteFailed
from envid.gate import Absent, Moved, Stale, WorkPass, confirm
from envid.identity import Change
from envid.manifest import Made, decode, encode
from envid.process import attend, uninterrupted
from envid.store.cache import Bypass, Diverged, put, set_aside
from envid.store.place import Place, prepare
from envid.store.roots import remember
from envid.store.usage import using
from envid.values.frozen import dataclass, field
from envid.values.progress import Progress
from envid.whole import make_directory

NAMED: Final = 3
"""Paths that a message names before it counts the rest."""


class Verify(Protocol):
    """What ``app.verify.verify`` does; given, so that a run with nothing to do does not load it."""

    def __call__(self, ws: Workspace, *, venv: str | None, name: str, progress: Progress) -> Outcome:
        """Return the verdict on an environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why nothing was kept."""

    reason: str
    """One of ``values.reason.BYPASSES``."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """How a command ended, and what became of its outputs."""

    status: int
    refused: Refused | None
    """None: the outputs are in the store."""
    made: tuple[Made, ...] = ()
    """What is in the store."""
    left: Mapping[str, Row] = field(default_factory=dict)
    """What the command made and nothing keeps."""
    replaced: tuple[str, ...] = ()
    """Outputs that are the command's now."""
    removed: int = 0
    """Files of before that ``--clean`` removed."""
    diverged: str = ""
    """What the command made instead of what the store had lost, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An entry that cannot be restored: its manifest says what was made, and not all of that is there."""

    reason: str
    """One of ``values.reason.MISSES``."""
    manifest: bytes


def perform(
    task: Task, measured: Measured, decision: Stale | Absent, place: Place, turn: Turn, *, stdout: int | None,
    drift: Callable[[], Refused | None], known: Mapping[str, Row], lost: Lost | None,
) -> Performed:  # fmt: skip
    """Run the command of ``task`` and keep what it made, when everything allows it.

    ``drift`` tells whether the environment is another than its lock says (``drifted``). ``known``: what runs made
    of the outputs before. A command that does not end well leaves its outputs as they were. Raises
    CommandNotStarted, WriteFailed, OutputRefused for an output that is a mount point.
    """
    # Letting go of a second name changes the status of the file that keeps the first.
    joined = set(surroundings.twins(task.root, measured.inputs, task.paths).values())
    try:
        with uninterrupted():
            _put_aside(task, turn)
        # Not what envid itself puts beside the outputs.
        without = [*task.left, *(beside(path, what) for path in task.paths for what in OWN)]
        before = surroundings.look(task.root, without=without)
        stamps = surroundings.stamps(task.root, measured.inputs)
        status = _attended(task, turn, stdout)
        gone = products.missing(task.root, task.outputs)
    except BaseException:
        with uninterrupted():
            _put_back(task, turn)
        raise
    if status:
        with uninterrupted():
            _put_back(task, turn)
        refused = Refused(reason="failed", message=f"the command ended with status {status}")
        place.tally.add(measured.slot.layer, refused.reason)
        return Performed(status=status, refused=refused)
    twins = surroundings.twins(task.root, measured.inputs, task.paths)
    returned = _replaced(task, turn, gone, known)
    if gone:
        kept: Success | Refused = Refused(reason="no-output", message=f"the command did not make {_some(gone)}")
    elif returned.foreign:
        kept = _foreign(returned)
    else:
        paths = surroundings.differing(before, surroundings.look(task.root, without=without))

        def undone() -> tuple[str, ...]:
            now = surroundings.differing(before, surroundings.look(task.root, without=without))
            gone_since = [path for path in now if path in before and not os.path.lexists(f"{task.root}/{path}")]
            changed = surroundings.differing(stamps, surroundings.stamps(task.root, measured.inputs))
            return tuple(sorted({*gone_since, *changed} - joined))

        disturbed = (
            _unseen(measured)
            or _linked(twins)
            or _disturbed(measured, tuple(path for path in paths if path not in joined))
        )
        kept = disturbed or _kept(task, measured, decision.work, place, drift, lost, undone)
    replaced = tuple(path for path in task.paths if path not in gone and path not in returned.whole)
    if isinstance(kept, Refused):
        place.tally.add(measured.slot.layer, kept.reason)
        left = ledger.seen(task.root, replaced, without=returned.foreign)
        return Performed(status=0, refused=kept, left=left, replaced=replaced, removed=returned.removed)
    return Performed(
        status=0, refused=None, made=kept.made, replaced=replaced, removed=returned.removed, diverged=kept.diverged
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What was made is in the store."""

    made: tuple[Made, ...]
    diverged: str = ""


def _put_aside(task: Task, turn: Turn) -> None:
    with unmounted(task.paths):
        aside.begin(task.root, task.outputs, turn.journal)


def _put_back(task: Task, turn: Turn) -> None:
    aside.undo(task.root, task.paths, turn.journal)
    aside.close(task.root, turn.journal)


def _unseen(measured: Measured) -> Refused | None:
    if not measured.volatile:
        return None
    return Refused(
        reason="volatile",
        message=f"{escaped(measured.volatile)} leads to a program by rules of its own, as version managers do",
    )


def _linked(twins: Mapping[str, str]) -> Refused | None:
    if not twins:
        return None
    output, read = min(twins.items())
    return Refused(
        reason="odd-output",
        message=f"{escaped(output)} is the same file as the input {read} (a hard link): have the command copy it",
    )


@contextlib.contextmanager
def unmounted(paths: Sequence[str]) -> Iterator[None]:
    """Raise OutputRefused where one of the outputs ``paths`` cannot be renamed because something is mounted there."""
    try:
        yield
    except WriteFailed as error:
        cause = error.__cause__
        # A directory of the same filesystem that is mounted there as well does not look like a mount point.
        if not isinstance(cause, OSError) or cause.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        said = str(error.context.get("path", ""))
        busy = [path for path in paths if said.endswith(beside(path, "envid-aside")) or f"/{path}/" in f"{said}/"]
        raise foreign.mounted(busy[0] if busy else paths[0]) from error


def _replaced(task: Task, turn: Turn, gone: tuple[str, ...], known: Mapping[str, Row]) -> foreign.Returned:
    """Let go of the outputs of before, but for those ``gone`` now and for files that no run made."""
    with uninterrupted():
        try:
            aside.undo(task.root, gone, turn.journal)
            made = [path for path in task.paths if path not in gone]
            returned = foreign.give_back(task.root, made, known, clean=task.order.clean)
            aside.undo(task.root, returned.whole, turn.journal)
        except (WriteFailed, OSError):
            _put_back(task, turn)
            raise
        aside.finish(task.root, [path for path in made if path not in returned.whole])
        aside.close(task.root, turn.journal)
    return returned


def _foreign(returned: foreign.Returned) -> Refused:
    one = len(returned.foreign) == 1
    said = f"the command did not make {foreign.some(returned.foreign)}, which no earlier run is known to have made; "
    said += "it is where it was" if one else "they are where they were"
    if returned.whole:
        said += f", and so is all of {foreign.some(returned.whole)}, where the command left no place for that"
    return Refused(reason="foreign-files", message=said)


def _attended(task: Task, turn: Turn, stdout: int | None) -> int:
    with temporary_directory(prefix="envid-run-") as private:
        seen = {"HOME": str(private / "home"), "TMPDIR": str(private / "tmp")}
        for path in seen.values():
            make_directory(path, mode=0o700)
        try:
            return attend(
                task.order.argv, program=task.program, env={**seen, **task.variables, VARIABLE: turn.told},
                cwd=task.root, stdout=stdout, held=(turn.descriptor,),
            )  # fmt: skip
        finally:
            # Where the command took the right to write from a directory of its own.
            with contextlib.suppress(WriteFailed, OSError):
                aside.dispose(str(private))


def _disturbed(measured: Measured, paths: tuple[str, ...]) -> Refused | None:
    """Return what of the project changed, and must not have: an input counts even with the same bytes again."""
    read = [path for path in paths if escaped(path) in measured.inputs]
    if read:
        return Refused(reason="inputs-changed", message=f"while the command ran, {_some(read)} changed")
    decisive = [path for path in paths if is_below(path, ["pyproject.toml", "lockfiles"])]
    if decisive:
        return Refused(reason="moved", message=f"while the command ran, {_some(decisive)} changed")
    if paths:
        return Refused(reason="wrote-outside", message=f"the command changed {_some(paths)}, which is no output")
    return None


def _kept(
    task: Task, measured: Measured, work: WorkPass, place: Place, drift: Callable[[], Refused | None],
    lost: Lost | None, undone: Callable[[], tuple[str, ...]],
) -> Success | Refused:  # fmt: skip
    """Return what is in the store now, or why it is not; in the order in which the questions cost time."""
    try:
        products.check(task.root, task.paths)
        trouble = prepare(place)
        if trouble is not None:
            return Refused(reason=trouble.reason, message=trouble.message)
        difference = drift()
        if difference is not None:
            return difference
        with using(place, purpose="envid run"):
            return _published(task, measured, work, place, lost, undone)
    except (OddOutput, BadManifest) as error:
        return Refused(reason="odd-output", message=str(error))
    except OSError as error:
        return Refused(reason="odd-output", message=f"an output cannot be read: {error.strerror}: {error.filename}")


def _published(
    task: Task, measured: Measured, work: WorkPass, place: Place, lost: Lost | None,
    undone: Callable[[], tuple[str, ...]],
) -> Success | Refused:  # fmt: skip
    made = products.keep(place, task.root, task.paths)
    if isinstance(made, Bypass):
        return Refused(reason=made.reason, message=made.message)
    manifest = encode(made)
    try:
        # Measured last, when nothing but the entry is left to write.
        now = again(task)
    except EnvidError as error:
        return Refused(reason="inputs-changed", message=f"what the command read cannot be measured: {error.message}")
    leave = confirm(work, now.slot)
    if isinstance(leave, Moved):
        return _moved(leave.changes)
    # After the measuring: what had other bytes when the command began, and has the right ones now, was changed.
    back = undone()
    if back:
        return Refused(reason="inputs-changed", message=f"since the command began, {_some(back)} changed")
    if lost is not None:
        # No sooner: what it says of the bytes that were made first is all that is left of them.
        set_aside(place, place.entry_path(measured.slot), lost.reason)
    stored = put(place, leave, manifest)
    if isinstance(stored, Bypass):
        return Refused(reason=stored.reason, message=stored.message)
    if isinstance(stored, Diverged):
        return Refused(
            reason="diverged",
            message=f"the command made other bytes than before under {measured.slot.key}: the manifest that is kept is "
            f"{stored.first[:16]}, that of what it made now {stored.second[:16]}",
        )
    remember(place, task.root, keys=[measured.slot.key])
    return Success(made=made, diverged=_diverged(lost, made))


def _diverged(lost: Lost | None, made: tuple[Made, ...]) -> str:
    if lost is None:
        return ""
    try:
        before = {one.path: one for one in decode(lost.manifest)}
    except BadManifest:
        return ""
    now = {one.path: one for one in made}
    differing = sorted(path for path in {*before, *now} if before.get(path) != now.get(path))
    if not differing:
        return ""
    return f"the command made other bytes than those that the cache had lost: {_some(differing)}"


def _moved(changes: tuple[Change, ...]) -> Refused:
    only = all(change.component == "inputs" for change in changes)
    what = "; ".join(change.text for change in changes[:NAMED])
    return Refused(reason="inputs-changed" if only else "moved", message=f"while the command ran, {what}")


def drifted(task: Task, turn: Turn, verify: Verify, progress: Progress) -> Refused | None:
    """Return how the environment of ``task`` is not, or was not in this turn, what its lock says.

    None as well when what the command makes does not depend on that.
    """
    if not task.checks_environment or task.environment is None:
        return None
    # A verdict says how it is now; the command ran a while ago, and an installation may have mended it since.
    path = surroundings.touched(task.environment, turn.since_ns)
    if path is not None:
        return Refused(reason="moved", message=f"while the command ran, {escaped(path)} changed")
    try:
        outcome = verify(task.ws, venv=task.environment, name=task.order.name, progress=progress)
    except EnvidError as error:
        return Refused(reason="drifted", message=f"{task.environment} cannot be verified: {error.message}")
    # Whether the lock still answers pyproject.toml has no say in what is installed.
    found = [one for one in outcome.findings if one.severity == "error" and not one.code.startswith("lock.")]
    if not found:
        return None
    counted: Mapping[str, int] = {one.code: sum(other.code == one.code for other in found) for one in found}
    listed = ", ".join(f"{number} {code}" for code, number in sorted(counted.items()))
    return Refused(reason="drifted", message=f"{task.environment} is not what the lock says ({listed})")


def _some(paths: list[str] | tuple[str, ...]) -> str:
    named = ", ".join(escaped(path) for path in paths[:NAMED])
    return f"{named} and {len(paths) - NAMED} more" if len(paths) > NAMED else named
