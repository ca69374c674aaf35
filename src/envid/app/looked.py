"""Where artifacts were looked for, told when the network is denied and they are nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from envid.app.network import indexes_of
from envid.app.workspace import Workspace
from envid.errors import Offline
from envid.values.artifact import Artifact


@contextlib.contextmanager
def places_told(workspace: Workspace, artifacts: Iterable[Artifact], *, name: str) -> Iterator[None]:
    """Add to an Offline of the block every place on this machine where ``artifacts`` could have been."""
    try:
        yield
    except Offline as error:
        folder = workspace.lock_path(name).parent
        beside = sorted({str((folder / item.path).parent) for item in artifacts if item.path is not None})
        local = [index.url for index in indexes_of(workspace, name).places if index.url.startswith("file:")]
        looked = [*beside, *(url.removeprefix("file://") for url in local), str(workspace.cache / "wheels-v1")]
        raise Offline(
            f"{error.message}; looked in {', '.join(looked)}", **error.context,
            hint="run again without --offline, or put the files into one of these places; UV_FIND_LINKS names more",
        ) from error  # fmt: skip
