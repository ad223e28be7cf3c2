"""Imports run one way: viz -> dsl -> tinygrad_seq, and nothing imports the command line."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BELOW = {"viz": {"viz", "dsl", "tinygrad_seq"}, "dsl": {"dsl", "tinygrad_seq"}, "tinygrad_seq": {"tinygrad_seq"}}
OURS = {"viz", "dsl", "tinygrad_seq", "tgseq", "tests", "benchmarks", "examples"}


def imported(path: Path) -> set[str]:
    """Top-level names a file imports, inside functions too; a relative import is its own package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import; write the absolute one"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): sorted(imported(f) & OURS - BELOW[package]) for f in files}
    assert {f: names for f, names in wrong.items() if names} == {}


def test_the_check_sees_an_arrow_that_runs_up(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from viz.theme import FONT\n    return FONT\n")
    assert imported(bad) & OURS - BELOW["dsl"] == {"viz"}
