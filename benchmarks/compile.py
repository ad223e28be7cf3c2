"""What compiling costs: processor seconds from a cell's text to its first gradient, each in a fresh process.

    python -m benchmarks.compile                              # the whole table
    python -m benchmarks.compile --cells LSTM,layers:16 --json out/compile.json

Cold: an empty cache, everything compiled, the shared machine code of products included. Second: another cell was
compiled before on this machine, so that only its own code is new. Warm: the same cell again. `layers:N` is a stack of N
LSTMs, `chain:N` N pointwise equations that feed each other, `states:N` N states that do not, `products:N` N products
in a row. Processor time, since it does not depend on what else the machine does; the wall clock stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CELLS = (
    "LSTM GRU CharRNN Translate layers:1 layers:4 layers:16 chain:100 chain:500 chain:2000 states:100 states:500 "
    "products:50 products:200"
).split()
SIZES = {"D": 16, "H": 32, "K": 20, "K_in": 22, "A": 12, "N": 8, "M": 5}


def text_of(cell: str) -> str | None:
    """The source of an artificial cell, None for one of the library."""
    kind, _, count = cell.partition(":")
    n = int(count or 0)
    head = "cell Made(H):\n  input x[t]: H\n"
    if kind == "layers":
        return f"{head}  use r = stack {n} of LSTM(x=x, H=H)\n  y[t] = r[t]\n  output y\n"
    if kind == "chain":
        lines = [f"  v{k}[t] = tanh({f'v{k - 1}[t]' if k else 'x[t]'}) + .5*x[t]*a" for k in range(n)]
        state = f"  s[t] = v{n - 1}[t] + .5*s[t-1]"
        return "\n".join([f"{head}  state s[t]: H = 0\n  param a ~ normal", *lines, state, "  output s\n"])
    if kind == "states":
        names = ", ".join(f"s{k}[t]" for k in range(n))
        lines = [f"  s{k}[t] = tanh(s{(k - 1) % n}[t-1]) + .5*x[t]*a" for k in range(n)]
        return "\n".join([f"{head}  state {names}: H = 0\n  param a ~ normal", *lines, f"  output s{n - 1}\n"])
    if kind == "products":
        names, weights = (", ".join(f"{c}{k}{i}" for k in range(n)) for c, i in (("s", "[t]"), ("W", "")))
        lines = [f"  s{k}[t] = tanh({f's{k - 1}[t]' if k else 'x[t]'} + W{k}@s{k}[t-1])" for k in range(n)]
        return "\n".join([f"{head}  state {names}: H = 0\n  param {weights} ~ glorot", *lines, f"  output s{n - 1}\n"])
    return None


def measure(cell: str) -> dict[str, float]:
    """In this process: seconds of the front end and of planning and compiling both passes, and equations."""
    import numpy as np

    from dsl.run.compiled import compile_system
    from dsl.spec import load, parse

    begin = time.process_time()
    text = text_of(cell)
    spec = load(cell) if text is None else parse(text)
    open_ = {n: SIZES.get(n, 8) for n, v in spec.system.arguments.items() if v is None}
    model = spec.build(**open_)
    system, front = model.system, time.process_time() - begin
    rng, steps, batch = np.random.default_rng(0), 3, 2
    inputs: dict[str, Any] = {n: t.data for n, t in model.params.items()}
    for name, stream in system.streams.items():
        if stream.kind in ("input", "draw") and not stream.shared:
            shape = (*[steps] * len(stream.axes), batch)
            inputs[name] = (
                rng.integers(0, int(stream.categories or 1), shape)
                if stream.dtype == "category"
                else rng.standard_normal((*shape, *map(int, stream.shape))).astype("float32")
            )
    lengths = {a: np.full(batch, steps) for a, x in system.axes.items() if x.length is None}
    wanted = tuple(dict.fromkeys((*system.outputs, *system.losses)))
    engine = compile_system(model._open, wanted, "float32")
    values, saved = engine.forward(inputs, lengths, batch, wanted)
    assert saved is not None
    engine.backward(saved, {n: np.ones_like(v) for n, v in values.items()}, tuple(model.params))
    everything = time.process_time() - begin
    return {"equations": len(system.equations), "front": front, "compile": everything - front}


def fresh(cell: str, cache: str) -> dict[str, float]:
    """`measure` in a process of its own; adds its whole processor and wall time."""
    begin = time.perf_counter()
    environment = {**os.environ, "TGSEQ_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.compile", "--measure", cell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{cell}: {done.stderr.strip().splitlines()[-1]}")
    return {**json.loads(done.stdout), "wall": time.perf_counter() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        found = measure(options.measure)
        print(json.dumps({**found, "processor": time.process_time()}))
        return
    print(f"{'':14}{'equations':>10}{'cold':>9}{'second':>9}{'warm':>9}{'wall':>9}   ms an equation (second)")
    rows = []
    for cell in options.cells.split(","):
        with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as used:
            cold, warm = fresh(cell, empty), fresh(cell, empty)
            fresh("Elman" if cell != "Elman" else "GRU", used)
            second = fresh(cell, used)
        row = {"cell": cell, "cold": cold, "second": second, "warm": warm}
        rows.append(row)
        each = 1e3 * second["processor"] / second["equations"]
        times = "".join(f"{r['processor']:9.2f}" for r in (cold, second, warm))
        print(f"{cell:14}{cold['equations']:10.0f}{times}{cold['wall']:9.2f}   {each:.1f}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
