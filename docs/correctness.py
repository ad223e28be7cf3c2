"""Writes docs/correctness.md: what the long run of random cells found, from docs/correctness.json.

    python -m tests.differential --cells 10000 --out docs/correctness.json
    python -m tests.differential --cells 10000 --out docs/correctness.generated.json \\
        --unoptimised --compile-every 1 --only compiled --jobs 2
    python docs/correctness.py

The JSON files are what runs wrote, never edited; a test compares the page with what this module makes of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COUNTS = Path(__file__).with_name("correctness.json")
GENERATED = Path(__file__).with_name("correctness.generated.json")
PAGE = Path(__file__).with_name("correctness.md")
HEAD = """# Correctness

Made by `docs/correctness.py` from `docs/correctness.json`, which a run outside CI wrote:

    python -m tests.differential --cells 10000 --out docs/correctness.json

A random well-typed cell is written as text, given random parameters, data and lengths, and evaluated in ways that
share as little as they can; cells grow with the seed. `tests/differential` says how. `tests/reference.py` is the
oracle: it evaluates the parse tree on demand and knows no schedule, no system and no derivative.
"""
POLES = """Where a slope is infinite and what it is multiplied by is 0, the readings agree too
(`tests/system/test_poles.py`): what a condition does not take has slope 0, `where(p > 0, p*log(p), 0)` at p = 0; every
other product is made as it is written, so that `w*sqrt(x)` at w = 0, x = 0 has the slope NaN by the tape, in generated
code, in the printed adjoint and in what is exported to PyTorch and JAX. Free code on the tape knows no conditions and
leaves a cotangent of 0 at 0.
"""
LEFT_OUT = """Finite differences are left out where data is tied (a maximum of three equal numbers has no slope), where
the loss is too large beside the rounding measured in it, and where it has a kink or a jump at the point: there the
slopes to both sides do not come closer to each other as steps get smaller, whatever the gradient says. Compiling costs:
generated code and exports take a share of the cells.

The run goes on from one revision to the next: a cell counts as it last ran, and what did not agree is run again after
every fix. Disagreements are kept as small cells under `tests/differential/regressions`.
"""
READINGS = {
    "tape": "value of every stream: the reference (the parse tree, one sequence, float64) and the unrolled tape",
    "differences": "gradient: the tape and finite differences of the reference",
    "adjoint": "gradient: the tape and the derived adjoint, unrolled",
    "printed": "gradient: the tape and the adjoint's printed text, parsed again",
    "compiled": "values and gradient: the reference, the tape and generated code",
    "printed compiled": "gradient: the tape and generated code of the printed adjoint",
    "second": "second order: differences of the tape's gradients and the adjoint of the joined adjoint",
    "torch": "loss and gradient: the reference, the tape and the exported PyTorch module",
}
CODE = """## Generated code, cell by cell

Of the 2.7 seconds that a cell takes through optimised machine code, 2 are LLVM's optimiser. A second run leaves it
out and compiles every cell it comes to, both passes: the plan, its memory, its text and the translation are those that
users get, before LLVM makes vectors of loops and moves what it may. What the optimiser does with them, and whether
what is said to it of memory holds, is not covered here but by the cells counted as `compiled` above.

    python -m tests.differential --cells 10000 --out docs/correctness.generated.json \\
        --unoptimised --compile-every 1 --only compiled --jobs 2

What does not agree has a kink just where its numbers lie; with its parameters moved by 1e-7, each of them agrees.
"""
EXPLAINED = {
    "378": "`max(z14[len(t)-1-t] + z14[t])` of two numbers that are equal but for rounding in the sequence of one step;"
    "\nfinite differences find no slope there, each engine has that of the number it takes for the larger.",
    "1878": "`minimum(sum[t](softmax[t](...)*h3[s+3]), stop_gradient(h3[s+3]))` compares a number with itself times a"
    "\nsum that is 1 but for rounding; finite differences find no slope there, each engine has that of its own side.",
    "1216": "of numbers like 0.5 and 0.3; in `leaky_relu(h2[t])` a value is 0 but for rounding, 1e-18; each"
    "\nengine has the slope of its own side of the kink.",
    "3651": "of numbers like 0.5 and 0.3; in `minimum(W12@(z6[t-j]), q[len(s)-1])` of a `q` without steps a"
    "\nproduct is 0 but for rounding, 1e-17, beside 0.",
    "7028": "its numbers are multiples of 0.3, and `max(W7@(x[t+1]))` is that of two numbers which are equal but for"
    "\nrounding; each engine has the slope of the number it takes for the larger.",
    "7262": "of numbers like 0.5 and 0.3; `max[t]((W17@(...))*(1 + t)/len(t))` is that of two steps which are"
    "\nequal: on the tape to the bit, where they share the slope, in generated code but for rounding.",
    "440": "its numbers are multiples of 0.3, and in `relu(W13@h3[t-3])` the product is 0 but for rounding: -1e-18 in"
    "\none order of summation, 3e-17 in another. relu has a kink there; each engine has the slope of its own side.",
}
GROUPS = {
    "Boundaries": "boundary ",
    "Indices": "index ",
    "Lags": "lag ",
    "Scans": "scan ",
    "Derived axes": "derived ",
    "Forms of `use`": "use ",
    "Rarer functions": "tail ",
}
DRAWN = ("categorical", "bernoulli", "normal", "mdn2d")
OTHER = ("ragged", "even", "a sequence without steps", "tied", "sub-cell", "flat", "1 axes", "2 axes", "3 axes")


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(" --- " for _ in head) + "|"]
    return [
        *lines,
        *("| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in row) + " |" for row in rows),
    ]


def listed(counts: dict[str, int], names: list[str], prefix: str = "") -> str:
    return ", ".join(f"{n.removeprefix(prefix)} {counts[n]:,}" for n in names)


def failing(found: dict[str, Any]) -> list[str]:
    """The cells of a run that did not agree, and what is known of them."""
    if not found["failing"]:
        return []
    rows = [(seed, f"`{why[:120].replace('|', '/').splitlines()[0]}`") for seed, why in found["failing"].items()]
    known = [f"Seed {seed}: {why}\n" for seed, why in EXPLAINED.items() if seed in found["failing"]]
    return ["Not in agreement:", "", *table(("Seed", "Why"), rows), "", *known]


def generated(found: dict[str, Any]) -> list[str]:
    """What the run of generated code found."""
    agreed, reading = found["outcomes"].get("agree", 0), "compiled, unoptimised"
    return [
        CODE,
        f"**{found['cells']:,} cells of {found['asked']:,} have run, {found['readings'].get(reading, 0):,} of them"
        f" through generated code with the values and the gradient of the reference and the tape** ({agreed:,} cells"
        f" without any disagreement), in {found['seconds']:,} seconds of one core.",
        "",
        *failing(found),
    ]


def page(found: dict[str, Any], code: dict[str, Any]) -> str:
    """The page of both runs' counts."""
    outcomes, features, versions = found["outcomes"], found["features"], found["versions"]
    agreed = outcomes.get("agree", 0)
    lines = [
        HEAD,
        f"**{found['cells']:,} cells of {found['asked']:,} have run, {agreed:,} of them with every reading asked for in"
        f" agreement**, in {found['seconds']:,} seconds of one core. Equations a cell: {found['equations']['mean']} on"
        f" average, at most {found['equations']['most']}; steps: at most {found['steps']}.",
        "",
        *table(("Outcome", "Cells"), sorted(outcomes.items())),
        "",
        *table(("Reading", "What agreed", "Cells"), [(r, READINGS[r], n) for r, n in found["readings"].items()]),
        "",
        LEFT_OUT,
        POLES,
    ]
    lines += failing(found)
    if found["refused"]:
        rows = [(n, why.replace("|", "/")) for why, n in found["refused"].items()]
        lines += ["What a reading says it cannot do, most often:", "", *table(("Cells", "What it says"), rows), ""]
    lines += generated(code)
    lines += ["## What the cells held", "", "Cells in which each occurs.", ""]
    rest = sorted(features, key=lambda n: (-features[n], n))
    for title, prefix in GROUPS.items():
        names = [n for n in rest if n.startswith(prefix)]
        rest = [n for n in rest if n not in names]
        lines += [f"{title}: {listed(features, names, prefix)}.", ""] if names else []
    for title, own in (("Drawn streams", DRAWN), ("Data and shape", OTHER)):
        names = [n for n in own if n in features]
        rest = [n for n in rest if n not in names]
        lines += [f"{title}: {listed(features, names)}.", ""] if names else []
    rest = [n for n in rest if not n.startswith("stage ")]
    lines += [f"Operations and the rest: {listed(features, rest)}.", ""]
    return "\n".join([*lines, "Versions: " + ", ".join(f"{n} {v}" for n, v in versions.items()) + "."]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(*(json.loads(p.read_text("utf-8")) for p in (COUNTS, GENERATED))), "utf-8")
