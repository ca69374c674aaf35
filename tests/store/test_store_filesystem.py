"""Which filesystem holds the store: read from what the system says of its mounts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envid.store.filesystem import UNKNOWN, Filesystem, judged, mount_number, of, parse

LAPTOP = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
24 28 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
28 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
32 28 0:27 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,inode64
97 28 259:2 / /boot/efi rw,relatime shared:31 - vfat /dev/nvme0n1p1 rw,fmask=0077,dmask=0077
101 28 0:45 /@home /home rw,noatime shared:36 - btrfs /dev/nvme0n1p3 rw,compress=zstd:3,subvolid=258,subvol=/@home
613 101 0:61 / /home/ada/remote rw,nosuid,nodev,relatime shared:333 - fuse.sshfs ada@host:/srv rw,user_id=1000
"""
CLUSTER = """\
61 1 8:2 / / rw,relatime shared:1 - xfs /dev/sda2 rw,attr2,inode64,logbufs=8,noquota
108 61 0:49 / /home rw,relatime shared:60 - nfs4 filer:/export/home rw,vers=4.2,proto=tcp,local_lock=none
112 61 0:50 / /old\\040home rw,relatime shared:63 - nfs filer:/export/old rw,vers=3,nolock,local_lock=all
118 61 1203:56117 / /scratch rw,relatime shared:70 - lustre 10.0.0.1@o2ib:/scratch rw,flock,lazystatfs
121 61 0:52 / /win rw,relatime shared:75 - cifs //filer/share rw,vers=3.1.1,nobrl
124 61 0:53 / /perf rw shared:78 - beegfs beegfs_nodev rw
130 61 0:60 / /weka rw - wekafs host/default rw
"""
CONTAINER = """\
1529 1302 0:208 / / rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/o/diff,workdir=/o/work
1530 1529 0:211 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1546 1529 0:97 /cache /home/ada/.cache rw,relatime - virtiofs share rw
1547 1529 0:98 / /work rw,relatime - fuse.grpcfuse grpcfuse rw,user_id=0,group_id=0,allow_other
1548 1529 0:99 / /data rw,relatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\134,access=client,trans=fd
1549 1529 8:1 / /disk rw,relatime master:1 propagate_from:2 unbindable - fuseblk /dev/sda1 rw
1550 1529 0:77 / /union rw,relatime - fuse.mergerfs a:b rw
"""


@pytest.mark.parametrize(
    ("text", "number", "kind", "network"),
    [
        (LAPTOP, 28, "ext4", False), (LAPTOP, 32, "tmpfs", False), (LAPTOP, 101, "btrfs", False),
        (LAPTOP, 97, "vfat", False), (LAPTOP, 613, "fuse.sshfs", True),
        (CLUSTER, 61, "xfs", False), (CLUSTER, 108, "nfs4", True), (CLUSTER, 112, "nfs", True),
        (CLUSTER, 118, "lustre", True), (CLUSTER, 121, "cifs", True), (CLUSTER, 124, "beegfs", True),
        (CLUSTER, 130, "wekafs", True),
        (CONTAINER, 1529, "overlay", False), (CONTAINER, 1546, "virtiofs", True),
        (CONTAINER, 1547, "fuse.grpcfuse", True), (CONTAINER, 1548, "9p", True), (CONTAINER, 1549, "fuseblk", False),
        (CONTAINER, 1550, "fuse.mergerfs", False),
    ],
)  # fmt: skip
def test_a_mount_is_read_by_its_number(text: str, number: int, kind: str, network: bool) -> None:
    """The kind stands after the dash, whatever optional fields there are, and tells whether other hosts write, too."""
    assert parse(text, number) == Filesystem(kind=kind, network=network)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "28", "28 1 8:1 / / rw shared:1 ext4 /dev/sda rw", "28 1 8:1 / / rw -", "28 - ext4", LAPTOP[:60]],
)
def test_what_cannot_be_read_is_unknown(text: str) -> None:
    """A line that is cut, or a mount that is not listed, is unknown, and unknown is taken for local."""
    assert parse(text, 28) == UNKNOWN
    assert parse(LAPTOP, 2) == UNKNOWN
    assert not UNKNOWN.network


@pytest.mark.parametrize(
    ("kind", "network"),
    [("ext4", False), ("zfs", False), ("f2fs", False), ("ecryptfs", False), ("nfs", True), ("NFS4", True),
     ("smb3", True), ("fuse", True), ("fuse.s3fs", True), ("fuse.rclone", True), ("fuse.gocryptfs", False),
     ("ceph", True),
     ("glusterfs", True), ("fuse.glusterfs", True), ("", False)],
)  # fmt: skip
def test_the_kinds(kind: str, network: bool) -> None:
    """Network filesystems are known by name; what a FUSE program has behind it is taken for a network."""
    assert judged(kind).network is network


def test_the_number_is_in_the_descriptor() -> None:
    """The mount of an open file is read from what the system says of its descriptor."""
    assert mount_number("pos:\t0\nflags:\t0100000\nmnt_id:\t29\nino:\t5570567\n") == 29
    assert mount_number("pos:\t0\nflags:\t0100000\n") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists its mounts so")
def test_real_paths(tmp_path: Path) -> None:
    """Of this machine: /proc is what it is, and a directory that is not there yet is where it would be."""
    assert of("/proc/self").kind == "proc"
    assert of(str(tmp_path)).kind
    assert of(str(tmp_path / "not" / "there" / "yet")) == of(str(tmp_path))
