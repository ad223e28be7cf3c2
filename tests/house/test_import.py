"""The friendly import finds our packages, says so when it does not, and a bare `tgseq` is quick."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code with `folder` first on the path and the sources behind it."""
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n{code}"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)


def test_it_gives_the_three_packages(tmp_path: Path) -> None:
    done = python("from tgseq import tg, dsl, viz; print(tg.__name__, dsl.__name__, viz.__name__)", tmp_path)
    assert (done.stdout.split(), done.stderr) == (["tinygrad_seq", "dsl", "viz"], "")


def test_a_file_of_the_users_that_shadows_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "viz.py").write_text("colour = 'red'\n")
    done = python("from tgseq import viz", tmp_path)
    assert done.returncode == 1
    assert f"`import viz` found {tmp_path / 'viz.py'}" in done.stderr
    assert "Rename that file" in done.stderr


def test_an_unknown_name_is_an_ordinary_error(tmp_path: Path) -> None:
    assert "cannot import name 'torch' from 'tgseq'" in python("from tgseq import torch", tmp_path).stderr


def test_the_first_screen_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import tgseq; print(tgseq.main([]), sorted({'numpy', 'numba', 'lark', 'rich', 'dsl'} & set(sys.modules)))"
    done = python(code, tmp_path)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


def test_the_first_screen_is_quick(tmp_path: Path) -> None:
    fastest = min(_timed(tmp_path) for _ in range(5))
    assert fastest < 0.3


def _timed(folder: Path) -> float:
    start = time.perf_counter()
    python("import tgseq; tgseq.main([])", folder)
    return time.perf_counter() - start
