"""Running the parts of a batch side by side.

Compiled kernels release the interpreter's lock, so plain threads are enough. A worker sleeps on a queue, from which it
takes some fifty microseconds to wake; after a call it listens at its box for a while (`mailbox`), without the
interpreter's lock, and takes up the next at once. Several Python threads may run models at once: each call borrows the
workers that are idle and does itself what nobody takes. Workers do not survive a fork; the child starts its own. May
not know what runs.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from tinygrad_seq.kernels import mailbox
from tinygrad_seq.kernels.nests import Nests, items
from tinygrad_seq.kernels.pieces import DONE, Together

# Multiply-adds of a run that make a thread of its own worth while. Over 100 steps two threads gain 22 % on 4 rows of an
# LSTM 32 -> 64 (10 million), 8 % on 4 rows of a simple net (2.5 million), whose single rows take 20 microseconds.
WORK_PER_PART = 1_200_000
NAP = 5e-5  # seconds between looks at a thread that has kept another waiting: the processor may be needed elsewhere


_getcpu = getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


def _processor() -> int:
    """The number of the processor that this thread runs on; -1 where nobody says."""
    return int(_getcpu()) if _getcpu is not None else -1


def _keep_to(thread: int, processors: set[int]) -> None:
    with suppress(OSError):  # where that is forbidden a thread stays where it is
        os.sched_setaffinity(thread, processors)


class _Worker(threading.Thread):
    """A thread that runs what is put into its inbox or posted in its box, one job at a time."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"tgseq-{number}", daemon=True)
        self.inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.box = np.zeros(8, np.int64)
        self.place = self.box.ctypes.data
        self.allowed: set[int] = set()  # the processors that it may run on, while it is kept from one
        self.serve, self.fetch, self.change = mailbox.sides()

    def run(self) -> None:
        while True:
            job = self.inbox.get()
            if self.allowed:
                _keep_to(0, self.allowed)
                self.allowed = set()
            job()
            del job  # keep nothing alive while waiting
            if self.inbox.empty():
                self.change(self.box, mailbox.AWAY, mailbox.LISTENING)
                while not self.serve(self.box, mailbox.rounds()):
                    time.sleep(NAP)

    def put(self, job: Callable[[], None]) -> None:
        """A job for the inbox, to which a worker is called away from its box.

        It wakes on another processor than this thread's: a kernel may wake a thread where it went to sleep, be there
        whom it is to help, and not move it for as long as each of its jobs is short.
        """
        here = _processor()
        if here >= 0 and self.native_id is not None:
            self.allowed = os.sched_getaffinity(self.native_id)
            _keep_to(self.native_id, self.allowed - {here} or self.allowed)
        self.inbox.put(job)
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


def run_native(run: Nests, calls: Sequence[tuple[tuple[Any, ...], Any]]) -> None:
    """`run(arrays, O)` for each of the calls, side by side; they share no array that one of them writes."""
    first, *others = calls
    workers = _pool.borrow(len(others)) if others else []
    done: SimpleQueue[None] = SimpleQueue()
    posted, asleep = [], 0
    for worker, (arrays, O) in zip(workers, others, strict=False):
        if mailbox.post(worker.box, run.address, arrays, O):
            posted.append((worker, (arrays, O)))
        else:
            worker.put(_errand(partial(run, arrays, O), done, _pool, worker))
            asleep += 1
    interrupt = None
    try:
        for call in (first, *others[len(workers) :]):
            run(*call)
    finally:
        for worker, call in posted:
            if mailbox.take_back(worker.box):
                run(*call)
                _pool.give_back(worker)
            else:
                interrupt = _fetch(worker, interrupt)
        interrupt = _wait(done, asleep) or interrupt
    if interrupt is not None:
        raise interrupt


def run_together(call: Together, wake: bool = True) -> None:
    """Do all pieces of a call, with the help of whoever is idle; return when the last is done.

    Who listens helps at once. Who sleeps is called (if `wake`: to be woken, it asks for the interpreter's lock, which
    this thread then waits for), and helps with what is left when it wakes: nobody waits for it.
    """
    if call.pieces < 2:
        call.run(call.arrays, call.numbers)
        _check_done(call)
        return
    workers = _pool.borrow(min(thread_count(), call.pieces) - 1)
    awake: list[_Worker] = []
    errands: deque[bool] = deque()  # True for one that began, False for one that ended
    for worker in workers:
        if worker.box[0] == mailbox.LISTENING:
            awake.append(worker)
        elif not wake:
            _pool.give_back(worker)
        else:
            worker.put(_late_errand(call, errands, _pool, worker))
    boxes, done = np.array([w.place for w in awake], np.int64), call.counters[DONE:]
    first, count = items(call.arrays), len(call.arrays)
    ended = mailbox.share()(boxes, call.run.address, first, count, call.numbers, done, call.pieces, mailbox.rounds())
    interrupt = None
    for worker, box in zip(awake, boxes, strict=True):
        if box:
            interrupt = _fetch(worker, interrupt)
        else:
            _pool.give_back(worker)
    while not ended and errands.count(True) > errands.count(False):
        interrupt = _nap(interrupt)
        ended = bool(done[0] == call.pieces)
    if interrupt is not None:
        raise interrupt
    _check_done(call)


def _check_done(call: Together) -> None:
    if call.counters[DONE] != call.pieces:
        raise MemoryError("a compiled loop stopped: there was no memory for what it keeps meanwhile")


def _late_errand(call: Together, errands: deque[bool], pool: _Pool, worker: _Worker) -> Callable[[], None]:
    def job() -> None:
        errands.append(True)
        try:
            call.run(call.arrays, call.numbers)
        finally:
            pool.give_back(worker)
            errands.append(False)

    return job


def _fetch(worker: _Worker, interrupt: KeyboardInterrupt | None) -> KeyboardInterrupt | None:
    """Wait for what was posted and taken up; returns the interrupt that came meanwhile."""
    while not worker.fetch(worker.box, mailbox.rounds()):
        interrupt = _nap(interrupt)
    _pool.give_back(worker)
    return interrupt


def _nap(interrupt: KeyboardInterrupt | None) -> KeyboardInterrupt | None:
    try:
        time.sleep(NAP)
    except KeyboardInterrupt as error:
        interrupt = error
    return interrupt


def _errand(call: Callable[[], None], done: SimpleQueue[None], pool: _Pool, worker: _Worker) -> Callable[[], None]:
    """A job for a worker, which is idle again after it, whatever happens."""

    def job() -> None:
        try:
            call()
        finally:
            pool.give_back(worker)
            done.put(None)

    return job


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
