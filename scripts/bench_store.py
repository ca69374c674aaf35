"""The store in process: reading and publishing an entry beside the plain file calls, and beside diskcache.

diskcache is not a dependency: it is measured when ``scripts/bench`` put it into its environment.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from blake3 import blake3

from envid.slot import Slot, narrow
from envid.store import blobs
from envid.store.cache import get, keep
from envid.store.place import TEMPORARY, Policy, open_place

ROUNDS = 400
"""Turns of each action, one after the other in each turn, so that a drift of the machine touches all alike."""


def noise(size: int) -> bytes:
    """Return bytes that no codec makes smaller."""
    return random.Random(size).randbytes(size)


def text(size: int) -> bytes:
    """Return source code of Python, as generators write it."""
    library = Path(os.__file__).parent
    found = b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))
    return (found * (size // len(found) + 1))[:size]


def in_turn(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each action in each turn; ten turns warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(10 + rounds):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            elapsed = time.perf_counter() - start
            if turn >= 10:
                seconds[name].append(elapsed)
    return seconds


def tell(title: str, seconds: dict[str, list[float]], limits: dict[str, float]) -> None:
    """Print the medians, and the ratio to the first of them: the median over the turns."""
    plain = next(iter(seconds))
    print(f"store: {title}; plain is {plain}, {statistics.median(seconds[plain]) * 1e6:.0f} us")
    for name, values in seconds.items():
        if name != plain:
            ratio = statistics.median(a / b for a, b in zip(values, seconds[plain], strict=True))
            limit = f" (limit {limits[name]:g})" if name in limits else f" ({statistics.median(values) * 1e6:.0f} us)"
            print(f"  {name}, {title} {ratio:.2f} x plain{limit}")


def read_plain(path: str) -> bytes:
    """Open, read, digest."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    data = os.read(handle, os.fstat(handle).st_size)
    os.close(handle)
    blake3(data).digest()
    return data


def write_plain(temporary: str, directory: str, number: int, data: bytes) -> None:
    """Write and rename, from the directory where the store begins its files: making one costs more in some than others.

    ext4 looks for a free inode near the directory, and where much was made and removed that takes five times as long.
    """
    part, path = f"{temporary}/plain", f"{directory}/{number}"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.write(handle, data)
    os.close(handle)
    os.rename(part, path)


def slots() -> Iterator[Slot]:
    """Return slots that nothing is in, made beforehand: a slot is what a caller comes with."""
    return iter([narrow("bench", {"number": number}) for number in range(4000)])


def main() -> int:
    """Print the figures of reading and of publishing."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("ENVID_BENCH_STORE")) as made:
        place = open_place(f"{made}/cache", Policy(min_free=0))
        fresh, numbers = slots(), iter(range(1 << 40))
        for _ in range(1500):
            # A store that has been in use has all of its directories.
            keep(place, next(fresh), b"")
        plain, area = Path(made, "plain"), place.area(TEMPORARY)
        plain.mkdir()
        beside = None
        if find_spec("diskcache") is not None:
            from diskcache import Cache

            beside = Cache(f"{made}/diskcache")
        for kind, data in (("random bytes", noise(65536)), ("source text", text(65536))):
            slot, file = next(fresh), f"{plain}/{next(numbers)}"
            Path(file).write_bytes(data)
            keep(place, slot, data)
            reading: dict[str, Callable[[], object]] = {
                "open + read + BLAKE3": lambda file=file: read_plain(file),  # type: ignore[misc]
                "get": lambda slot=slot: get(place, slot),  # type: ignore[misc]
            }
            if beside is not None:
                beside[kind] = data
                reading["diskcache get"] = lambda kind=kind: beside[kind]  # type: ignore[misc]
            tell(f"64 KiB of {kind}", in_turn(reading, ROUNDS), {"get": 3})
        for kind, size, make in (
            ("random bytes", 65536, noise), ("source text", 65536, text), ("source text", 4096, text),
            ("random bytes", 1 << 20, noise), ("source text", 1 << 20, text),
        ):  # fmt: skip
            data = make(size)
            writing: dict[str, Callable[[], object]] = {
                "write + rename": lambda data=data: write_plain(area, str(plain), next(numbers), data),  # type: ignore[misc]
                "put": lambda data=data: keep(place, next(fresh), data),  # type: ignore[misc]
            }
            if beside is not None:
                writing["diskcache set"] = lambda data=data: beside.set(next(numbers), data)  # type: ignore[misc]
            limits: dict[str, float] = {"put": 2} if size == 65536 else {}
            tell(f"{size // 1024} KiB of {kind}", in_turn(writing, ROUNDS // 4), limits)
        big = Path(made, "big")
        big.write_bytes(noise(64 << 20))
        kept = blobs.keep_file(place, str(big))
        assert isinstance(kept, blobs.Kept)
        laying: dict[str, Callable[[], object]] = {
            "read + write": lambda: Path(made, "copy").write_bytes(big.read_bytes()),
            "lay": lambda: blobs.lay(place, kept.digest, f"{made}/copy", mode=0o644),
        }
        tell("a file of 64 MiB", in_turn(laying, 5), {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
