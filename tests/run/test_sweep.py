"""Sweeps: every job once, kept as it finishes, gone on with, the same file in any order, here and on a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dsl.run.sweep import records, sweep, workers


def square(n: int, slow: float = 0.0) -> dict[str, Any]:
    time.sleep(slow)
    if n < 0:
        raise ValueError(f"{n} is below 0")
    return {"square": n * n}


class Here(Executor):
    """Runs a job where it is submitted, and counts."""

    def __init__(self, most: int = 10**6) -> None:
        self.calls: list[dict[str, Any]] = []
        self.most = most

    def submit(self, function: Any, /, *args: Any, **job: Any) -> Future[Any]:
        if len(self.calls) == self.most:
            raise KeyboardInterrupt
        self.calls.append(job)
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **job))
        except ValueError as error:
            done.set_exception(error)
        return done


def quiet(line: str) -> None:
    pass


def test_every_job_is_called_once_and_kept(tmp_path: Path) -> None:
    path, here, said = tmp_path / "runs.json", Here(), []
    found = sweep(square, [{"n": 3}, {"n": 1}, {"n": 3}], path, here, say=said.append)
    assert found == [{"job": {"n": 1}, "result": {"square": 1}}, {"job": {"n": 3}, "result": {"square": 9}}]
    assert here.calls == [{"n": 3}, {"n": 1}] and len(said) == 2 and "9" in "".join(said)
    assert found == records(path) == json.loads(path.read_text())


def test_a_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    sweep(square, [{"n": 1}, {"n": 2}], path, Here(), say=quiet)
    here = Here()
    sweep(square, [{"n": n} for n in range(4)], path, here, say=quiet)
    assert here.calls == [{"n": 0}, {"n": 3}]
    again = Here()
    assert len(sweep(square, [{"n": n} for n in range(4)], path, again, say=quiet)) == 4 and again.calls == []


def test_what_was_done_when_it_was_stopped_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"

    def then(job: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"n": job["n"] + 1}]

    with pytest.raises(KeyboardInterrupt):
        sweep(square, [{"n": 1}], path, Here(most=3), then=then, say=quiet)
    assert [r["job"]["n"] for r in records(path)] == [1, 2, 3]


def test_a_result_calls_for_more_jobs_also_when_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"

    def then(job: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"n": job["n"] + 1}] if result["square"] < 9 else []

    sweep(square, [{"n": 1}], path, Here(), say=quiet)
    here = Here()
    found = sweep(square, [{"n": 1}], path, here, then=then, say=quiet)
    assert [r["job"]["n"] for r in found] == [1, 2, 3] and here.calls == [{"n": 2}, {"n": 3}]


def test_the_order_of_finishing_does_not_show(tmp_path: Path) -> None:
    slow, fast = tmp_path / "a.json", tmp_path / "b.json"
    jobs = [{"n": n, "slow": 0.05 * (3 - n)} for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        sweep(square, jobs, slow, pool, say=quiet)
    sweep(square, jobs, fast, Here(), say=quiet)
    assert slow.read_bytes() == fast.read_bytes()


def test_a_job_that_raises_is_named_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    with pytest.raises(RuntimeError, match=r'1 of 2 jobs failed: \{"n": -1\}: ValueError: -1 is below 0'):
        sweep(square, [{"n": -1}, {"n": 2}], path, Here(), say=quiet)
    assert [r["job"] for r in records(path)] == [{"n": 2}]
    here = Here()
    with pytest.raises(RuntimeError):
        sweep(square, [{"n": -1}, {"n": 2}], path, here, say=quiet)
    assert here.calls == [{"n": -1}]


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    for before in ('{"a": 1}', "[1]", "not json"):
        path.write_text(before)
        with pytest.raises(ValueError, match="notes.json holds no sweep's results"):
            sweep(square, [{"n": 1}], path, Here(), say=quiet)
        assert path.read_text() == before


def test_processes_have_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TGSEQ_NUM_THREADS", raising=False)
    with workers(1) as pool:
        assert pool.submit(threads).result(timeout=120) == "1"


def threads() -> str | None:
    return os.environ.get("TGSEQ_NUM_THREADS")


def test_dask_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad-seq\[dask\]'"):
        with workers(dask="tcp://127.0.0.1:1"):
            pass


def test_a_cluster_that_does_not_answer_is_an_error_of_one_line() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(OSError, match="tcp://127.0.0.1:9: no Dask scheduler answers"):
        with workers(dask="tcp://127.0.0.1:9", timeout=0.5):
            pass


CLUSTER = """
import sys
from distributed import LocalCluster
from dsl.run.sweep import sweep, workers
from tests.run.test_sweep import square

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        with workers(dask=cluster.scheduler_address) as pool:
            found = sweep(square, [{"n": 2}, {"n": 3}], sys.argv[1], pool)
    print([r["result"]["square"] for r in found])
"""


def test_on_a_local_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, str(script), str(tmp_path / "runs.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[4, 9]"
    assert [r["result"] for r in records(tmp_path / "runs.json")] == [{"square": 4}, {"square": 9}]
