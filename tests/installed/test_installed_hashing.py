"""Files are compared by content, by one process or by several, and nothing makes the reader wait."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from blake3 import blake3

from envid.installed import hashing
from envid.installed.hashing import CHUNK, DIFFERS, SAME, UNREADABLE, Job, compare


def job(path: Path, data: bytes | None = None, *, sha256: bool = False, size: int | None = None) -> Job:
    """Return the job that expects ``data``, by default what is there."""
    data = path.read_bytes() if data is None else data
    digest = hashlib.sha256(data).hexdigest() if sha256 else blake3(data).hexdigest()
    return Job(str(path), len(data) if size is None else size, digest, sha256)


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_sizes_around_the_chunk(tmp_path: Path, size: int, sha256: bool) -> None:
    """Every size is read whole: same for itself, different when the last bit or the length differs."""
    path = tmp_path / "file"
    data = os.urandom(size)
    path.write_bytes(data)
    longer, shorter = job(path, data + b"x", sha256=sha256), job(path, data[:-1] or b"y", sha256=sha256)
    assert compare([job(path, sha256=sha256), longer, shorter]) == bytes([SAME, DIFFERS, DIFFERS])
    if data:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert compare([job(path, data, sha256=sha256)]) == bytes([DIFFERS])


def test_an_unknown_size_is_no_excuse(tmp_path: Path) -> None:
    """Size -1 leaves the digest to decide."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    answers = compare([job(path, size=-1, sha256=True), job(path, b"datb", size=-1, sha256=True)])
    assert answers == bytes([SAME, DIFFERS])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """Links, pipes, directories and absent files are unreadable, at once."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    digest = blake3(b"x").hexdigest()
    jobs = [Job(str(tmp_path / name), 1, digest) for name in ("link", "directory", "absent", "nul\0")]
    assert compare(jobs) == bytes([UNREADABLE] * 4)
    assert compare([Job(str(tmp_path / "pipe"), 1, digest)]) != bytes([SAME])


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_processes_agree(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes share the work, the answers stand in the order of the jobs."""
    monkeypatch.setattr(hashing, "_WORTH_FORKING", 0)
    jobs = []
    for number in range(50):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]) * (number * 997))
        jobs.append(job(path) if number % 5 else job(path, b"other"))
    expected = bytes(SAME if number % 5 else DIFFERS for number in range(50))
    heard: list[int] = []
    assert compare(jobs, workers=workers, tell=heard.append) == expected
    assert sum(heard) == sum(one.size for one in jobs)


def test_a_child_that_dies_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed child left undone is done here."""
    monkeypatch.setattr(hashing, "_WORTH_FORKING", 0)
    parent = os.getpid()
    real = hashing._one

    def fragile(one: Job) -> int:
        if os.getpid() != parent:
            os._exit(9)
        return real(one)

    monkeypatch.setattr(hashing, "_one", fragile)
    paths = [tmp_path / str(number) for number in range(10)]
    for path in paths:
        path.write_bytes(b"x" * 100)
    assert compare([job(path) for path in paths], workers=2) == bytes([SAME] * 10)


def test_no_jobs(tmp_path: Path) -> None:
    """Nothing to do is nothing done."""
    assert compare([]) == b""
