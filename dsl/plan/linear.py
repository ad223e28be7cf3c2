"""Linear recurrences: scans that multiply and add what came before, feature by feature, and do nothing else with it.

`c[t] = f[t]*c[t-1] + u[t]` with f and u from outside the loop (SRU, QRNN, minGRU, minLSTM). All products and
elementary functions then stand before the loop, over a chunk of steps at once; the loop itself is two instructions a
feature. Judged on the normal form, whatever an author called things; the adjoint of such a scan is another.
"""

from __future__ import annotations

from dsl.plan.definitions import Normal, shift_of
from dsl.plan.loops import STEP, Nest, Products
from dsl.system.system import Read
from tinygrad_seq.symbol import Symbol, postorder


def is_linear(nest: Nest, normal: Normal) -> bool:
    """Whether a nest's recurrence is first-order, diagonal and linear in its own values."""
    if not nest.recurrent or nest.axis is None or nest.skew:
        return False
    own = nest.recurrent
    if any(normal.definitions[n].kind != "pointwise" for n in own):
        return False
    if any(isinstance(item, Products) and {n for n, _, _ in item.terms} & own for item in nest.sections[STEP]):
        return False
    return all(_degree(normal.definitions[n].value, nest, normal) <= 1 for n in sorted(own))


def _degree(root: Symbol | None, nest: Nest, normal: Normal) -> int:
    """The degree of an expression in the recurrence's values: 0, 1, or 2 for whatever is not linear."""
    if root is None:
        return 2
    degree: dict[Symbol, int] = {}
    for node in postorder([root]):
        inner = [degree[a] for a in node.args]
        if isinstance(node.leaf, Read):
            degree[node] = _of_read(node.leaf, nest, normal)
        elif node.is_op("add", "sub", "neg"):
            degree[node] = max(inner)
        elif node.is_op("mul"):
            degree[node] = min(sum(inner), 2)
        elif node.is_op("div"):
            degree[node] = inner[0] if not inner[1] else 2
        elif node.is_op("where"):
            degree[node] = max(inner[1:]) if not inner[0] else 2
        else:
            degree[node] = 2 if any(inner) else 0
    return degree[root]


def _of_read(read: Read, nest: Nest, normal: Normal) -> int:
    if read.name not in nest.recurrent:
        return 0
    assert nest.axis is not None
    shift = shift_of(normal.system, read, normal.definitions[read.name].axes, nest.axis)
    return 1 if shift in (0, -nest.direction) else 2
