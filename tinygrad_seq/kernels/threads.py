"""Running the parts of a batch side by side.

Compiled kernels release the interpreter's lock, so plain threads are enough. A worker sleeps on a queue, from which it
takes some fifty microseconds to wake; after a native call it listens at its box for a while (`mailbox`), where the next
is taken up at once. Several Python threads may run models at once: each call borrows the workers that are idle and
does itself what nobody takes. Workers do not survive a fork; the child starts its own. May not know what runs.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from tinygrad_seq.kernels import mailbox
from tinygrad_seq.kernels.nests import Nests, objects

# Multiply-adds of a run that make a thread of its own worth while. Over 100 steps two threads gain 22 % on 4 rows of an
# LSTM 32 -> 64 (10 million), 8 % on 4 rows of a simple net (2.5 million), whose single rows take 20 microseconds.
WORK_PER_PART = 1_200_000
NAP = 5e-5  # seconds between looks at a thread that has kept another waiting: the processor may be needed elsewhere

Failure = tuple[int, BaseException]


class _Worker(threading.Thread):
    """A thread that runs what is put into its inbox or posted in its box, one job at a time."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"tgseq-{number}", daemon=True)
        self.inbox: SimpleQueue[tuple[Callable[[], None], bool]] = SimpleQueue()
        self.box = np.zeros(8, np.int64)
        self.serve, self.fetch, self.change = mailbox.sides()

    def run(self) -> None:
        while True:
            job, listen = self.inbox.get()
            job()
            del job  # keep nothing alive while waiting
            if listen and self.inbox.empty():
                self.change(self.box, mailbox.AWAY, mailbox.LISTENING)
                while not self.serve(self.box, mailbox.rounds()):
                    time.sleep(NAP)

    def put(self, job: Callable[[], None], listen: bool = False) -> None:
        """A job for the inbox, to which a worker is called away from its box.

        listen  afterwards, for more of the kind: what waits awake takes from the other thread of its core, so that
                between operations on the tape, where one thread has most of the work, it would cost more than it gains
        """
        self.inbox.put((job, listen))
        self.call_away()

    def call_away(self) -> None:
        self.change(self.box, mailbox.LISTENING, mailbox.AWAY)


class _Pool:
    """The idle workers of this process; at most one fewer than `thread_count()` are ever made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[_Worker] = []
        self.made = 0

    def borrow(self, wanted: int) -> list[_Worker]:
        with self.lock:
            fresh = max(0, min(wanted - len(self.idle), thread_count() - 1 - self.made))
            for _ in range(fresh):
                worker = _Worker(self.made + 1)
                worker.start()
                self.made += 1
                self.idle.append(worker)
            cut = max(0, len(self.idle) - wanted)
            taken, self.idle = self.idle[cut:], self.idle[:cut]
            return taken

    def give_back(self, worker: _Worker) -> None:
        with self.lock:
            self.idle.append(worker)


_pool = _Pool()


def _forked() -> None:
    global _pool
    _pool = _Pool()


@atexit.register
def _leaving() -> None:
    """Machine code goes with the process: nobody is to be in it then."""
    for worker in _pool.idle:
        worker.call_away()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def thread_count() -> int:
    """Threads a computation may use: TGSEQ_NUM_THREADS, else the processors this process may run on."""
    text = os.environ.get("TGSEQ_NUM_THREADS", "").strip()
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"TGSEQ_NUM_THREADS is {text!r}; set it to a whole number from 1 up, or unset it")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parts(rows: int, work: int) -> int:
    """Into how many parts to split a batch: 1 where threads would cost more than they bring.

    rows  sequences in the batch; a part has at least two (products by a single row run at half speed), so
          that a batch of one is never split
    work  multiply-adds of all steps over all rows
    """
    most = min(rows // 2, work // WORK_PER_PART)
    return min(thread_count(), most) if most > 1 else 1  # to count the processors takes as long as a small cell's step


def run_parts(functions: Sequence[Callable[[], object]]) -> None:
    """Call all functions, as many at a time as there are idle workers (and this thread); return when all are done.

    What they raise is raised here, the first in the order of `functions`, after the others have ended: nothing still
    writes into an array when this returns. Results are not collected: functions write into arrays.
    """
    if len(functions) == 1:
        functions[0]()
        return
    waiting = deque(enumerate(functions))
    failures: list[Failure] = []
    workers = _pool.borrow(len(functions) - 1)
    done: SimpleQueue[None] = SimpleQueue()
    for worker in workers:
        worker.put(_errand(partial(_work, waiting, failures), done, _pool, worker))
    try:
        _work(waiting, failures)
    finally:
        interrupt = _wait(done, len(workers))
    if interrupt is not None:
        raise interrupt
    if failures:
        raise min(failures, key=lambda f: f[0])[1]


def run_native(run: Nests, calls: Sequence[tuple[Sequence[Any], Any]]) -> None:
    """`run(arrays, O)` for each of the calls, side by side; they share no array that one of them writes."""
    first, *others = calls
    workers = _pool.borrow(len(others)) if others else []
    done: SimpleQueue[None] = SimpleQueue()
    posted, asleep = [], 0
    for worker, (arrays, O) in zip(workers, others, strict=False):
        ids = objects(arrays)
        if mailbox.post(worker.box, run.address, ids, O):
            posted.append((worker, ids))
        else:
            worker.put(_errand(partial(run, arrays, O), done, _pool, worker), listen=True)
            asleep += 1
    interrupt = None
    try:
        for call in (first, *others[len(workers) :]):
            run(*call)
    finally:
        for worker, _ in posted:
            while not worker.fetch(worker.box, mailbox.rounds()):
                try:
                    time.sleep(NAP)
                except KeyboardInterrupt as error:
                    interrupt = error
            _pool.give_back(worker)
        interrupt = _wait(done, asleep) or interrupt
    if interrupt is not None:
        raise interrupt


def _errand(call: Callable[[], None], done: SimpleQueue[None], pool: _Pool, worker: _Worker) -> Callable[[], None]:
    """A job for a worker, which is idle again after it, whatever happens."""

    def job() -> None:
        try:
            call()
        finally:
            pool.give_back(worker)
            done.put(None)

    return job


def _work(waiting: deque[tuple[int, Callable[[], object]]], failures: list[Failure]) -> None:
    """Take functions until none is left."""
    while True:
        try:
            number, function = waiting.popleft()
        except IndexError:
            return
        try:
            function()
        except BaseException as error:  # raised again by run_parts
            failures.append((number, error))


def _wait(done: SimpleQueue[None], count: int) -> KeyboardInterrupt | None:
    """Wait for the workers even when the user presses Ctrl-C meanwhile; returns the interrupt."""
    interrupt = None
    while count:
        try:
            done.get()
            count -= 1
        except KeyboardInterrupt as error:
            interrupt = error
    return interrupt
