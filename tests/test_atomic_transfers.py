"""Files that grow over several tries, copies that are whole or not there, and signals that wait or interrupt."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from envid import atomic, process, whole
from envid.errors import WriteFailed


class Broken(Exception):
    """What a block fails with."""


def test_what_a_failed_try_wrote_is_there_for_the_next(tmp_path: Path) -> None:
    """A block that fails leaves its bytes, the next one starts behind them, and one that ends well gives the name."""
    path = tmp_path / "deep" / "file"
    with pytest.raises(Broken), atomic.resumable(path) as stream:
        stream.write(b"one ")
        raise Broken
    assert not path.exists()
    with atomic.resumable(path) as stream:
        assert stream.tell() == 4
        stream.write(b"two")
    assert path.read_bytes() == b"one two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_failure_without_a_byte_leaves_nothing(tmp_path: Path) -> None:
    """No empty part stays behind."""
    with pytest.raises(Broken), atomic.resumable(tmp_path / "file"):
        raise Broken
    assert os.listdir(tmp_path) == []


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    """While one writes, another writes a file of its own; the last one to end well is there, whole."""
    path = tmp_path / "file"
    with atomic.resumable(path) as first:
        first.write(b"first")
        with atomic.resumable(path) as second:
            assert second.tell() == 0
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_no_part(tmp_path: Path) -> None:
    """When the bytes do not fit, WriteFailed is raised and nothing stays in the way."""
    code = f"""
import resource, signal
from pathlib import Path
from envid import atomic
from envid.errors import WriteFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for action in (atomic.resumable, atomic.replacing):
    try:
        with action(Path({str(tmp_path / "file")!r})) as stream:
            stream.write(b"x" * 1_000_000)
    except WriteFailed:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "refused"], done.stderr
    assert os.listdir(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_place_copies_bytes_whole(tmp_path: Path) -> None:
    """The copy has the bytes and the mode asked for, and shares no inode with the original."""
    (tmp_path / "old").write_bytes(b"x" * 3_000_000)
    atomic.place(tmp_path / "old", tmp_path / "new" / "file", mode=0o640)
    made = tmp_path / "new" / "file"
    assert made.read_bytes() == (tmp_path / "old").read_bytes()
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    assert made.stat().st_nlink == 1
    with pytest.raises(WriteFailed):
        atomic.place(tmp_path / "absent", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_copy_keeps_mode_time_and_links(tmp_path: Path) -> None:
    """A file keeps mode and time, a link stays a link."""
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "file").chmod(0o751)
    os.utime(tmp_path / "file", ns=(1, 1_000_000_007))
    (tmp_path / "link").symlink_to("nowhere")
    atomic.copy(tmp_path / "file", tmp_path / "file2")
    atomic.copy(tmp_path / "link", tmp_path / "link2")
    assert (tmp_path / "file2").stat().st_mtime_ns == 1_000_000_007
    assert stat.S_IMODE((tmp_path / "file2").stat().st_mode) == 0o751
    assert os.readlink(tmp_path / "link2") == "nowhere"


def test_only_empty_directories_are_removed_as_empty(tmp_path: Path) -> None:
    """A directory with something in it stays; one that is not there counts as gone."""
    (tmp_path / "full" / "x").mkdir(parents=True)
    assert not atomic.remove_if_empty(tmp_path / "full")
    assert atomic.remove_if_empty(tmp_path / "full" / "x")
    assert atomic.remove_if_empty(tmp_path / "full" / "x")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_interrupt_like_control_c(number: signal.Signals) -> None:
    """SIGTERM and SIGHUP raise KeyboardInterrupt in the block, and do what they did before behind it."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), process.interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_undoing_is_not_interrupted(number: signal.Signals) -> None:
    """A signal in the block waits until the block is done, and interrupts then."""
    done = []
    with pytest.raises(KeyboardInterrupt), process.uninterrupted():
        signal.raise_signal(number)
        done.append("all of it")
    assert done == ["all of it"]


def test_outside_the_main_thread_the_block_runs_as_it_is() -> None:
    """In another thread, where no handler can be set, the block is run all the same."""
    import threading

    ran = []

    def work() -> None:
        with process.interruptible(), process.uninterrupted():
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]


def _plant(kind: str, path: Path, other: Path) -> None:
    if kind == "hard link":
        path.hardlink_to(other)
    elif kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "directory":
        path.mkdir()
    else:
        path.mkdir()
        (path / "inside").write_bytes(b"")


PLANTED = ("hard link", "link", "pipe", "socket", "directory", "full directory")


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_in_the_place_of_a_part_gets_no_byte(kind: str, tmp_path: Path) -> None:
    """Whatever stands where a first part would: the file is written whole, and what was planted is not written to."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    path = tmp_path / "there" / "file"
    path.parent.mkdir()
    _plant(kind, path.parent / ".file.part", mine)
    with atomic.resumable(path) as stream:
        assert stream.tell() == 0
        stream.write(b"all of it")
    assert path.read_bytes() == b"all of it"
    assert mine.read_bytes() == b"mine"
    assert stat.S_IMODE(mine.stat().st_mode) != 0o600 and mine.stat().st_nlink == 1
    assert sorted(os.listdir(path.parent)) == sorted([*([".file.part"] if kind == "full directory" else []), "file"])


@pytest.mark.parametrize("kind", PLANTED)
def test_a_line_is_added_to_no_file_of_others(kind: str, tmp_path: Path) -> None:
    """A log of envid's that is a link, a pipe, or a second name of a file is not written to, and not waited for."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    _plant(kind, tmp_path / "log", mine)
    with pytest.raises(WriteFailed):
        atomic.append(tmp_path / "log", b"line\n", follow=False)
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("kind", [kind for kind in PLANTED if kind != "hard link"])
def test_only_a_regular_file_is_opened(kind: str, tmp_path: Path) -> None:
    """What is no regular file is an error at once, and a file is written over it or that is refused; never waited."""
    (tmp_path / "mine").write_bytes(b"mine")
    _plant(kind, tmp_path / "one", tmp_path / "mine")
    with pytest.raises(OSError, match=r"regular|irectory|address|links"):
        whole.open_regular(tmp_path / "one", follow=False)
    if kind in ("pipe", "socket"):
        assert whole.write(tmp_path / "one", b"new")
        assert (tmp_path / "one").read_bytes() == b"new"
