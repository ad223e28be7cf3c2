"""Generated sources on disk: names by content, races, damage, and directories that refuse."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygrad_seq.kernels import cache
from tinygrad_seq.kernels.target import magic

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A kernel."""
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import tanh
from tinygrad_seq.kernels.memory import load, store


@kernel
def twice(x, y):
    for i in range(x.size):
        store(y, i, 2 * tanh(load(x, i)))
'''

# Prints: file name, hits and misses of the machine-code cache, the sum computed.
PROGRAM = f"""
import warnings, sys
import numpy as np
from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels import product
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    product.require("float32")
    module = load_source("twice", {SOURCE!r})
    x = np.linspace(-1, 1, 100, dtype="f4"); y = np.empty_like(x)
    module.twice(x, y)
assert np.allclose(y, 2*np.tanh(x), atol=1e-5), y
stats = module.twice.stats
print(module.__file__.rsplit("/", 1)[-1], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), len(caught))
for w in caught: print(str(w.message))
"""


def start(directory: Path, program: str = PROGRAM, root: Path = ROOT, **env: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TGSEQ_CACHE_DIR": str(directory), "PYTHONPATH": str(root), **env}
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=-1, stderr=-1, text=True)


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split("\n")


def run(directory: Path, root: Path = ROOT, **env: str) -> tuple[str, int, int, list[str]]:
    lines = finish(start(directory, root=root, **env))
    name, hits, misses, _ = lines[0].split()
    return name, int(hits), int(misses), [line for line in lines[1:] if line]


def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    name, hits, misses, warned = run(tmp_path, PYTHONHASHSEED="1")
    assert (hits, misses, warned) == (0, 1, [])
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert run(tmp_path, PYTHONHASHSEED="2") == (name, 1, 0, [])
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    assert (tmp_path / name).read_text() == SOURCE


def test_loaded_code_brings_the_shared_code_it_calls(tmp_path: Path) -> None:
    """Nothing but the kernel asks for the product, in a process where it comes from disk: not a call of address 0."""
    program = """
import numpy as np
from tests.kernels.exercise import functions
k = functions()
A = np.ones((2, 16), "f4"); C = np.zeros((2, 16), "f4")
k.product(A, 0, 16, np.ones(256, "f4"), 0, C, 0, 16, 2, 16, 16, 0)
assert (C == 16).all()
print(sum(k.product.stats.cache_hits.values()))
"""
    assert [finish(start(tmp_path, program))[0] for _ in range(2)] == ["0", "1"]


def test_two_processes_at_once(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(3)]
    names = {finish(p)[0].split()[0] for p in processes}
    assert len(names) == 1
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]
    assert run(tmp_path)[1:3] == (1, 0)


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "foreign"])
def test_a_damaged_file_is_not_loaded(tmp_path: Path, damage: str) -> None:
    run(tmp_path)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"truncate": data[:middle], "empty": b"", "flip": flipped, "foreign": b"x" * 100}[damage])
    assert run(tmp_path)[1:] == (0, 1, [])
    assert run(tmp_path)[1:] == (1, 0, [])


def test_an_edited_kernel_has_another_name(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    shutil.copytree(ROOT / "tinygrad_seq", root / "tinygrad_seq", ignore=shutil.ignore_patterns("__pycache__"))
    store = tmp_path / "cache"
    first = run(store, root)[0]
    assert run(store, root)[0] == first
    edited = root / "tinygrad_seq" / "kernels" / "drivers.py"
    text = edited.read_text()
    edited.write_text(text + "\n# edited\n")
    second, hits, misses, _ = run(store, root)
    assert second != first and (hits, misses) == (0, 1)
    edited.write_text(text)
    assert run(store, root)[:3] == (first, 1, 0)


def test_another_processor_has_another_name(tmp_path: Path) -> None:
    if not magic()[0].startswith("x86_64"):
        pytest.skip("targets of x86-64")
    here = run(tmp_path)[0]
    there, hits, _, _ = run(tmp_path, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2")
    assert there != here and hits == 0


@pytest.mark.parametrize("where", ["a file in the way", "no permission"])
def test_a_directory_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    directory = tmp_path / "cache"
    if where == "a file in the way":
        directory.write_text("not a directory")
    else:
        directory.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
        if os.access(directory, os.W_OK):
            pytest.skip("this user may write everywhere")
    _, hits, misses, warned = run(directory)
    assert (hits, misses) == (0, 1)
    assert len(warned) == 1 and str(directory) in warned[0] and "TGSEQ_CACHE_DIR" in warned[0]


def test_a_cache_directory_deleted_while_running(tmp_path: Path) -> None:
    """The file is only a copy: what runs is in memory, and one warning tells that nothing is kept."""
    program = PROGRAM.replace(
        'product.require("float32")',
        "from tinygrad_seq.kernels.cache import cache_directory\n    import shutil; shutil.rmtree(cache_directory())",
    )
    lines = finish(start(tmp_path / "cache", program))
    assert lines[0].split()[1:] == ["0", "1", "1"] and "cannot keep compiled code" in lines[1]


def test_threads_that_load_and_compile_at_once(tmp_path: Path) -> None:
    """One asks for the shared code while another's kernel, being compiled, asks for it too."""
    program = """
import threading
import numpy as np
from tests.kernels.exercise import functions
from tinygrad_seq.kernels.product import require
def run():
    k = functions()
    k.product(np.ones((2, 16)), 0, 16, np.ones(256), 0, np.zeros((2, 16)), 0, 16, 2, 16, 16, 0)
work = [lambda: require("float64"), run, lambda: require("float32"), run]
threads = [threading.Thread(target=w, daemon=True) for w in work]
for t in threads: t.start()
for t in threads: t.join(60)
print(sum(t.is_alive() for t in threads))
"""
    assert [finish(start(tmp_path, program))[0] for _ in range(2)] == ["0", "0"]


def test_names_depend_on_text_alone() -> None:
    one = cache.source_path("a/b c", "x = 1\n")
    assert one == cache.source_path("a/b c", "x = 1\n") and one.name.startswith("a_b_c_")
    assert one != cache.source_path("a/b c", "x = 2\n")


def test_a_source_that_fails_leaves_no_module() -> None:
    text = "raise KeyError('broken')\n"
    for _ in range(2):
        with pytest.raises(KeyError, match="broken"):
            cache.load_source("broken", text)


def test_tracebacks_show_the_generated_line() -> None:
    module = cache.load_source("lines", "def f():\n    return 1 / 0  # here\n")
    with pytest.raises(ZeroDivisionError) as caught:
        module.f()
    assert "# here" in str(caught.traceback[-1].statement)


def test_warm_start_is_short(tmp_path: Path) -> None:
    """Beyond importing Numba, loading the shared code and a kernel takes well below what compiling does."""
    program = "import time, numba\nfrom tinygrad_seq.kernels import cache, product\nt = time.process_time()\n" + PROGRAM
    program += "print(time.process_time() - t)\n"
    cold = float(finish(start(tmp_path, program))[-2])
    warm = min(float(finish(start(tmp_path, program))[-2]) for _ in range(2))
    assert warm < 0.25 and warm < cold / 3, (cold, warm)


def test_what_was_not_used_for_long_is_forgotten(tmp_path: Path) -> None:
    def make(name: str, days: float) -> list[Path]:
        key = hashlib.sha256(name.encode()).hexdigest()[:20]
        made = [tmp_path / f"{name}_{key}{end}" for end in (".py", ".run-9.0123456789abcdef.bin")]
        for path in made:
            path.write_bytes(b"x" * 1000)
            os.utime(path, (time.time() - 86_400 * days,) * 2)
        return made

    old, middle, new = make("old", 100), make("middle", 5), make("new", 1)
    other = tmp_path / "notes.txt"
    other.write_text("not ours")
    assert cache.prune(tmp_path, days=60, size=10**6) == 1
    assert [p.exists() for p in (*old, *middle, *new)] == [False, False, True, True, True, True]
    assert cache.prune(tmp_path, days=60, size=2500) == 1
    assert [p.exists() for p in (*middle, *new, other)] == [False, False, True, True, True]
    assert cache.prune(tmp_path, days=60, size=2500) == 0
