"""docs/identity.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from envid.app.sources import LEFT_OUT, LEFT_OUT_AT_TOP, LEFT_OUT_ENDINGS
from envid.identity import COMPONENTS, LAYERS, SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")


def test_the_layer_table_is_that_of_the_code() -> None:
    """Each cell of the published component x layer table is that of LAYERS."""
    lines = [line.strip("|") for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    (head,) = [row for row in rows if row[1:] == list(COMPONENTS)]
    for layer, names in LAYERS.items():
        (row,) = [row for row in rows if row[0] == f"`{layer}`" and len(row) == len(head)]
        assert [name for name, cell in zip(COMPONENTS, row[1:], strict=True) if cell == "x"] == list(names)


def test_every_component_is_described() -> None:
    """The page has a row for the value of each component, in the order of the table, and names the schema."""
    section = PAGE.partition("## Components\n")[2].partition("\n### ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == list(COMPONENTS)
    assert SCHEMA in PAGE


def test_what_a_tree_leaves_out_is_listed() -> None:
    """Every name that a tree digest leaves out is on the page."""
    section = PAGE.partition("## Tree digest\n")[2].partition("\n## ")[0]
    for name in (*LEFT_OUT, *LEFT_OUT_AT_TOP, *LEFT_OUT_ENDINGS):
        assert f"`{name}`" in section
