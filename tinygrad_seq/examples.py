"""One example call of every primitive: what `explain` checks and the reference pages show.

An elementwise primitive of one or two arguments has a default; others state theirs here.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from tinygrad_seq.ops.index import Key
from tinygrad_seq.primitive import Primitive

Call = tuple[tuple[Any, ...], dict[str, Any]]

_V = np.array([0.3, 0.7])
_U = np.array([0.9, -0.4])
_M = np.array([[0.5, -1.2, 0.3], [0.8, 0.1, -0.6]])
_S = np.array([[1.5, 0.2], [-0.3, 2.0]])
_X3 = np.array([0.4, -0.7, 1.1])
_IMAGE = np.linspace(-1, 1, 9).reshape(1, 1, 3, 3) ** 3
_FILTER = np.array([[0.5, -1.0], [0.25, 2.0]]).reshape(1, 1, 2, 2)
_SMALL = np.arange(1.0, 5).reshape(1, 1, 2, 2)
_CONVOLUTION = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
_WINDOW = _CONVOLUTION | {"kernel": (2, 2)}
_KEY = Key((slice(None), np.array([0, 2, 0])))

EXAMPLES: dict[str, Call] = {
    **dict.fromkeys(("floordiv", "mod"), ((np.array([2.5, -1.2]), np.array([1.0, 0.7])), {})),
    "arccosh": ((_V + 1,), {}),
    "xlogy": ((_V, _V + 1), {}),
    "hypot": ((_V, _U), {}),
    **{n: ((_V, _V[::-1]), {}) for n in ("beta", "betaln", "gammainc", "gammaincc")},
    "betainc": ((_V, _V + 1, _V), {}),
    "polygamma": ((_V,), {"n": 1}),
    "astype": ((_V,), {"dtype": "float64"}),
    "where": ((np.array([True, False]), _V, _U), {}),
    "clip": ((np.array([0.3, 0.9, -0.8]), -0.5, 0.5), {}),
    "settle": ((_V, _U), {}),
    "sum_to": ((_M, (3,)), {}),
    "broadcast_to": ((_X3, (2, 3)), {}),
    "expand": ((_V,), {"axis": -1}),
    "squeeze": ((_M[:, :1],), {"axis": -1}),
    "reshape": ((_M, (3, 2)), {}),
    "permute_dims": ((_M,), {"axes": (1, 0)}),
    "flip": ((_M,), {"axis": -1}),
    "transpose": ((_M,), {}),
    "piece": ((_X3, (2,), (1,)), {"which": 0}),
    "place": ((_V, (2,), (1,)), {"which": 0}),
    "part": ((_X3,), {"start": 0, "size": 2}),
    "embed": ((_V, (3,)), {"start": 0, "size": 2}),
    "fill": ((np.array(0.3),), {"dims": (3,)}),
    **{n: ((_M,), {"axis": -1}) for n in ("sum", "mean", "max", "min", "logsumexp")},
    **{n: ((_M,), {"axis": -1}) for n in ("softmax", "log_softmax", "cumsum")},
    "matvec": ((_M, _X3), {}),
    "dot": ((_V, _U), {}),
    "matmul": ((_M, _M.T), {}),
    "outer": ((_V, _X3), {}),
    "outer_sum": ((_M[:, :2], _M, (2, 3)), {}),
    "matmul_sum": ((_M, _M[:, :2], (3, 2)), {}),
    "getitem": ((_M,), {"key": _KEY}),
    "scatter_add": ((_M, (2, 3)), {"key": _KEY}),
    "lookup": ((_M, np.array([2, 0, 2])), {}),
    "scatter_columns": ((np.array([_V, _U]), np.array([2, 0]), (2, 3)), {}),
    "cross_entropy": ((_M, np.array([2, 0])), {}),
    "categorical_icdf": ((np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]), np.array([0.65, 0.1])), {}),
    "one_hot": ((np.array([1, 0]), 3), {}),
    "logical_and": ((_V > 0.5, _U > 0), {}),
    "logical_or": ((_V > 0.5, _U > 0), {}),
    "logical_xor": ((_V > 0.5, _U > 0), {}),
    "logical_not": ((_V > 0.5,), {}),
    "permute": ((np.array([2, 0, 1]), _X3), {}),
    "unpermute": ((np.array([2, 0, 1]), _X3), {}),
    "reflect": ((_X3, _M), {}),
    "reflect_adjoint": ((_M, _X3, _M[::-1]), {}),
    "modrelu": ((_V, np.array(-0.1)), {}),
    "tril": ((_S,), {"k": 0}),
    "triu": ((_S,), {"k": 0}),
    **{n: ((_S,), {}) for n in ("inv", "det", "cofactor", "logabsdet", "det_sign")},
    "cholesky": ((_S @ _S.T,), {}),
    **{n: ((_S,), {}) for n in ("eigvalsh", "eigenvectors", "svdvals", "svd_left", "svd_right", "qr_q", "qr_r")},
    "pinv": ((_M,), {}),
    "complement": ((_M.T,), {}),
    "solve": ((_S, _M), {}),
    "einsum": ((_M, _M.T), {"spec": "ij,jk->ik"}),
    "conv2d": ((_IMAGE, _FILTER), _CONVOLUTION),
    "conv2d_input": ((_SMALL, _FILTER, (1, 1, 3, 3)), _CONVOLUTION),
    "conv2d_weight": ((_IMAGE, _SMALL, (1, 1, 2, 2)), _CONVOLUTION),
    "windows": ((_IMAGE,), _WINDOW),
    "overlap_add": ((np.arange(16.0).reshape(1, 1, 2, 2, 2, 2), (1, 1, 3, 3)), _WINDOW),
}


def example(op: Primitive) -> Call:
    """Arguments and options of a call at which the primitive is smooth."""
    found = EXAMPLES.get(op.name)
    if found is not None:
        return found
    if not op.differentiable and isinstance(op.impl, np.ufunc):
        return (_V, _U)[: op.impl.nin], {}
    function = op.vjp_rule or op.partials_rule or op.impl
    try:
        kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    except ValueError:
        kinds = []
    skip = 2 if op.vjp_rule is not None else 1 if op.partials_rule is not None else 0
    count = sum(k is inspect.Parameter.POSITIONAL_OR_KEYWORD for k in kinds) - skip
    return ((_V, _U + 0.5, _V * 2)[: max(count, 1)] if count != 0 or not kinds else (_V, _U)), {}
