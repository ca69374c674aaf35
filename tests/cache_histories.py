"""Random histories of a repository on the modelled cache service: with envid's keys, and with the usual ones.

In each history locks, Pythons, runner images and branches change, time passes, archives are torn while they are
unpacked, environments move between key and save, and other workflows save under keys that begin with ours, or that
differ in case. A restore is *wrong* when a tree is used as it is although it was made under another identity, or is
not whole. Run as a program, it prints the counts.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from envid.app.ci import ladder
from envid.app.restore import judge
from envid.errors import SealBroken
from envid.identity import ci_key, identify
from envid.slot import Slot, of_identity
from envid.store.seal import Seal, decode, encode
from envid.store.tree import Tree
from envid.values.digest import JSONValue
from github_cache import DAY, Service, is_hit, version

PLACE: Final = ".venv"
LOCKS: Final = 6
PYTHONS: Final = (("cp311", "3.11.7"), ("cp311", "3.11.9"), ("cp312", "3.12.1"), ("cp312", "3.12.3"))
IMAGES: Final = ("/opt/hostedtoolcache/Python", "/usr/local/python")
BRANCHES: Final = ("refs/heads/main", "refs/heads/topic", "refs/heads/other")
WAYS: Final = {
    "envid": "envid: key, no ladder for environments, seal",
    "unjudged": "the same keys without `restore check`",
    "exact": "hash of the lock and OS, exact key",
    "ladder": "hash of the lock and OS, prefix fallback",
    "wheels": "envid's ladder of wheels",
}
LAYERS: Final = {
    "venv": (
        "python", "python-build", "platform", "markers", "selection", "distributions", "local", "build", "prefix",
        "salt",
    ),
    "wheels": ("markers", "selection", "distributions", "salt"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """What an environment depends on, at one moment."""

    lock: int
    python: int
    image: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An archive as it is unpacked: the identity it was really made under, what is in it, and its seal."""

    made: World
    files: tuple[str, ...]
    seal: bytes | None

    @property
    def whole(self) -> bool:
        """Whether it holds everything that its identity means, and nothing else."""
        return self.files == files_of(self.made)


@cache
def files_of(world: World) -> tuple[str, ...]:
    """Return the files of an environment: each depends on the lock; byte code and scripts on the interpreter, too."""
    packages = [f"package{number}-{world.lock if number % LOCKS <= world.lock else 0}" for number in range(8)]
    return (*packages, f"pyvenv.cfg-{PYTHONS[world.python][1]}-{IMAGES[world.image]}")


@cache
def tree_of(files: tuple[str, ...]) -> Tree:
    """Return what a seal says of the files."""
    text = "\n".join(files).encode()
    return Tree(digest=hashlib.sha256(text).hexdigest(), entries=len(files), size=len(text))


@cache
def named(world: World, layer: str) -> tuple[str, Slot]:
    """Return the key and the slot that envid computes for ``world``."""
    tag, release = PYTHONS[world.python]
    rows = [[f"package{number}", str(world.lock), "wheel", f"{world.lock * 8 + number:064x}"] for number in range(8)]
    values: dict[str, JSONValue] = {
        "python": {"abi": tag, "implementation": "cpython", "version": f"3.{tag[3:]}"},
        "python-build": {
            "byteorder": "little", "debug": False, "free_threaded": False, "pointer_bits": 64, "soabi": tag,
            "version": release,
        },
        "platform": {"arch": "x86_64", "floor": "2.17", "libc": "glibc", "os": "linux"},
        "markers": {}, "selection": {"extras": [], "groups": [], "lock": "default"}, "distributions": rows,
        "local": [], "build": None, "salt": "",
        "prefix": {"environment": "/srv/project/.venv", "interpreter": f"{IMAGES[world.image]}/{release}/bin/python"},
    }  # fmt: skip
    found = identify(layer, LAYERS[layer], values)
    return ci_key(found, "linux", "x86_64", tag), of_identity(found)


@cache
def sealed(world: World, files: tuple[str, ...]) -> bytes:
    """Return the seal that ``envid restore seal`` writes for a tree of ``files`` under the identity of ``world``."""
    key, slot = named(world, "venv")
    return encode(Seal(key=key, document=slot.document, place=PLACE, tree=tree_of(files)))


@cache
def unsealed(data: bytes) -> Seal | None:
    """Return the seal as it is read back, None for one that cannot be."""
    try:
        return decode(data)
    except SealBroken:
        return None


@dataclass(slots=True)
class Counts:
    """What happened, over all histories."""

    histories: int = 0
    jobs: int = 0
    used: Counter[str] = field(default_factory=Counter)
    """Restores that were used as they are, by way of working."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Of these, the wrong ones."""
    other: Counter[str] = field(default_factory=Counter)
    """Of the wrong ones, those that were made under another identity; the rest was not whole."""
    refused: Counter[str] = field(default_factory=Counter)
    """What envid refused, by finding."""
    prefixed: int = 0
    """Restores of wheels by a rung of the ladder: their content is held to hashes."""


class History:
    """One repository from its first job on, three times: with envid, with an exact hash key, with a ladder."""

    def __init__(self, seed: int, counts: Counts) -> None:
        self.random = random.Random(seed)
        self.counts = counts
        self.now = 0.0
        self.world = World(lock=0, python=0, image=0)
        self.services: dict[str, Service[Kept]] = {way: Service() for way in WAYS}
        self.version = version([PLACE])

    def run(self, jobs: int) -> None:
        """Let ``jobs`` jobs run, with changes in between."""
        for _ in range(jobs):
            self._change()
            branch = self.random.choice(BRANCHES)
            base = "refs/heads/main" if branch != "refs/heads/main" and self.random.random() < 0.5 else None
            # The world may move while the job makes its environment: an image that updates itself, a lock made again.
            moved = self._other() if self.random.random() < 0.05 else self.world
            torn = self.random.random() < 0.05
            size = self.random.choice((10**8, 10**9, 4 * 10**9))
            self._envid(branch, base, moved, torn, size)
            self._unjudged(branch, base, moved, torn, size)
            self._usual("exact", branch, base, moved, torn, size)
            self._usual("ladder", branch, base, moved, torn, size)
            self._wheels(branch, base, size)
            self.counts.jobs += 1
        self.counts.histories += 1

    def _other(self) -> World:
        pick = self.random.random()
        if pick < 0.6:
            return World(self.random.randrange(LOCKS), self.world.python, self.world.image)
        if pick < 0.9:
            return World(self.world.lock, self.random.randrange(len(PYTHONS)), self.world.image)
        return World(self.world.lock, self.world.python, self.random.randrange(len(IMAGES)))

    def _change(self) -> None:
        self.now += self.random.choice((60.0, 3600.0, DAY, 3 * DAY, 8 * DAY))
        if self.random.random() < 0.5:
            self.world = self._other()
        if self.random.random() < 0.15:
            self._strangers()

    def _strangers(self) -> None:
        """Another workflow of the repository saves a tree of its own, under a key that ours matches."""
        key, _ = named(self.world, "venv")
        other = self._other()
        odd = self.random.choice((key, key.upper(), f"{key}-extra", key.replace("x86", "X86"), f"{key}0"))
        seals = [None, b"{}", sealed(other, files_of(other)), sealed(self.world, files_of(self.world))]
        # Under our own key a seal for other files would be forged, which a seal does not claim to keep out.
        seals += [] if odd == key else [sealed(self.world, files_of(other))]
        kept = Kept(made=other, files=files_of(other), seal=self.random.choice(seals))
        scope = self.random.choice(BRANCHES)
        for way in ("envid", "unjudged"):
            self.services[way].save(odd, self.version, kept, scope=scope, size=10**8, now=self.now)

    def _unpacked(self, kept: Kept, torn: bool) -> Kept:
        """Return what is on disk after unpacking: all of it, or a part, perhaps without the seal."""
        if not torn:
            return kept
        some = tuple(file for file in kept.files if self.random.random() < 0.8)
        return Kept(made=kept.made, files=some, seal=kept.seal if self.random.random() < 0.7 else None)

    def _envid(self, branch: str, base: str | None, moved: World, torn: bool, size: int) -> None:
        service = self.services["envid"]
        key, slot = named(self.world, "venv")
        keys = [key, *ladder("venv", key)]
        found = service.restore(keys, self.version, scope=branch, base=base, now=self.now)
        if found is not None:
            tree = self._unpacked(found.payload, torn)
            seal = None if tree.seal is None else unsealed(tree.seal)
            # An archive that could not be unpacked whole may be told as none at all.
            matched = "" if torn and self.random.random() < 0.5 else found.key
            code, _ = judge(seal, slot, key, PLACE, matched)
            if not code and seal is not None and tree_of(tree.files) != seal.tree:
                code = "restore.torn"
            if not code:
                self._count("envid", tree)
                return
            self.counts.refused[code] += 1
        # `seal` measures after the work what was made, and the archive is saved under that key.
        made = Kept(made=moved, files=files_of(moved), seal=sealed(moved, files_of(moved)))
        if found is None or not is_hit(key, found.key):
            service.save(named(moved, "venv")[0], self.version, made, scope=branch, size=size, now=self.now)

    def _unjudged(self, branch: str, base: str | None, moved: World, torn: bool, size: int) -> None:
        service = self.services["unjudged"]
        key, _ = named(self.world, "venv")
        found = service.restore([key], self.version, scope=branch, base=base, now=self.now)
        if found is not None:
            self._count("unjudged", self._unpacked(found.payload, torn))
        if found is None or not is_hit(key, found.key):
            made = Kept(made=moved, files=files_of(moved), seal=None)
            service.save(key, self.version, made, scope=branch, size=size, now=self.now)

    def _usual(self, way: str, branch: str, base: str | None, moved: World, torn: bool, size: int) -> None:
        service = self.services[way]
        key = f"linux-{hashlib.sha256(str(self.world.lock).encode()).hexdigest()}"
        keys = [key] if way == "exact" else [key, "linux-"]
        found = service.restore(keys, self.version, scope=branch, base=base, now=self.now)
        if found is not None:
            self._count(way, self._unpacked(found.payload, torn))
        if found is None or not is_hit(key, found.key):
            made = Kept(made=moved, files=files_of(moved), seal=None)
            service.save(key, self.version, made, scope=branch, size=size, now=self.now)

    def _wheels(self, branch: str, base: str | None, size: int) -> None:
        service = self.services["wheels"]
        key, _ = named(self.world, "wheels")
        keys = [key, *ladder("wheels", key)]
        found = service.restore(keys, self.version, scope=branch, base=base, now=self.now)
        if found is not None and found.key != key:
            self.counts.prefixed += 1
        if found is None or not is_hit(key, found.key):
            made = Kept(made=self.world, files=files_of(self.world), seal=None)
            service.save(key, self.version, made, scope=branch, size=size, now=self.now)

    def _count(self, way: str, tree: Kept) -> None:
        self.counts.used[way] += 1
        if tree.made != self.world or not tree.whole:
            self.counts.wrong[way] += 1
            self.counts.other[way] += tree.made != self.world


def histories(number: int, *, jobs: int = 8) -> Counts:
    """Run ``number`` histories, each with its own seed from 0 on, and return what happened."""
    counts = Counts()
    for seed in range(number):
        History(seed, counts).run(jobs)
    return counts


def main() -> int:
    """Print the counts; return 1 when envid's way had a wrong restore."""
    counts = histories(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print(f"{counts.histories} histories, {counts.jobs} jobs on the model of GitHub's cache service")
    for way, text in WAYS.items():
        if way != "wheels":
            wrong = f"{counts.wrong[way]} wrong ({counts.other[way]} made under another identity)"
            print(f"  {text}: {counts.used[way]} restores used, {wrong}")
    told = ", ".join(f"{code} {number}" for code, number in sorted(counts.refused.items()))
    print(f"  refused by envid before use: {told}")
    print(f"  wheels restored from another key: {counts.prefixed}, each wheel held to its hash when used")
    return 1 if counts.wrong["envid"] else 0


if __name__ == "__main__":
    sys.exit(main())
