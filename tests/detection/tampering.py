"""The tamper corpus: ways to alter an environment, what `envid verify` must say, and which depths must see it.

docs/verify.md shows this table; a test holds the two equal. One case stands on one line.
"""
# ruff: noqa: E501

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER
from pathlib import Path

WHEELS = ("six", "click", "markupsafe", "jmespath", "greenlet", "tabulate", "widgetsnbextension", "idna")
"""Real wheels: a single module, packages, compiled ones, a `#!python` script, headers, entry points, data files."""


@dataclass(frozen=True, kw_only=True)
class Env:
    """The environment under attack."""

    root: Path
    outside: Path
    """A directory next to it, for links to lead to."""

    @property
    def site(self) -> Path:
        """Its site-packages."""
        return next((self.root / "lib").glob("python3*")) / "site-packages"

    @property
    def bin(self) -> Path:
        """Its scripts directory."""
        return self.root / "bin"

    def info(self, wheel: str) -> Path:
        """The metadata directory of ``wheel``."""
        return next(self.site.glob(f"{wheel}-*.dist-info"))

    def module(self, wheel: str) -> Path:
        """A Python file of ``wheel``."""
        single = self.site / f"{wheel}.py"
        return single if single.exists() else self.site / wheel / "__init__.py"

    def text(self, path: str) -> Path:
        """A file by its path below site-packages."""
        return self.site / path


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to tamper."""

    name: str
    how: Callable[[Env], None]
    code: str
    """A finding with this code must be there."""
    quick: bool = False
    """Whether --quick sees it, too."""
    default: bool = True
    """Whether the default depth sees it; --full sees everything."""


def write(path: Path, data: bytes | str = b"evil = 1\n") -> None:
    """Put a file there, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def append(path: Path, data: bytes = b"\nevil = 1\n") -> None:
    """Add to the end of a file."""
    path.write_bytes(path.read_bytes() + data)


def flip(path: Path) -> None:
    """Change one bit in the middle, and nothing else that stat tells but the times."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def flip_quietly(path: Path) -> None:
    """Change one bit and put the times back."""
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path, other: Path) -> None:
    """Exchange two files."""
    middle = path.with_name(path.name + ".swap")
    path.rename(middle)
    other.rename(path)
    middle.rename(other)


def relink(path: Path, to: Path | str) -> None:
    """Replace whatever is there by a symbolic link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(to)


def moved_out(env: Env, path: Path) -> Path:
    """Copy a file or a tree outside, unchanged."""
    target = env.outside / path.name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy2(path, target)
    return target


def rewrite_record(env: Env, wheel: str, path: str) -> None:
    """Make the installed RECORD agree with the file, as an attacker who knows RECORD would."""
    record = env.info(wheel) / "RECORD"
    data = (env.site / path).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    lines = [
        f"{path},sha256={digest},{len(data)}" if line.split(",")[0] == path else line
        for line in record.read_text().splitlines()
    ]
    record.write_text("\n".join(lines) + "\n")


def edit_and_record(env: Env) -> None:
    """Edit a module and its row in RECORD."""
    append(env.site / "click" / "core.py")
    rewrite_record(env, "click", "click/core.py")


def claim_in_record(env: Env) -> None:
    """Add a module and a row for it."""
    write(env.site / "click" / "_evil.py")
    record = env.info("click") / "RECORD"
    record.write_text(record.read_text() + "click/_evil.py,,\n")


def installer_and_record(env: Env) -> None:
    """Put what is no name into INSTALLER, and its digest into RECORD."""
    path = env.info("six") / "INSTALLER"
    write(path, b"#!/bin/sh\nrm\n")
    rewrite_record(env, "six", path.relative_to(env.site).as_posix())


def drop_row(env: Env) -> None:
    """Take a row out of RECORD."""
    record = env.info("click") / "RECORD"
    record.write_text(
        "".join(line for line in record.read_text().splitlines(True) if not line.startswith("click/core.py"))
    )


def escape_row(env: Env) -> None:
    """A row that would have an uninstaller remove a file elsewhere."""
    record = env.info("click") / "RECORD"
    record.write_text(record.read_text() + "../../../../../../../etc/hosts,,\n")


def direct_url(env: Env, document: object) -> None:
    """Say that six was installed from elsewhere."""
    write(env.info("six") / "direct_url.json", json.dumps(document))


def cached(env: Env, source: Path) -> Path:
    """Where the interpreter keeps the compiled form of ``source``."""
    tag = "cpython-" + env.site.parent.name.removeprefix("python").replace(".", "").rstrip("t")
    return source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"


def compiled_from(env: Env, source: Path, text: str, *, unchecked: bool = False) -> bytes:
    """Return a .pyc that Python loads for ``source`` and that holds other code."""
    body = marshal.dumps(compile(text, str(source), "exec"))
    if unchecked:
        return MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + body
    status = source.stat()
    numbers = (0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in numbers) + body


def forge(env: Env) -> None:
    """Put other code into a .pyc whose header is right."""
    source = env.site / "idna" / "core.py"
    write(cached(env, source), compiled_from(env, source, "evil = 1\n"))


def forge_unchecked(env: Env) -> None:
    """A hash-based .pyc that Python believes without looking at the source."""
    source = env.site / "idna" / "core.py"
    write(cached(env, source), compiled_from(env, source, "evil = 1\n", unchecked=True))


def forge_known(env: Env) -> None:
    """Rewrite a .pyc that was there when the environment was verified."""
    source = env.site / "six.py"
    write(cached(env, source), compiled_from(env, source, "evil = 1\n"))


def sourceless(env: Env) -> None:
    """Compiled code without a source, where Python imports it."""
    source = env.site / "idna" / "core.py"
    write(env.site / "evil.pyc", compiled_from(env, source, "evil = 1\n"))


def replace_source(env: Env) -> None:
    """Only compiled code left in the place of a module."""
    source = env.site / "idna" / "core.py"
    write(env.site / "idna" / "core.pyc", compiled_from(env, source, "evil = 1\n"))
    source.unlink()


def config(env: Env, old: str, new: str) -> None:
    """Edit pyvenv.cfg."""
    path = env.root / "pyvenv.cfg"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def other_home(env: Env) -> None:
    """Point pyvenv.cfg at another directory of interpreters."""
    path = env.root / "pyvenv.cfg"
    lines = [f"home = {env.outside}" if line.startswith("home") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def wrapped_python(env: Env) -> None:
    """Replace the interpreter's link by a script."""
    real = (env.bin / "python").resolve()
    (env.bin / "python").unlink()
    write(env.bin / "python", f'#!/bin/sh\nexec {real} "$@"\n')
    (env.bin / "python").chmod(0o755)


def two_versions(env: Env) -> None:
    """A second metadata directory of another version."""
    info = env.info("six")
    shutil.copytree(info, info.with_name("six-0.1.dist-info"))


def rename_version(env: Env) -> None:
    """Another version by the name of the metadata directory."""
    info = env.info("six")
    info.rename(info.with_name("six-0.1.dist-info"))


def uninstalled(env: Env) -> None:
    """A distribution removed, metadata and all."""
    shutil.rmtree(env.info("six"))
    (env.site / "six.py").unlink()


def extra_distribution(env: Env) -> None:
    """A distribution that the lock does not have."""
    write(env.site / "evil" / "__init__.py")
    info = env.site / "evil-1.0.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    write(info / "RECORD", "evil/__init__.py,,\nevil-1.0.dist-info/METADATA,,\nevil-1.0.dist-info/RECORD,,\n")


def launcher(env: Env, old: str, new: str) -> None:
    """Edit the launcher of tabulate."""
    path = env.bin / "tabulate"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def shebang(env: Env) -> None:
    """Have a `#!python` script run by another interpreter."""
    path = env.bin / "jp.py"
    _, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(b"#!/usr/bin/env python\n" + rest)


def pipe(env: Env) -> None:
    """Replace a module by a named pipe, which would block a reader."""
    path = env.site / "click" / "core.py"
    path.unlink()
    os.mkfifo(path)


def relink_hard(env: Env) -> None:
    """Replace a module by a hard link to another."""
    (env.site / "click" / "core.py").unlink()
    os.link(env.site / "click" / "utils.py", env.site / "click" / "core.py")


def directory(env: Env) -> None:
    """Replace a module by a directory."""
    (env.site / "click" / "core.py").unlink()
    (env.site / "click" / "core.py").mkdir()


def copied(env: Env, path: str) -> None:
    """Put a copy of a compiled module there."""
    shutil.copy(native(env), env.site / path)


def native(env: Env) -> Path:
    """The compiled module of markupsafe."""
    return next((env.site / "markupsafe").glob("_speedups*.so"))


def data_file(env: Env) -> Path:
    """A file of widgetsnbextension outside site-packages."""
    return next(path for path in sorted((env.root / "share").rglob("*.js")) if path.is_file())


def header(env: Env) -> Path:
    """The header of greenlet."""
    return next((env.root / "include").rglob("greenlet.h"))


def per_wheel(
    label: str, how: Callable[[Path], None], code: str, *, wheels: tuple[str, ...] = WHEELS[:5]
) -> list[Case]:
    """The same on one module of several wheels."""
    return [
        Case(name=f"{label} ({wheel})", how=lambda env, wheel=wheel: how(env.module(wheel)), code=code)  # type: ignore[misc]
        for wheel in wheels
    ]


T, M, X = "env.tampered", "env.missing-file", "env.extra-file"

CASES: tuple[Case, ...] = (
    *per_wheel("a line appended to a module", append, T),
    *per_wheel("one bit flipped in a module", flip, T),
    *per_wheel("one bit flipped, times put back", flip_quietly, T),
    *per_wheel("a module deleted", Path.unlink, M),
    *per_wheel("a module emptied", lambda path: write(path, b""), T),
    *per_wheel("a module writable by everybody", lambda path: path.chmod(0o666), "env.mode"),
    Case(name="a module truncated", how=lambda e: write(e.text("click/core.py"), e.text("click/core.py").read_bytes()[:-1]), code=T),
    Case(name="two modules exchanged", how=lambda e: swap(e.text("click/core.py"), e.text("click/utils.py")), code=T),
    Case(name="a module replaced by a link to a copy", how=lambda e: relink(e.text("click/core.py"), moved_out(e, e.text("click/core.py"))), code=T),
    Case(name="a package replaced by a link to a copy", how=lambda e: relink(e.text("click"), moved_out(e, e.text("click"))), code=X, quick=False),
    Case(name="a module replaced by a hard link to another", how=relink_hard, code="env.poisoned"),
    Case(name="a module replaced by a pipe", how=pipe, code=T),
    Case(name="a module replaced by a directory", how=directory, code=M),
    Case(name="an edit with RECORD rewritten to match", how=edit_and_record, code=T, quick=True),
    Case(name="a compiled module altered", how=lambda e: flip(native(e)), code=T),
    Case(name="a compiled module deleted", how=lambda e: native(e).unlink(), code=M),
    Case(name="a compiled module beside a Python one", how=lambda e: copied(e, "click/core.abi3.so"), code=X),
    Case(name="a module added to a package", how=lambda e: write(e.text("click/evil.py")), code=X),
    Case(name="a package added inside a package", how=lambda e: write(e.text("click/evil/__init__.py")), code=X),
    Case(name="a package that shadows a module of a wheel", how=lambda e: write(e.text("six/__init__.py")), code=X, quick=True),
    Case(name="a stray module", how=lambda e: write(e.text("evil.py")), code=X, quick=True),
    Case(name="a stray package", how=lambda e: write(e.text("evil/__init__.py")), code=X, quick=True),
    Case(name="a module with the name of a standard one", how=lambda e: write(e.text("json.py")), code=X, quick=True),
    Case(name="a stray compiled module", how=lambda e: copied(e, "evil.so"), code=X, quick=True),
    Case(name="a file without a suffix", how=lambda e: write(e.text("notes")), code=X, quick=True),
    Case(name="an empty directory in site-packages", how=lambda e: (e.site / "simplejson").mkdir(), code=X, quick=True),
    Case(name="a library for another Python", how=lambda e: write(e.root / "lib" / "python3.8" / "site-packages" / "evil.py"), code=X, quick=True),
    Case(name="a module beside site-packages", how=lambda e: write(e.site.parent / "evil.py"), code=X, quick=True),
    Case(name="a hidden file", how=lambda e: write(e.text("click/.evil")), code=X),
    Case(name="a .pth file that runs code", how=lambda e: write(e.text("evil.pth"), "import os\n"), code=X, quick=True),
    Case(name="a .pth file that adds a path", how=lambda e: write(e.text("evil.pth"), f"{e.outside}\n"), code=X, quick=True),
    Case(name="sitecustomize.py", how=lambda e: write(e.text("sitecustomize.py")), code=X, quick=True),
    Case(name="usercustomize as a package", how=lambda e: write(e.text("usercustomize/__init__.py")), code=X, quick=True),
    Case(name="an egg-link", how=lambda e: write(e.text("evil.egg-link"), f"{e.outside}\n."), code="env.extra", quick=True),
    Case(name="an egg-info directory", how=lambda e: write(e.text("evil-1.0.egg-info/PKG-INFO"), "Name: evil\n"), code="env.extra", quick=True),
    Case(name="an egg-info file of a locked name", how=lambda e: write(e.text("six-9.9.egg-info"), "Name: six\n"), code="env.extra", quick=True),
    Case(name="a stray symbolic link", how=lambda e: relink(e.text("evil"), e.outside), code=X, quick=True),
    Case(name="a broken symbolic link", how=lambda e: relink(e.text("evil.py"), "nowhere"), code=X, quick=True),
    Case(name="a module became setuid", how=lambda e: e.text("click/core.py").chmod(0o4644), code="env.mode"),
    Case(name="a module became executable", how=lambda e: e.text("click/core.py").chmod(0o755), code="env.mode"),
    Case(name="a script lost its executable bit", how=lambda e: (e.bin / "jp.py").chmod(0o644), code="env.mode"),
    Case(name="a launcher lost its executable bit", how=lambda e: (e.bin / "tabulate").chmod(0o644), code="env.mode"),
    Case(name="site-packages writable by everybody", how=lambda e: e.site.chmod(0o777), code="env.mode"),
    Case(name="a package directory writable by everybody", how=lambda e: e.text("click").chmod(0o777), code="env.mode"),
    Case(name="METADATA edited", how=lambda e: append(e.info("click") / "METADATA"), code=T),
    Case(name="entry_points.txt edited", how=lambda e: append(e.info("tabulate") / "entry_points.txt", b"evil = os:abort\n"), code=T),
    Case(name="entry_points.txt added", how=lambda e: write(e.info("six") / "entry_points.txt", "[console_scripts]\nevil = os:abort\n"), code=X),
    Case(name="WHEEL deleted", how=lambda e: (e.info("click") / "WHEEL").unlink(), code=M),
    Case(name="RECORD deleted", how=lambda e: (e.info("click") / "RECORD").unlink(), code=M, quick=True),
    Case(name="RECORD emptied", how=lambda e: write(e.info("click") / "RECORD", b""), code=T, quick=True),
    Case(name="RECORD made binary", how=lambda e: write(e.info("click") / "RECORD", b"\xff\x00"), code=T, quick=True),
    Case(name="a row of RECORD removed", how=drop_row, code=T, quick=True),
    Case(name="a row of RECORD that leaves the environment", how=escape_row, code=T, quick=True),
    Case(name="a module added and claimed in RECORD", how=claim_in_record, code=X),
    Case(name="a module claimed in RECORD that is there", how=claim_in_record, code=T, quick=True),
    Case(name="direct_url.json: another file", how=lambda e: direct_url(e, {"url": "https://index.example/six.whl", "archive_info": {"hashes": {"sha256": "0" * 64}}}), code="env.source", quick=True),
    Case(name="direct_url.json: an editable checkout", how=lambda e: direct_url(e, {"url": "file:///src/six", "dir_info": {"editable": True}}), code="env.source", quick=True),
    Case(name="direct_url.json: a repository", how=lambda e: direct_url(e, {"url": "https://git.example/six", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}), code="env.source", quick=True),
    Case(name="direct_url.json: not JSON", how=lambda e: write(e.info("six") / "direct_url.json", b"{"), code="env.source", quick=True),
    Case(name="direct_url.json without a digest", how=lambda e: direct_url(e, {"url": "https://index.example/six.whl", "archive_info": {}}), code=X),
    Case(name="INSTALLER edited", how=lambda e: write(e.info("six") / "INSTALLER", b"conda\n"), code=T),
    Case(name="INSTALLER and its row edited", how=installer_and_record, code=T),
    Case(name="REQUESTED filled", how=lambda e: write(e.info("six") / "REQUESTED", b"import os\n"), code=T),
    Case(name="uv_build.json added", how=lambda e: write(e.info("six") / "uv_build.json", b"{}"), code=X),
    Case(name="a second metadata directory", how=two_versions, code="env.extra", quick=True),
    Case(name="another version installed", how=rename_version, code="env.version", quick=True),
    Case(name="a distribution uninstalled", how=uninstalled, code="env.missing", quick=True),
    Case(name="a distribution that is not locked", how=extra_distribution, code="env.extra", quick=True),
    Case(name="a launcher that runs something else", how=lambda e: launcher(e, "from tabulate", "from os"), code=T),
    Case(name="a launcher with one more line", how=lambda e: append(e.bin / "tabulate"), code=T),
    Case(name="a launcher run by another interpreter", how=lambda e: write(e.bin / "tabulate", b"#!/usr/bin/python3\n" + (e.bin / "tabulate").read_bytes().partition(b"\n")[2]), code=T),
    Case(name="a launcher deleted", how=lambda e: (e.bin / "tabulate").unlink(), code=M),
    Case(name="a launcher replaced by a link", how=lambda e: relink(e.bin / "tabulate", "/bin/true"), code=T),
    Case(name="a script of a wheel edited", how=lambda e: append(e.bin / "jp.py"), code=T, quick=True),
    Case(name="a script of a wheel run by another interpreter", how=shebang, code=T, quick=True),
    Case(name="a script of a wheel deleted", how=lambda e: (e.bin / "jp.py").unlink(), code=M),
    Case(name="a stray script", how=lambda e: write(e.bin / "git", "#!/bin/sh\n"), code=X, quick=True),
    Case(name="a module beside the scripts", how=lambda e: write(e.bin / "json.py"), code=X, quick=True),
    Case(name="a data file edited", how=lambda e: append(data_file(e)), code=T),
    Case(name="a data file deleted", how=lambda e: data_file(e).unlink(), code=M),
    Case(name="a header edited", how=lambda e: append(header(e)), code=T),
    Case(name="a new .pyc with a right header and other code", how=forge, code="env.bytecode", default=False),
    Case(name="an unchecked .pyc with other code", how=forge_unchecked, code="env.bytecode"),
    Case(name="a known .pyc with a right header and other code", how=forge_known, code="env.bytecode"),
    Case(name="compiled code without a source", how=sourceless, code=X, quick=True),
    Case(name="a source replaced by compiled code", how=replace_source, code=X),
    Case(name="an orphan in __pycache__", how=lambda e: write(cached(e, e.text("click/gone.py")), b"x" * 32), code="env.bytecode"),
    Case(name="a stranger in __pycache__", how=lambda e: write(e.text("click/__pycache__/evil.sh"), "rm\n"), code=X),
    Case(name="pyvenv.cfg opens the system's packages", how=lambda e: config(e, "include-system-site-packages = false", "include-system-site-packages = true"), code="env.config", quick=True),
    Case(name="pyvenv.cfg names another home", how=other_home, code="env.config", quick=True),
    Case(name="pyvenv.cfg deleted", how=lambda e: (e.root / "pyvenv.cfg").unlink(), code="env.absent", quick=True),
    Case(name="pyvenv.cfg made binary", how=lambda e: write(e.root / "pyvenv.cfg", b"\0"), code="env.config", quick=True),
    Case(name="the interpreter replaced by a script", how=wrapped_python, code="env.config", quick=True),
    Case(name="the interpreter's link leads elsewhere", how=lambda e: relink(e.bin / "python3", "/bin/true"), code="env.config", quick=True),
    Case(name="the interpreter deleted", how=lambda e: (e.bin / "python").unlink(), code="env.config", quick=True),
    Case(name="an interrupted installation", how=lambda e: write(e.root / ".envid-sync.json", "{}"), code="env.incomplete", quick=True),
    Case(name="site-packages replaced by a link to a copy", how=lambda e: relink(e.site, moved_out(e, e.site)), code="env.unverified"),
)  # fmt: skip


def table() -> str:
    """Return the corpus as the Markdown table of docs/verify.md: one row for each kind."""
    kinds: dict[str, Case] = {}
    for case in CASES:
        kinds.setdefault(case.name.rpartition(" (")[0] or case.name, case)
    lines = ["| tampering | finding | quick | default | full |", "|---|---|---|---|---|"]
    for kind, case in kinds.items():
        marks = " | ".join("x" if sees else "" for sees in (case.quick, case.default, True))
        lines.append(f"| {kind} | `{case.code}` | {marks} |")
    return "\n".join(lines) + "\n"
