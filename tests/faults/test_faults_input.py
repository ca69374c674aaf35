"""Bad input on disk, met by whole commands: each has a clear outcome, and none changes what a command answers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from blake3 import blake3

from envid.manifest import Made, encode
from envid.store import entry
from keyed import Keyed

OUTPUT: Final = b"one\ntwo\n"
ENTRIES: Final = "entries-v1/run"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A project, its cache, and what is beside them."""

    root: Path

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return self.root / "cache"

    @property
    def project(self) -> Path:
        """The project."""
        return self.root / "project"

    @property
    def output(self) -> Path:
        """What the command behind the gate makes."""
        return self.project / "made.txt"

    @property
    def entry(self) -> Path:
        """The one entry of the command."""
        (found,) = [path for path in (self.cache / ENTRIES).rglob("*") if len(path.name) == 64]
        return found

    @property
    def blob(self) -> Path:
        """The blob of the output."""
        digest = blake3(OUTPUT).hexdigest()
        return self.cache / "blobs-v1" / digest[:2] / digest

    @property
    def aside(self) -> list[str]:
        """Why files were set aside."""
        folder = self.cache / "quarantine-v1"
        return sorted(path.name.split(".")[1] for path in folder.iterdir()) if folder.exists() else []

    def envid(self, *arguments: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the program; ``before`` is Python that it runs first."""
        seen = {"PATH": os.environ["PATH"], "HOME": str(self.root), "ENVID_CACHE_DIR": str(self.cache), **variables}
        code = f"{before}\nimport sys\nfrom envid.surface.cli import main\nsys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.project, env=seen, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip

    def run(self, **more: str) -> Any:
        """Have the output made or restored, and return what is said of it; whatever happens, it is right."""
        self.output.unlink(missing_ok=True)
        done = self.envid(
            "run", "--json", "--layer", "plain", "--in", "in/*", "--out", "made.txt", "--",
            "sh", "-c", "cat in/a in/b > made.txt", **more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert self.output.read_bytes() == OUTPUT
        return json.loads(done.stdout)["data"]

    def rewrite(self, path: Path, data: bytes) -> None:
        """Put other bytes in the place of a file of the store."""
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o400)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose command has run once."""
    root = tmp_path_factory.mktemp("template") / "ground"
    root.mkdir()
    ground = Ground(root=root)
    Keyed(root=ground.project, cache=ground.cache).given(envid='[tool.envid.layers.plain]\ncomponents = ["salt"]\n')
    (ground.project / "in").mkdir()
    (ground.project / "in" / "a").write_bytes(b"one\n")
    (ground.project / "in" / "b").write_bytes(b"two\n")
    assert ground.run()["outcome"] == "ran"
    assert ground.run()["outcome"] == "hit"
    return root


@pytest.fixture
def ground(template: Path, tmp_path: Path) -> Ground:
    """The same, for one test."""
    shutil.copytree(template, tmp_path / "ground", symlinks=True)
    return Ground(root=tmp_path / "ground")


# --- the entry ------------------------------------------------------------------------------


def _flipped(data: bytes) -> bytes:
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


def _with_header_of(length: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:9] + length.to_bytes(4, "big") + data[13:]


def _of_format(number: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:8] + bytes([number]) + data[9:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda _: b"", "truncated"),
        (lambda data: data[:5], "truncated"),
        (_flipped, "damaged"),
        (lambda data: b"x" + data[1:], "header"),
        (_with_header_of((1 << 32) - 1), "header"),
        (_with_header_of(0), "header"),
    ],
    ids=["cut", "empty", "cut-short", "flipped", "no-magic", "4-GiB-header", "no-header"],
)
def test_a_damaged_entry_is_set_aside_and_made_again(
    ground: Ground, change: Callable[[bytes], bytes], reason: str
) -> None:
    """Other bytes in an entry's place are a miss, lie in quarantine under their reason, and the next run hits."""
    ground.rewrite(ground.entry, change(ground.entry.read_bytes()))
    assert ground.run()["outcome"] == "ran"
    assert ground.aside == [reason]
    assert ground.run()["outcome"] == "hit"


@pytest.mark.parametrize("number", [0, 2, 255])
def test_an_entry_of_another_format_is_left_to_the_envid_that_wrote_it(ground: Ground, number: int) -> None:
    """It is not read and not touched; the command runs, and says that it could not keep what it made."""
    data = _of_format(number)(ground.entry.read_bytes())
    ground.rewrite(ground.entry, data)
    said = ground.run()
    assert (said["outcome"], said["reason"]) == ("unkept", "unwritable")
    assert ground.entry.read_bytes() == data
    assert ground.aside == []


def test_a_sound_entry_under_another_ones_name_is_a_miss(ground: Ground) -> None:
    """What a restored or mixed-up directory may hold is set aside as misnamed, although every byte of it is sound."""
    mine = ground.entry.read_bytes()
    name = "ab" * 32
    other = ground.cache / ENTRIES / name[:2] / name
    key = f"envid1-run-{name}"
    ground.rewrite(
        ground.entry, entry.encode(key, entry.decode(mine, f"envid1-run-{ground.entry.name}").document, b"x")
    )
    assert not other.exists()
    assert ground.run()["outcome"] == "ran"
    assert ground.aside == ["misnamed"]


HOSTILE: Final = {
    "above": b"file 0644 8 %(digest)s ../evil",
    "absolute": b"file 0644 8 %(digest)s /srv/evil",
    "elsewhere": b"file 0644 8 %(digest)s src/evil",
    "beside": b"file 0644 8 %(digest)s made.txt\nfile 0644 8 %(digest)s pyproject.toml",
    "through": b"link made.txt\t..\nfile 0644 8 %(digest)s made.txt/evil",
    "out": b"link made.txt\t../../evil",
    "nothing": b"",
}


def _files(ground: Ground) -> dict[Path, bytes]:
    """Return every file of the project but envid's own, which say who held a guard last."""
    files = (path for path in ground.project.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if ".envid" not in path.parts}


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_manifest_under_the_right_key_writes_nothing_elsewhere(ground: Ground, lines: bytes) -> None:
    """Whoever can write the cache can answer for a command's outputs, and for no other path."""
    before = _files(ground)
    key = f"envid1-run-{ground.entry.name}"
    document = entry.decode(ground.entry.read_bytes(), key).document
    body = lines.replace(b"%(digest)s", blake3(OUTPUT).hexdigest().encode())
    payload = b"envid-manifest 1\n" + (body + b"\n" if body else b"")
    ground.rewrite(ground.entry, entry.encode(key, document, payload))
    assert ground.run()["outcome"] == "ran"
    after = _files(ground)
    assert after == before
    assert not list(ground.root.rglob("evil*"))


def test_a_manifest_of_a_mode_that_runs_as_the_owner_gives_no_such_file(ground: Ground) -> None:
    """A manifest has nine permission bits: none makes a file that runs as its owner or group."""
    key = f"envid1-run-{ground.entry.name}"
    document = entry.decode(ground.entry.read_bytes(), key).document
    made = Made(path="made.txt", kind="file", mode=0o644, size=len(OUTPUT), digest=blake3(OUTPUT).hexdigest())
    ground.rewrite(ground.entry, entry.encode(key, document, encode([made]).replace(b"0644", b"4755")))
    assert ground.run()["outcome"] == "ran"
    assert not ground.output.stat().st_mode & stat.S_ISUID


# --- the blob -------------------------------------------------------------------------------


def _squeezed(size: int) -> Callable[[bytes], bytes]:
    """A blob that says it has ``size`` bytes and expands to 64 MiB."""

    def change(data: bytes) -> bytes:
        header, _ = entry.decode_header(data)
        stored: bytes = entry.zstd_module().compress(bytes(64 << 20))
        head = entry.encode_header(header).replace(b'"raw"', b'"zstd"')
        head = head.replace(b'"size":%d' % header.size, b'"size":%d' % size)
        head = head.replace(b'"stored":%d' % header.stored, b'"stored":%d' % len(stored))
        begin = entry.MAGIC + bytes([entry.FORMAT]) + len(head).to_bytes(4, "big") + head
        return begin + stored + entry.trailer(begin, blake3(stored).digest())

    return change


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], _flipped, lambda _: b"", _squeezed(8)],
    ids=["cut", "flipped", "empty", "bomb"],
)
def test_a_damaged_blob_makes_the_command_run(ground: Ground, change: Callable[[bytes], bytes]) -> None:
    """An entry whose blob is damaged gives nothing; what the command makes then is kept."""
    ground.rewrite(ground.blob, change(ground.blob.read_bytes()))
    assert ground.run()["outcome"] == "ran"
    assert ground.run()["outcome"] == "hit"


def test_a_blob_that_says_it_is_of_1_tib_is_not_expanded_and_is_repaired(ground: Ground) -> None:
    """It may be of use to an envid with other limits, and stays; until a repair, what the command makes is not kept."""
    ground.rewrite(ground.blob, _squeezed(1 << 40)(ground.blob.read_bytes()))
    assert ground.run()["outcome"] == "unkept"
    assert ground.envid("cache", "repair").returncode == 0
    assert ground.run()["outcome"] == "ran"
    assert ground.run()["outcome"] == "hit"


# --- what is planted ------------------------------------------------------------------------


def _link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def _pipe(path: Path, target: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path, target: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [_link, _pipe, _directory])
@pytest.mark.parametrize("what", ["entry", "blob"])
def test_what_is_no_file_in_the_place_of_one_is_passed_over(
    ground: Ground, what: str, plant: Callable[[Path, Path], None]
) -> None:
    """A link, a pipe or a directory at the name of an entry or blob is not followed, waited for, or written through."""
    path: Path = getattr(ground, what)
    victim = ground.root / "victim"
    victim.write_bytes(path.read_bytes())
    path.unlink()
    plant(path, victim)
    before = victim.read_bytes()
    assert ground.run()["outcome"] in ("ran", "unkept")
    assert victim.read_bytes() == before
    assert os.path.lexists(path)


@pytest.mark.parametrize(
    "area", ["tmp-v1", "entries-v1", "blobs-v1", "guards-v1", "quarantine-v1", "roots-v1", "stats-v1"]
)
def test_a_link_in_the_place_of_a_directory_leads_nowhere(ground: Ground, area: str) -> None:
    """With a link where the cache has a directory, the command still runs, and what is written there is told."""
    outside = ground.root / "outside"
    outside.mkdir()
    place = ground.cache / area
    if place.exists():
        shutil.move(place, ground.root / "moved")
    place.symlink_to(outside)
    ground.run()
    if area in ("tmp-v1", "entries-v1", "blobs-v1"):
        assert list(outside.iterdir()) == []
    told = ground.envid("cache", "verify")
    assert (told.returncode, area in told.stdout) == (1, True), told.stdout + told.stderr


def test_links_at_the_names_of_guards_are_not_followed(ground: Ground) -> None:
    """A link planted at a guard's name is not opened: the command runs without waiting, and the target stays."""
    victim = ground.root / "victim"
    victim.write_bytes(b"precious")
    for path in (ground.cache / "guards-v1").rglob("*"):
        if path.is_file():
            path.unlink()
            path.symlink_to(victim)
    ground.rewrite(ground.entry, b"")
    ground.run()
    assert victim.read_bytes() == b"precious"


# --- the directory --------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["", "entries-v1", "blobs-v1"])
def test_a_directory_that_everybody_can_write_is_not_believed(ground: Ground, which: str) -> None:
    """Nothing is read from it and nothing kept in it, the command runs all the same, and the collection refuses."""
    path = ground.cache / which
    path.chmod(0o777)
    said = ground.run()
    assert (said["outcome"], said["reason"]) == ("unkept", "untrusted")
    refused = ground.envid("cache", "gc")
    assert refused.returncode == 7
    assert "chmod o-w" in refused.stderr
    path.chmod(0o700)
    assert ground.run()["outcome"] == "hit"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["entry", "blob"])
def test_a_file_of_another_user_is_not_believed(ground: Ground, what: str) -> None:
    """An entry or blob that somebody else owns is passed over, however sound it is, and left to its owner."""
    path: Path = getattr(ground, what)
    os.chown(path, 12345, 12345)
    assert ground.run()["outcome"] in ("ran", "unkept")
    assert path.stat().st_uid == 12345


def test_a_file_in_the_place_of_the_cache_costs_the_cache_only(ground: Ground) -> None:
    """With a file where the cache directory should be, the command runs, says so, and the file stays."""
    shutil.rmtree(ground.cache)
    ground.cache.write_bytes(b"a file")
    said = ground.run()
    assert said["outcome"] == "unkept"
    assert ground.cache.read_bytes() == b"a file"


def test_a_cache_on_another_filesystem_than_the_project(ground: Ground, tmp_path: Path) -> None:
    """Entries and blobs go there and come back: nothing relies on a rename or a link between the two."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev or not os.access(shared, os.W_OK):
        pytest.skip("there is no second filesystem here")
    elsewhere = shared / f"envid-faults-{os.getpid()}"
    try:
        assert ground.run(ENVID_CACHE_DIR=str(elsewhere))["outcome"] == "ran"
        assert ground.run(ENVID_CACHE_DIR=str(elsewhere))["outcome"] == "hit"
        assert ground.envid("cache", "verify", ENVID_CACHE_DIR=str(elsewhere)).returncode == 0
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


# --- the clock ------------------------------------------------------------------------------

YEARS: Final = {"1970": 86400, "2040": 2_208_988_800}


def _clock(seconds: int) -> str:
    return f"import time; time.time = lambda: {seconds}.0; time.time_ns = lambda: {seconds} * 10**9"


@pytest.mark.parametrize("seconds", YEARS.values(), ids=YEARS)
def test_a_wrong_clock_changes_no_answer(ground: Ground, seconds: int) -> None:
    """With the clock at 1970 or 2040 commands answer as always; at 1970, gc cannot tell an age and removes nothing."""
    before = _clock(seconds)
    key = ground.envid("key", "--layer", "plain", "--target", "cp312-manylinux_2_28_x86_64")
    again = ground.envid("key", "--layer", "plain", "--target", "cp312-manylinux_2_28_x86_64", before=before)
    assert (again.returncode, again.stdout) == (0, key.stdout)
    assert ground.run(before=before)["outcome"] == "hit"
    collected = ground.envid("cache", "gc", before=before)
    assert collected.returncode == 0, collected.stderr
    if seconds == YEARS["1970"]:
        assert ground.entry.exists()
    assert ground.run(before=before)["outcome"] in ("hit", "ran")
    assert ground.run()["outcome"] == "hit"


@pytest.mark.parametrize("seconds", YEARS.values(), ids=YEARS)
def test_files_of_another_time_are_read(ground: Ground, seconds: int) -> None:
    """Entries and blobs with times of 1970 or 2040 are hits: no time is part of what makes an entry right."""
    for path in (ground.entry, ground.blob):
        os.utime(path, (seconds, seconds))
    assert ground.run()["outcome"] == "hit"
    assert ground.envid("cache", "verify").returncode == 0
    assert ground.envid("cache", "gc").returncode == 0
    assert ground.run()["outcome"] == "hit"
