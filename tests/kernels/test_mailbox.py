"""Both sides of a box, one step after the other: what is posted is run once, and whoever listens goes when called."""

from __future__ import annotations

import threading

import numpy as np

from tests.kernels.test_threads import count
from tinygrad_seq.kernels import mailbox


def test_a_posted_call_is_run_once_and_the_listener_goes_when_called() -> None:
    serve, fetch, change = mailbox.sides()
    run, box, total = count(), np.zeros(8, np.int64), np.zeros(1)
    arrays, numbers, ended = (total,), np.array([2, 3]), []
    assert not mailbox.post(box, run.address, arrays, numbers) and not fetch(box, 10), "nobody listens"
    assert change(box, mailbox.AWAY, mailbox.LISTENING) and not change(box, mailbox.AWAY, mailbox.POSTED)
    listener = threading.Thread(target=lambda: ended.append(serve(box, 10**10)), daemon=True)
    listener.start()
    for expected in (6.0, 12.0, 18.0):
        assert mailbox.post(box, run.address, arrays, numbers)
        assert not mailbox.post(box, run.address, arrays, numbers), "one at a time"
        for _ in range(10**6):
            if fetch(box, 1000):
                break
        assert total[0] == expected
    assert change(box, mailbox.LISTENING, mailbox.AWAY)
    listener.join(timeout=120)
    assert ended == [True] and box[0] == mailbox.AWAY


def test_a_listener_goes_by_itself_when_nothing_comes() -> None:
    serve, _, change = mailbox.sides()
    box = np.zeros(8, np.int64)
    change(box, mailbox.AWAY, mailbox.LISTENING)
    assert serve(box, 100) and box[0] == mailbox.AWAY
