"""The wheel holds the three packages, `tgseq.py` and their data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tinygrad_seq", "dsl", "viz")


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names inside a freshly built wheel, the metadata folder aside."""
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install '.[test]'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_it_lists_exactly_the_sources_and_their_data(contents: set[str]) -> None:
    kinds = ("*.py", "*.cell", "*.lark", "py.typed", "*.html", "*.css", "*.js")
    expected = {"tgseq.py"}
    for package in PACKAGES:
        for kind in kinds:
            expected |= {str(f.relative_to(ROOT).as_posix()) for f in (ROOT / package).rglob(kind)}
    assert contents == expected


def test_what_runs_without_the_sources_is_there(contents: set[str]) -> None:
    needed = {"dsl/text/grammar.lark", "dsl/library/lstm.cell", *(f"{p}/py.typed" for p in PACKAGES)}
    assert needed <= contents
