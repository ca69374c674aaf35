"""The canonical value of each identity component, checked while it is made (docs/identity.md, "Components").

A fact that is missing or malformed raises IdentityUnknown: a key made of a placeholder would be
equal for two environments that are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from envid.errors import CredentialInConfig, IdentityUnknown
from envid.values.artifact import NormalizedName
from envid.values.digest import JSONValue
from envid.values.interpreter import MARKERS

_PLAIN: Final = re.compile(
    r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*"
    r"(?:(?:a|b|rc)(?:0|[1-9][0-9]*))?(?:\.post(?:0|[1-9][0-9]*))?(?:\.dev(?:0|[1-9][0-9]*))?"
)
_TRAILING_ZEROS: Final = re.compile(r"(?:\.0)+(?=$|a|b|rc|\.post|\.dev)")
_SEPARATORS: Final = re.compile(r"[-_.]+")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_RELEASE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_WORD: Final = re.compile(r"[a-z0-9_]+")
# Compiled when a text first needs them, which in most projects none does.
_COMMIT: Final = r"[0-9a-f]{40}(?:[0-9a-f]{24})?"
_USERINFO: Final = r"(?i)[a-z][a-z0-9+.-]*://[^/?#@\s]*@"
_CALLED_SO: Final = (
    r"(?:^|-)(?:api-?key|auth|credentials?|pass(?:wd|word|phrase)|private-?key|pwd|secrets?|tokens?)(?:$|-)"
)
_LOOKS_SO: Final = (
    r"gh[opsru]_[A-Za-z0-9]{20}|github_pat_\w{20}|glpat-[\w-]{16}|pypi-Ag[\w-]{20}|xox[abprs]-[\w-]{10}"
    r"|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SHORTEST_SECRET: Final = 15
_NAMES_ONE: Final = r"(?:[\w.]+[-_.])?(?:api[-_]?key|pass(?:wd|word|phrase)|pwd|secret(?:[-_]?key)?|token)"
"""What an option or variable is called whose value is a credential: `--token`, not `--tokens` or `--token-file`."""
_GIVES_ONE: Final = (
    # A reference is none: a variable of the shell, a file, a call, another option, nothing.
    r"(?!$|[\"']?(?:[$@<`{(-]|\$\(|[\"']|%\(|(?:env|file|id|name|pass):?=?[:=])|(?:true|false|yes|no|none|null|[\w.]+[(\[])|/|\./)"
)
_WHOLE_WORD: Final = rf"(?i)(?:--?)?{_NAMES_ONE}=(?:{_GIVES_ONE})\S.*"
_OPTION_WORD: Final = rf"(?i)--?{_NAMES_ONE}"
_IN_SCRIPT: Final = (
    rf"(?:^|[\s;&|(\"'])(?:(?i:--{_NAMES_ONE})[= ]|(?=[A-Z])(?-i:[A-Z_0-9]*(?:API_?KEY|PASSW(?:OR)?D|PASSPHRASE|SECRET"
    rf"(?:_KEY)?|TOKEN))=)(?i:{_GIVES_ONE})[^\s;&|]"
)
_HEADER: Final = r"(?i)authorization\s*[:=]\s*(?:bearer|basic|token|digest)\s+(?![\"']?[$@<`{])\S"

OSES: Final = ("linux", "macos", "windows")
LIBCS: Final = ("glibc", "musl", "macos", "windows")
FILE_KINDS: Final = ("wheel", "sdist", "archive")
SOURCE_KINDS: Final = ("directory", "editable", "vcs")
RELEASE_MARKERS: Final = ("implementation_version", "platform_release", "platform_version", "python_full_version")
"""Marker variables that the short form of a target leaves open."""


def normal_name(text: str) -> NormalizedName:
    """Return the normal form of a project name (PEP 503); raise IdentityUnknown for text that is none."""
    name = _SEPARATORS.sub("-", text).lower()
    if not _NAME.fullmatch(name):
        raise IdentityUnknown(f"`{ascii(text[:80])[1:-1]}` is not a project name")
    return NormalizedName(name)


def normal_version(text: str) -> str:
    """Return the one spelling of a version: PEP 440 normal form without trailing zero releases, so that 1.0 is 1.

    Raises IdentityUnknown for text that is no version.
    """
    if _PLAIN.fullmatch(text):
        return _TRAILING_ZEROS.sub("", text)
    # The rare spellings only: packaging costs more than the rest of a key.
    from packaging.version import Version

    try:
        public, plus, local = str(Version(text)).partition("+")
    except ValueError:  # InvalidVersion, and what Python says of a number with five thousand digits
        raise IdentityUnknown(f"`{ascii(text[:80])[1:-1]}` is not a version (PEP 440)") from None
    return f"{_TRAILING_ZEROS.sub('', public)}{plus}{local}"


def python(*, implementation: str, version: tuple[int, int], abi: str) -> JSONValue:
    """Return component ``python``; ``abi`` is the tag of wheels built for this interpreter alone."""
    return {
        "abi": _word(abi, "the ABI tag"),
        "implementation": _word(implementation, "the implementation"),
        "version": f"{version[0]}.{version[1]}",
    }


def python_build(
    *, version: str, soabi: str, free_threaded: bool, debug: bool, pointer_bits: int, byteorder: str
) -> JSONValue:
    """Return component ``python-build``; ``version`` is ``X.Y.Z`` with its pre-release suffix."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?\+?", version):
        raise IdentityUnknown(f"`{ascii(version)[1:-1]}` is not the full version of an interpreter")
    if pointer_bits not in (32, 64) or byteorder not in ("little", "big"):
        raise IdentityUnknown(f"envid knows no interpreter of {pointer_bits} bits and {byteorder} byte order")
    return {
        "byteorder": byteorder, "debug": debug, "free_threaded": free_threaded, "pointer_bits": pointer_bits,
        "soabi": _text(soabi, "SOABI"), "version": version,
    }  # fmt: skip


def platform(*, os: str, arch: str, libc: str, floor: str | None, exact: str | None = None) -> JSONValue:
    """Return component ``platform``.

    ``floor``: lowest libc or macOS version on which every selected wheel runs, None when none
    names one. ``exact``: version of the host instead, where something is built from source on it.
    """
    if os not in OSES or libc not in LIBCS:
        raise IdentityUnknown(f"`{os}` with `{libc}` is not a platform envid knows")
    if exact is not None:
        return {"arch": _word(arch, "the architecture"), "exact": _release(exact), "libc": libc, "os": os}
    lowest = None if floor is None else _release(floor)
    return {"arch": _word(arch, "the architecture"), "floor": lowest, "libc": libc, "os": os}


def markers(values: Mapping[str, str]) -> JSONValue:
    """Return component ``markers``: the variables that the lock consulted, with their values for the target."""
    for name in values:
        if name not in MARKERS:
            raise IdentityUnknown(f"`{ascii(name)[1:-1]}` is not a marker variable")
    return {name: _text(values[name], name) for name in sorted(values)}


def selection(*, lock: str, extras: Iterable[str], groups: Iterable[str]) -> JSONValue:
    """Return component ``selection``; names of extras and groups in the normal form of PEP 503."""
    return {
        "extras": sorted({normal_name(extra) for extra in extras}),
        "groups": sorted({normal_name(group) for group in groups}),
        "lock": _text(lock, "the name of the lock"),
    }


def distributions(rows: Iterable[tuple[str, str | None, str, str | None]]) -> JSONValue:
    """Return component ``distributions`` of ``(name, version, kind, sha256)`` rows.

    ``version`` may be None only for a source tree, ``sha256`` is None exactly there.
    """
    result: dict[str, list[JSONValue]] = {}
    for raw, version, kind, sha256 in rows:
        name = normal_name(raw)
        if kind in FILE_KINDS:
            if sha256 is None or not _HEX.fullmatch(sha256):
                raise IdentityUnknown(f"the sha256 of {name} is not known", package=name)
        elif kind not in SOURCE_KINDS or sha256 is not None:
            raise IdentityUnknown(f"{name} is of the unknown kind `{ascii(kind)[1:-1]}`", package=name)
        if version is None and kind == "wheel":
            raise IdentityUnknown(f"the version of {name} is not known", package=name)
        if name in result:
            raise IdentityUnknown(f"{name} was selected twice", package=name)
        result[name] = [name, None if version is None else normal_version(version), kind, sha256]
    return [result[name] for name in sorted(result)]


def local(rows: Iterable[tuple[str, str, str, str]]) -> JSONValue:
    """Return component ``local`` of ``(name, kind, digest, subdirectory)`` rows.

    ``digest`` is a tree digest for ``directory`` and ``editable``, a full commit id for ``vcs``.
    """
    result: dict[str, list[JSONValue]] = {}
    for raw, kind, digest, subdirectory in rows:
        name = normal_name(raw)
        if kind not in SOURCE_KINDS or not re.fullmatch(_COMMIT if kind == "vcs" else _HEX, digest):
            raise IdentityUnknown(f"the content of the source of {name} is not known", package=name)
        if name in result:
            raise IdentityUnknown(f"{name} was selected twice", package=name)
        result[name] = [name, kind, digest, _text(subdirectory, "a subdirectory")]
    return [result[name] for name in sorted(result)]


def build(*, sources: Iterable[tuple[str, str, str]], compiler: str | None) -> JSONValue:
    """Return component ``build``: None when nothing is built from source.

    ``sources`` are ``(name, kind, digest)`` rows; ``compiler`` is how the C compiler names itself,
    None where there is none.
    """
    rows = sorted([normal_name(name), kind, digest] for name, kind, digest in sources)
    for name, kind, digest in rows:
        if kind not in (*FILE_KINDS, *SOURCE_KINDS) or not (_HEX.fullmatch(digest) or re.fullmatch(_COMMIT, digest)):
            raise IdentityUnknown(f"what {name} is built from is not known", package=name)
    if not rows:
        return None
    return {"compiler": None if compiler is None else _text(compiler, "the compiler"), "sources": rows}


def prefix(*, interpreter: str, environment: str) -> JSONValue:
    """Return component ``prefix``: real path of the base interpreter, absolute path of the environment."""
    return {
        "environment": _text(environment, "the path of the environment"),
        "interpreter": _text(interpreter, "the path of the interpreter"),
    }


def generator(*, backend: str, protocol: int, code: str, options: Mapping[str, JSONValue]) -> JSONValue:
    """Return component ``generator``; ``code`` is the tree digest of the backend's source.

    Raises CredentialInConfig for an option that is named like a credential.
    """
    if not _HEX.fullmatch(code):
        raise IdentityUnknown(f"the code of the backend {backend} is not known")
    refuse_secrets(options, "tool.envid.adapters.options")
    return {"backend": _text(backend, "the backend"), "code": code, "options": options, "protocol": protocol}


def facts(values: Mapping[str, Mapping[str, str]]) -> JSONValue:
    """Return component ``facts``: name to ``{"value": text}``, ``{"file": BLAKE3}`` or ``{"command": text}``."""
    result: dict[str, JSONValue] = {}
    for name in sorted(values):
        fact = values[name]
        if len(fact) != 1 or not set(fact) <= {"value", "file", "command"}:
            raise IdentityUnknown(f"the fact {name} has no single source")
        if "file" in fact and not _HEX.fullmatch(fact["file"]):
            raise IdentityUnknown(f"the file of the fact {name} is not known")
        result[name] = {kind: _text(text, f"the fact {name}") for kind, text in fact.items()}
    refuse_secrets(result, "facts")
    return result


def salt(text: str) -> JSONValue:
    """Return component ``salt``."""
    return text


def refuse_secrets(value: JSONValue, where: str) -> None:
    """Raise CredentialInConfig for a credential in ``value``: in a URL, as a well-known token, or by a member's name.

    The name of the place is told, never the text.
    """
    if isinstance(value, str):
        if ("://" in value and re.search(_USERINFO, value)) or (
            len(value) >= _SHORTEST_SECRET and re.search(_LOOKS_SO, value)
        ):
            raise CredentialInConfig(f"{where} holds a credential, which must not enter an identity")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            separated = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower().replace("_", "-").replace(".", "-")
            if re.search(_CALLED_SO, separated):
                raise CredentialInConfig(f"{where}.{name} is named like a credential, which must not enter an identity")
            refuse_secrets(item, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            refuse_secrets(item, where)


def refuse_secret_words(words: Sequence[str], where: str) -> None:
    """Raise CredentialInConfig for a credential among the words of a command line: ``--password X``, ``TOKEN=X``.

    What refers to one (``$TOKEN``, a file) is none. The text is never told.
    """
    refuse_secrets(list(words), where)
    after = ""
    for word in words:
        if (
            re.fullmatch(_WHOLE_WORD, word, re.DOTALL)
            or re.search(_HEADER, word)
            or re.search(_IN_SCRIPT, word)
            or (re.fullmatch(_OPTION_WORD, after) and re.match(rf"(?i){_GIVES_ONE}\S", word))
        ):
            raise CredentialInConfig(f"{where} holds a credential, which must not enter an identity")
        after = word


def _word(text: str, what: str) -> str:
    if not _WORD.fullmatch(text):
        raise IdentityUnknown(f"{what} is not known")
    return text


def _release(text: str) -> str:
    if not _RELEASE.fullmatch(text):
        raise IdentityUnknown(f"`{ascii(text[:80])[1:-1]}` is not the version of a platform")
    return text


def _text(text: str, what: str) -> str:
    # Undecodable bytes of a path arrive as lone surrogates; canonical JSON has no form for them.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise IdentityUnknown(f"{what} is not Unicode text")
    return text
