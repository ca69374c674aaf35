"""Whether a lock still answers what the project asks, told offline: fresh, stale or undecidable.

The rule is docs/freshness.md. A requirement whose range moved is judged by the versions locked for
it, never by the range alone: the answer is the same whatever ``packaging`` can say about ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envid.errors import ConfigError, IdentityUnknown, LockError
from envid.lock.select import select
from envid.lock.write import body_digest
from envid.values.artifact import Lock, NormalizedName
from envid.values.digest import JSONValue
from envid.values.finding import Finding, Severity
from envid.values.marker import truth
from envid.values.requirement import Asked, canonical_requirement
from envid.values.target import Target

State = Literal["fresh", "stale", "undecidable"]
Slot = tuple[str, tuple[str, ...], str | None]

RELOCK: Final = "run `envid lock`"

_NOUNS: Final = {
    "requirements": "the requirement", "constraints": "the constraint", "overrides": "the override",
    "targets": "the target", "extras": "the extra", "groups": "the group", "allow-sdist": "the permitted sdist",
    "indexes": "the index", "sources": "the source of", "uv": "the uv setting", "local": "the local source",
}  # fmt: skip
_REQUIREMENTS: Final = ("requirements", "constraints", "overrides")
_NAMED: Final = ("sources", "uv", "local")
"""Lists whose entries are a name, a space and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, and why: one finding per changed input."""

    state: State
    findings: tuple[Finding, ...] = ()


def judge(
    lock: Lock, data: bytes, *, inputs: Mapping[str, JSONValue], asked: Sequence[Asked], targets: Sequence[Target]
) -> Verdict:
    """Compare the inputs recorded in ``lock`` with those of now, by the rule in docs/freshness.md.

    ``data`` is the lock file, ``inputs`` and ``asked`` come from ``values.requirement``, ``targets``
    are the declared ones. Opens no file and no socket, starts no process, and raises nothing of its own.
    """
    findings = list(_edited(lock, data))
    if lock.inputs is None:
        findings += _without_inputs(lock, inputs, asked, targets)
    else:
        findings += _changes(lock.inputs, inputs, _Locked(lock=lock, targets=tuple(targets)))
    codes = {finding.code for finding in findings if finding.severity == "error"}
    state: State = "stale" if codes - {"lock.undecidable"} else "undecidable" if codes else "fresh"
    return Verdict(state=state, findings=tuple(findings))


def unsatisfied(lock: Lock, asked: Iterable[Asked], targets: Sequence[Target]) -> tuple[Finding, ...]:
    """Return a ``lock.stale`` finding for each direct requirement that the locked versions violate.

    Sees no change of a transitive dependency: the weaker check, for a lock that records no inputs.
    """
    locked = _Locked(lock=lock, targets=tuple(targets))
    found = []
    for item in asked:
        problem = locked.problem(item, lenient=True)
        if problem is not None:
            message = f"{problem}, and {item.origin} asks for `{item.text}`"
            found.append(_finding("lock.stale", item.name, message, new=item.text))
    return tuple(found)


def _edited(lock: Lock, data: bytes) -> Iterator[Finding]:
    if lock.body_digest is None:
        if lock.inputs is not None:
            message = "the lock holds no digest of itself: whether it was edited by hand cannot be told"
            yield _finding("lock.undecidable", "lock", message, severity="warning")
        return
    actual = body_digest(data)
    if actual != lock.body_digest:
        message = "the lock was changed after envid wrote it: its digest does not fit its contents"
        finding = _finding("lock.edited", "lock", message, old=actual, new=lock.body_digest)
        yield replace(finding, path=None, hint="undo the edit, or run `envid lock` to write the lock again")


def _without_inputs(
    lock: Lock, inputs: Mapping[str, JSONValue], asked: Sequence[Asked], targets: Sequence[Target]
) -> Iterator[Finding]:
    overridden = {item.name for item in _parsed(_texts(inputs.get("overrides")))}
    violated = unsatisfied(lock, (item for item in asked if item.name not in overridden), targets)
    yield from violated
    if not violated:
        message = (
            "the lock does not record what it was made for ([tool.envid.inputs] is missing): the direct requirements "
            "are satisfied, and nothing more can be told offline"
        )
        yield replace(_finding("lock.undecidable", "lock", message), path=None)


# --- the inputs, one by one ------------------------------------------------------------------


def _changes(recorded: Mapping[str, object], current: Mapping[str, JSONValue], locked: _Locked) -> Iterator[Finding]:
    for key in sorted({*recorded, *current}):
        old, new = recorded.get(key), current.get(key)
        if old == new:
            continue
        if key in _REQUIREMENTS:
            yield from _requirements(key, _texts(old), _texts(new), locked)
        elif isinstance(old, (list, tuple)) or isinstance(new, (list, tuple)):
            yield from _list(key, _texts(old), _texts(new))
        else:
            yield _scalar(key, old, new)


_SETTINGS: Final = frozenset({"resolver", "neutral", "contents", "exclude-newer"})
"""Keys of ``[tool.envid.lock]``."""


def _scalar(key: str, old: object, new: object) -> Finding:
    shown_old, shown_new = _shown(old), _shown(new)
    # As it is written in pyproject.toml: `contents` alone could be anything's.
    where = f"lock.{key}" if key in _SETTINGS else key
    if old is None:
        message = f"{where} was added: {shown_new}"
    elif new is None:
        message = f"{where} was removed (was {shown_old})"
    else:
        message = f"{where} changed from {shown_old} to {shown_new}"
    return _finding("lock.stale", key, message, old=shown_old, new=shown_new)


def _list(key: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Finding]:
    noun = _NOUNS.get(key, key)
    if sorted(old) == sorted(new):
        yield _finding("lock.stale", key, f"the order of {key} changed", old=", ".join(old), new=", ".join(new))
        return
    named = key in _NAMED
    before = {_head(text) if named else text: text for text in old}
    after = {_head(text) if named else text: text for text in new}
    for name in sorted({*before, *after}):
        yield from _entry(noun, name, before.get(name), after.get(name))


def _entry(noun: str, name: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old == new:
        return
    if old is None:
        message = f"{noun} {name} was added" + (f": {new}" if new != name else "")
    elif new is None:
        message = f"{noun} {name} was removed"
    else:
        message = f"{noun} {name} changed from `{old}` to `{new}`"
    yield _finding("lock.stale", name, message, old=old, new=new)


def _requirements(key: str, old: Sequence[str], new: Sequence[str], locked: _Locked) -> Iterator[Finding]:
    """Pair what was asked with what is asked: by name, extras and marker first, by name alone after that."""
    before, after = _by_slot(old), _by_slot(new)
    noun = _NOUNS[key]
    for slot in sorted(before.keys() & after.keys(), key=_order):
        was, now = before[slot], after[slot]
        if (was.specifier, was.url) != (now.specifier, now.url):
            yield _range(key, was, now, locked)
    gone = [before[slot] for slot in sorted(before.keys() - after.keys(), key=_order)]
    come = [after[slot] for slot in sorted(after.keys() - before.keys(), key=_order)]
    for name in sorted({item.name for item in (*gone, *come)}):
        lost = ", ".join(item.text for item in gone if item.name == name)
        won = ", ".join(item.text for item in come if item.name == name)
        if lost and won:
            message = f"{noun} {name} changed from `{lost}` to `{won}`"
        elif lost:
            message = f"{noun} {name} was removed: `{lost}`"
        else:
            message = f"{noun} {name} was added: `{won}`"
        yield _finding("lock.stale", name, message, old=lost or None, new=won or None)


def _order(slot: Slot) -> tuple[str, tuple[str, ...], str]:
    return (slot[0], slot[1], slot[2] or "")


def _range(key: str, was: Asked, now: Asked, locked: _Locked) -> Finding:
    same_place = was.url is None and now.url is None
    verb = direction(was.specifier, now.specifier) if same_place else "changed"
    message = f"{_NOUNS[key]} {now.name} was {verb} from `{was.text}` to `{now.text}`"
    stale = _finding("lock.stale", now.name, message, old=was.text, new=now.text)
    if key != "requirements" or not same_place:
        return stale
    problem = locked.problem(now)
    if problem is not None:
        return replace(stale, message=f"{message}; {problem}")
    message += f"; every version locked for it ({locked.shown(now.name)}) satisfies it"
    return replace(stale, code="lock.compatible", severity="info", message=message, hint=f"{RELOCK} to record it")


def direction(old: str, new: str) -> Literal["narrowed", "widened", "changed"]:
    """Return how the range of ``new`` relates to that of ``old``; ``changed`` when neither holds the other.

    Needs packaging 26.3 (``SpecifierSet.to_range``); with an older one every difference is ``changed``.
    """
    to_range = getattr(SpecifierSet, "to_range", None)
    if to_range is None:
        return "changed"
    # One pre-release policy for both: ranges of unequal policy refuse to be compared.
    before, after = (to_range(SpecifierSet(text, prereleases=True)) for text in (old, new))
    if after.is_subset(before):
        return "narrowed"
    return "widened" if before.is_subset(after) else "changed"


# --- what is locked --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locked:
    """Versions of one name per target, or of all its entries when no targets are declared."""

    lock: Lock
    targets: tuple[Target, ...]
    selections: dict[str, Mapping[str, set[str]] | str] = field(default_factory=dict)
    """By target: versions by name, or why nothing can be selected. Filled as needed: a fresh lock needs none."""

    def problem(self, item: Asked, *, lenient: bool = False) -> str | None:
        """Return why what is locked does not satisfy ``item``; None when it does.

        Without targets an entry may stand for platforms that the marker of ``item`` leaves out: ``lenient``
        takes one entry that satisfies for enough.
        """
        if not self.targets:
            return self._anywhere(item, lenient=lenient)
        for target in self.targets:
            applies = True if item.marker is None else truth(item.marker, target)
            if applies is False:
                continue
            selection = self._selection(target)
            if isinstance(selection, str):
                return selection
            versions = selection.get(item.name, set())
            wrong = sorted(version for version in versions if not _satisfies(version, item))
            if wrong:
                return f"{wrong[0] or 'a source without version'} is locked on {target.name}"
            if not versions and applies:
                return f"nothing is locked for {item.name} on {target.name}"
        return None

    def _anywhere(self, item: Asked, *, lenient: bool) -> str | None:
        versions = [entry.version or "" for entry in self.lock.distributions if entry.name == item.name]
        if not versions:
            return None if item.marker is not None else f"nothing is locked for {item.name}"
        wrong = [version for version in versions if not _satisfies(version, item)]
        if not wrong or (lenient and item.marker is not None and len(wrong) < len(versions)):
            return None
        return f"{wrong[0] or 'a source without version'} is locked"

    def _selection(self, target: Target) -> Mapping[str, set[str]] | str:
        if target.name not in self.selections:
            try:
                taken = select(self.lock, target).selected
                self.selections[target.name] = {item.name: {item.version or ""} for item in taken}
            except IdentityUnknown:
                self.selections[target.name] = self._possible(target)
            except LockError as error:
                self.selections[target.name] = f"the lock cannot serve {target.name}: {error.message}"
        return self.selections[target.name]

    def _possible(self, target: Target) -> Mapping[str, set[str]]:
        """Return what some patch release of ``target`` would take, where a marker depends on it."""
        found: dict[str, set[str]] = {}
        for entry in self.lock.distributions:
            if entry.marker is None or truth(entry.marker, target) is not False:
                found.setdefault(entry.name, set()).add(entry.version or "")
        return found

    def shown(self, name: str) -> str:
        versions = {entry.version for entry in self.lock.distributions if entry.name == name and entry.version}
        return ", ".join(sorted(versions)) or "none"


def _satisfies(version: str, item: Asked) -> bool:
    if item.url is not None or not item.specifier:
        return True
    try:
        return SpecifierSet(item.specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


# --- text ------------------------------------------------------------------------------------


def _by_slot(texts: Iterable[str]) -> dict[Slot, Asked]:
    """Return one requirement per slot: the ranges of all that differ in nothing else, intersected."""
    merged: dict[Slot, Asked] = {}
    for item in _parsed(texts):
        known = merged.get(item.slot)
        if known is None:
            merged[item.slot] = item
            continue
        specifier = ",".join(sorted({*known.specifier.split(","), *item.specifier.split(",")} - {""}))
        url = " and ".join(sorted({known.url or "", item.url or ""} - {""})) or None
        merged[item.slot] = replace(known, specifier=specifier, url=url, text=_spell(item, specifier, url))
    return merged


def _spell(item: Asked, specifier: str, url: str | None) -> str:
    extras = f"[{','.join(item.extras)}]" if item.extras else ""
    place = f" @ {url} " if url else ""
    return f"{item.name}{extras}{place}{specifier}" + (f"; {item.marker}" if item.marker else "")


def _parsed(texts: Iterable[str]) -> Iterator[Asked]:
    for text in texts:
        try:
            yield canonical_requirement(text, origin="recorded")
        except ConfigError:
            # Only in a lock that somebody edited; the text then stands for itself, so that it differs from everything.
            yield Asked(text=text, name=NormalizedName(text), origin="recorded")


def _texts(value: object) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    return [] if value is None else [_shown(value)]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "absent" if value is None else str(value)


def _head(text: str) -> str:
    return text.partition(" ")[0]


def _finding(
    code: str,
    subject: str,
    message: str,
    *,
    severity: Severity = "error",
    old: str | None = None,
    new: str | None = None,
) -> Finding:
    return Finding(
        code=code, severity=severity, subject=subject, message=message, path="pyproject.toml",
        expected=new, actual=old, hint=RELOCK,
    )  # fmt: skip
