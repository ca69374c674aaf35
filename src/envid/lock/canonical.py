"""One spelling for markers that mean the same: what an engine writes today must not show tomorrow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from envid.values.marker import Combination, Comparison, Tree, parse_marker, truth
from envid.values.target import Target, marker_environment

SEPARATORS: Final = ("implementation_name", "platform_machine", "python_version", "sys_platform")
"""The variables that tell declared targets apart, in the order in which markers name them."""

_PREFERRED: Final = ("sys_platform", "python_version", "platform_machine", "implementation_name")
"""Of two variables that both tell the targets apart, the one a reader would rather see."""

_LOWER: Final = re.compile(r">=\s*(\d+(?:\.\d+)*)")

Row = tuple[str, ...]
Term = tuple[tuple[str, str], ...]


def environments_for(targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the ``environments`` guard of a lock for ``targets``: one marker per distinct combination, sorted."""
    return tuple(sorted({_conjunction(tuple(zip(SEPARATORS, _row(target), strict=True))) for target in targets}))


def _row(target: Target) -> Row:
    environment = marker_environment(target)
    return tuple(environment[name] for name in SEPARATORS)


def _conjunction(term: Term) -> str:
    return " and ".join(f"{name} == '{value}'" for name, value in term)


def marker_over(
    marker: str | None, targets: Sequence[Target], *, requires_python: str | None = None
) -> tuple[bool, str | None]:
    """Return whether any of ``targets`` can satisfy ``marker``, and its canonical text over them (None: always true).

    Where the answer depends on the patch release, the text keeps its comparisons (``tidy``): a
    simplification over the declared targets would be wrong on a host that the guard lets in.
    """
    if marker is None:
        return True, None
    rows: dict[Row, bool] = {}
    for target in targets:
        answer = truth(marker, target.short)
        if answer is None:
            return True, tidy(marker, requires_python=requires_python)
        rows[_row(target)] = answer
    if all(rows.values()):
        return True, None
    return (True, _separate(rows)) if any(rows.values()) else (False, None)


def _separate(rows: Mapping[Row, bool]) -> str:
    """Return the smallest expression that is true on exactly the rows that are: prime implicants, greedily chosen."""
    true = [row for row in rows if rows[row]]
    false = [row for row in rows if not rows[row]]
    for name in _PREFERRED:
        index = SEPARATORS.index(name)
        with_true, with_false = {row[index] for row in true}, {row[index] for row in false}
        if with_true & with_false:
            continue
        if len(with_true) == 1:
            return f"{name} == '{with_true.pop()}'"
        # One `!=` says shortly what several `==` would.
        if len(with_false) == 1:
            return f"{name} != '{with_false.pop()}'"
    terms = _implicants(true, false)
    left = {*true}
    picked: list[Term] = []
    while left:
        best = min(terms, key=lambda term: (-len(terms[term] & left), len(term), _taste(term), term))
        picked.append(best)
        left -= terms[best]
    return " or ".join(_conjunction(term) for term in sorted(picked))


def _taste(term: Term) -> tuple[int, ...]:
    return tuple(_PREFERRED.index(name) for name, _ in term)


def _implicants(true: Sequence[Row], false: Sequence[Row]) -> dict[Term, frozenset[Row]]:
    found: dict[Term, frozenset[Row]] = {}
    for row in true:
        for size in range(1, len(SEPARATORS) + 1):
            for chosen in combinations(range(len(SEPARATORS)), size):
                if any(all(row[index] == other[index] for index in chosen) for other in false):
                    continue
                term = tuple((SEPARATORS[index], row[index]) for index in chosen)
                found[term] = frozenset(other for other in true if all(row[index] == other[index] for index in chosen))
    return found


def tidy(marker: str, *, requires_python: str | None = None) -> str | None:
    """Return ``marker`` in one spelling: parts flattened, sorted, free of duplicates; None when it is always true.

    A lower bound on the Python version that ``requires_python`` implies is taken out.
    """
    lowest = _lowest(requires_python)
    tree = _simplified(parse_marker(marker), lowest)
    if tree is True:
        return None
    return marker if tree is False else render(tree)


def _lowest(requires_python: str | None) -> tuple[int, ...] | None:
    bounds = [_LOWER.fullmatch(clause.strip()) for clause in (requires_python or "").split(",")]
    releases = [tuple(int(part) for part in bound[1].split(".")) for bound in bounds if bound]
    return max(releases, default=None)


def _simplified(tree: Tree, lowest: tuple[int, ...] | None) -> Tree | bool:
    if isinstance(tree, Comparison):
        return True if lowest is not None and _implied(tree, lowest) else tree
    settles = tree.operator == "or"
    parts: dict[str, Tree] = {}
    for part in tree.parts:
        simple = _simplified(part, lowest)
        if simple is settles:
            return settles
        if isinstance(simple, bool):
            continue
        inner = simple.parts if isinstance(simple, Combination) and simple.operator == tree.operator else (simple,)
        parts.update((render(one), one) for one in inner)
    if not parts:
        return not settles
    ordered = tuple(parts[text] for text in sorted(parts))
    return ordered[0] if len(ordered) == 1 else Combination(operator=tree.operator, parts=ordered)


def _implied(atom: Comparison, lowest: tuple[int, ...]) -> bool:
    if atom.reverse or atom.operator != ">=" or atom.variable not in ("python_version", "python_full_version"):
        return False
    if not re.fullmatch(r"\d+(\.\d+)*", atom.literal):
        return False
    bound = tuple(int(part) for part in atom.literal.split("."))
    have = lowest[:2] if atom.variable == "python_version" else lowest
    size = max(len(bound), len(have))
    return have + (0,) * (size - len(have)) >= bound + (0,) * (size - len(bound))


def render(tree: Tree, *, inside: str = "") -> str:
    """Return the text of a parsed marker, with no parentheses but those it needs."""
    if isinstance(tree, Comparison):
        return str(tree)
    text = f" {tree.operator} ".join(render(part, inside=tree.operator) for part in tree.parts)
    return f"({text})" if inside == "and" and tree.operator == "or" else text
