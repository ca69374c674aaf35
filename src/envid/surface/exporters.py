"""What each CI system reads: one renderer a system, from names and values to the text of its file or its log.

Every renderer is pure and safe against injection: a value that its system's form cannot carry is refused
(NotExportable), never altered. docs/ci.md says how each system uses what is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from envid.errors import NotExportable
from envid.values.frozen import dataclass

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+=,-]*")
"""What every dialect of dotenv and every shell reads as it stands."""
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How one CI system is told values."""

    render: Callable[[Mapping[str, str]], str]
    """Names as ``app.ci.export`` has them to text that ends with a line feed; raises NotExportable."""
    file: str | None = None
    """The variable that names the file to append to; None: the system reads standard output, or what it is told to."""
    base: str | None = None
    """The variable that names the directory that the system's cache paths are relative to."""
    takes: tuple[str, ...] = ("key", "restore-keys", "path")
    """The outputs that it is given; the identity document is longer than most variables may be."""


def variable(name: str) -> str:
    """Return the environment variable of an output: ``ENVID_RESTORE_KEYS`` for ``restore-keys``."""
    found = f"ENVID_{name.upper().replace('-', '_')}"
    # Not only the pattern: `ſ` in upper case is `S`.
    if not name.isascii() or not _NAME.fullmatch(found):
        raise NotExportable(f"`{ascii(name)[1:-1]}` is no name of an output")
    return found


def github(values: Mapping[str, str]) -> str:
    """Return the text to append to ``$GITHUB_OUTPUT``.

    Every value is written between delimiters of 128 random bits, so that no value can end its own
    block and begin another output.
    """
    from secrets import token_hex

    parts = []
    for name, value in values.items():
        variable(name)
        if "\r" in value:
            raise _refused(name, "the runner takes a carriage return at the end of a line for a part of it")
        delimiter = f"envid_{token_hex(16)}"
        parts.append(f"{name}<<{delimiter}\n{_text(name, value)}\n{delimiter}\n")
    return "".join(parts)


def gitlab(values: Mapping[str, str]) -> str:
    """Return a dotenv report: ``NAME=VALUE``, one a line, no quotes, because GitLab reads them as part of the value.

    GitLab strips white space at both ends and expands ``$`` in what it read: neither may occur.
    """
    lines = []
    for name, value in values.items():
        if value != value.strip() or "$" in value or not _text(name, value).isprintable():
            raise _refused(name, "a GitLab dotenv report carries one line without `$` or white space at its ends")
        lines.append(f"{variable(name)}={value}\n")
    return "".join(lines)


def circleci(values: Mapping[str, str]) -> str:
    """Return the text to append to ``$BASH_ENV``, which every later step of the job sources."""
    return "".join(f"export {variable(name)}={_quoted(name, value)}\n" for name, value in values.items())


def buildkite(values: Mapping[str, str]) -> str:
    """Return a JSON object of strings, as ``buildkite-agent env set --input-format=json -`` takes it."""
    import json

    return json.dumps({variable(name): _text(name, value) for name, value in values.items()}) + "\n"


def azure(values: Mapping[str, str]) -> str:
    """Return logging commands that set variables of the job; the agent reads them on standard output.

    Percent first: the agent decodes ``%AZP25``, ``%0D`` and ``%0A``, so that a value with a line of its own that
    begins ``##vso[`` stays a value.
    """
    lines = []
    for name, value in values.items():
        data = _text(name, value).replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")
        # The agent reads lines as .NET does: what else ends a line must not be there.
        if not data.replace("\t", "").isprintable():
            raise _refused(name, "an Azure logging command is one line of printable text")
        lines.append(f"##vso[task.setvariable variable={variable(name)}]{data}\n")
    return "".join(lines)


def docker(values: Mapping[str, str]) -> str:
    """Return arguments of ``docker build``, one ``--build-arg NAME=VALUE`` a line, quoted for a POSIX shell.

    What needs no quotes has none, so that ``docker build $(envid key --docker) .`` works: the shell splits the words
    of a substitution, and reads no quotes in it.
    """
    return "".join(f"--build-arg {variable(name)}={_quoted(name, value)}\n" for name, value in values.items())


def dotenv(values: Mapping[str, str]) -> str:
    """Return ``NAME=VALUE`` lines for ``set -a; . FILE`` of a POSIX shell, quoted where it would not read them so."""
    return "".join(f"{variable(name)}={_quoted(name, value)}\n" for name, value in values.items())


def _quoted(name: str, value: str) -> str:
    text = _text(name, value)
    # Not shlex.quote: it quotes what is empty or has a `~`, which is right, and `%` or `,`, which dialects differ on.
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _text(name: str, value: str) -> str:
    if "\0" in value:
        raise _refused(name, "a NUL character ends every variable")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _refused(name, "it is not text: a path that is not UTF-8") from None
    return value


def _refused(name: str, why: str) -> NotExportable:
    return NotExportable(f"the output {name} has a value that cannot be told: {why}", output=name)


SYSTEMS: Final[Mapping[str, System]] = {
    "github": System(
        render=github, file="GITHUB_OUTPUT", base="GITHUB_WORKSPACE", takes=("key", "restore-keys", "path", "identity")
    ),
    "gitlab": System(render=gitlab, base="CI_PROJECT_DIR", takes=("key", "path")),
    "circleci": System(render=circleci, file="BASH_ENV"),
    "buildkite": System(render=buildkite, base="BUILDKITE_BUILD_CHECKOUT_PATH"),
    "azure": System(render=azure, base="SYSTEM_DEFAULTWORKINGDIRECTORY"),
    "docker": System(render=docker, takes=("key",)),
    "dotenv": System(render=dotenv, takes=("key", "restore-keys", "path", "identity")),
}
"""Every CI system that envid can tell a key; the options of ``envid key`` are made from it."""
