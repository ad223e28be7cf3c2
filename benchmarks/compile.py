"""What compiling costs: processor seconds from a cell's text to its first gradient, each in a fresh process.

    python -m benchmarks.compile                              # the table of chosen cells
    python -m benchmarks.compile --cells LSTM,layers:16 --json out/compile.json
    python -m benchmarks.compile --library                    # every library cell, once; the slowest ten

Cold: an empty cache, everything compiled, the shared machine code of products included. Second: another cell was
compiled before on this machine, so that only its own code is new. Warm: the same cell again. `layers:N` is a stack of N
LSTMs, `chain:N` N pointwise equations that feed each other, `mixed:N` N of them no two of which are alike, `states:N` N
states that do not feed each other, `products:N` N products in a row. Processor time, since it does not depend on what
else the machine does; the wall clock stands beside it. What importing NumPy, SciPy, Numba and Lark takes is not
counted, our own modules are, as they are when installed: from their bytecode.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CELLS = (
    "LSTM GRU CharRNN Translate layers:2 layers:16 layers:64 chain:100 chain:500 chain:2000 mixed:100 mixed:500 "
    "states:100 states:500 products:50 products:200"
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
    if kind == "mixed":
        lines = [f"  v{k}[t] = {mixture(k, n)}" for k in range(n)]
        state = f"  s[t] = v{n - 1}[t] + .5*s[t-1]"
        return "\n".join([f"{head}  state s[t]: H = 0\n  param a, b: H ~ normal", *lines, state, "  output s\n"])
    if kind == "states":
        names = ", ".join(f"s{k}[t]" for k in range(n))
        lines = [f"  s{k}[t] = tanh(s{(k - 1) % n}[t-1]) + .5*x[t]*a" for k in range(n)]
        return "\n".join([f"{head}  state {names}: H = 0\n  param a ~ normal", *lines, f"  output s{n - 1}\n"])
    if kind == "products":
        names, weights = (", ".join(f"{c}{k}{i}" for k in range(n)) for c, i in (("s", "[t]"), ("W", "")))
        lines = [f"  s{k}[t] = tanh({f's{k - 1}[t]' if k else 'x[t]'} + W{k}@s{k}[t-1])" for k in range(n)]
        return "\n".join([f"{head}  state {names}: H = 0\n  param {weights} ~ glorot", *lines, f"  output s{n - 1}\n"])
    return None


def mixture(k: int, n: int) -> str:
    """The k-th of n pointwise equations: other functions of other earlier values each time."""
    turn = random.Random(f"{k} {n}")

    def value() -> str:
        return turn.choice(["x[t]", "a", "b", *(f"v{j}[t]" for j in range(max(0, k - 6), k))])

    before = f"v{k - 1}[t]" if k else "x[t]"
    function = turn.choice(["tanh", "sigmoid", "softplus", "relu", "cos"])
    joined = turn.choice(
        ["{f}({p}*{a}) + .5*{b}", "{a}*{f}({p} - {b})", "{f}({p}) - {a}*{b}*.25", "{f}({p} + {a})*{b}"]
    )
    return joined.format(f=function, p=before, a=value(), b=value())


def measure(cell: str) -> dict[str, float]:
    """In this process: seconds of the front end and of planning and compiling both passes, and equations."""
    import numpy as np

    from dsl.run.compiled import compile_system
    from dsl.spec import load, parse

    begin = time.process_time()
    text = text_of(cell)
    spec = load(cell) if text is None else parse(text)
    open_: dict[str, Any] = {n: SIZES.get(n, 8) for n, v in spec.system.arguments.items() if v is None}
    model = spec.build(**open_)
    system, front = model.system, time.process_time() - begin
    rng, steps, batch = np.random.default_rng(0), 3, 2
    inputs: dict[str, Any] = {n: t.data for n, t in model.params.items()}
    for name, stream in system.streams.items():
        if stream.kind in ("input", "draw", "noise"):
            shape = () if stream.shared else (*[steps] * len(stream.axes), batch)
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
    bytecode = str(Path(tempfile.gettempdir()) / "tgseq-benchmarks-bytecode")
    environment = {**os.environ, "TGSEQ_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.compile", "--measure", cell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{cell}: {done.stderr.strip().splitlines()[-1]}")
    return {**json.loads(done.stdout), "wall": time.perf_counter() - begin}


def library(to: Path | None) -> None:
    """Every library cell as the second on a machine, slowest first."""
    from dsl.spec import cells

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as used:
        fresh("Elman", used)
        for cell in cells():
            try:
                rows.append({"cell": cell, **fresh(cell, used)})
            except SystemExit as error:
                print(f"not measured: {error}", flush=True)
    rows.sort(key=lambda row: -row["processor"])
    print(f"{len(rows)} cells, the slowest:\n{'':20}{'equations':>10}{'second':>9}{'wall':>9}")
    for row in rows[:10]:
        print(f"{row['cell']:20}{row['equations']:10.0f}{row['processor']:9.2f}{row['wall']:9.2f}")
    keep(to, rows)


def keep(to: Path | None, rows: list[dict[str, Any]]) -> None:
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(rows, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--library", action="store_true", help="every library cell, once")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        for module in ("numpy", "scipy.linalg", "numba", "numba.core.registry", "lark"):
            importlib.import_module(module)
        before = time.process_time()
        found = measure(options.measure)
        print(json.dumps({**found, "processor": time.process_time() - before}))
        return
    if options.library:
        library(options.json)
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
    keep(options.json, rows)


if __name__ == "__main__":
    main()
