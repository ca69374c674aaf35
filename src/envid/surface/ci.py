"""Annotations of GitHub on stdout, safe against injection."""

from __future__ import annotations

from collections.abc import Iterable

from envid.values.finding import Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def annotate(findings: Iterable[Finding], *, file: str) -> str:
    """Return GitHub workflow commands, one line a finding, attached to ``file`` of the repository."""
    lines = []
    for item in findings:
        subject = f"{item.subject} ({item.path})" if item.path else item.subject
        body = f"{subject}: {item.message}" + (f"\n{item.hint}" if item.hint else "")
        lines.append(f"::{_LEVELS[item.severity]} file={_property(file)},title={_property(item.code)}::{_data(body)}\n")
    return "".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
