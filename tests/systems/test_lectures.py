"""Every statement of the lectures, rows 1 to 47, names tests and examples, and those exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_is_shown_by_something_that_exists() -> None:
    page = (ROOT / "docs" / "lectures.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 48))
    defined: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        defined |= set(re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))
    for number, shown in rows:
        tests, examples = re.findall(r"`(test_\w+)`", shown), re.findall(r"`examples\.(\w+)`", shown)
        assert tests or examples, number
        assert set(tests) <= defined, (number, set(tests) - defined)
        assert all((ROOT / "examples" / name / "__main__.py").exists() for name in examples), number
