#!/usr/bin/env python3
"""Write fixtures/identity/vectors.json; with --check, only say whether it differs (exit 1).

A vector that changes is a new version of the specification: never rewrite them to make a test pass.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from identity_vectors import FILE, inputs, result


def main() -> int:
    """Write or check; return the exit status."""
    vectors = [{"name": name, "input": given, **result(given)} for name, given in inputs()]
    lines = ",\n".join(json.dumps(vector, ensure_ascii=True, sort_keys=True) for vector in vectors)
    text = f"[\n{lines}\n]\n"
    same = FILE.exists() and FILE.read_text(encoding="utf-8") == text
    if "--check" in sys.argv[1:]:
        return 0 if same else 1
    if not same:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text, encoding="utf-8")
        print(f"{FILE.name}: {len(vectors)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
