"""Every correction in docs/errata.md names a test or an example that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_what_the_errata_name_exists() -> None:
    page = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line][1:]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "systems").glob("*.py"))
    assert len(rows) >= 10
    for row in rows:
        shown = row.rstrip(" |").rpartition("|")[2]
        tests, examples = re.findall(r"`(test_\w+)`", shown), re.findall(r"examples\.(\w+)", shown)
        assert tests or examples, row
        assert all(f"def {name}(" in sources for name in tests), row
        assert all((ROOT / "examples" / name / "__main__.py").exists() for name in examples), row
