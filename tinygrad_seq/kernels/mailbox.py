"""Handing a native call to a thread that waits awake: a microsecond, where waking a sleeper takes fifty.

A box is eight integers that two threads share: its state, then the call (the address of machine code, where the tuple
of its arrays has its items and how many there are, where its integers begin). Whoever posts waits for the state to be
DONE and sets it back, or takes back what nobody has taken up yet. May not know what is called, nor what threads there
are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels.memory import element, invoke_at
from tinygrad_seq.kernels.nests import items

Box = NDArray[np.int64]
AWAY, LISTENING, POSTED, TAKEN, DONE = range(5)
AWAKE = (
    2.5e-4  # seconds that a listener waits before it goes to sleep: longer than Python needs from one run to the next
)
TRIAL = 1000  # rounds that are timed

SOURCE = f'''"""Both sides of a box; see tinygrad_seq.kernels.mailbox."""

from numba import int64

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.mailbox import pause, peek, run_posted, swap
from tinygrad_seq.kernels.memory import invoke, pointer, store


@kernel
def serve(box, rounds):
    """Run what is posted. True when nothing was for so many rounds, or the listener is called away; False when what it
    ran has not been fetched for so long."""
    left, before = rounds, {LISTENING}
    while True:
        state = peek(box)
        if state != before:
            left, before = rounds, state
        if state == {POSTED}:
            if swap(box, {POSTED}, {TAKEN}):
                run_posted(box)
                swap(box, {TAKEN}, {DONE})
        elif state == {AWAY}:
            return True
        elif left > 0:
            left -= 1
            pause(box)
        elif state == {DONE}:
            return False
        elif swap(box, {LISTENING}, {AWAY}):
            return True


@kernel
def fetch(box, rounds):
    """Whether what was posted is done, waiting so many rounds for it; then the listener listens again."""
    for _ in range(rounds):
        if peek(box) == {DONE}:
            return swap(box, {DONE}, {LISTENING})
        pause(box)
    return False


@kernel
def change(box, old, new):
    """Change the state if it is `old`."""
    return swap(box, old, new)


@kernel
def share(boxes, address, items, count, O, done, pieces, rounds):
    """Post one call in all boxes whose listeners listen, join in, and wait so many rounds for who has taken it up.

    Whether all pieces are done, as `done` counts them; the boxes still waited for stay in `boxes`, others become 0.
    """
    for i in range(boxes.size):
        box = pointer(boxes[i], int64)
        store(box, 1, address)
        store(box, 2, items)
        store(box, 3, count)
        store(box, 4, O.ctypes.data)
        if not swap(box, {LISTENING}, {POSTED}):
            boxes[i] = 0
    invoke(address, items, count, O)
    left = rounds
    for i in range(boxes.size):
        if boxes[i] != 0:
            box = pointer(boxes[i], int64)
            taken = not swap(box, {POSTED}, {LISTENING})
            while taken and left > 0:
                taken = not swap(box, {DONE}, {LISTENING})
                left -= 1
                pause(box)
            if not taken:
                boxes[i] = 0
    while peek(done) != pieces and left > 0:
        left -= 1
        pause(done)
    return peek(done) == pieces
'''


@cache
def sides() -> tuple[Callable[..., bool], Callable[..., bool], Callable[..., bool]]:
    """`serve(box, rounds)`, `fetch(box, rounds)` and `change(box, old, new)`, compiled once on a machine."""
    module = disk.load_source("mailbox", SOURCE)
    return module.serve, module.fetch, module.change


@cache
def share() -> Callable[..., bool]:
    """`share(boxes, address, items, count, O, done, pieces, rounds)`, compiled once on a machine."""
    return disk.load_source("mailbox", SOURCE).share  # type: ignore[no-any-return]


def take_back(box: Box) -> bool:
    """Take back what was posted; False when the listener has taken it up."""
    return sides()[2](box, POSTED, LISTENING)


@cache
def rounds() -> int:
    """Rounds of waiting in `AWAKE`: a pause takes ten times as long on one processor as on another."""
    box, fetch = np.full(8, LISTENING, np.int64), sides()[1]
    fetch(box, 1)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        fetch(box, TRIAL)
        times.append(time.perf_counter() - start)
    return int(TRIAL * AWAKE / max(min(times), 1e-6)) + 1


def post(box: Box, address: int, arrays: tuple[Any, ...], O: NDArray[np.int64]) -> bool:
    """Have the listener call machine code; False when there is none. Tuple and integers outlive the call."""
    box[1], box[2], box[3], box[4] = address, items(arrays), len(arrays), O.ctypes.data
    return sides()[2](box, LISTENING, POSTED)


@intrinsic  # type: ignore[untyped-decorator]
def peek(typing: Any, box: Any) -> Any:
    """The state, as the other thread left it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_field(context, builder, signature, args, 0), "acquire", 8)

    return types.int64(box), generate


@intrinsic  # type: ignore[untyped-decorator]
def swap(typing: Any, box: Any, old: Any, new: Any) -> Any:
    """Change the state if it is `old`; whether it was."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        state = _field(context, builder, signature, args, 0)
        old, new = (context.cast(builder, v, t, types.int64) for v, t in zip(args[1:], signature.args[1:], strict=True))
        return builder.extract_value(builder.cmpxchg(state, old, new, "acq_rel", "acquire"), 1)

    return types.boolean(box, old, new), generate


@intrinsic  # type: ignore[untyped-decorator]
def run_posted(typing: Any, box: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, first, count, table = (
            builder.load(_field(context, builder, signature, args, k), align=8) for k in (1, 2, 3, 4)
        )
        pointer = ir.IntType(64).as_pointer()
        invoke_at(builder, address, builder.inttoptr(first, pointer), count, builder.inttoptr(table, pointer))
        return context.get_dummy_value()

    return types.void(box), generate


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing: Any, box: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if str(builder.module.triple).startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(box), generate


def _field(context: Any, builder: Any, signature: Any, args: Any, k: int) -> Any:
    return element(context, builder, signature.args[0], args[0], ir.Constant(ir.IntType(64), k))


__all__ = ["AWAY", "DONE", "LISTENING", "POSTED", "TAKEN", "Box", "post", "rounds", "share", "sides", "take_back"]
