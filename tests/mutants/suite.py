"""The fast subset of the suite that every mutant must fail: `python -m tests.mutants.suite NAME`.

Applies the mutant of that name (none: the code as it is) to this process, then runs the checks; exits 1 and prints
`rejected: <reason>` at the first check that fails, exits 0 when all pass, 2 when the mutant cannot be applied.
"""

from __future__ import annotations

import sys

import numpy as np

from tests.mutants import features  # noqa: F401  (more mutants)
from tests.mutants.cells import LANGUAGE
from tests.mutants.mutants import KERNELS, MUTANTS

SMOOTH = """
cell Smooth(D, H):
  input x[t]: D = 0
  input w[t]: scalar
  input c: H
  state h[t], g[t]: H = c
  state b[t]: H = 0
  param V, P: (H, D) ~ glorot
  param W, Q: (H, H) ~ glorot
  param a: H = 0
  param s: scalar = 1
  h[t] = tanh(V@x[t] + relu(W@h[t-1]) + a + w[t]*sigmoid(g[t-2]))
  g[t] = sigmoid(P@x[t-1] + Q.T@h[t-1]) - exp(sin(s*h[t-1]))/(2 + cos(g[t-1]))
  b[t] = where(w[t] > 0, relu(h[t]), elu(h[t])) + softplus(Q@b[t+1])*leaky_relu(g[t]) + abs(h[t])
  m[t] = maximum(h[t], g[t])*minimum(b[t], g[t]) + log(1 + b[t]**2) + sqrt(1 + h[t]**2) + logaddexp(h[t], g[t])
  k[t] = -(softmax(m[t])*b[t]) + log_softmax(h[t]) + clip(h[t], -0.3, 0.4) + part(concat(h[t], g[t]), 1, H) - b[t]
  r[t] = outer(h[t], g[t])@k[t] + sum(h[t])*mean(g[t]) + max(k[t])*min(m[t]) + logsumexp(b[t])
  loss cost = mean[t](a@r[t]) + sum[t](h[t]@k[t]) + max[t](sum(b[t])) + last(h)@last(b) + logsumexp[t](a@g[t])
"""
CELLS = {
    "smooth": (SMOOTH, {"D": 2, "H": 3}, {"t": [5, 3]}),
    "text": (
        "cell Text(K, H):\n  input k[t]: one_hot K = none\n  state y[t]: one_hot K = none\n  param U: (K, H) ~ glorot\n"
        "  param V: (H, K) ~ glorot\n  param W: (H, H+K) ~ glorot\n  state h[t]: H = 0\n"
        "  h[t] = tanh(relu(V@y[t-1]) + W@concat(k[t], h[t-1]))\n  y[t] ~ categorical(logits = U@h[t])\n"
        "  loss cost = -mean[t](logprob(y[t]))\n",
        {"K": 3, "H": 2},
        {"t": [2, 4]},
    ),
    "attention": (
        "cell Attend(H):\n  input q[s]: H = 0\n  input x[t]: H\n  state d[t]: H = last(q)\n"
        "  param W, U: (H, H) ~ glorot\n"
        "  param v: H = 0\n  time u: len(t)//2\n  e[t,s] = v@tanh(W@d[t-1] + U@q[s])\n  a[t,s] = softmax[s](e[t,s])\n"
        "  c[t] = sum[s](a[t,s]*q[s])\n  d[t] = tanh(c[t] + x[t])\n  z[u] = d[2*u] + d[2*u+1]*d[len(t)-1-u]\n"
        "  loss cost = mean[t](v@d[t]) + sum[u](v@z[u]) + mean[s](v@q[s])\n",
        {"H": 2},
        {"t": [4, 3], "s": [2, 3]},
    ),
    "copies": (
        "cell Sub(D, H):\n  input x[t]: D = 0\n  state h[t]: H = 0.5\n  param V, W ~ glorot\n"
        "  h[t] = tanh(V@x[t] + V@x[t-1] + W@h[t-1])\ncell Copies(H):\n  input x[t]: H\n  param v: H = 0\n"
        "  use f = stack 2 of Sub(x=x, H=H)\n  use r = reverse Sub(x=x, H=H, h=last(f))\n  use g = f(x=r)\n"
        "  loss cost = sum[t](v@(f[t] + r[t]*g[t]))\n",
        {"H": 2},
        {"t": [3, 2]},
    ),
}


def random_arrays(model, seed):
    rng = np.random.default_rng(seed)
    for name, value in model.params.items():
        model.params[name] = rng.normal(size=value.shape)
    return {n: v.numpy() for n, v in model.params.items()}


def check_library() -> None:
    """The library's gated cells against the loops of their papers."""
    import dsl

    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 1, 3))

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    for name in ("LSTM", "Peephole", "Coupled", "GRU", "GRUResetAfter", "Elman"):
        model = dsl.load(name).build(D=3, H=4, dtype="float64")
        p = random_arrays(model, 1)
        h = c = np.zeros(4)
        for step in x[:, 0]:
            z = {g: p[f"V{g}"] @ step + p[f"W{g}"] @ h + p[f"b{g}"] for g in sorted({n[1:] for n in p if n[0] == "V"})}
            if name == "Elman":
                h = np.tanh(z[""])
            elif name.startswith("GRU"):
                r, u, bias = sigmoid(z["_r"]), sigmoid(z["_z"]), p["V_n"] @ step + p["b_n"]
                inner = r * (p["W_n"] @ h + p["b_rn"]) if name == "GRUResetAfter" else p["W_n"] @ (r * h)
                h = u * h + (1 - u) * np.tanh(bias + inner)
            else:
                peep = name == "Peephole"
                f = sigmoid(z["_f"] + (p["p_f"] * c if peep else 0))
                i = 1 - f if name == "Coupled" else sigmoid(z["_i"] + (p["p_i"] * c if peep else 0))
                c = f * c + i * np.tanh(z["_g"])
                h = sigmoid(z["_o"] + (p["p_o"] * c if peep else 0)) * np.tanh(c)
        np.testing.assert_allclose(model(x=x, engine="tape").h.numpy()[-1, 0], h, rtol=1e-10, err_msg=name)


def check_cells(readings=("adjoint",)) -> None:
    """Cells that use most of the language: reference, tape, adjoint, finite differences."""
    from tests.differential.check import check
    from tests.differential.generator import Case

    for number, (text, arguments, lengths) in enumerate([*CELLS.values(), *LANGUAGE.values()]):
        check(Case(number, text, arguments, lengths), readings)


def check_optimizers() -> None:
    """One step of each by hand."""
    import tinygrad_seq as tg

    for make, expected in (
        (lambda p: tg.optim.SGD(p, lr=0.1), 1 - 0.1 * 2.0),
        (lambda p: tg.optim.Adam(p, lr=0.1), 1 - 0.1 * 2.0 / (2.0 + 1e-8)),
    ):
        p = {"w": tg.tensor(np.array([1.0]), requires_grad=True)}
        make(p).step({"w": np.array([2.0])})
        np.testing.assert_allclose(p["w"].numpy(), [expected], rtol=1e-6)
    grads = {"w": np.array([3.0, 4.0])}
    tg.clip_by_norm(grads, 1.0)
    np.testing.assert_allclose(grads["w"], [0.6, 0.8], rtol=1e-9)


GUARDED = """
cell Guarded(D):
  input x[t]: D
  param w: D ~ normal
  y[t] = where(x[t] > 0, w*log(x[t]), 0)
  loss cost = sum[t](sum(y[t]))
"""


def check_guards() -> None:
    """What is not taken has no gradient, however infinite it is."""
    import dsl
    from dsl.run.unroll import unroll

    derived = dsl.parse(GUARDED).adjoint()
    fed = {"x": np.array([[[0.0, 2.0]], [[-1.0, 3.0]]]), "w": np.ones(2), derived.cotangents["cost"]: np.ones(1)}
    found = unroll(derived.system.bind({"D": 2}), fed, {"t": np.array([2])}, 1, (derived.gradients["w"],))
    np.testing.assert_allclose(found[derived.gradients["w"]], [0, np.log(2) + np.log(3)])


NOISY = """
cell Noisy(D, k=3):
  input x[t]: D
  noise m[t], n[t]: D ~ dropout(0.5)
  state h[t]: D = 0
  param W ~ orthogonal, kept
  h[t] = tanh(W@(m[t]*x[t]) + h[t-1] + n[t]*h[t-k])
  output h, m, n
"""


def check_training() -> None:
    """Noise by stream, step and seed, in chunks as in one run; what is kept; ties; descent of complex numbers."""
    import dsl
    import tinygrad_seq as tg

    x = np.random.default_rng(0).normal(size=(8, 2, 3))
    model = dsl.parse(NOISY).build(D=3, dtype="float64")
    run = model(x=x, train=True, seed=1, engine="tape")
    m, n = run["m"].numpy(), run["n"].numpy()
    assert not np.array_equal(m, n) and not np.array_equal(m[0], m[1]) and not np.array_equal(m[:, 0], m[:, 1])
    assert not np.array_equal(m, model(x=x, train=True, seed=2, engine="tape")["m"].numpy())
    parts, state = [], None
    for chunk in (x[:1], x[1:3], x[3:]):
        part = model(x=chunk, state=state, train=True, seed=1, engine="tape")
        parts.append(part.h.numpy())
        state = part.state
    np.testing.assert_allclose(np.concatenate(parts), run.h.numpy(), rtol=1e-12)
    tg.optim.SGD(model.params, lr=0.5).step({"W": np.ones((3, 3))})
    np.testing.assert_allclose(model.params["W"].numpy() @ model.params["W"].numpy().T, np.eye(3), atol=1e-12)
    tied = tg.tensor([1.0, 2.0], requires_grad=True)
    tg.sum(tg.maximum(tied, np.array([1.0, 2.0]))).backward()
    np.testing.assert_array_equal(tied.grad.numpy(), [0.5, 0.5])
    z = {"z": tg.tensor(np.array([1.0 + 2.0j]), requires_grad=True)}
    tg.optim.SGD(z, lr=0.5).step({"z": np.array([1.0 + 2.0j])})
    np.testing.assert_allclose(z["z"].numpy(), [0.5 + 1.0j])


GATED = """
cell Gated(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V, W, P, Q ~ glorot
  param v: H = 0
  z[t] = sigmoid(P@x[t] + Q@h[t-1])
  h[t] = z[t]*h[t-1] + (v - z[t])*tanh(V@x[t] + W@h[t-1])
  loss cost = mean[t](v@h[t])
"""


def check_compiled() -> None:
    """One gated cell through generated code."""
    from tests.differential.check import check
    from tests.differential.generator import Case

    check(Case(0, GATED, {"D": 2, "H": 3}, {"t": [3, 2]}), ("compiled",))


CHECKS = (check_library, check_cells, check_guards, check_optimizers, check_training)


def main(name: str) -> int:
    try:
        if name:
            MUTANTS[name]()
    except Exception as error:  # what it changes is not there any more: bring the mutant up to date
        print(f"cannot be applied: {type(error).__name__}: {error}")
        return 2
    for check in (check_compiled,) if name in KERNELS else CHECKS:
        try:
            check()
        except Exception as error:  # any failure rejects
            print(f"rejected: {check.__name__}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
