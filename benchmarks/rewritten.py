"""One cell written five ways must cost the same: the plan is made from the equations, not from how they are put.

python -m benchmarks.rewritten

The library's LSTM against itself with its equations shuffled, its streams renamed, one gate split in two equations,
and its gates written through a `def`. One training step (forward, a mean square, backward), interleaved in one
process, medians and ratios to the library's cell.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import time
from collections.abc import Callable

import numpy as np

import dsl
import tinygrad_seq as tg

SIZES = ((16, 64, 64, 128), (32, 100, 128, 256))  # batch, steps, inputs, units


def variants() -> dict[str, str]:
    """The same cell in other words."""
    text = dsl.format(dsl.load("LSTM").tree)
    lines = text.rstrip("\n").split("\n")
    first = next(k for k, line in enumerate(lines) if re.match(r"  \w+\[t\] =", line))
    head, equations, tail = lines[:first], lines[first:-1], lines[-1:]
    shuffled = "\n".join([*head, *equations[::-1], *tail])
    renamed = re.sub(r"\b([fiog])\[t\]", r"gate_\1[t]", text)
    split = text.replace("f[t] = sigmoid(", "a[t] = (").replace("  i[t] =", "  f[t] = sigmoid(a[t])\n  i[t] =", 1)
    gates = "def gate(a, b, c) = sigmoid(a + b + c)\n" + re.sub(
        r"sigmoid\((\S+) \+ (\S+) \+ (\S+)\)", r"gate(\1, \2, \3)", text
    )
    return {"library": text, "shuffled": shuffled, "renamed": renamed, "a gate split": split, "through a def": gates}


def stepper(text: str, batch: int, steps: int, inputs: int, units: int) -> Callable[[], None]:
    model = dsl.parse(text, cell="LSTM").build(D=inputs, H=units, seed=0)
    x = np.random.default_rng(0).standard_normal((steps, batch, inputs)).astype(np.float32)

    def step() -> None:
        for parameter in model.params.values():
            parameter.grad = None
        tg.mean(model(x).h ** 2).backward()

    step()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    print(
        f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', 'not set')}; {os.cpu_count()} cores; {rounds} rounds"
    )
    for size in SIZES:
        contenders = {name: stepper(text, *size) for name, text in variants().items()}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, step in contenders.items():
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
        base = statistics.median(times["library"])
        for name, found in times.items():
            median = statistics.median(found)
            print(f"B,T,D,H={','.join(map(str, size)):16} {name:14} {median * 1e3:8.2f} ms  {median / base:.3f}")


if __name__ == "__main__":
    main()
