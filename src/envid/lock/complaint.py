"""What uv says when it fails, as errors of envid: no credential, no path of the generated project, no guess.

Text is read only after a failure, and only to say more; whether uv failed is told by its status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from envid.errors import (
    DependencyRefused,
    DynamicMetadata,
    EngineFailed,
    EnvidError,
    InvalidLock,
    InvalidWheel,
    NoCompatibleArtifact,
    Offline,
    ResolutionFailed,
    SdistRefused,
    Unreachable,
)
from envid.lock.indexes import configured, credential_hint
from envid.lock.redact import redact
from envid.lock.resolver import ResolveRequest
from envid.lock.scratch import PROJECT
from envid.values.marker import truth
from envid.values.wheel_tags import normalize_name

_NAME: Final = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
_WHEEL_WANTED: Final = re.compile(rf"Wheels are required for `{_NAME}`")
_BUILD_REFUSED: Final = re.compile(rf"Building source distributions for `{_NAME}` is disabled")
_NOT_COMPATIBLE: Final = re.compile(
    rf"(?:all versions of )?{_NAME}(?:\[[^\]]*\])?(?:(?P<range>[<>=!~][^\s,]*))? ha(?:s|ve) no "
    r"(?:`(?P<marker>[^`]+)`-compatible wheels|wheels with a matching)"
)
_NO_NETWORK: Final = ("network was disabled", "network connectivity is disabled", "not found in the cache")
_NO_ANSWER: Final = (
    "Request failed after", "Failed to fetch", "error sending request", "dns error", "Could not resolve host",
    "unable to access", "tcp connect error", "operation timed out", "Failed to download", "Could not read from remote",
    "Connection refused", "connection closed", "error decoding response body", "Failed to extract archive",
)  # fmt: skip
_BROKEN: Final = re.compile(
    rf"Failed to download `{_NAME}==[^`]*`[\s\S]*"
    r"(?:Invalid zip file structure|The wheel is invalid|`(?:RECORD|WHEEL|METADATA)` file is invalid)"
)
_CUT_OFF: Final = (
    "error sending request", "connection closed", "connection reset", "error decoding response body", "body error",
    "before message length", "timed out", "Request failed after", "os error",
)  # fmt: skip
"""What broke off on the way is no sound wheel either."""
_UNREADABLE: Final = re.compile(rf"(?:The structure of|Metadata for) `{_NAME}` \(v[^)]*\) (?:was invalid|could not be)")
_CREDENTIAL_WANTED: Final = ("401 Unauthorized", "403 Forbidden")
_SPLIT: Final = re.compile(r" for split \(markers: (?P<marker>.*)\)$", re.MULTILINE)
_NOISE: Final = ("While the active Python version is", "hint: Wheels are required for", "experimental")
_MAX: Final = 600
"""Characters of uv's reason that are shown."""
_RANGE: Final = r"[\w.-]+(?:[<>=!~]=?[^\s,<>=!~]+,?)+ "
_RANGES: Final = re.compile(rf"(?<![\w.-])(?P<kept>(?:{_RANGE}){{3}})(?P<cut>(?:{_RANGE}){{2,}})")


def blocked(said: str) -> frozenset[str]:
    """Return the normalised names for which uv wanted to build from source and was not allowed to."""
    patterns = (_WHEEL_WANTED, _BUILD_REFUSED, _NOT_COMPATIBLE)
    return frozenset(normalize_name(match["name"]) for pattern in patterns for match in pattern.finditer(said))


def translate(
    said: str,
    *,
    status: int,
    request: ResolveRequest,
    hide: Iterable[tuple[str, str]] = (),
    secrets: tuple[str, ...] = (),
) -> EnvidError:
    """Return the error that ``said`` (the standard error of a uv that ended with ``status``) amounts to.

    ``hide``: texts and what to show instead of them (paths of the generated project).
    """

    def where(match: re.Match[str]) -> str:
        named = _targets(match["marker"], request)
        return f" for {', '.join(named)}" if named else match[0]

    split = _SPLIT.search(said)
    where_to = ", ".join(_targets(split["marker"], request)) if split else ""
    drop = f", or drop the target{f' {where_to}' if where_to else ' that has no wheel'}" if request.targets else ""
    reason = reason_of(_SPLIT.sub(where, said), hide=hide, secrets=secrets)
    if request.offline and any(phrase in said for phrase in _NO_NETWORK):
        return Offline(f"not everything that this resolution needs is in uv's cache: {reason}")
    if any(phrase in said for phrase in _CREDENTIAL_WANTED):
        return Unreachable(
            f"an index refused access: {reason}",
            hint=credential_hint(_index_named(said, request)),
        )
    if match := _BUILD_REFUSED.search(said):
        name = normalize_name(match["name"])
        return DynamicMetadata(
            f"the metadata of {name} would have to be computed by running its build: {reason}", package=name,
            hint=f'declare version and dependencies statically there, or allow its build: allow-sdist = ["{name}"]',
        )  # fmt: skip
    if names := sorted({normalize_name(match["name"]) for match in _WHEEL_WANTED.finditer(said)}):
        listed = ", ".join(names)
        return SdistRefused(
            f"{listed} would have to be built from source{f' for {where_to}' if where_to else ''}, "
            f"which runs its code: {reason}",
            package=listed, target=where_to or None,
            hint=f"allow it by name: allow-sdist = [{', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]{drop}",
        )  # fmt: skip
    if (match := _BROKEN.search(said)) and not any(phrase in said for phrase in _CUT_OFF):
        return _broken(normalize_name(match["name"]), reason)
    if any(phrase in said for phrase in _NO_ANSWER):
        return Unreachable(
            f"uv could not fetch what the resolution needs: {reason}", hint="check the network and the index settings"
        )
    if match := _NOT_COMPATIBLE.search(said):
        return _incompatible(match, reason, request)
    if "No solution found" in said or "unsatisfiable" in said:
        return ResolutionFailed(
            f"no set of versions satisfies the requirements: {reason}",
            hint=f"{_replacing(said)}relax one of the requirements named{drop if where_to else ''}",
        )
    if "Git operation failed" in said:
        return DependencyRefused(
            f"a git dependency cannot be resolved: {reason}", hint="check its URL, branch, tag or commit"
        )
    if status == 1:
        return ResolutionFailed(reason, hint="check the requirement that is named")
    return EngineFailed(f"uv failed: {reason}", hint="run `uv --version`; envid is tested with the uv it depends on")


def _broken(name: str, reason: str) -> InvalidWheel:
    return InvalidWheel(
        f"a file of {name} is no sound wheel: {reason}", package=name,
        hint="whoever serves it has to replace it; until then exclude its version with a constraint",
    )  # fmt: skip


def _replacing(said: str) -> str:
    """Return what to do first where uv passed over versions because it could not read their files; else nothing."""
    names = sorted({normalize_name(match["name"]) for match in _UNREADABLE.finditer(said)})
    return f"files of {', '.join(names)} cannot be read as they are served: have them replaced, or " if names else ""


def _index_named(said: str, request: ResolveRequest) -> str | None:
    """Return the name of the index whose URL is in uv's words; None when it has none, or none is there."""
    places = configured(
        request.variables, project=request.indexes, user=request.user_settings, root=str(request.root)
    ).places
    # Without the scheme: behind it uv may show a user name.
    named = [place for place in places if place.url.partition("://")[2] in said]
    return max(named, key=lambda place: len(place.url)).name if named else None


def _incompatible(match: re.Match[str], reason: str, request: ResolveRequest) -> NoCompatibleArtifact:
    name = normalize_name(match["name"])
    named = _targets(match["marker"], request)
    subject = f"{name} has no wheel for {', '.join(named) or 'a declared target'}"
    return NoCompatibleArtifact(
        f"{subject}: {reason}", package=name, target=", ".join(named) or None,
        hint=f'drop the target, or let {name} be built from source there: allow-sdist = ["{name}"]',
    )  # fmt: skip


def _targets(marker: str | None, request: ResolveRequest) -> list[str]:
    """Return the targets on which a marker in uv's words holds; none when it is no marker."""
    try:
        return [target.name for target in request.targets if marker and truth(marker, target)]
    except InvalidLock:
        return []


def reason_of(said: str, *, hide: Iterable[tuple[str, str]] = (), secrets: tuple[str, ...] = ()) -> str:
    """Return uv's own words as one paragraph, redacted, without what is only about our way of calling it."""
    text = redact(said, secrets=secrets)
    for shown, instead in hide:
        text = text.replace(shown, instead)
    text = text.replace(PROJECT, "this project")
    kept: list[str] = []
    for block in re.split(r"\n(?=error:|hint:|warning:|  cause:|\n)", text):
        words = " ".join(block.split())
        words = re.sub(r"^(error|cause): ", "", words)
        if not words or words.startswith("warning:") or any(noise in words for noise in _NOISE):
            continue
        kept.append(words)
    paragraph = ". ".join(part.rstrip(".") for part in kept)
    return _cut(_RANGES.sub(_fewer, paragraph)) or "it gave no reason"


def _fewer(match: re.Match[str]) -> str:
    return f"{match['kept']}(and {len(match['cut'].split())} more) "


def _cut(text: str) -> str:
    if len(text) <= _MAX:
        return text
    kept = text[:_MAX].rpartition(" ")[0]
    return f"{kept} ... (cut: uv's reason is {len(text) - len(kept)} characters longer)"
