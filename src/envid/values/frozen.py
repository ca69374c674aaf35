"""``dataclass(frozen=True, slots=True, kw_only=True)`` without a compiler.

Python's own compiles six functions for each class, one by one, and imports ``inspect``. With it, the first
``envid key`` on a lock of 170 distributions takes 63 % longer (87 ms instead of 53 of processor time, Python
3.12); this module is worth keeping while that is more than 8 %. Here all classes share the same few
functions, which take a class's members from one table. ``dataclasses.replace``, ``fields``,
``asdict`` and ``is_dataclass`` work on the result: ``__dataclass_fields__`` is there, and made when it is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal, TypeVar, dataclass_transform

T = TypeVar("T")
V = TypeVar("V")

_MISSING: Any = object()


class _Factory:
    """What ``field(default_factory=...)`` leaves in the class body."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], V]) -> V:
    """Give a member a default that is made anew for each value."""
    made: Any = _Factory(default_factory)
    return made  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def dataclass(*, frozen: Literal[True], slots: Literal[True], kw_only: Literal[True]) -> Callable[[type[T]], type[T]]:
    """Return the decorator; its three arguments are written out because they are what the values promise."""
    del frozen, slots, kw_only
    return _make


def _make(cls: type[T]) -> type[T]:
    names = tuple(cls.__annotations__)
    defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    body = {
        name: value for name, value in cls.__dict__.items() if name not in defaults and name not in _OF_THE_FIRST_CLASS
    }
    body |= {
        "__slots__": names, "__match_args__": (), "__qualname__": cls.__qualname__, "__dataclass_fields__": _Fields(),
        "__init__": _init, "__eq__": _eq, "__hash__": _hash, "__setattr__": _refuse_set, "__delattr__": _refuse_delete,
        "__repr__": _repr, "__getstate__": _state, "__setstate__": _restore, "__envid_defaults__": defaults,
    }  # fmt: skip
    make: Any = type(cls)
    made: Any = make(cls.__name__, cls.__bases__, body)
    made.__envid_setters__ = [(name, getattr(made, name).__set__) for name in names]
    # One name alone would give its value and no tuple, and values that are not equal to themselves would differ.
    made.__envid_members__ = attrgetter(*(names * 2 if len(names) == 1 else names)) if names else _no_member
    made.__envid_factories__ = {name: given.make for name, given in defaults.items() if isinstance(given, _Factory)}
    made.__envid_checked__ = "__post_init__" in body
    return made  # type: ignore[no-any-return]


_OF_THE_FIRST_CLASS = frozenset({"__dict__", "__weakref__"})


def _no_member(_value: object) -> tuple[()]:
    return ()


def _init(self: Any, /, **given: object) -> None:
    cls = self.__class__
    values = cls.__envid_defaults__ | given if cls.__envid_defaults__ else given
    setters = cls.__envid_setters__
    if len(values) != len(setters):
        raise _wrong(cls, given)
    for name, make in cls.__envid_factories__.items():
        if name not in given:
            values[name] = make()
    try:
        for name, put in setters:
            put(self, values[name])
    except KeyError:
        raise _wrong(cls, given) from None
    if cls.__envid_checked__:
        self.__post_init__()


def _wrong(cls: Any, given: dict[str, object]) -> TypeError:
    wanted = {name for name, _ in cls.__envid_setters__}
    missing = sorted(wanted - given.keys() - cls.__envid_defaults__.keys())
    unknown = sorted(given.keys() - wanted)
    return TypeError(f"{cls.__qualname__}: missing {missing}, unknown {unknown}")


def _eq(self: Any, other: object) -> Any:
    members: Any = self.__class__.__envid_members__
    if other.__class__ is not self.__class__:
        return NotImplemented
    return members(self) == members(other)


def _hash(self: Any) -> int:
    return hash(self.__class__.__envid_members__(self))


class _Fields:
    """The description that the functions of ``dataclasses`` look for, made by ``dataclasses`` itself on first use."""

    def __get__(self, instance: object, owner: Any) -> Any:
        import dataclasses

        columns: list[Any] = []
        for name, kind in owner.__annotations__.items():
            default = owner.__envid_defaults__.get(name, _MISSING)
            if isinstance(default, _Factory):
                columns.append((name, kind, dataclasses.field(default_factory=default.make)))
            elif default is not _MISSING:
                columns.append((name, kind, dataclasses.field(default=default)))
            else:
                columns.append((name, kind))
        made = dataclasses.make_dataclass(owner.__name__, columns, kw_only=True, frozen=True)
        fields: Any = vars(made)["__dataclass_fields__"]
        owner.__dataclass_fields__ = fields
        return fields


def _repr(self: Any) -> str:
    parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{self.__class__.__qualname__}({parts})"


def _refuse_set(self: object, name: str, value: object) -> None:  # noqa: ARG001 - as __setattr__ is called
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> None:  # noqa: ARG001
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, name) for name in self.__slots__]


def _restore(self: Any, state: list[object]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)
