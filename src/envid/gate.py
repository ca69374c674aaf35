"""The gate: the only way to read a cache, to write to it, or to make anything again.

``decide`` compares what is recorded with what is current. What it answers carries a pass, and the store takes
nothing else: to read, a ``ReadPass``; to make something, a ``WorkPass``, which ``confirm`` turns into a
``WritePass`` when the slot, measured once more after the work, is still the same. Passes are made here alone.
"""

from __future__ import annotations

from typing import Final, NoReturn

from envid.identity import Change
from envid.slot import Slot, changes
from envid.values.frozen import dataclass

_MINT: Final = object()


def _bind(self: object, slot: Slot, mint: object) -> None:
    if mint is not _MINT:
        raise TypeError(f"only the gate makes a {type(self).__name__}")
    object.__setattr__(self, "slot", slot)


def _refuse(self: object, name: str, value: object = None) -> NoReturn:  # noqa: ARG001 - as __setattr__ is called
    raise AttributeError(f"a {type(self).__name__} is bound to its slot")


def _end() -> NoReturn:
    raise TypeError("only the gate says what a pass is")


def _stay(self: object) -> NoReturn:
    raise TypeError(f"a {type(self).__name__} is not copied and does not leave the process")


class ReadPass:
    """Leave to read one slot."""

    __slots__ = ("slot",)
    slot: Slot

    def __init__(self, slot: Slot, mint: object) -> None:
        _bind(self, slot, mint)

    __setattr__ = _refuse
    __delattr__ = _refuse
    __reduce__ = _stay

    def __init_subclass__(cls) -> None:
        _end()


class WorkPass:
    """Leave to make what belongs into one slot, not yet to keep it."""

    __slots__ = ("slot",)
    slot: Slot

    def __init__(self, slot: Slot, mint: object) -> None:
        _bind(self, slot, mint)

    __setattr__ = _refuse
    __delattr__ = _refuse
    __reduce__ = _stay

    def __init_subclass__(cls) -> None:
        _end()


class WritePass:
    """Leave to write one slot."""

    __slots__ = ("slot",)
    slot: Slot

    def __init__(self, slot: Slot, mint: object) -> None:
        _bind(self, slot, mint)

    __setattr__ = _refuse
    __delattr__ = _refuse
    __reduce__ = _stay

    def __init_subclass__(cls) -> None:
        _end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """What is recorded was made under the current identity."""

    read: ReadPass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """Something is recorded, made under another identity."""

    work: WorkPass
    changes: tuple[Change, ...]
    """What differs; never empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Nothing is recorded."""

    work: WorkPass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The identity changed while the work was done: its result belongs nowhere."""

    changes: tuple[Change, ...]


Decision = Fresh | Stale | Absent


def decide(recorded: bytes | None, current: Slot) -> Decision:
    """Return the verdict on what was made under the document ``recorded``, for the slot ``current``.

    Total: for every ``recorded``, bytes that are no document among them, there is an answer. Pure.
    """
    if recorded is None:
        return Absent(work=WorkPass(current, _MINT))
    if recorded == current.document:
        return Fresh(read=ReadPass(current, _MINT))
    return Stale(work=WorkPass(current, _MINT), changes=changes(recorded, current.document))


def confirm(work: WorkPass, measured: Slot) -> WritePass | Moved:
    """Return leave to write what was made, when the slot ``measured`` after the work is the one it was made for."""
    if measured.document == work.slot.document and measured.key == work.slot.key:
        return WritePass(work.slot, _MINT)
    return Moved(changes=changes(work.slot.document, measured.document))
