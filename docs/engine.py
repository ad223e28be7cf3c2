"""Writes docs/engine.md from docs/engine.json.

python -m benchmarks.engine --json docs/engine.json
python docs/engine.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = ("autograd", "torch", "jax")


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def timed(row: dict[str, Any], peer: str) -> str:
    return f"{row['ms'][peer]:.3g} ({row['ratio'][peer]:.2f})" if peer in row["ms"] else "–"


def page(found: dict[str, Any]) -> str:
    cases, machine = found["cases"], found["machine"]
    rows = [
        [
            f"`{r['case']}`",
            r["what"],
            f"{r['ms']['ours']:.3g}",
            f"{r['ms']['numpy']:.3g}" if "numpy" in r["ms"] else "–",
            *(timed(r, p) for p in PEERS),
            f"{max(r['difference'].values(), default=0):.0e}",
        ]
        for r in cases
    ]
    head = [
        "case",
        "what",
        "ours, ms",
        "NumPy, no gradient",
        "HIPS autograd",
        "torch eager",
        "jax, compiled",
        "differ by",
    ]
    above = [
        [f"`{r['case']}`", *(f"{r['above_numpy'][k]:.3g}" for k in ("ours", "autograd")), f"{ratio(r):.2f}"]
        for r in cases
        if "above_numpy" in r
    ]
    clock = {"processor": "processor time of one thread", "wall": "wall time"}[found["clock"]]
    return (
        "\n\n".join(
            [
                "# Speed of the tape",
                "Made by `docs/engine.py` from `docs/engine.json`, which `python -m benchmarks.engine` wrote.",
                f"One gradient, forwards and back, in {clock}: medians over interleaved turns, with a rest between "
                "them in which the last one's threads go to sleep. In brackets their time "
                "over ours: **above 1 we are faster.** Before anything is timed each "
                "peer's gradients are compared with ours; the largest difference, of the largest entry, stands in the "
                "last column.",
                ", ".join(f"{k} {v}" for k, v in machine.items()) + ".",
                table(head, rows),
                "What the tape itself takes, the same NumPy calls without one taken off:",
                table(["case", "ours, ms", "HIPS autograd, ms", "ratio"], above),
                "A node, forwards and back, in chains of more and more of them, with Python's cyclic collector on (it "
                "does not walk nodes that cannot be part of a cycle):",
                table(["nodes", "µs a node"], [[f"{r['nodes']:,}", f"{r['us']:.2f}"] for r in found["nodes"]]),
            ]
        )
        + "\n"
    )


def ratio(row: dict[str, Any]) -> float:
    return float(row["above_numpy"]["autograd"] / row["above_numpy"]["ours"])


if __name__ == "__main__":
    (HERE / "engine.md").write_text(page(json.loads((HERE / "engine.json").read_text("utf-8"))), "utf-8")
