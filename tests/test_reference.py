"""The oracle itself, against loops written by hand and against hand-derived adjoints.

The specimens' adjoints are cells; evaluated by the reference, with the forward values it computed, they must give the
finite differences of the forward cell. That checks index forms, boundaries, reductions, sub-cells and complex values
by an argument that shares nothing with the reference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsl.text.parse import parse
from dsl.text.tree import Declaration
from tests.reference import LIBRARY, evaluate

HERE = Path(__file__).parent


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def library(name):
    path = LIBRARY / f"{name}.cell"
    return parse(path.read_text("utf-8"), str(path))


def normal(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def lstm_params(rng, D, H, prefix=""):
    shapes = {f"{m}_{g}": (H, D if m == "V" else H) for m in "VW" for g in "fiog"} | {f"b_{g}": (H,) for g in "fiog"}
    return {prefix + n: rng.normal(size=s) for n, s in shapes.items()}


def lstm_loop(p, x, h, c):
    hs = []
    for step in x:
        z = {g: p[f"V_{g}"] @ step + p[f"W_{g}"] @ h + p[f"b_{g}"] for g in "fiog"}
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        h = sigmoid(z["o"]) * np.tanh(c)
        hs.append(h)
    return np.array(hs), c


def test_lstm_is_the_loop_everybody_writes():
    rng = np.random.default_rng(0)
    p, x = lstm_params(rng, 3, 4), rng.normal(size=(9, 3))
    hs, _ = lstm_loop(p, x, np.zeros(4), np.zeros(4))
    np.testing.assert_allclose(evaluate(library("lstm"), "LSTM", {"D": 3, "H": 4}, {"x": x}, p)("h"), hs, rtol=1e-12)


def test_two_thousand_steps_need_no_stack():
    p = {"V": np.eye(2), "W": np.eye(2) * 0.9, "b": np.zeros(2)}
    x = np.random.default_rng(0).normal(size=(2000, 2))
    h = np.zeros(2)
    for step in x:
        h = np.tanh(step + 0.9 * h)
    run = evaluate(library("elman"), "Elman", {"D": 2, "H": 2}, {"x": x}, p)
    np.testing.assert_allclose(run.at("h", (1999,)), run("h")[-1])
    np.testing.assert_allclose(run("h")[-1], h, rtol=1e-12)


def test_gru_both_conventions():
    rng = np.random.default_rng(1)
    names = [f"{m}_{g}" for m in "VW" for g in "rzn"]
    p = {n: rng.normal(size=(4, 3 if n[0] == "V" else 4)) for n in names} | {
        f"b_{g}": rng.normal(size=4) for g in "rzn"
    }
    text = """
cell Before(D, H):
  input x[t]: D
  state h[t]: H = 0
  param V_r,V_z,V_n, W_r,W_z,W_n ~ glorot
  param b_r,b_z,b_n = 0
  r[t] = sigmoid(V_r@x[t] + W_r@h[t-1] + b_r)
  z[t] = sigmoid(V_z@x[t] + W_z@h[t-1] + b_z)
  n[t] = tanh(V_n@x[t] + INSIDE + b_n)
  h[t] = z[t]*h[t-1] + (1 - z[t])*n[t]
"""
    x = rng.normal(size=(7, 3))
    for inside, after in (("W_n@(r[t]*h[t-1])", False), ("r[t]*(W_n@h[t-1])", True)):
        h = np.zeros(4)
        for step in x:
            r, z = (sigmoid(p[f"V_{g}"] @ step + p[f"W_{g}"] @ h + p[f"b_{g}"]) for g in "rz")
            back = r * (p["W_n"] @ h) if after else p["W_n"] @ (r * h)
            h = z * h + (1 - z) * np.tanh(p["V_n"] @ step + back + p["b_n"])
        run = evaluate(parse(text.replace("INSIDE", inside)), None, {"D": 3, "H": 4}, {"x": x}, p)
        np.testing.assert_allclose(run("h")[-1], h, rtol=1e-12)


def test_attention_decoder_as_a_loop():
    K_in, K, H, A, S, T = 4, 3, 2, 5, 6, 4
    rng = np.random.default_rng(2)
    shapes = {"W_e": (A, H), "U_e": (A, H), "W_y": (H, K), "W_c": (H, H), "W_d": (H, H), "W_o": (K, H), "v": (A,)}
    p = {n: rng.normal(size=s) for n, s in (shapes | {"b_d": (H,), "b_o": (K,)}).items()}
    p |= lstm_params(rng, K_in, H, "enc.")
    x, y = rng.integers(0, K_in, S), rng.integers(0, K, T)
    enc, _ = lstm_loop(
        {n[4:]: v for n, v in p.items() if n.startswith("enc.")}, np.eye(K_in)[x], np.zeros(H), np.zeros(H)
    )
    d, previous, total = enc[-1], np.zeros(K), 0.0
    for step in y:
        scores = np.array([p["v"] @ np.tanh(p["W_e"] @ d + p["U_e"] @ e) for e in enc])
        weights = np.exp(scores) / np.exp(scores).sum()
        d = np.tanh(p["W_y"] @ previous + p["W_c"] @ (weights @ enc) + p["W_d"] @ d + p["b_d"])
        logits = p["W_o"] @ d + p["b_o"]
        total -= logits[step] - np.log(np.exp(logits).sum())
        previous = np.eye(K)[step]
    run = evaluate(library("translate"), "Translate", {"K_in": K_in, "K": K, "H": H, "A": A}, {"x": x, "y": y}, p)
    np.testing.assert_allclose(run.losses["nll"], total / T, rtol=1e-12)
    np.testing.assert_allclose(run("a")[-1], weights, rtol=1e-12)


def test_stack_reverse_shared_copies_macros_and_arguments():
    text = """
def gate(z) = 1/(1 + exp(-z))
def past(v, W) = W@v[t-1]
cell Cum(D, H, k=1):
  input x[t]: D
  state h[t]: H = 0
  param W ~ glorot
  h[t] = W@x[t] + gate(h[t-k]) + 0*past(h, W)@x[t]*h[t-1]
cell Top(D, Cell=Cum):
  input x[t]: D
  param Q: (D, D) ~ glorot
  use low = Cell(x=x, H=D)
  use twin = low(x=low)
  use back = reverse Cell(x=x, H=D, W=Q, k=2)
  use tower = stack 3 of Cell(x=x, H=D, h=last(low))
  y[t] = concat(low[t], twin[t], back[t], back.h[t+1], tower[t], tower.0.h[t])
"""
    D, T = 2, 5
    rng = np.random.default_rng(3)
    p = {n: rng.normal(size=(D, D)) for n in ("low.W", "Q", "tower.0.W", "tower.1.W", "tower.2.W")}
    x = rng.normal(size=(T, D))
    run = evaluate(parse(text), None, {"D": D}, {"x": x}, p)

    def cum(W, x, start, k=1):
        h = [start] * k
        for step in x:
            h.append(W @ step + sigmoid(h[-k]))
        return np.array(h[k:])

    low = cum(p["low.W"], x, np.zeros(D))
    twin = cum(p["low.W"], low, np.zeros(D))
    back = cum(p["Q"], x[::-1], np.zeros(D), 2)[::-1]
    tower = [x]
    for k in range(3):
        tower.append(cum(p[f"tower.{k}.W"], tower[-1], low[-1]))
    ahead = np.concatenate([back[1:], np.zeros((1, D))])
    np.testing.assert_allclose(run("y"), np.concatenate([low, twin, back, ahead, tower[3], tower[1]], 1), rtol=1e-12)
    assert not any(name.startswith("twin") for name in p)


def test_index_forms_boundaries_and_empty_axes():
    text = """
cell Forms(H):
  input x[t]: H = 0.5
  input c: H
  time u: len(t)//2
  state z[u]: H = c
  state w[t]: H = last(x)
  z[u] = x[2*u] + x[2*u+1]
  w[t] = z[t//2] + x[len(t)-1-t] + x[len(t)] + x[0] + z[(t-3)//2]
  total m = sum[u](z[u])
  l = last(z)
  f[t] = w[t-1] + (t + len(t))*x[t+2]
"""
    for T in (1, 2, 5):
        x, c = np.random.default_rng(T).normal(size=(T, 2)), np.array([10.0, 20.0])
        run = evaluate(parse(text), None, {"H": 2}, {"x": x, "c": c}, {})
        z = [x[2 * u] + x[2 * u + 1] for u in range(T // 2)]
        at = lambda v, i, b: v[i] if 0 <= i < len(v) else b  # noqa: E731
        w = [at(z, t // 2, c) + x[T - 1 - t] + 0.5 + x[0] + at(z, (t - 3) // 2, c) for t in range(T)]
        np.testing.assert_allclose(run("w"), w)
        np.testing.assert_allclose(run("m"), np.sum(z, 0) if z else 0.0)
        np.testing.assert_allclose(run("l"), z[-1] if z else c)
        np.testing.assert_allclose(run("f"), [at(w, t - 1, x[-1]) + (t + T) * at(x, t + 2, 0.5) for t in range(T)])


def test_what_has_no_value_is_an_error_not_a_number():
    cases = {
        "outside and has no boundary": "h[t] = x[t-1]",
        "needs itself": "h[t] = g[t]\n  g[t] = h[t]",
        "of nothing": "time u: len(t)//9\n  z[u] = x[u]\n  h[t] = x[t] + max[u](z[u])",
        "shapes do not agree": "h[t] = x[t] + concat(x[t], x[t])",
        "lives on": "h[t] = x[t,t]",
        "vector @ matrix": "h[t] = x[t]@W",
    }
    for message, line in cases.items():
        text = f"cell Bad(D):\n  input x[t]: D\n  param W: (D, D)\n  {line}\n"
        with pytest.raises((ValueError, IndexError), match=message):
            evaluate(parse(text), None, {"D": 2}, {"x": np.ones((3, 2))}, {"W": np.eye(2)})("h")


# ---------------------------------------------------------------- specimens

FORWARD = {
    "elman": "cell Elman(D, H):\n  input x[t]: D\n  state h[t]: H = 0\n  param V, W ~ glorot\n  param b = 0\n"
    "  h[t] = tanh(V@x[t] + W@h[t-1] + b)\n",
    "urnn": """
cell URNN(D, N):
  input x[t]: D
  state h[t]: complex N = h0
  param h0: complex N ~ uniform(-0.01, 0.01)
  param V: complex (N, D) ~ glorot
  param d1,d2,d3: N ~ uniform(-pi, pi)
  param r1,r2: complex N ~ uniform(-1, 1)
  param b: N = 0
  const P = permutation(N)
  g[t] = permute(P, reflect(r1, fft(cis(d1)*h[t-1])))
  w[t] = cis(d3)*reflect(r2, ifft(cis(d2)*g[t]))
  h[t] = modrelu(w[t] + V@x[t], b)
  y[t] = concat(re(h[t]), im(h[t]))
  output y
""",
    "skip": (LIBRARY / "skip.cell").read_text("utf-8"),
    "lstm": (LIBRARY / "lstm.cell").read_text("utf-8"),
    "pyramid": (LIBRARY / "pyramid.cell").read_text("utf-8"),
    "translate": (LIBRARY / "translate.cell").read_text("utf-8"),
}
# forward cell, adjoint file and cell, arguments, shapes the adjoint does not need, lengths, cotangent -> what it is of
SPECIMENS = {
    "LSTM": ("lstm", "lstm.adjoint", {"D": 3, "H": 2}, {f"b_{g}": ("H",) for g in "fiog"}, {"t": 5}, {"dh": "h"}),
    "Skip": ("skip", "skip.adjoint", {"D": 3, "H": 2, "k": 3}, {"b": ("H",)}, {"t": 7}, {"dh": "h"}),
    "Pyramid": ("pyramid", "pyramid.adjoint", {"D": 3, "H": 2},
                {f"{s}.a_{d}": ("H",) for s in ("low", "up") for d in "fb"}, {"t": 7}, {"up.dy": "up.y"}),
    "Translate": ("translate", "translate.adjoint", {"K_in": 4, "K": 3, "H": 2, "A": 5},
                  {"W_y": ("H", "K"), "b_d": ("H",)} | {f"enc.V_{g}": ("H", "K_in") for g in "fiog"}
                  | {f"enc.b_{g}": ("H",) for g in "fiog"}, {"s": 4, "t": 3}, {"dnll": "nll"}),
    "URNN": ("urnn", "urnn.adjoint", {"D": 2, "N": 4}, {}, {"t": 4}, {"dy": "y"}),
    "CTC": ("ctc", "ctc", {"K": 3}, {}, {"t": 7, "u": 3}, {"dnll": "nll"}),
    "Elman_joined": ("elman.hvp", "elman.hvp", {"D": 3, "H": 2}, {"b": ("H",)}, {"t": 5},
                     {"dx_bar": "x_bar", "dV_bar": "V_bar", "dW_bar": "W_bar", "db_bar": "b_bar"}),
}  # fmt: skip


def random_value(rng, kind, shape, steps, arguments):
    if kind.qualifier == "one_hot":
        return rng.integers(0, arguments[shape[0]], steps)
    size = (*steps, *(d if isinstance(d, int) else arguments[d] for d in shape))
    return rng.normal(size=size) + (1j * rng.normal(size=size) if kind.qualifier == "complex" else 0)


def declarations(cell):
    return {ref.name: (d, ref) for d in cell.body if isinstance(d, Declaration) for ref in d.refs}


@pytest.mark.parametrize("name", SPECIMENS)
def test_specimen_adjoint_is_the_finite_difference(name):
    forward_name, adjoint_name, arguments, extra, lengths, outside = SPECIMENS[name]
    adjoint = parse((HERE / "specimens" / f"{adjoint_name}.cell").read_text("utf-8"))
    text = FORWARD.get(forward_name)
    forward = parse(text, str(LIBRARY / "x.cell")) if text else adjoint
    rng = np.random.default_rng(7)
    scope = evaluate(adjoint, f"{name}_adjoint", arguments, {}, {}, lengths)
    params, data, own = {}, {}, declarations(forward.cells[name])
    for key, (d, _) in declarations(adjoint.cells[f"{name}_adjoint"]).items():
        if d.kind == "param" or d.kind == "const" and key not in outside:
            params[key] = random_value(rng, d.type, [int(scope.expr(n, {})) for n in d.type.dims], (), arguments)
    params |= {key: rng.normal(size=[arguments[n] for n in shape]) for key, shape in extra.items()}
    if name == "URNN":
        params["P"] = rng.permutation(arguments["N"])
    fed = [k for k, (d, _) in own.items() if d.kind == "input" or d.type and d.type.qualifier == "one_hot"]
    for key in fed:
        d, ref = own[key]
        dims = [n.name if hasattr(n, "name") else int(scope.expr(n, {})) for n in d.type.dims]
        data[key] = random_value(rng, d.type, dims, tuple(lengths[i.name] for i in ref.index), arguments)
    if name == "CTC":
        data["y"] = np.array([2, 0, 0])

    def run(params, data):
        return evaluate(forward, name, arguments, data, params, lengths)

    base = run(params, data)
    cotangents = {key: rng.normal(size=np.shape(base(of))) for key, of in outside.items()}
    inputs = dict(data)
    for key, (d, _) in declarations(adjoint.cells[f"{name}_adjoint"]).items():
        if d.kind == "input" and key not in data:
            inputs[key] = cotangents[key] if key in outside else base(key)
    consts = {k: v for k, v in cotangents.items() if own.get(k) is None and k not in inputs}
    back = evaluate(adjoint, f"{name}_adjoint", arguments, inputs, params | consts, lengths)

    def loss(params, data):
        here = run(params, data)
        return sum(float(np.sum(g * here(outside[key]))) for key, g in cotangents.items())

    checked = 0
    for key, value in {**params, **data}.items():
        bar = next((n for n in (f"{key}_bar2", f"{key}_bar") if n in back.outputs), None)
        if bar is None:
            continue
        direction = rng.normal(size=np.shape(value)) + (
            1j * rng.normal(size=np.shape(value)) if np.iscomplexobj(value) else 0
        )
        at = [loss(*({k: v + e * direction if k == key else v for k, v in group.items()} for group in (params, data)))
              for e in (1e-4, -1e-4, 2e-4, -2e-4)]  # fmt: skip
        slope = (8 * (at[0] - at[1]) - (at[2] - at[3])) / 12e-4
        np.testing.assert_allclose(
            np.sum(np.conj(back(bar)) * direction).real, slope, rtol=1e-6, atol=1e-8, err_msg=bar
        )
        checked += 1
    assert checked == len(back.outputs)


def test_the_oracle_is_small_and_shares_nothing_with_what_it_judges():
    reference = (HERE / "reference.py").read_text("utf-8")
    assert len(reference.splitlines()) <= 210
    for name in ("reference", "copies", "formulas"):
        text = (HERE / f"{name}.py").read_text("utf-8")
        lines = [line for line in text.splitlines() if line.startswith(("from ", "import "))]
        foreign = [line for line in lines if line.split()[1].split(".")[0] in ("dsl", "tinygrad_seq", "viz", "tgseq")]
        assert all(line.startswith(("from dsl.text.parse", "from dsl.text.tree")) for line in foreign), foreign
