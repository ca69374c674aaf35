"""What a lock is asked for, in one spelling.

Two projects that ask for the same thing in other words (order, case, ``1.0`` for ``1.0.0``) give
equal requirements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version

from envid.errors import ConfigError, CredentialInConfig, DynamicMetadata, InvalidLock
from envid.values.artifact import NormalizedName
from envid.values.intent import Intent, LockSettings
from envid.values.marker import Combination, Comparison, Tree, parse_marker

SECRET_PARAMETERS: Final = frozenset((
    "access_token", "auth", "authorization", "awsaccesskeyid", "key-pair-id", "password", "private_token", "secret",
    "sig", "signature", "token", "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-goog-signature",
))  # fmt: skip
"""Query parameters that are a credential by another name (signed links), in lower case."""

_CREDENTIAL_HINT: Final = "keep the credential in the environment or in netrc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One requirement in canonical spelling, and where it was written."""

    text: str
    """PEP 508: normalised name, sorted extras, sorted specifiers in normal form, normalised marker."""
    name: NormalizedName
    origin: str
    """``project``, ``extra NAME`` or ``group NAME``; also ``constraints``, ``overrides``, ``local NAME``."""
    extras: tuple[str, ...] = ()
    specifier: str = ""
    marker: str | None = None
    url: str | None = None

    @property
    def slot(self) -> tuple[str, tuple[str, ...], str | None]:
        """Everything but the version range: two requirements with equal slots differ only in range."""
        return (self.name, self.extras, self.marker)


def flatten(intent: Intent, settings: LockSettings, *, pyproject: bytes = b"") -> tuple[Asked, ...]:
    """Return what the lock of ``settings`` is asked for, sorted by (text, origin), free of duplicates.

    That is ``[project] dependencies``, the lock's extras and groups, with ``include-group`` tables and
    references of the project to its own extras (``demo[cli]``) expanded. ``pyproject`` only serves
    to name lines in errors. Raises ConfigError (unknown or cyclic group, undefined extra, text that
    is no requirement), CredentialInConfig, DynamicMetadata.
    """
    return _Expansion(intent=intent, text=pyproject.decode("utf-8", "replace")).all(settings)


def canonical_requirement(text: str, *, origin: str = "project") -> Asked:
    """Return one requirement (PEP 508) in canonical spelling; raise ConfigError, CredentialInConfig."""
    try:
        parsed = Requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"{origin}: `{concealed(text)}` is not a requirement: {reason}",
            hint="requirements look like `name[extra]>=1.0; marker`",
        ) from error
    name = NormalizedName(canonicalize_name(parsed.name))
    extras = tuple(sorted({canonicalize_name(extra) for extra in parsed.extras}))
    specifier = _join_specifiers(parsed.specifier)
    marker = _marker(parsed.marker) if parsed.marker is not None else None
    if parsed.url is not None:
        refuse_credentials(parsed.url, where=f"{origin}: the URL of {name}")
    return Asked(
        text=_compose(name, extras, specifier, parsed.url, marker),
        name=name, origin=origin, extras=extras, specifier=specifier, marker=marker, url=parsed.url,
    )  # fmt: skip


def canonical_specifier(text: str, *, where: str) -> str:
    """Return a version specifier set (PEP 440) in canonical spelling; raise ConfigError naming ``where``."""
    try:
        return _join_specifiers(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise ConfigError(f"{where}: `{text}` is not a version specifier", hint="write for example `>=3.11`") from error


def canonical_marker(text: str, *, where: str) -> str:
    """Return an environment marker in one spelling; raise ConfigError naming ``where``."""
    try:
        return _marker(Marker(text))
    except (InvalidMarker, RecursionError) as error:
        raise ConfigError(f"{where}: `{text}` is not an environment marker", hint="see PEP 508") from error


def refuse_credentials(url: str, *, where: str) -> None:
    """Raise CredentialInConfig when ``url`` carries a password, a token or a signed query.

    A bare user name is one only over HTTP: ``ssh://git@host`` names an account that everybody shares.
    """
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or (parts.username is not None and "http" in parts.scheme)
        query = {key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError as error:
        raise ConfigError(f"{where} is not a URL", hint="check its spelling") from error
    if secret or query & SECRET_PARAMETERS:
        raise CredentialInConfig(f"{where} holds a credential", hint=_CREDENTIAL_HINT)


# --- expansion of extras, groups and references to the project itself ---------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expansion:
    """Walks what ``[project]`` and ``[dependency-groups]`` say, naming the line when they make no sense."""

    intent: Intent
    text: str

    def all(self, settings: LockSettings) -> tuple[Asked, ...]:
        intent = self.intent
        unknown = {"dependencies", "requires-python"} & set(intent.dynamic)
        if settings.extras and "optional-dependencies" in intent.dynamic:
            unknown.add("optional-dependencies")
        if unknown:
            named = ", ".join(sorted(unknown))
            raise DynamicMetadata(f"project.{named} is dynamic: only a build would tell it", line=self.line("dynamic"))
        found = {(item.text, item.origin): item for item in self.walk(settings)}
        return tuple(found[key] for key in sorted(found))

    def walk(self, settings: LockSettings) -> Iterator[Asked]:
        yield from self.expand(self.intent.dependencies, "project", ())
        for name in settings.extras:
            yield from self.of_extra(name, (), wanted_by=f"the lock {settings.name}")
        for name in settings.groups:
            yield from self.of_group(name, (), wanted_by=f"the lock {settings.name}")

    def expand(self, texts: Iterable[str], origin: str, seen: tuple[str, ...]) -> Iterator[Asked]:
        own = NormalizedName(canonicalize_name(self.intent.name or ""))
        for text in texts:
            try:
                item = canonical_requirement(text, origin=origin)
            except ConfigError as error:
                raise type(error)(error.message, hint=error.hint, line=self.line(text)) from error
            if item.name != own:
                yield item
                continue
            for extra in item.extras:
                for inner in self.of_extra(extra, seen, wanted_by=f"`{text}`"):
                    yield _under(inner, item.marker)

    def of_extra(self, name: str, seen: tuple[str, ...], *, wanted_by: str) -> Iterator[Asked]:
        wanted = canonicalize_name(name)
        known = {canonicalize_name(key): key for key in self.intent.extras}
        if wanted not in known:
            hint = f"defined extras: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"{wanted_by} asks for the undefined extra {wanted}", hint=hint, line=self.line(name))
        step = f"extra {wanted}"
        if step not in seen:
            # An extra that reaches itself (`all = ["demo[all]"]`) adds nothing: not an error for any installer.
            yield from self.expand(self.intent.extras[known[wanted]], step, (*seen, step))

    def of_group(self, name: str, seen: tuple[str, ...], *, wanted_by: str) -> Iterator[Asked]:
        wanted = canonicalize_name(name)
        known = {canonicalize_name(key): key for key in self.intent.groups}
        if len(known) != len(self.intent.groups):
            raise ConfigError("two dependency groups have the same name once normalised", line=self.line(name))
        if wanted not in known:
            hint = f"defined groups: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"{wanted_by} asks for the undefined group {wanted}", hint=hint, line=self.line(name))
        step = f"group {wanted}"
        if step in seen:
            way = " -> ".join(part.removeprefix("group ") for part in (*seen, step))
            problem = f"dependency groups include each other: {way}"
            raise ConfigError(problem, hint="break the cycle", line=self.line(name))
        for entry in self.intent.groups[known[wanted]]:
            if isinstance(entry, str):
                yield from self.expand((entry,), step, (*seen, step))
                continue
            included = entry.get("include-group")
            if set(entry) != {"include-group"} or not isinstance(included, str):
                problem = f'group {wanted} holds a table other than {{include-group = "NAME"}}'
                raise ConfigError(problem, hint="see PEP 735", line=self.line(known[wanted]))
            yield from self.of_group(included, (*seen, step), wanted_by=step)

    def line(self, needle: str) -> int | None:
        """Return the first line that holds ``needle`` in quotes or as a key; None when it cannot be found."""
        pattern = re.compile(rf"[\"']{re.escape(needle)}[\"']|^\s*{re.escape(needle)}\s*=", re.MULTILINE)
        found = pattern.search(self.text)
        return self.text.count("\n", 0, found.start()) + 1 if found else None


def _under(item: Asked, marker: str | None) -> Asked:
    if marker is None:
        return item
    both = marker if item.marker is None else _marker(Marker(f"({marker}) and ({item.marker})"))
    return Asked(
        text=_compose(item.name, item.extras, item.specifier, item.url, both),
        name=item.name, origin=item.origin, extras=item.extras, specifier=item.specifier, marker=both, url=item.url,
    )  # fmt: skip


# --- spelling --------------------------------------------------------------------------------


def _compose(name: str, extras: tuple[str, ...], specifier: str, url: str | None, marker: str | None) -> str:
    head = f"{name}[{','.join(extras)}]" if extras else name
    middle = f"{head} @ {url}" if url is not None else f"{head}{specifier}"
    if marker is None:
        return middle
    return f"{middle} ; {marker}" if url is not None else f"{middle}; {marker}"


def _marker(marker: Marker) -> str:
    """Return ``marker`` with the sides of comparisons, the order of operands, quotes and parentheses settled."""
    text = str(marker)
    try:
        return _spelled(_settled(parse_marker(text)))
    except InvalidLock:
        # A comparison of two variables or two literals, which our parser has no place for.
        return text


def _settled(tree: Tree) -> Tree:
    """Return ``tree`` flat, each operand once and in order."""
    if isinstance(tree, Comparison):
        # Equality has no direction; every other operator means something else the other way round.
        return replace(tree, reverse=tree.reverse and tree.operator not in ("==", "!="))
    parts: dict[str, Tree] = {}
    for part in map(_settled, tree.parts):
        inside = part.parts if isinstance(part, Combination) and part.operator == tree.operator else (part,)
        for inner in inside:
            parts[_spelled(inner)] = inner
    ordered = tuple(parts[text] for text in sorted(parts))
    return ordered[0] if len(ordered) == 1 else Combination(operator=tree.operator, parts=ordered)


def _spelled(tree: Tree) -> str:
    if isinstance(tree, Comparison):
        quote = "'" if '"' in tree.literal else '"'
        sides = [tree.variable, tree.operator, f"{quote}{tree.literal}{quote}"]
        return " ".join(reversed(sides) if tree.reverse else sides)
    # `and` binds closer than `or`, so only an `or` inside an `and` needs parentheses.
    texts = [
        f"({_spelled(part)})" if isinstance(part, Combination) and tree.operator == "and" else _spelled(part)
        for part in tree.parts
    ]
    return f" {tree.operator} ".join(texts)


def _join_specifiers(specifiers: SpecifierSet) -> str:
    return ",".join(sorted({_specifier(item.operator, item.version) for item in specifiers}))


def _specifier(operator: str, version: str) -> str:
    # Trailing zeros count in `~=1.0` and `==1.0.*` (they say how far the range goes), and `===` compares text.
    if operator == "===":
        return f"==={version}"
    wildcard = version.endswith(".*")
    parsed = Version(version[:-2] if wildcard else version)
    if wildcard:
        return f"{operator}{parsed}.*"
    if operator == "~=":
        return f"~={parsed}"
    return f"{operator}{canonicalize_version(parsed)}"


def concealed(text: str) -> str:
    """Return ``text`` for a message: cut, and without what may be a secret in a URL, however broken."""
    # Whatever stands before an `@` may be a secret, in a text too broken to be parsed as a URL.
    return re.sub(r"://[^/\s]*@", "://***@", re.sub(r"([?&][^=&\s]*=)[^&\s]*", r"\1***", text))[:200]
