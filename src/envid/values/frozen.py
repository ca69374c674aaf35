"""``dataclass(frozen=True, slots=True, kw_only=True)``, made in a tenth of the time.

Python's own compiles six functions for each class, one by one, and imports ``inspect``: for the thirty
classes that a first ``envid key`` loads, that takes longer than reading the lock. This one compiles one
text for each class, when its first value is made. ``dataclasses.replace``, ``fields``, ``asdict`` and
``is_dataclass`` work on the result: ``__dataclass_fields__`` is there, and made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, dataclass_transform

T = TypeVar("T")
V = TypeVar("V")

_MISSING: Any = object()
_set = object.__setattr__


class _Factory:
    """What ``field(default_factory=...)`` leaves in the class body."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], V]) -> V:
    """Give a member a default that is made anew for each value."""
    made: Any = _Factory(default_factory)
    return made  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def dataclass(
    *, frozen: Literal[True], slots: Literal[True], kw_only: Literal[True]
) -> Callable[[type[T]], type[T]]:
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
        "__setattr__": _refuse_set, "__delattr__": _refuse_delete, "__repr__": _repr, "__getstate__": _state,
        "__setstate__": _restore, "__envid_defaults__": defaults, **_STUBS,
    }  # fmt: skip
    make: Any = type(cls)
    made: type[T] = make(cls.__name__, cls.__bases__, body)
    return made


def _first_init(self: Any, **given: object) -> None:
    _finish(type(self))
    self.__init__(**given)


def _first_eq(self: Any, other: object) -> Any:
    _finish(type(self))
    return self.__eq__(other)


def _first_hash(self: Any) -> int:
    _finish(type(self))
    return hash(self)


_STUBS: Any = {"__init__": _first_init, "__eq__": _first_eq, "__hash__": _first_hash}


def _finish(cls: Any) -> None:
    functions = _compiled(cls.__slots__, cls.__envid_defaults__, after=hasattr(cls, "__post_init__"))
    for name, function in functions.items():
        setattr(cls, name, function)


_OF_THE_FIRST_CLASS = frozenset({"__dict__", "__weakref__"})


def _compiled(names: tuple[str, ...], defaults: dict[str, Any], *, after: bool) -> dict[str, Any]:
    space: dict[str, Any] = {"_set": _set, "_MISSING": _MISSING}
    parameters, lines = ["self"], []
    if names:
        parameters.append("*")
    for name in names:
        value = name
        if name not in defaults:
            parameters.append(name)
        elif isinstance(defaults[name], _Factory):
            space[f"_make_{name}"] = defaults[name].make
            parameters.append(f"{name}=_MISSING")
            value = f"_make_{name}() if {name} is _MISSING else {name}"
        else:
            space[f"_default_{name}"] = defaults[name]
            parameters.append(f"{name}=_default_{name}")
        lines.append(f" _set(self, {name!r}, {value})\n")
    if after:
        lines.append(" self.__post_init__()\n")
    own, other = ("".join(f"{one}.{name}," for name in names) for one in ("self", "other"))
    text = (
        f"def __init__({','.join(parameters)}):\n{''.join(lines) or ' pass'}\n"
        f"def __eq__(self, other):\n"
        f" if other.__class__ is not self.__class__: return NotImplemented\n return ({own}) == ({other})\n"
        f"def __hash__(self): return hash(({own}))\n"
    )
    exec(text, space)  # noqa: S102 - of names that the compiler took as identifiers
    return {name: space[name] for name in _STUBS}


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
        _set(self, name, value)
