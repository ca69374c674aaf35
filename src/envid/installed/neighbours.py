"""What stands beside site-packages: libraries of another Python, which this environment's never looks at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from envid.installed.expected import Layout
from envid.values.finding import Finding

_LIBRARY: Final = re.compile(r"(?:python|pypy)\d+(?:\.\d+)?t?")


def places(layout: Layout) -> tuple[str, ...]:
    """Return the directories that ``check_neighbours`` lists, relative to the environment."""
    own = [site.rpartition("/")[0] for site in (layout.purelib, layout.platlib)]
    return tuple(dict.fromkeys(path for path in (*own, *(one.rpartition("/")[0] for one in own)) if path))


def check_neighbours(root: str, layout: Layout, brought: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding for each library of another Python, and for what stands beside site-packages.

    ``brought`` are the paths of the files that wheels bring, relative to the environment ``root``.
    """
    sites = {layout.purelib, layout.platlib}
    own = {site.rpartition("/")[0] for site in sites}
    suspicious = []
    for directory in places(layout):
        for name in _names(f"{root}/{directory}"):
            path = f"{directory}/{name}"
            if path in sites or path in own or (directory not in own and not _LIBRARY.fullmatch(name)):
                continue
            suspicious.append((path, directory in own))
    for path, inside in sorted(suspicious):
        # Hardly ever asked: nothing else is there in an ordinary environment.
        if any(other == path or other.startswith(f"{path}/") for other in brought):
            continue
        what = "stands beside site-packages" if inside else "is the library of another Python than the environment's"
        yield Finding(
            code="env.extra-file", severity="error", subject=path.rpartition("/")[2], path=path,
            message=f"no locked wheel brought this, and it {what}", hint="remove it, or run `envid sync`",
        )  # fmt: skip


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
