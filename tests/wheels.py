"""A small deterministic maker of wheels for tests, honest ones and hostile ones."""

from __future__ import annotations

import base64
import hashlib
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
REGULAR = 0o100644
PROGRAM = 0o100755
SYMLINK = 0o120777


def urlsafe(data: bytes) -> str:
    """Return the sha256 of ``data`` as RECORD spells it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def record_of(files: Mapping[str, bytes], record: str) -> bytes:
    """Return a right RECORD for ``files``, its own path being ``record``."""
    rows = [f'"{path}"' if "," in path else path for path in files]
    lines = [f"{row},{urlsafe(data)},{len(data)}\n" for row, data in zip(rows, files.values(), strict=True)]
    return "".join([*lines, f"{record},,\n"]).encode()


def wheel_files(
    name: str,
    version: str,
    *,
    files: Mapping[str, bytes] | None = None,
    scripts: Mapping[str, bytes] | None = None,
    data: Mapping[str, bytes] | None = None,
    headers: Mapping[str, bytes] | None = None,
    entry_points: str | None = None,
    purelib: bool = True,
    tag: str = "py3-none-any",
    requires: Iterable[str] = (),
    record_override: bytes | None = None,
) -> dict[str, bytes]:
    """Return all members of a wheel, RECORD last; ``name`` is used as it stands in file names."""
    info = f"{name}-{version}.dist-info"
    members: dict[str, bytes] = dict(files if files is not None else {f"{name}/__init__.py": b"x = 1\n"})
    for scheme, group in (("scripts", scripts), ("data", data), ("headers", headers)):
        members |= {f"{name}-{version}.data/{scheme}/{path}": body for path, body in (group or {}).items()}
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: envid-tests\nRoot-Is-Purelib: {str(purelib).lower()}\nTag: {tag}\n".encode()
    )
    if entry_points is not None:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    record = f"{info}/RECORD"
    members[record] = record_of(members, record) if record_override is None else record_override
    return members


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, bytes] | None = None,
    scripts: Mapping[str, bytes] | None = None,
    data: Mapping[str, bytes] | None = None,
    headers: Mapping[str, bytes] | None = None,
    entry_points: str | None = None,
    purelib: bool = True,
    tag: str = "py3-none-any",
    requires: Iterable[str] = (),
    record_override: bytes | None = None,
    modes: Mapping[str, int] | None = None,
) -> Path:
    """Write ``NAME-VERSION-TAG.whl`` and return its path; equal arguments give equal bytes.

    ``modes`` gives the Unix mode of members by their path in the archive (0o100644 otherwise).
    """
    members = wheel_files(
        name, version, files=files, scripts=scripts, data=data, headers=headers, entry_points=entry_points,
        purelib=purelib, tag=tag, requires=requires, record_override=record_override,
    )  # fmt: skip
    return write_zip(directory / f"{name}-{version}-{tag}.whl", members.items(), modes=modes or {})


def write_zip(path: Path, members: Iterable[tuple[str, bytes]], *, modes: Mapping[str, int] | None = None) -> Path:
    """Write any archive, in the order given; names may repeat or be hostile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore", UserWarning)  # about names that repeat, which is the point of some tests
        for name, body in members:
            info = zipfile.ZipInfo("placeholder", EPOCH)
            info.filename = name  # the constructor would clean it
            info.external_attr = (modes or {}).get(name, REGULAR) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            archive.writestr(info, body)
    return path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
