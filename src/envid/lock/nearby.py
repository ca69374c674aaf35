"""Files that lie in a configured folder of this machine: an artifact with a URL need not come from there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envid.errors import NetworkError
from envid.lock.download import offered
from envid.lock.fetch import Access
from envid.lock.indexes import Index
from envid.values.artifact import NormalizedName


def nearby(
    wanted: Iterable[tuple[NormalizedName, str]], *, access: Access, indexes: Sequence[Index]
) -> Mapping[str, tuple[Path, ...]]:
    """Return file name to the files of that name in local folders and local indexes, in the order of ``indexes``.

    ``wanted`` is project and file name. Nobody has looked at their bytes. An index that cannot be read has nothing.
    """
    files = list(wanted)
    local = [index for index in indexes if index.url.startswith("file:")]
    if not local:
        return {}
    found: dict[str, list[Path]] = {filename: [] for _, filename in files}
    for index in local:
        folder = Path(unquote(urlsplit(index.url).path))
        if index.flat and folder.is_dir():
            for filename, places in found.items():
                # Not the listing of the folder, which may hold thousands.
                if os.path.isfile(folder / filename):
                    places.append(folder / filename)
            continue
        for filename, place in _listed(files, access, index):
            found[filename].append(place)
    return {filename: tuple(places) for filename, places in found.items() if places}


def _listed(files: Sequence[tuple[NormalizedName, str]], access: Access, index: Index) -> Iterator[tuple[str, Path]]:
    try:
        pages = offered({name for name, _ in files}, access=replace(access, offline=True), indexes=[index])
    except NetworkError:
        return
    for name, filename in files:
        for file in pages.get(name, ()):
            place = Path(unquote(urlsplit(file.url).path))
            if file.filename == filename and file.url.startswith("file:") and place.is_file():
                yield filename, place
