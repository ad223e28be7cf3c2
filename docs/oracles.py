"""Writes which operators are checked against PyTorch's own samples, and how many agree; and how much of the array API
standard there is.

python docs/oracles.py            # writes docs/oracles.md; needs torch and expecttest, two minutes
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.opinfo.compare import LIMIT, WORDS, compare  # noqa: E402

DTYPES = ("float64", "complex128")


def page() -> str:
    import torch

    rows, totals, reasons = [], Counter[str](), Counter[str]()
    for name in sorted(WORDS):
        counts = [compare(name, (dtype,)) for dtype in DTYPES]
        left_out = sum((c.left_out for c in counts), Counter[str]())
        reasons.update(left_out)
        totals.update(values=sum(c.values for c in counts), gradients=sum(c.gradients for c in counts))
        said = "; ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()))
        cells = " | ".join(f"{c.values} / {c.gradients}" for c in counts)
        rows.append(f"| `{name}` | {cells} | {said} |")
    version = torch.__version__.partition("+")[0]
    agree, missing = f"**{totals['values']} values and {totals['gradients']} gradients agree**", sum(reasons.values())
    head = f"""# Checked against PyTorch's samples

PyTorch tests each operator on samples of its own (`op_db`; torch {version}). Those of the {len(WORDS)} operators
that both systems have are put to our functions too: values to 1e-9, gradients along random cotangents to
1e-8, at most {LIMIT} samples of a dtype. {agree}, none disagrees;
{missing} samples ask for what we do not have, or what torch itself refuses, and are left out with the reason.

Written by `python docs/oracles.py`; `tests/opinfo` compares again.

| operator | float64: values / gradients | complex128 | left out |
|---|---|---|---|
"""
    return head + "\n".join(rows) + "\n" + standard()


def standard() -> str:
    """How much of the array API standard there is, by its reference implementation."""
    import array_api_strict

    from tests.tinygrad_seq import test_namespace as names
    from tests.tinygrad_seq import test_standard as calls

    pairs = len(names.UNARY) * len(names.FLOATS), len(names.BINARY) * len(names.FLOATS) ** 2
    return f"""
# Checked against the array API standard

Of the standard's {len(names.EVERY)} functions (those of `array_api_strict` {array_api_strict.__version__}; what asks
about devices is left out) all {len(names.EVERY)} are here under their names, with their arguments but
{", ".join(sorted(f"`{a}` of `{f}`" for f, found in names.OTHERS.items() for a in found))}. {len(names.UNARY)} functions
of one array in {len(names.FLOATS)} dtypes and {len(names.BINARY)} of two in their {len(names.FLOATS) ** 2} pairs,
{sum(pairs)} calls, give its values and dtypes.
`tests/tinygrad_seq/test_namespace.py` asks again. {len(calls.CALLS)} functions are called with arrays, dtypes, axes and
options drawn at random, {calls.DRAWN} times each: wherever the reference answers, shape, dtype and values are its
own, or the call is refused in words (`tests/tinygrad_seq/test_standard.py`). The consortium's own suite,
`array-api-tests`, is no package that could be required.
"""


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = page()
    target = Path(__file__).parent / "oracles.md"
    target.write_text(text, encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
