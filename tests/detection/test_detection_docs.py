"""The documented table of what each depth sees is the corpus that the tests run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tampering import table

PAGE = Path(__file__).parents[2] / "docs" / "verify.md"
BEGIN, END = "<!-- the tamper corpus: tests/detection/tampering.py -->\n", "<!-- end of the corpus -->\n"


def test_the_page_shows_the_corpus() -> None:
    """The table between the marks of docs/verify.md is the table of the corpus, row for row."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, end, _ = rest.partition(END)
    assert end, "the marks are missing"
    assert shown == table(), f"put this there:\n{table()}"
