"""The same for whole commands: what they do to the store and to the project, by the program's own entry."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from envid.app.running.outputs import beside
from envid.app.trust import is_believed
from envid.slot import narrow
from envid.store import archive, blobs, cache
from envid.surface import cli
from envid.values.digest import blake3_hex
from faults.mixed import outputs_of, run_manifest
from faults.operations import (
    LAYER,
    Operation,
    blob_is_new,
    entry_is_new,
    leave_to_write,
    noise,
    older_lost,
    place_of,
    sound,
    torn,
    unproved,
    with_damaged,
    with_new,
    with_older,
)  # fmt: skip
from keyed import Keyed

OLD: Final = 60 * 86400
"""Seconds since what the collection is to remove was used."""
EXPIRED: Final = tuple(narrow(LAYER, {"expired": str(number)}) for number in range(3))
INPUTS: Final = {"src/a.txt": b"one\n" * 50, "src/b.txt": noise(700, 21)}
SCRIPT: Final = """
test -d out || mkdir out || exit 9
mkdir out/sub || exit 9
cat src/a.txt src/b.txt > out/both || exit 9
chmod 0640 out/both || exit 9
printf 'made' > out/sub/tool && chmod 0755 out/sub/tool && ln -s ../both out/sub/link || exit 9
"""
"""What the command behind the gate does; it fails where anything in it fails."""
OUTPUTS: Final[dict[str, tuple[int, bytes | str]]] = {
    "out/both": (0o640, b"".join(INPUTS.values())),
    "out/sub/tool": (0o755, b"made"),
    "out/sub/link": (0, "../both"),
}
"""Path to mode and bytes, or to where a link leads."""


def command(root: str, *arguments: str) -> str:
    """Run envid in this process, which is the child of a trial, and say with which status it ended."""
    os.environ.clear()
    os.environ.update(PATH="/usr/bin:/bin", HOME=f"{root}/home", TMPDIR=f"{root}/tmp")
    os.chdir(f"{root}/project")
    sys.argv = ["envid", *arguments]
    return f"exit {cli.main(list(arguments))}"


def _bare_project(root: str) -> None:
    for name in ("home", "tmp", "project"):
        os.mkdir(f"{root}/{name}")
    # A directory of the project's own, so that it may do without a floor of free space.
    own = f'[tool.envid.cache]\ndir = "{root}/cache"\nmin-free = "0 B"\n'
    own += '[tool.envid.layers.plain]\ncomponents = ["salt"]\n'
    assert is_believed(f"{root}/cache", f"{root}/home/.cache/envid")
    Keyed(root=Path(f"{root}/project"), cache=Path(f"{root}/cache")).given(envid=own)


def _project(root: str) -> None:
    _bare_project(root)
    for path, data in INPUTS.items():
        file = Path(f"{root}/project/{path}")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    with_older(root)


def _run(root: str) -> str:
    return command(
        root, "run", "--clean", "--layer", "plain", "--in", "src/*.txt", "--out", "out", "--", "sh", "-c", SCRIPT
    )  # fmt: skip


def _outputs_wrong(root: str) -> Iterator[str]:
    base = f"{root}/project"
    for path, (mode, wanted) in OUTPUTS.items():
        full = f"{base}/{path}"
        try:
            found = os.lstat(full)
            is_right = os.readlink(full) == wanted if isinstance(wanted, str) else Path(full).read_bytes() == wanted
        except OSError as error:
            yield f"{path}: {error.strerror}"
            continue
        if not is_right:
            yield f"{path}: WRONG BYTES"
        elif isinstance(wanted, bytes) and stat.S_IMODE(found.st_mode) != mode:
            yield f"{path}: mode {found.st_mode:o}"
    there = {os.path.relpath(f"{folder}/{name}", base) for folder, _, names in os.walk(f"{base}/out") for name in names}
    for path in sorted(there - set(OUTPUTS)):
        yield f"{path}: nobody made it"


def _clean(root: str) -> Iterator[str]:
    """Say what is wrong after a run that ended well: outputs, and anything left beside them."""
    yield from _outputs_wrong(root)
    left = sorted(name for name in os.listdir(f"{root}/project") if name not in _OWN)
    if left:
        yield f"left over: {', '.join(left)}"


_OWN: Final = {"pyproject.toml", "lockfiles", "src", "out", ".envid"}


def _inputs_changed(root: str) -> Iterator[str]:
    for path, data in INPUTS.items():
        if Path(f"{root}/project/{path}").read_bytes() != data:
            yield f"the input {path} changed"


def _run_problems(root: str) -> Iterator[str]:
    yield from sound(root)
    yield from _inputs_changed(root)


def _run_after_power(root: str) -> Iterator[str]:
    _rebind(f"{root}/project")
    yield from unproved(root)
    yield from _inputs_changed(root)


def _rebind(project: str) -> None:
    """Name the files of a rebuilt tree by the numbers that they have in it: on a real disk they keep their own."""
    for journal in Path(project, ".envid").rglob("*.journal"):
        fields = journal.read_bytes().decode("utf-8", "surrogateescape").split("\0")
        # A journal that a crash left torn is for the command to refuse.
        if len(fields) < 3 or len(fields) % 2 == 0:
            continue
        fields[2] = _number_of(os.path.dirname(journal))
        for at in range(3, len(fields), 2):
            places = [f"{project}/{beside(fields[at], 'envid-aside')}", f"{project}/{fields[at]}"]
            if fields[at + 1] != "-":
                fields[at + 1] = next((_number_of(path) for path in places if os.path.lexists(path)), fields[at + 1])
        journal.write_bytes("\0".join(fields).encode("utf-8", "surrogateescape"))


def _number_of(path: str) -> str:
    found = os.lstat(path)
    return f"{found.st_dev}:{found.st_ino}"


def _with_run(root: str) -> None:
    """Make a project in which the command has run, so that the store has what it made."""
    _project(root)
    status = _forked(partial(_run, root))
    assert status == "exit 0", status


def _with_run_and_no_outputs(root: str) -> None:
    _with_run(root)
    _remove(f"{root}/project/out")


def _with_run_and_other_outputs(root: str) -> None:
    _with_run(root)
    Path(f"{root}/project/out/both").write_bytes(b"edited")
    Path(f"{root}/project/out/stray").write_bytes(b"stray")
    os.unlink(f"{root}/project/out/sub/link")


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path)


def _forked(work: Callable[[], str]) -> str:
    """Do ``work`` in a child, whose environment and directory are its own."""
    import tempfile

    from faults.tracing import trial

    with tempfile.TemporaryDirectory() as directory:
        ended = trial(work, directory)
    return ended.answer or ended.output


# --- the store's own commands ---------------------------------------------------------------


def _with_expired(root: str) -> None:
    """Make a store with things that nobody has used for long, leftovers among them."""
    _project(root)
    place, long_ago = place_of(root), time.time() - OLD
    paths = []
    for number, slot in enumerate(EXPIRED):
        cache.put(place, leave_to_write(slot), noise(2000 + number, 30 + number))
        paths.append(place.entry_path(slot))
    slot = narrow("run", {"expired": "manifest"})
    for data in outputs_of(1).values():
        blobs.keep_bytes(place, data)
        paths.append(place.blob_path(blake3_hex(data)))
    cache.put(place, leave_to_write(slot), run_manifest(1))
    paths.append(place.entry_path(slot))
    for area in ("tmp-v1", "quarantine-v1"):
        os.makedirs(f"{place.root}/{area}", mode=0o700, exist_ok=True)
        paths.append(f"{place.root}/{area}/leftover.part")
        Path(paths[-1]).write_bytes(b"half")
    for path in paths:
        os.utime(path, (long_ago, long_ago))


def _collect(root: str) -> str:
    return command(root, "cache", "gc")


def _expired_left(root: str) -> Iterator[str]:
    place = place_of(root)
    for slot in EXPIRED:
        if os.path.lexists(place.entry_path(slot)):
            yield "an expired entry is still there"
    for data in outputs_of(1).values():
        if os.path.lexists(place.blob_path(blake3_hex(data))):
            yield "a blob that nothing names is still there"
    if os.path.lexists(f"{place.root}/tmp-v1/leftover.part"):
        yield "a leftover is still there"


def _with_project(prepare: Callable[[str], None], root: str) -> None:
    _bare_project(root)
    prepare(root)


def _with_archive(root: str) -> None:
    """Make a store and an archive of another one, which has what this one has not."""
    _with_project(with_older, root)
    other = f"{root}/other"
    with_new(other)
    with open(f"{root}/archive", "wb") as stream:
        archive.write(place_of(other), archive.everything(place_of(other)), stream)
    _remove(other)


def _export(root: str) -> str:
    return command(root, "cache", "export", f"{root}/exported", "--all")


def _import(root: str) -> str:
    return command(root, "cache", "import", f"{root}/archive", "--trust")


def _exported_or_not(root: str) -> Iterator[str]:
    yield from sound(root)
    if os.path.exists(f"{root}/exported"):
        yield from _exported_wrong(root, whole=False)


def _exported_wrong(root: str, *, whole: bool = True) -> Iterator[str]:
    other = f"{root}/imported"
    with open(f"{root}/exported", "rb") as stream:
        taken = archive.read(place_of(other), stream, provers={}, trust=True)
    if taken.fault or taken.skipped:
        yield f"the archive is not sound: {taken.fault} {dict(taken.skipped)}"
    elif whole:
        yield from older_lost(other)
        yield from entry_is_new(other)
        yield from blob_is_new(other)
    _remove(other)


def _is_imported(root: str) -> Iterator[str]:
    yield from entry_is_new(root)
    yield from blob_is_new(root)


def _verify(root: str) -> str:
    return command(root, "cache", "verify")


def _repair(root: str) -> str:
    return command(root, "cache", "repair")


def _repaired(root: str) -> Iterator[str]:
    yield from torn(root)
    yield from older_lost(root)


def _exits(answer: str) -> bool:
    """Tell whether a command may end so when the system refuses something: docs/exit-codes.md, and never as a bug."""
    return answer.startswith("exit ") and answer[5:].isdigit() and int(answer[5:]) <= 10


def _run_exits(answer: str) -> bool:
    """The same for a run, whose status may be that of its command, which ends by SIGXFSZ where files are small."""
    return _exits(answer) or answer == f"exit {128 + signal.SIGXFSZ}"


def _nothing(root: str) -> Iterator[str]:
    yield from ()


_WELL: Final = frozenset({"exit 0"})

COMMANDS: Final[dict[str, Operation]] = {
    operation.name: operation
    for operation in (
        Operation(
            name="run-miss", long=True, prepare=_project, work=_run, good=_WELL, fallback=_run_exits,
            problems=_run_problems, complete=_clean, right=_outputs_wrong, after_power=_run_after_power,
            follow=False, proves=False,
        ),
        Operation(
            name="run-hit", long=True, prepare=_with_run_and_no_outputs, work=_run, good=_WELL, fallback=_run_exits,
            problems=_run_problems, complete=_clean, right=_outputs_wrong, after_power=_run_after_power, follow=False,
            proves=False,
        ),
        Operation(
            name="run-other", long=True, prepare=_with_run_and_other_outputs, work=_run, good=_WELL,
            fallback=_run_exits, problems=_run_problems, complete=_clean, right=_outputs_wrong,
            after_power=_run_after_power, follow=False, proves=False,
        ),
        Operation(
            name="run-same", prepare=_with_run, work=_run, good=_WELL, fallback=_run_exits,
            problems=_run_problems, complete=_clean, right=_outputs_wrong, after_power=_run_after_power,
            follow=False, writes=False,
        ),
        Operation(
            name="gc", prepare=_with_expired, work=_collect, good=_WELL, fallback=_exits, problems=sound,
            complete=_expired_left, right=_nothing, after_power=older_lost, proves=False,
        ),
        Operation(
            name="export", prepare=partial(_with_project, with_new), work=_export, good=_WELL, fallback=_exits,
            problems=_exported_or_not, complete=_exported_wrong, right=_nothing, after_power=unproved,
            proves=False,
        ),
        Operation(
            name="import", prepare=_with_archive, work=_import, good=_WELL, fallback=_exits, problems=sound,
            complete=_is_imported, right=_nothing, after_power=unproved,
        ),
        Operation(
            name="repair", prepare=partial(_with_project, with_damaged), work=_repair,
            good=frozenset({"exit 0", "exit 1"}), fallback=_exits, problems=older_lost, complete=_repaired,
            right=_nothing, after_power=older_lost,
        ),
        Operation(
            name="verify", prepare=partial(_with_project, with_damaged), work=_verify, good=frozenset({"exit 1"}),
            fallback=_exits, problems=older_lost, complete=_nothing, after_power=older_lost, writes=False,
        ),
    )
}  # fmt: skip
