"""Outcomes and errors as the JSON envelope, one document a run."""

from __future__ import annotations

from envid.app.outcome import Outcome
from envid.errors import EnvidError
from envid.values.finding import Finding


def success(outcome: Outcome) -> str:
    """Return the envelope of ``outcome``, with a final newline."""
    code = outcome.exit_code
    return _envelope(outcome.command, ok=code == 0, exit_code=code, data=outcome.data, findings=outcome.findings)


def failure(error: EnvidError, *, command: str) -> str:
    """Return the envelope of ``error``, with a final newline."""
    return _envelope(command, ok=False, exit_code=error.exit_code, error=problem(error))


def problem(error: EnvidError) -> dict[str, object]:
    """Return the error object of the envelope."""
    return {"slug": error.slug, "message": error.message, "hint": error.hint or None, "context": error.context}


def finding(item: Finding) -> dict[str, str | None]:
    """Return one entry of ``findings``."""
    return {
        "code": item.code, "severity": item.severity, "subject": item.subject, "path": item.path,
        "expected": item.expected, "actual": item.actual, "message": item.message, "hint": item.hint,
    }  # fmt: skip


def _envelope(
    command: str,
    *,
    ok: bool,
    exit_code: int,
    data: object = None,
    findings: tuple[Finding, ...] = (),
    error: dict[str, object] | None = None,
) -> str:
    import json

    document = {
        "schema": f"envid/{command}/1", "ok": ok, "exit_code": exit_code, "data": data if data is not None else {},
        "findings": [finding(item) for item in findings], "error": error,
    }  # fmt: skip
    # ASCII: file names may hold lone surrogates, which no UTF-8 stream takes.
    return json.dumps(document, ensure_ascii=True, default=dict) + "\n"
