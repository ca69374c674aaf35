"""Draw what `scripts/bench` printed: each figure as a part of its limit. Usage: plot.py BENCH.txt OUT.svg"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path

FIGURE = re.compile(r"^\s*(.+?)\s+(\d+\.\d+)(?: x (\S+))? \((?:at most|limit) (\d[\d.]*)\)")
WIDTH, LABEL, ROW = 720, 300, 26


def figures(text: str) -> list[tuple[str, float, float]]:
    """Return (name, measured, limit) of every line that has a limit; a line that ends in `:` names the project."""
    found = []
    project = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            project = line.partition(":")[0]
        if match := FIGURE.match(line):
            base = f" / {match[3]}" if match[3] else ""
            found.append((f"{project}: {match[1]}{base}", float(match[2]), float(match[4])))
    return found


def drawing(rows: list[tuple[str, float, float]]) -> str:
    """Return an SVG: a bar a figure, a line where the limit is."""
    scale = (WIDTH - LABEL - 90) / max(1.25, *(measured / limit for _, measured, limit in rows))
    height = ROW * len(rows) + 44
    at = LABEL + scale
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{at:.0f}" y="16" text-anchor="middle" fill="#444444">limit</text>',
        f'<line x1="{at:.0f}" y1="22" x2="{at:.0f}" y2="{height - 16}" stroke="#444444" stroke-dasharray="4 3"/>',
    ]
    for number, (name, measured, limit) in enumerate(rows):
        top = 26 + ROW * number
        over = measured > limit
        width = scale * measured / limit
        mark, colour = ("over", "#b2182b") if over else ("", "#2166ac")
        parts += [
            f'<text x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top + 3}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<text x="{LABEL + width + 6:.1f}" y="{top + 15}">{measured:.2f} of {limit:g} {mark}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Read the figures, write the drawing."""
    source, target = map(Path, sys.argv[1:3])
    rows = figures(source.read_text(encoding="utf-8"))
    if not rows:
        sys.exit(f"{source} holds no figure with a limit")
    target.write_text(drawing(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
