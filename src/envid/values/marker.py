"""Environment markers, decided for a target.

The ordinary subset is evaluated here, because importing ``packaging.markers`` costs more than the
whole rest of a key; a comparison outside it goes to packaging alone, and so does any doubt about
whether text is a marker. A test holds both to the same answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from envid.errors import IdentityUnknown, InvalidLock
from envid.values.frozen import dataclass
from envid.values.target import Target, marker_environment

VERSIONS: Final = frozenset({"python_version", "python_full_version", "implementation_version", "platform_release"})
"""Compared as versions where the literal is one (dependency specifiers, "Environment markers")."""
STRINGS: Final = frozenset(
    {"os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_system",
     "platform_version", "implementation_name"}
)  # fmt: skip
SETS: Final = frozenset({"extras", "dependency_groups"})
_PATCHED: Final = frozenset({"python_full_version", "implementation_version"})
_ALIASES: Final = {
    "os.name": "os_name",
    "sys.platform": "sys_platform",
    "platform.version": "platform_version",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "python_implementation": "platform_python_implementation",
}
_TOKEN: Final = re.compile(
    r"""[ \t]*(?:
      (?P<open>\() | (?P<close>\))
    | (?P<text>'[ !-&(-\[\]-~]*'|"[ !#-\[\]-~]*")
    | (?P<compare>===|==|~=|!=|<=|>=|<|>)
    | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
    )""",
    re.VERBOSE,
)
_PLAIN_VERSION: Final = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,5}")
_PATCH: Final = r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})"
MAX_LENGTH: Final = 65_536
MAX_SPECIFIERS: Final = 4096
MAX_DEPTH: Final = 64
EMPTY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``variable operator literal``, or with ``reverse`` the literal on the left."""

    variable: str
    operator: str
    literal: str
    reverse: bool = False

    def __str__(self) -> str:
        quote = '"' if "'" in self.literal else "'"
        sides = [self.variable, self.operator, f"{quote}{self.literal}{quote}"]
        return " ".join(reversed(sides) if self.reverse else sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """``and`` or ``or`` of at least two parts."""

    operator: str
    parts: tuple[Comparison | Combination, ...]


Tree = Comparison | Combination

_Facts = tuple[Mapping[str, str], frozenset[str], bool]
"""Known variables; active groups; whether the patch release among them is one of several that are tried."""


def evaluate(marker: str, target: Target, *, groups: Iterable[str] = ()) -> bool:
    """Return whether ``marker`` holds on ``target``, with no extra active and the dependency groups ``groups``.

    Raises IdentityUnknown when the answer depends on what the target leaves open (the patch release
    of a short target, ``platform_release``, ``platform_version``); InvalidLock for text that is no marker.
    """
    answer = truth(marker, target, groups=groups)
    if answer is None:
        raise undetermined(f"marker `{marker}`", target)
    return answer


def undetermined(subject: str, target: Target) -> IdentityUnknown:
    """Return the error for a marker or version range that ``target`` does not decide."""
    version = f"{target.python[0]}.{target.python[1]}"
    hint = f'name the patch release: {{ python = "{version}.N", platform = "{target.platform}" }}'
    if target.patch is not None:
        hint = "a target says nothing of the kernel; take the requirement that depends on it out of the lock"
    return IdentityUnknown(f"the {subject} is true on some hosts of {target.name} and false on others", hint=hint)


def truth(marker: str, target: Target, *, groups: Iterable[str] = ()) -> bool | None:
    """Return as ``evaluate``, but None instead of IdentityUnknown."""
    return _truth(marker, target, frozenset(groups))


@lru_cache(maxsize=16384)
def _truth(marker: str, target: Target, groups: frozenset[str]) -> bool | None:
    return tree_truth(parse_marker(marker), target, groups)


def satisfies(specifiers: str, target: Target) -> bool | None:
    """Return whether ``target``'s Python is in ``specifiers`` (``>=3.11,<4``); None when that takes the patch release.

    Raises InvalidLock when the text is no set of version specifiers.
    """
    return tree_truth(_specifier_tree(specifiers), target, EMPTY)


def check_specifiers(specifiers: str) -> None:
    """Raise InvalidLock unless ``satisfies`` has an answer for ``specifiers`` and any target."""
    tree = _specifier_tree(specifiers)
    for atom in (tree,) if isinstance(tree, Comparison) else tree.parts:
        if isinstance(atom, Comparison) and not _plain(atom.operator, atom.literal):
            _by_packaging(atom, "3.12.0")


@lru_cache(maxsize=256)
def _specifier_tree(specifiers: str) -> Tree:
    if len(specifiers) > MAX_SPECIFIERS:
        raise InvalidLock(f"a set of version specifiers longer than {MAX_SPECIFIERS} characters")
    clauses = [clause.strip() for clause in specifiers.split(",") if clause.strip()]
    if not clauses:
        return Comparison(variable="python_full_version", operator=">=", literal="0")
    parts = []
    for clause in clauses:
        found = re.fullmatch(r"(===|==|~=|!=|<=|>=|<|>)\s*([^\s,;)]+)", clause)
        if found is None or (not _plain(found[1], found[2]) and not _is_specifier(clause)):
            raise InvalidLock(f"`{_shown(specifiers)}` is not a set of version specifiers")
        parts.append(Comparison(variable="python_full_version", operator=found[1], literal=found[2]))
    return parts[0] if len(parts) == 1 else Combination(operator="and", parts=tuple(parts))


def _is_specifier(text: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, Specifier

    try:
        Specifier(text)
    except InvalidSpecifier:
        return False
    return True


def variables(marker: str) -> frozenset[str]:
    """Return the names of the marker variables that ``marker`` mentions; raise InvalidLock for no marker."""
    return tree_variables(parse_marker(marker))


def tree_variables(tree: Tree) -> frozenset[str]:
    """Return the names of the marker variables in a parsed marker."""
    if isinstance(tree, Comparison):
        return frozenset({tree.variable})
    return EMPTY.union(*(tree_variables(part) for part in tree.parts))


# --- deciding -----------------------------------------------------------------------------


def tree_truth(tree: Tree, target: Target, groups: frozenset[str]) -> bool | None:
    """Return the truth of a parsed marker on ``target``, None when the target leaves it open.

    A short target stands for every final patch release of its minor: the marker is decided at each
    release where one of its comparisons could turn, and must come out the same at all of them.
    """
    known = marker_environment(target)
    if target.patch is not None or not tree_variables(tree) & _PATCHED:
        return _decide(tree, (known, groups, False))
    answers = set()
    for patch in sorted(_turning_points(tree, target)):
        version = f"{target.python[0]}.{target.python[1]}.{patch}"
        at = {**known, "python_full_version": version}
        if target.implementation == "cpython":
            at["implementation_version"] = version
        answers.add(_decide(tree, (at, groups, True)))
    return answers.pop() if len(answers) == 1 else None


def _turning_points(tree: Tree, target: Target) -> set[int]:
    if isinstance(tree, Combination):
        return set().union(*(_turning_points(part, target) for part in tree.parts))
    points = {0, 1}
    if tree.variable in _PATCHED:
        for major, minor, patch in re.findall(_PATCH, tree.literal):
            if (int(major), int(minor)) == target.python:
                points |= {max(int(patch) - 1, 0), int(patch), int(patch) + 1}
    return points


def _decide(tree: Tree, facts: _Facts) -> bool | None:
    if isinstance(tree, Comparison):
        return _compare(tree, facts)
    settles = tree.operator == "or"
    open_ = False
    for part in tree.parts:
        answer = _decide(part, facts)
        if answer is settles:
            return settles
        open_ = open_ or answer is None
    return None if open_ else not settles


def _compare(atom: Comparison, facts: _Facts) -> bool | None:
    variable = atom.variable
    known, groups, supposed = facts
    if variable == "extra" or variable in SETS:
        return _compare_set(atom, groups if variable == "dependency_groups" else EMPTY)
    value = known.get(variable)
    if value is None:
        return None
    if variable in VERSIONS:
        # The releases tried are the turning points of version comparisons; text containment has others.
        if supposed and variable in _PATCHED and atom.operator in ("in", "not in"):
            return None
        if not atom.reverse and _plain(atom.operator, atom.literal) and _PLAIN_VERSION.fullmatch(value):
            return _compare_versions(value, atom.operator, atom.literal)
        return _by_packaging(atom, value)
    left, right = (atom.literal, value) if atom.reverse else (value, atom.literal)
    operation = _STRING_OPERATIONS.get(atom.operator)
    return _by_packaging(atom, value) if operation is None else operation(left, right)


_STRING_OPERATIONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}


def _compare_set(atom: Comparison, active: frozenset[str]) -> bool:
    name = re.sub(r"[-_.]+", "-", atom.literal).lower()
    if atom.variable == "extra":
        # The scalar of dependency metadata; with no extra active it is the empty string.
        if atom.operator not in ("==", "!="):
            raise InvalidLock(f"`{atom}` is not a comparison that `extra` has")
        return (name == "") is (atom.operator == "==")
    if not atom.reverse or atom.operator not in ("in", "not in"):
        raise InvalidLock(f"`{atom}`: {atom.variable} is a set, which has only `in` and `not in`")
    return (name in {re.sub(r"[-_.]+", "-", group).lower() for group in active}) is (atom.operator == "in")


def _plain(operator: str, literal: str) -> bool:
    """Return whether a version comparison is one that ``_compare_versions`` decides exactly as packaging does."""
    if operator in ("==", "!=") and literal.endswith(".*"):
        literal = literal[:-2]
    elif operator == "~=":
        return "." in literal and _PLAIN_VERSION.fullmatch(literal) is not None
    return operator in ("==", "!=", "<", "<=", ">", ">=") and _PLAIN_VERSION.fullmatch(literal) is not None


def _compare_versions(value: str, operator: str, literal: str) -> bool:
    have = [int(part) for part in value.split(".")]
    prefix = literal.endswith(".*")
    want = [int(part) for part in (literal[:-2] if prefix else literal).split(".")]
    size = max(len(have), len(want))
    padded = have + [0] * (size - len(have))
    if prefix:
        return (padded[: len(want)] == want) is (operator == "==")
    if operator == "~=":
        return padded >= want + [0] * (size - len(want)) and padded[: len(want) - 1] == want[:-1]
    want += [0] * (size - len(want))
    if operator in ("==", "!="):
        return (padded == want) is (operator == "==")
    if operator in ("<", "<="):
        return padded < want or (operator == "<=" and padded == want)
    return padded > want or (operator == ">=" and padded == want)


def _by_packaging(atom: Comparison, value: str) -> bool:
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison
    from packaging.version import InvalidVersion

    try:
        return Marker(str(atom)).evaluate({atom.variable: value}, context="requirement")
    except (InvalidMarker, UndefinedComparison, InvalidVersion) as error:
        raise InvalidLock(f"the comparison `{_shown(str(atom))}` has no meaning") from error


# --- parsing ------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse_marker(marker: str) -> Tree:
    """Return the tree of ``marker``; raise InvalidLock for text that is no marker."""
    if len(marker) > MAX_LENGTH:
        raise InvalidLock("a marker longer than 64 KiB")
    tree = _Parser(marker).whole()
    if tree is None:
        tree = _Parser(_normalised(marker)).whole()
    if tree is None:
        raise InvalidLock(f"`{_shown(marker)}` compares in a way that decides nothing")
    return tree


def _normalised(marker: str) -> str:
    """Return ``marker`` as packaging spells it; raise InvalidLock when packaging does not take it."""
    from packaging.markers import InvalidMarker, Marker

    try:
        return str(Marker(marker))
    except (InvalidMarker, RecursionError) as error:
        raise InvalidLock(f"`{_shown(marker)}` is not a marker") from error


def _shown(text: str) -> str:
    return ascii(text[:120])[1:-1]


class _Parser:
    """Recursive descent over the ordinary subset; ``whole`` is None for anything outside it."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] | None = _tokens(text)
        self.position = 0

    def whole(self) -> Tree | None:
        if self.tokens is None:
            return None
        tree = self.either(0)
        return tree if tree is not None and self.position == len(self.tokens) else None

    def peek(self) -> tuple[str, str]:
        assert self.tokens is not None
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.position += 1
        return token

    def either(self, depth: int) -> Tree | None:
        return self.joined("or", self.both, depth)

    def both(self, depth: int) -> Tree | None:
        return self.joined("and", self.one, depth)

    def joined(self, word: str, part: Callable[[int], Tree | None], depth: int) -> Tree | None:
        parts: list[Tree] = []
        while True:
            found = part(depth)
            if found is None:
                return None
            parts.append(found)
            if self.peek() != ("word", word):
                return parts[0] if len(parts) == 1 else Combination(operator=word, parts=tuple(parts))
            self.position += 1

    def one(self, depth: int) -> Tree | None:
        if self.peek()[0] != "open":
            return self.comparison()
        if depth > MAX_DEPTH:
            raise InvalidLock(f"a marker nested deeper than {MAX_DEPTH}")
        self.position += 1
        inner = self.either(depth + 1)
        return inner if inner is not None and self.take()[0] == "close" else None

    def comparison(self) -> Tree | None:
        left, operator = self.take(), self.take()
        if operator == ("word", "not"):
            if self.take() != ("word", "in"):
                return None
            operator = ("compare", "not in")
        elif operator == ("word", "in"):
            operator = ("compare", "in")
        right = self.take()
        if operator[0] != "compare" or {left[0], right[0]} != {"word", "text"}:
            return None
        reverse = left[0] == "text"
        name, literal = (right[1], left[1]) if reverse else (left[1], right[1])
        name = _ALIASES.get(name, name)
        if name not in VERSIONS and name not in STRINGS and name not in SETS and name != "extra":
            return None
        return Comparison(variable=name, operator=operator[1], literal=literal, reverse=reverse)


def _tokens(text: str) -> list[tuple[str, str]] | None:
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip(" \t"))
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        kind = str(match.lastgroup)
        value = match[kind]
        # Two words in a row need the space that the regular expression does not insist on.
        if kind == "word" and found and match.start(kind) == position and found[-1][0] in ("word", "text", "close"):
            return None
        found.append((kind, value[1:-1] if kind == "text" else value))
        position = match.end()
    return found
