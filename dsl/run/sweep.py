"""Many independent runs, here or on other machines: which are done is kept, so that a sweep can be gone on with.

A job is a mapping of plain values, the arguments of one call; its result is plain too. What a job does is not known
here, nor where it runs: any `concurrent.futures.Executor` will do.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygrad_seq.files import write_file

Plain = dict[str, Any]


def sweep(
    function: Callable[..., Mapping[str, Any]],
    jobs: Iterable[Mapping[str, Any]],
    path: str | Path,
    executor: Executor,
    *,
    then: Callable[[Plain, Plain], Iterable[Mapping[str, Any]]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Plain]:
    """Call `function(**job)` for every job that `path` does not hold a result of; all records, as `path` has them.

    function  importable by its name where the executor runs it; its result, a mapping, has to be JSON
    path      a JSON file, a list of {"job", "result"} in the order of the jobs' text: written anew, all or nothing,
              after every job, so that a sweep that was stopped goes on where it was and the same results give the
              same file whatever order they came in
    then      jobs that a result calls for (a longer sequence where the shorter one was learned)
    say       told a line for every result

    A job that raises is told and not kept; the others go on. Errors: RuntimeError at the end, naming the jobs that
    raised; ValueError for a file that is not a sweep's; TypeError for jobs that are not plain.
    """
    target = Path(path)
    done = _read(target)
    queue = [dict(job) for job in jobs]
    running: dict[Future[Any], tuple[str, Plain, float]] = {}
    seen: set[str] = set()
    failed: list[str] = []
    try:
        while queue or running:
            while queue:
                job = queue.pop(0)
                key = _key(job)
                if key in seen:
                    continue
                seen.add(key)
                if key in done:
                    queue += [dict(more) for more in then(job, done[key])] if then else []
                else:
                    running[executor.submit(function, **job)] = key, job, time.monotonic()
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                key, job, begun = running.pop(future)
                error = future.exception()
                if error is not None:
                    failed.append(f"{key}: {type(error).__name__}: {error}")
                    say(failed[-1])
                    continue
                done[key] = json.loads(json.dumps(dict(future.result())))
                _write(target, done)
                say(f"{len(seen) - len(running)}/{len(seen)}  {_told(job)} → {_told(done[key])}")
                queue += [dict(more) for more in then(job, done[key])] if then else []
    finally:
        for future in running:
            future.cancel()
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(seen)} jobs failed: " + "; ".join(failed))
    return _records(done)


@contextmanager
def workers(count: int = 2, dask: str | None = None, timeout: float = 10.0) -> Iterator[Executor]:
    """Where a sweep runs: `count` processes of this machine with a thread each, or a Dask cluster at its address.

    Errors: ImportError naming the extra when Dask is asked for and is not installed; OSError when no scheduler answers
    at the address within `timeout` seconds.
    """
    if dask is None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the state of threads of kernels
        pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_one_thread)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
        return
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("a sweep on a cluster needs Dask: pip install 'tinygrad-seq[dask]'") from None
    try:
        client = Client(dask, timeout=timeout)
    except (OSError, ValueError) as error:
        raise OSError(f"{dask}: no Dask scheduler answers ({error})") from None
    with client:
        yield client.get_executor(pure=False)


def _told(values: Mapping[str, Any]) -> str:
    """Names and values in words, as they stand."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def records(path: str | Path) -> list[Plain]:
    """The records that a sweep has kept so far; none when there is no file."""
    return _records(_read(Path(path)))


def _one_thread() -> None:
    os.environ.setdefault("TGSEQ_NUM_THREADS", "1")


def _key(job: Mapping[str, Any]) -> str:
    return json.dumps(job, sort_keys=True, ensure_ascii=False)


def _records(done: Mapping[str, Plain]) -> list[Plain]:
    return [{"job": json.loads(key), "result": done[key]} for key in sorted(done)]


def _read(path: Path) -> dict[str, Plain]:
    if not path.exists():
        return {}
    try:
        return {_key(record["job"]): dict(record["result"]) for record in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} holds no sweep's results; give another file, or remove it to begin anew") from None


def _write(path: Path, done: Mapping[str, Plain]) -> None:
    lines = ",\n".join(json.dumps(record, ensure_ascii=False, sort_keys=True) for record in _records(done))
    write_file(path, f"[\n{lines}\n]\n".encode())
