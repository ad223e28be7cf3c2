"""The tape against its peers: HIPS autograd, torch eager and jax, each doing the same gradient on the same arrays.

    python -m benchmarks.engine                            # every case, every installed peer
    python -m benchmarks.engine --cases lstm,ctc --rounds 15 --json out/engine.json
    OMP_NUM_THREADS=1 TGSEQ_NUM_THREADS=1 python -m benchmarks.engine --cpu      # on a machine that does other work too

Turns are interleaved in one process (a slow minute of the machine meets all alike), with a rest before each in which
the threads of the one before go to sleep; medians are over all turns, and before any timing every peer's gradient is
compared with ours. `numpy` runs the forward pass's NumPy calls without any tape: what is above it is the tape's own
cost. jax runs compiled, its compilation not counted.
A ratio is peer / ours: above 1 we are faster.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as tg

Run = Callable[[], Any]
RNG = np.random.default_rng(0)
REST = 0.02  # seconds in which the threads of the one before go to sleep: torch's wait awake for 8 ms


def draw(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32) * np.float32(0.3)


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


TORCH, JAX, HIPS = peer("torch"), peer("jax"), peer("autograd")


def leaf(array: Any) -> tg.Tensor:
    """A variable over this very array, as `torch.from_numpy` makes one."""
    t = tg.Tensor.wrap(array)
    t.requires_grad = True
    return t


def contenders(f: Callable[..., Any], arrays: dict[str, Any]) -> dict[str, Run]:
    """`f(xp, **arrays)` is a scalar, written against a namespace xp of the few functions the cases use."""

    def ours() -> Any:
        variables = {k: leaf(a) for k, a in arrays.items()}
        f(Ours, **variables).backward()
        return [v.grad.data for v in variables.values() if v.grad is not None]

    found: dict[str, Run] = {"ours": ours, "numpy": lambda: f(Plain, **arrays)}
    if HIPS is not None:
        gradient = HIPS.grad(lambda values: f(Hips, **dict(zip(arrays, values, strict=True))))
        found["autograd"] = lambda: list(gradient(tuple(arrays.values())))
    if TORCH is not None:

        def theirs() -> Any:
            variables = {k: TORCH.from_numpy(a).requires_grad_() for k, a in arrays.items()}
            for v in variables.values():
                v.grad = None
            f(Torch, **variables).backward()
            return [v.grad.numpy() for v in variables.values()]

        found["torch"] = theirs
    if JAX is not None:
        compiled = JAX.jit(JAX.grad(lambda values: f(Jax, **values)))
        device = {k: JAX.numpy.asarray(a) for k, a in arrays.items()}

        def traced() -> Any:
            grads = JAX.block_until_ready(compiled(device))
            return [np.asarray(grads[k]) for k in arrays]

        found["jax"] = traced
    return found


# ---------------------------------------------------------------- the functions that the cases use


class Ours:
    tanh, exp, sum, matmul, logsumexp = tg.tanh, tg.exp, staticmethod(tg.sum), staticmethod(tg.matmul), tg.logsumexp
    sigmoid, relu, softmax, max = tg.sigmoid, tg.relu, staticmethod(tg.softmax), staticmethod(tg.max)


class Plain:
    """NumPy alone: the primitives' values."""

    tanh, exp, sum, matmul = np.tanh, np.exp, np.sum, np.matmul
    logsumexp = staticmethod(tg.logsumexp)
    sigmoid, relu, softmax, max = tg.sigmoid, tg.relu, staticmethod(tg.softmax), np.max


class Hips:
    if HIPS is not None:
        _np = importlib.import_module("autograd.numpy")
        _special = importlib.import_module("autograd.scipy.special")
        tanh, exp, sum, matmul, max = _np.tanh, _np.exp, _np.sum, _np.matmul, _np.max
        logsumexp = _special.logsumexp

        @staticmethod
        def sigmoid(x: Any) -> Any:
            return 0.5 * (Hips.tanh(0.5 * x) + 1.0)

        @staticmethod
        def relu(x: Any) -> Any:
            return Hips._np.maximum(x, 0)

        @staticmethod
        def softmax(x: Any) -> Any:
            e = Hips.exp(x - Hips.max(x, axis=-1, keepdims=True))
            return e / Hips.sum(e, axis=-1, keepdims=True)


class Torch:
    if TORCH is not None:
        tanh, exp, matmul, sigmoid, relu = TORCH.tanh, TORCH.exp, TORCH.matmul, TORCH.sigmoid, TORCH.relu

        @staticmethod
        def sum(x: Any, axis: Any = None) -> Any:
            return x.sum() if axis is None else x.sum(axis)

        @staticmethod
        def max(x: Any, axis: int) -> Any:
            return x.amax(axis)

        @staticmethod
        def softmax(x: Any) -> Any:
            return x.softmax(-1)

        @staticmethod
        def logsumexp(x: Any, axis: int) -> Any:
            return x.logsumexp(axis)


class Jax:
    if JAX is not None:
        _jnp = importlib.import_module("jax.numpy")
        tanh, exp, sum, matmul, max = _jnp.tanh, _jnp.exp, _jnp.sum, _jnp.matmul, _jnp.max
        logsumexp, sigmoid, relu = JAX.nn.logsumexp, JAX.nn.sigmoid, JAX.nn.relu
        softmax = staticmethod(JAX.nn.softmax)


# ---------------------------------------------------------------- cases


def overhead() -> dict[str, Run]:
    """500 operations on arrays of 4 elements: almost nothing but the tape."""

    def f(xp: Any, x: Any) -> Any:
        y = x
        for _ in range(125):
            y = xp.tanh(y * 0.9 + x) - x
        return xp.sum(y)

    return contenders(f, {"x": draw(4)})


def lstm() -> dict[str, Run]:
    """An LSTM unrolled by hand: 50 steps, 16 sequences, 32 inputs, 64 units."""

    def f(xp: Any, w: Any, v: Any, b: Any, x: Any) -> Any:
        h = c = np.zeros((16, 64), np.float32)
        if xp is Torch:
            h = c = TORCH.zeros(16, 64)
        for t in range(50):
            a = xp.matmul(x[t], w) + xp.matmul(h, v) + b
            i, o, g = xp.sigmoid(a[:, :64]), xp.sigmoid(a[:, 64:128]), xp.tanh(a[:, 128:192])
            c = xp.sigmoid(a[:, 192:]) * c + i * g
            h = o * xp.tanh(c)
        return xp.sum(h * h)

    return contenders(f, {"w": draw(32, 256), "v": draw(64, 256), "b": draw(256), "x": draw(50, 16, 32)})


def mlp() -> dict[str, Run]:
    """784 → 256 → 256 → 10 over 64 rows, squared log-sum loss."""

    def f(xp: Any, x: Any, a: Any, b: Any, c: Any, p: Any, q: Any) -> Any:
        h = xp.relu(xp.matmul(xp.relu(xp.matmul(x, a) + p), b) + q)
        return xp.sum(xp.logsumexp(xp.matmul(h, c), axis=1))

    shapes = {"a": (784, 256), "b": (256, 256), "c": (256, 10), "p": (256,), "q": (256,)}
    return contenders(f, {"x": draw(64, 784)} | {k: draw(*s) for k, s in shapes.items()})


def reductions() -> dict[str, Run]:
    """Sums, maxima and log-sums of 256 × 1024 along both axes."""

    def f(xp: Any, x: Any) -> Any:
        by_row = xp.sum(xp.sum(x, axis=1) * xp.max(x, axis=1))
        return by_row + xp.sum(xp.logsumexp(x, axis=0) * xp.sum(x, axis=0))

    return contenders(f, {"x": draw(256, 1024)})


def softmax() -> dict[str, Run]:
    """softmax of 128 × 1000, weighted."""
    weights = draw(128, 1000)

    def f(xp: Any, x: Any) -> Any:
        return xp.sum(xp.softmax(x) * (TORCH.from_numpy(weights) if xp is Torch else weights))

    return contenders(f, {"x": draw(128, 1000)})


def _pair(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], x: Any) -> dict[str, Run]:
    """Ours and torch's function of the same array."""

    def mine() -> Any:
        t = leaf(x)
        ours(t).backward()
        assert t.grad is not None
        return [t.grad.data]

    def other() -> Any:
        t = TORCH.from_numpy(x).requires_grad_()
        t.grad = None
        theirs(t).backward()
        return [t.grad.numpy()]

    return {"ours": mine} | ({"torch": other} if TORCH is not None else {})


def cross_entropy() -> dict[str, Run]:
    """Softmax cross-entropy of 512 rows over 1000 categories."""
    target = RNG.integers(0, 1000, 512)
    return _pair(
        lambda x: tg.cross_entropy(x, target, reduction="sum"),
        lambda x: TORCH.nn.functional.cross_entropy(x, TORCH.from_numpy(target), reduction="sum"),
        draw(512, 1000),
    )


def conv2d() -> dict[str, Run]:
    """16 images of 16 channels, 28 × 28, with 32 filters of 3 × 3, and its mean over windows of 2 × 2."""
    w = draw(32, 16, 3, 3)
    weights = tg.tensor(w, requires_grad=True)
    theirs = TORCH.from_numpy(w.copy()).requires_grad_() if TORCH is not None else None
    return _pair(
        lambda x: tg.sum(tg.square(tg.avg_pool2d(tg.conv2d(x, weights, padding=1), 2))),
        lambda x: (TORCH.nn.functional.avg_pool2d(TORCH.nn.functional.conv2d(x, theirs, padding=1), 2) ** 2).sum(),
        draw(16, 16, 28, 28),
    )


def max_pool() -> dict[str, Run]:
    """The maximum over windows of 2 × 2 of 16 images of 16 channels, 28 × 28."""
    return _pair(
        lambda x: tg.sum(tg.max_pool2d(x, 2)),
        lambda x: TORCH.nn.functional.max_pool2d(x, 2).sum(),
        draw(16, 16, 28, 28),
    )


def ctc() -> dict[str, Run]:
    """CTC of 16 sequences of 150 steps over 40 categories, 20 labels each."""
    target = RNG.integers(1, 40, (16, 20))
    lengths = [150] * 16, [20] * 16
    return _pair(
        lambda x: tg.ctc_loss(x, target, reduction="sum"),
        lambda x: TORCH.nn.functional.ctc_loss(x.log_softmax(-1), TORCH.from_numpy(target), *lengths, reduction="sum"),
        draw(150, 16, 40),
    )


CASES: dict[str, Callable[[], dict[str, Run]]] = {
    "overhead": overhead,
    "lstm": lstm,
    "mlp": mlp,
    "reductions": reductions,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "conv2d": conv2d,
    "max_pool": max_pool,
    "ctc": ctc,
}


# ---------------------------------------------------------------- measuring


def machine() -> dict[str, str]:
    """What the figures depend on besides the programs."""
    versions = {m.__name__: m.__version__ for m in (np, TORCH, JAX) if m is not None}
    if HIPS is not None:
        versions["autograd"] = importlib.metadata.version("autograd")
    settings = {k: os.environ.get(k, "not set") for k in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "TGSEQ_NUM_THREADS")}
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
        **settings,
    }


def agreement(runs: dict[str, Run]) -> dict[str, float]:
    """The largest difference of a peer's gradients from ours, relative to the largest entry."""
    mine = runs["ours"]()
    result = {}
    for name, run in runs.items():
        if name in ("ours", "numpy"):
            continue
        pairs = zip(mine, run(), strict=True)
        result[name] = max(float(np.abs(a - b).max() / (np.abs(a).max() + 1e-30)) for a, b in pairs)
    return result


def nodes(counts: tuple[int, ...] = (10_000, 100_000, 1_000_000)) -> list[dict[str, float]]:
    """Processor microseconds of a node, forwards and back, in chains of so many; the collector is on."""
    rows = []
    for count in counts:
        turns = []
        for _ in range(max(1, 100_000 // count)):
            start = time.process_time()
            y: Any = leaf(draw(4))
            for _ in range(count):
                y = y * 0.999
            tg.sum(y).backward()
            del y
            turns.append((time.process_time() - start) / count * 1e6)
        rows.append({"nodes": count, "us": statistics.median(turns)})
    return rows


def measure(name: str, rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    runs = CASES[name]()
    differences = agreement(runs)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {n: [] for n in runs}
    order = list(runs)
    for turn in range(rounds):
        for n in order[turn % len(order) :] + order[: turn % len(order)]:
            run = runs[n]
            time.sleep(REST)
            run()  # wake its threads, fill the caches
            run()
            for _ in range(3):
                start = clock()
                run()
                times[n].append(clock() - start)
    middle = {n: statistics.median(t) * 1e3 for n, t in times.items()}
    what = " ".join((CASES[name].__doc__ or "").split()).rstrip(".")
    row: dict[str, Any] = {"case": name, "what": what, "ms": middle, "difference": differences}
    row["ratio"] = {n: m / middle["ours"] for n, m in middle.items() if n not in ("ours", "numpy")}
    if "numpy" in middle and "autograd" in middle:
        row["above_numpy"] = {n: middle[n] - middle["numpy"] for n in ("ours", "autograd")}
    return row


def table(rows: list[dict[str, Any]]) -> str:
    peers = [p for p in ("autograd", "torch", "jax") if any(p in r["ms"] for r in rows)]
    head = ["case", "ours ms", "numpy ms", *(f"{p} ms (ratio)" for p in peers), "gradients differ by"]
    lines = [head]
    for r in rows:
        cells = [r["case"], f"{r['ms']['ours']:.3f}", f"{r['ms']['numpy']:.3f}" if "numpy" in r["ms"] else "-"]
        cells += [f"{r['ms'][p]:.3f} ({r['ratio'][p]:.2f})" if p in r["ms"] else "-" for p in peers]
        lines.append([*cells, f"{max(r['difference'].values(), default=0):.0e}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated, of: " + " ".join(CASES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="the processor's time, of all threads: for a busy machine")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args()
    unknown = [c for c in options.cases.split(",") if c not in CASES]
    if unknown:
        parser.error(f"no case is named {unknown[0]!r}; there are {', '.join(CASES)}")
    clock = time.process_time if options.cpu else time.perf_counter
    rows = [measure(c, options.rounds, clock) for c in options.cases.split(",")]
    print(table(rows))
    for r in rows:
        if "above_numpy" in r:
            o, h = r["above_numpy"]["ours"], r["above_numpy"]["autograd"]
            print(f"{r['case']}: above NumPy alone ours {o:.3f} ms, autograd {h:.3f} ms, ratio {h / o:.2f}")
    long = nodes()
    print("a node, forwards and back: " + ", ".join(f"{r['us']:.2f} µs among {r['nodes']:,}" for r in long))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"cases": rows, "nodes": long, "clock": "processor" if options.cpu else "wall", "machine": machine()}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
        print(options.json)


if __name__ == "__main__":
    main()
