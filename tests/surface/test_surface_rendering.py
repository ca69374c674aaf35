"""Outcomes and errors as people, machines and CI see them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.app.outcome import Outcome
from envid.errors import LockNotFound
from envid.surface import ci, console, wire
from envid.values.finding import Finding
from envid.values.progress import Silent

TAMPERED = Finding(
    code="env.tampered", severity="error", subject="numpy", path="numpy/__init__.py",
    message="differs from the wheel", expected="aa", actual="bb", hint="run `envid sync`",
)  # fmt: skip


def test_the_envelope_has_every_field() -> None:
    """An answer is one JSON document of the shape in docs/cli.md, on one line."""
    text = wire.success(Outcome(command="verify", data={"n": 1}, findings=(TAMPERED,)))
    assert text.count("\n") == 1
    document = json.loads(text)
    assert document["schema"] == "envid/verify/1"
    assert (document["ok"], document["exit_code"], document["error"], document["data"]) == (False, 1, None, {"n": 1})
    assert document["findings"][0]["code"] == "env.tampered"
    assert set(document["findings"][0]) == {
        "code", "severity", "subject", "path", "expected", "actual", "message", "hint",
    }  # fmt: skip


def test_an_error_is_a_document_too() -> None:
    """A failure has its slug, message, hint and context in the envelope."""
    document = json.loads(wire.failure(LockNotFound("there is no lock", path="x"), command="key"))
    assert (document["schema"], document["ok"], document["exit_code"]) == ("envid/key/1", False, 4)
    assert document["error"] == {
        "slug": "lock.not-found", "message": "there is no lock", "hint": "run `envid lock`", "context": {"path": "x"},
    }  # fmt: skip


def test_a_file_name_that_is_no_text_survives_json() -> None:
    """A lone surrogate in a path does not break the document."""
    odd = Finding(code="env.extra-file", severity="error", subject="x", path="a\udcff", message="m")
    assert json.loads(wire.success(Outcome(command="verify", findings=(odd,))))["findings"][0]["path"] == "a\udcff"


def test_data_goes_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer and the findings are on stdout, notes on stderr, and --quiet drops the notes only."""
    outcome = Outcome(command="verify", answer="1 error", notes=("took a while",), findings=(TAMPERED,))
    console.show(outcome, quiet=False)
    loud = capsys.readouterr()
    assert loud.out.splitlines() == [
        "1 error",
        "error env.tampered: numpy, numpy/__init__.py: differs from the wheel",
        "  hint: run `envid sync`",
    ]
    assert loud.err == "took a while\n"
    console.show(outcome, quiet=True)
    assert capsys.readouterr().err == ""


def test_many_findings_are_counted_not_poured_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond a screenful of one code the rest is a number."""
    console.show(Outcome(command="verify", findings=(TAMPERED,) * (console.MAX_SHOWN + 5)), quiet=False)
    assert "and 5 more" in capsys.readouterr().out


def test_a_strangers_escape_sequence_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in file names are shown, not sent."""
    hostile = Finding(code="env.extra-file", severity="error", subject="\x1b[2J", path="a\nb", message="m")
    console.show(Outcome(command="verify", findings=(hostile,)), quiet=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1


def test_an_error_for_people_has_slug_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure says what happened, its slug, and what to do next, on stderr."""
    console.complain(LockNotFound("there is no lock"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: there is no lock [lock.not-found]\nhint: run `envid lock`\n"


def test_what_a_path_says_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """A subject that is the path, or of the cache the area that it begins with, is not put before it."""
    for code, subject, path in (
        ("env.config", "pyvenv.cfg", "pyvenv.cfg"), ("cache.damaged", "entries-v1", "entries-v1/env/00/00"),
    ):  # fmt: skip
        finding = Finding(code=code, severity="error", subject=subject, path=path, message="it differs")
        console.show(Outcome(command="verify", findings=(finding,)), quiet=True)
        assert capsys.readouterr().out == f"error {code}: {path}: it differs\n"


STAGES = """
from envid.surface import console
bar = console.progress(wanted=True)
bar.begin("Quickly", 10, "bytes")
bar.advance(10)
bar.end()
for total, unit in ((None, "bytes"), (None, "files"), (None, "runs"), (3000, "bytes"), (3, "files")):
    bar = console.Bar(delay=0.0)
    bar.begin(f"Slowly {unit}", total, unit)
    assert bar.appeared.wait(10)
    bar.advance(2)
    bar.end()
"""


def test_a_progress_bar_appears_with_what_takes_time() -> None:
    """A stage that is over at once shows nothing; one that lasts shows what is done, and never an unknown total."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        subprocess.run([sys.executable, "-c", STAGES], stderr=theirs, env=environment, check=True)
        os.set_blocking(ours, False)
        said = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Slowly files" in said and "Slowly runs" in said
    assert "Quickly" not in said and "?" not in re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", said)


def test_no_progress_without_a_terminal() -> None:
    """When stderr is not a terminal, or quiet is wanted, progress is silent."""
    assert isinstance(console.progress(wanted=True), Silent)
    assert isinstance(console.progress(wanted=False), Silent)


@given(st.text(), st.text())
def test_an_annotation_is_one_line_whatever_it_says(subject: str, message: str) -> None:
    """Newlines, percent signs, colons and commas of strangers cannot end an annotation or begin another."""
    finding = Finding(code="a:b,c", severity="info", subject=subject, message=message)
    text = ci.annotate([finding], file="pyproject.toml")
    assert text.count("\n") == 1
    assert text.startswith("::notice file=pyproject.toml,title=a%3Ab%2Cc::")
