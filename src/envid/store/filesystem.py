"""Which filesystem a path is on, and whether other machines write there as well.

A guard file does not keep other machines out: on NFS, locks of a server and of its clients, or of two clients
mounted without locks, do not see one another, and nobody is told.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Final

from envid.values.frozen import dataclass
from envid.whole import shut

NETWORK: Final = frozenset({
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs",
    "vmhgfs", "wekafs",
})  # fmt: skip
"""Filesystems that several machines, or a host and its guests, may have mounted at a time."""
LOCAL_FUSE: Final = frozenset({
    "bindfs", "cryfs", "encfs", "fuse-overlayfs", "gocryptfs", "lxcfs", "mergerfs", "ntfs", "ntfs-3g", "portal",
    "unionfs",
})  # fmt: skip
"""What is below ``fuse.`` and stays on this machine; every other one counts as a network's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """What holds a path."""

    kind: str
    """As the system names it: ``ext4``, ``nfs4``; empty where it does not tell."""
    network: bool
    """Whether other machines may write there; where nobody tells: no."""


UNKNOWN: Final = Filesystem(kind="", network=False)


def of(path: str) -> Filesystem:
    """Return the filesystem of ``path``, or of its nearest directory that exists. Never raises."""
    current = os.path.abspath(path)
    while not os.path.isdir(current) and os.path.dirname(current) != current:
        current = os.path.dirname(current)
    try:
        handle = os.open(current, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        return UNKNOWN
    try:
        with open(f"/proc/self/fdinfo/{handle}", encoding="utf-8") as stream:
            number = mount_number(stream.read())
        # Bytes that are no UTF-8 may stand in any mount's path, and are none of ours.
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            return UNKNOWN if number is None else parse(stream.read(), number)
    except OSError:
        return UNKNOWN
    finally:
        shut(handle)


def mount_number(fdinfo: str) -> int | None:
    """Return the number of the mount that ``/proc/self/fdinfo/N`` names: exact, where paths hide one another."""
    found = re.search(r"^mnt_id:\s*([0-9]+)\s*$", fdinfo, re.MULTILINE)
    return None if found is None else int(found[1])


def parse(mountinfo: str, number: int) -> Filesystem:
    """Return the filesystem of the mount ``number`` in the text of ``/proc/self/mountinfo`` (proc(5))."""
    for line in mountinfo.split("\n"):
        if not line.startswith(f"{number} "):
            continue
        # Six fields, any number of optional ones, a dash, and the kind.
        fields = line.split(" ")
        if "-" in fields[6:] and (at := fields.index("-", 6)) + 1 < len(fields):
            return judged(fields[at + 1])
    return UNKNOWN


@cache
def judged(kind: str) -> Filesystem:
    """Return what is to be thought of a filesystem that the system names ``kind``."""
    name, _, below = kind.lower().partition(".")
    if name in ("fuse", "fuseblk"):
        # `fuse` alone says nothing of what is behind it; `fuseblk` is a disk.
        return Filesystem(kind=kind, network=name == "fuse" and below not in LOCAL_FUSE)
    return Filesystem(kind=kind, network=name in NETWORK)
