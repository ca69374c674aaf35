"""`envid cache`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, TypeVar

from envid.app.cache_archive import cache_export, cache_import
from envid.app.cache_explain import cache_explain
from envid.app.cache_gc import cache_gc
from envid.app.cache_stats import cache_stats
from envid.app.cache_verify import cache_repair, cache_verify
from envid.app.outcome import Outcome
from envid.app.workspace import Workspace, open_workspace
from envid.errors import UsageError
from envid.surface.options import verbs
from envid.values.amount import parse_age, parse_size
from envid.values.progress import Progress

SUMMARY = "look at the cache, check it, mend it, make it smaller"
T = TypeVar("T")


_VERBS: Final = {
    "stats": "say what the cache holds, and what came of every read and write, by reason",
    "verify": "read every entry, blob and artifact of the cache",
    "repair": "set aside what is damaged, drop what is incomplete, remove leftovers",
    "gc": "remove what nobody uses any more",
    "explain": "say why a layer misses, or what an entry is",
    "export": "write what this project uses of the cache to one file",
    "import": "take what proves itself from such a file",
}


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of the command, each with its options."""
    made = verbs(parser, _VERBS)
    made["stats"].add_argument("--zero", action="store_true", help="begin to count anew")
    made["verify"].add_argument("--sample", metavar="PERCENT", help="read only this share of them, chosen at random")
    collect, explain = made["gc"], made["explain"]
    collect.add_argument("--max-size", metavar="SIZE", help="leave at most this much, such as `5 GB` (default: 10 GiB)")
    collect.add_argument("--max-age", metavar="AGE", help="remove what is unused for so long (default: `30 days`)")
    collect.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    collect.add_argument("--force", action="store_true", help="also on a network's filesystem")
    explain.add_argument("what", metavar="KEY|LAYER", nargs="?", help="what to explain (default: the layer env)")
    explain.add_argument("--others", action="store_true", help="compare with what other projects recorded, too")
    explain.add_argument("--target", metavar="T", help="the target (default: this interpreter and host)")
    explain.add_argument("--name", metavar="NAME", default="default", help="the lock (default: `default`)")
    made["export"].add_argument(
        "file", metavar="FILE", help="the archive to write, a plain tar file; `-` for standard output"
    )
    made["export"].add_argument("--all", action="store_true", help="everything, whoever uses it")
    made["export"].add_argument(
        "--layer", metavar="L", action="append", default=[], help="`wheels`, or entries of this layer (default: all)"
    )
    made["import"].add_argument("file", metavar="FILE", help="the archive; `-` for standard input")
    made["import"].add_argument(
        "--trust", action="store_true", help="take results of `run`, too: whoever wrote FILE may make them"
    )
    made["import"].add_argument(
        "--strict", action="store_true", help="exit 1 when the archive is not whole, or the cache cannot be written"
    )


def answer(options: argparse.Namespace, progress: Progress) -> Outcome:
    """Call the use case of the verb."""
    return _ANSWERS[options.verb](options, progress)


def _stats(options: argparse.Namespace, progress: Progress) -> Outcome:
    return cache_stats(_workspace(options), zero=options.zero)


def _verify(options: argparse.Namespace, progress: Progress) -> Outcome:
    sample = 100.0 if options.sample is None else _given("--sample", options.sample, _percent)
    return cache_verify(_workspace(options), sample=sample, progress=progress)


def _repair(options: argparse.Namespace, progress: Progress) -> Outcome:
    return cache_repair(_workspace(options), progress=progress)


def _collect(options: argparse.Namespace, progress: Progress) -> Outcome:
    size = None if options.max_size is None else _given("--max-size", options.max_size, parse_size)
    age = None if options.max_age is None else _given("--max-age", options.max_age, parse_age)
    return cache_gc(
        _workspace(options), max_size=size, max_age=age, dry_run=options.dry_run,
        force=options.force, progress=progress,
    )  # fmt: skip


def _explain(options: argparse.Namespace, progress: Progress) -> Outcome:
    workspace = _workspace(options)
    return cache_explain(workspace, options.what, target=options.target, name=options.name, others=options.others)


def _export(options: argparse.Namespace, progress: Progress) -> Outcome:
    if options.file == "-" and options.json:
        raise UsageError("`-` writes the archive to standard output, where --json writes", hint="name a file")
    return cache_export(
        _workspace(options), options.file, layers=tuple(options.layer), roots_only=not options.all, progress=progress
    )


def _import(options: argparse.Namespace, progress: Progress) -> Outcome:
    return cache_import(
        _workspace(options), options.file, trust=options.trust, strict=options.strict, progress=progress
    )


def _workspace(options: argparse.Namespace) -> Workspace:
    # The cache is the user's: it may be looked at from anywhere.
    return open_workspace(options.project, offline=options.offline, anywhere=True)


def _percent(text: str) -> float:
    number = text.removesuffix("%").strip()
    if not number.replace(".", "", 1).isascii() or not number.replace(".", "", 1).isdigit():
        raise ValueError("must be a share such as 10% or 0.5%")
    share = float(number)
    if not 0 < share <= 100:
        raise ValueError("must be above 0% and at most 100%")
    return share


def _given(option: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {error}",
        ) from None


_ANSWERS: Final[dict[str, Callable[[argparse.Namespace, Progress], Outcome]]] = {
    "stats": _stats, "verify": _verify, "repair": _repair, "gc": _collect, "explain": _explain,
    "export": _export, "import": _import,
}  # fmt: skip
