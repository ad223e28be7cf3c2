"""Published cells as plain NumPy loops over ONE sequence, written from the papers: oracles for `test_published.py`.

Each function takes `x`, the data of one sequence by stream name, and `p`, the parameters by name, both float64 arrays
(categories integers), and returns the cell's output over the steps, or its loss as a number. Nothing of the packages is
imported; weights are used under the library's names, everything else is the paper's own arrangement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Data = dict[str, Array]
ORACLES: dict[str, Callable[[Data, Data], Any]] = {}


def oracle(function: Callable[[Data, Data], Any]) -> Callable[[Data, Data], Any]:
    """Decorator: the oracle of the cell with the function's name."""
    ORACLES[function.__name__] = function
    return function


def sigma(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(v: Array) -> Array:
    e = np.exp(v - v.max())
    return e / e.sum()


def surprise(logits: Array, y: int) -> float:
    """-log softmax(logits)[y]."""
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[y])


def column(W: Array, i: int) -> Array:
    """W times category i; none (-1) is the zero vector."""
    return W[:, i] if i >= 0 else np.zeros(len(W))


def shifted(y: Array) -> list[int]:
    """What is known before each step: nothing, then y[t-1]."""
    return [-1, *[int(v) for v in y[:-1]]]


def lstm(xs: Any, p: Data, at: str = "", h: Any = 0.0, c: Any = 0.0) -> tuple[Array, Array]:
    """Hidden and cell states of an LSTM whose parameters' names start with `at`; a category is looked up."""
    hs, cs = [], []
    H = len(p[f"{at}b_f"])
    h, c = h + np.zeros(H), c + np.zeros(H)
    for x in xs:

        def gate(name: str, x: Any = x, h: Array = h) -> Array:
            V = p[f"{at}V_{name}"]
            return (column(V, x) if np.ndim(x) == 0 else V @ x) + p[f"{at}W_{name}"] @ h + p[f"{at}b_{name}"]

        c = sigma(gate("f")) * c + sigma(gate("i")) * np.tanh(gate("g"))
        h = sigma(gate("o")) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.array(hs), np.array(cs)


def gru(xs: Any, p: Data, at: str = "", h: Any = 0.0) -> Array:
    """States of a GRU with the reset gate before the product."""
    hs = []
    h = h + np.zeros(len(p[f"{at}b_z"]))
    for x in xs:
        Vr, Vz, Vn = (column(p[f"{at}V_{g}"], x) if np.ndim(x) == 0 else p[f"{at}V_{g}"] @ x for g in "rzn")
        r = sigma(Vr + p[f"{at}W_r"] @ h + p[f"{at}b_r"])
        z = sigma(Vz + p[f"{at}W_z"] @ h + p[f"{at}b_z"])
        h = z * h + (1 - z) * np.tanh(Vn + p[f"{at}W_n"] @ (r * h) + p[f"{at}b_n"])
        hs.append(h)
    return np.array(hs)


def bilstm(xs: Any, p: Data, at: str) -> Array:
    back = lstm(xs[::-1], p, f"{at}b.")[0][::-1]
    return np.concatenate([lstm(xs, p, f"{at}f.")[0], back], axis=1)


# ------------------------------------------------------------------ linear recurrences


@oracle
def SRU(x: Data, p: Data) -> Array:
    c, out = 0.0, []
    for v in x["x"]:
        f = sigma(p["W_f"] @ v + p["v_f"] * c + p["b_f"])
        r = sigma(p["W_r"] @ v + p["v_r"] * c + p["b_r"])  # r sees the old c too
        c = f * c + (1 - f) * (p["W"] @ v)
        out.append(r * c + (1 - r) * v)
    return np.array(out)


@oracle
def SRULinear(x: Data, p: Data) -> Array:
    c, out = 0.0, []
    for v in x["x"]:
        f, r = sigma(p["W_f"] @ v + p["b_f"]), sigma(p["W_r"] @ v + p["b_r"])
        c = f * c + (1 - f) * (p["W"] @ v)
        out.append(r * np.tanh(c) + (1 - r) * v)
    return np.array(out)


def convolved(x: Array, p: Data, gate: str) -> Array:
    """A convolution of width 2 over time, zeros before the start."""
    before = np.concatenate([np.zeros((1, x.shape[1])), x[:-1]])
    return before @ p[f"V_{gate}"].T + x @ p[f"W_{gate}"].T


@oracle
def QRNN(x: Data, p: Data) -> Array:
    h, out = 0.0, []
    for z, f in zip(np.tanh(convolved(x["x"], p, "z")), sigma(convolved(x["x"], p, "f")), strict=True):
        h = f * h + (1 - f) * z
        out.append(h)
    return np.array(out)


@oracle
def QRNNfo(x: Data, p: Data) -> Array:
    return sigma(convolved(x["x"], p, "o")) * QRNN(x, p)


@oracle
def QRNNifo(x: Data, p: Data) -> Array:
    Z, F = np.tanh(convolved(x["x"], p, "z")), sigma(convolved(x["x"], p, "f"))
    I, O = sigma(convolved(x["x"], p, "i")), sigma(convolved(x["x"], p, "o"))
    c, out = 0.0, []
    for z, f, i, o in zip(Z, F, I, O, strict=True):
        c = f * c + i * z
        out.append(o * c)
    return np.array(out)


def averaged(keep: Array, add: Array) -> Array:
    """h[t] = keep[t]·h[t-1] + add[t] in closed form: products of what is kept, not a recurrence."""
    return np.array([sum(np.prod(keep[s + 1 : t + 1], axis=0) * add[s] for s in range(t + 1)) for t in range(len(add))])


@oracle
def minGRU(x: Data, p: Data) -> Array:
    z = sigma(x["x"] @ p["W_z"].T + p["b_z"])
    return averaged(1 - z, z * (x["x"] @ p["W_h"].T + p["b_h"]))


@oracle
def minLSTM(x: Data, p: Data) -> Array:
    f, i = (sigma(x["x"] @ p[f"W_{g}"].T + p[f"b_{g}"]) for g in "fi")
    return averaged(f / (f + i), i / (f + i) * (x["x"] @ p["W_h"].T + p["b_h"]))


# ------------------------------------------------------------------ one cell


@oracle
def ClockworkRNN(x: Data, p: Data) -> Array:
    """With the paper's one matrix of all modules, and rows held while t is no multiple of their period."""
    H = len(p["b1"])
    zero = np.zeros((H, H))
    W = np.block([[p["W11"], p["W12"], p["W13"]], [zero, p["W22"], p["W23"]], [zero, zero, p["W33"]]])
    V, b = np.concatenate([p["V1"], p["V2"], p["V3"]]), np.concatenate([p["b1"], p["b2"], p["b3"]])
    period = np.repeat([1, 2, 4], H)
    y, out = np.zeros(3 * H), []
    for t, v in enumerate(x["x"]):
        y = np.where(t % period == 0, np.tanh(W @ y + V @ v + b), y)
        out.append(y)
    return np.array(out)


def layer_norm(z: Array, gain: Array, bias: Array) -> Array:
    return (z - z.mean()) / np.sqrt(z.var() + 1e-5) * gain + bias


@oracle
def LayerNormLSTM(x: Data, p: Data) -> Array:
    h, c, out = np.zeros(len(p["alpha_3"])), np.zeros(len(p["alpha_3"])), []
    for v in x["x"]:
        left = layer_norm(p["W_h"] @ h, p["alpha_1"], p["beta_1"])
        f, i, o, g = np.split(left + layer_norm(p["W_x"] @ v, p["alpha_2"], p["beta_2"]) + p["b"], 4)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(layer_norm(c, p["alpha_3"], p["beta_3"]))
        out.append(h)
    return np.array(out)


@oracle
def ChronoLSTM(x: Data, p: Data) -> Array:
    return lstm(x["x"], {**p, "b_f": p["b_f"] + p["s"], "b_i": p["b_i"] - p["s"]})[0]


@oracle
def LSTM1997(x: Data, p: Data) -> Array:
    y = s = np.zeros(len(p["b_in"]))
    out = []
    for v in x["x"]:
        net_in, net_out, net_c = (p[f"V_{k}"] @ v + p[f"W_{k}"] @ y + p[f"b_{k}"] for k in ("in", "out", "c"))
        s = s + 1 / (1 + np.exp(-net_in)) * (4 / (1 + np.exp(-net_c)) - 2)
        y = 1 / (1 + np.exp(-net_out)) * (2 / (1 + np.exp(-s)) - 1)
        out.append(y)
    return np.array(out)


def mgu(x: Data, p: Data, gate: Callable[[Array], Array]) -> Array:
    h, out = np.zeros(len(p["b_n"])), []
    for v in x["x"]:
        f = gate(h)
        h = (1 - f) * h + f * np.tanh(p["W_n"] @ v + p["U_n"] @ (f * h) + p["b_n"])
        out.append(h)
    return np.array(out)


@oracle
def MGU1(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["U_f"] @ h + p["b_f"]))


@oracle
def MGU2(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["U_f"] @ h))


@oracle
def MGU3(x: Data, p: Data) -> Array:
    return mgu(x, p, lambda h: sigma(p["b_f"]))


@oracle
def MassLSTM(x: Data, p: Data) -> Array:
    c, out = np.zeros(len(p["b_i"])), []
    R = np.array([softmax(row) for row in p["B"]]).T
    for mass, a in zip(x["x"], x["a"], strict=True):
        s = c / (np.abs(c).sum() + 1e-5)
        i = softmax(p["W_i"] @ a + p["U_i"] @ s + p["b_i"])
        o = sigma(p["W_o"] @ a + p["U_o"] @ s + p["b_o"])
        total = R @ c + i * mass
        c = (1 - o) * total
        out.append(o * total)
    return np.array(out)


@oracle
def sLSTM(x: Data, p: Data) -> Array:
    """Without the stabiliser, equations 8-14."""
    h = c = n = np.zeros(len(p["b_i"]))
    out = []
    for v in x["x"]:
        z, i, f, o = (p[f"W_{g}"] @ v + p[f"R_{g}"] @ h + p[f"b_{g}"] for g in "zifo")
        c = sigma(f) * c + np.exp(i) * np.tanh(z)
        n = sigma(f) * n + np.exp(i)
        h = sigma(o) * c / n
        out.append(h)
    return np.array(out)


@oracle
def mLSTM(x: Data, p: Data) -> Array:
    """Without the stabiliser, equations 19-27."""
    H = len(p["b_q"])
    C, n, out = np.zeros((H, H)), np.zeros(H), []
    for u in x["x"]:
        q, v = p["W_q"] @ u + p["b_q"], p["W_v"] @ u + p["b_v"]
        k = p["W_k"] @ u / np.sqrt(H) + p["b_k"]
        i, f = np.exp(p["w_i"] @ u + p["b_i"]), sigma(p["w_f"] @ u + p["b_f"])
        C = f * C + i * v[:, None] * k[None, :]
        n = f * n + i * k
        out.append(sigma(p["W_o"] @ u + p["b_o"]) * (C @ q) / max(abs(n @ q), 1.0))
    return np.array(out)


# ------------------------------------------------------------------ stacks


@oracle
def DilatedLayer(x: Data, p: Data, d: int = 1, at: str = "") -> Array:
    hs = [np.zeros(len(p[f"{at}b"]))] * d
    for v in x["x"]:
        hs.append(np.tanh(p[f"{at}V"] @ v + p[f"{at}W"] @ hs[-d] + p[f"{at}b"]))
    return np.array(hs[d:])


@oracle
def DilatedRNN(x: Data, p: Data) -> Array:
    h = x["x"]
    for at, d in (("a.", 1), ("b.", 2), ("c.", 4)):
        h = DilatedLayer({"x": h}, p, d, at)
    return h


@oracle
def SkipStack(x: Data, p: Data) -> Array:
    h = x["x"]
    for at in ("rnn.0.", "rnn.1."):
        hs = [np.zeros(len(p[f"{at}b"]))] * 4
        for v in h:
            hs.append(np.tanh(p[f"{at}V"] @ v + p[f"{at}W"] @ hs[-1] + p[f"{at}S"] @ hs[-4] + p[f"{at}b"]))
        h = np.array(hs[4:])
    return h


@oracle
def Hierarchy(x: Data, p: Data) -> Array:
    return lstm(lstm(x["x"], p, "fast.")[0][1::2], p, "slow.")[0]


@oracle
def HighwayLayer(x: Data, p: Data) -> Array:
    gate = sigma(x["s"] @ p["R_T"].T + p["b_T"])
    return gate * np.tanh(x["s"] @ p["R_H"].T + p["b_H"]) + (1 - gate) * x["s"]


@oracle
def RHN(x: Data, p: Data) -> Array:
    """One matrix for the transform and the candidate of a layer; the carry gate is written out."""
    layers = ["", *(n.removesuffix("R_H") for n in p if n.endswith(".R_H"))]
    y, out = np.zeros(len(p["b_H"])), []
    for v in x["x"]:
        for at in layers:
            R = np.concatenate([p[f"{at}R_H"], p[f"{at}R_T"]])
            b = np.concatenate([p[f"{at}b_H"], p[f"{at}b_T"]])
            h, transform = np.split(R @ y + b + (0 if at else np.concatenate([p["W_H"], p["W_T"]]) @ v), 2)
            carry = 1 - sigma(transform)
            y = np.tanh(h) * sigma(transform) + y * carry
        out.append(y)
    return np.array(out)


@oracle
def StopHead(x: Data, p: Data) -> Array:
    return sigma(lstm(x["x"], p, "rnn.")[0] @ p["u"] + p["a"])


# ------------------------------------------------------------------ symbols


def decoded(h: Array, x: Data, U: Array, a: Array) -> float:
    return float(np.mean([surprise(U @ v + a, y) for v, y in zip(h, x["y"], strict=True)]))


@oracle
def WordRNN(x: Data, p: Data) -> float:
    h = [column(p["E"], y) for y in shifted(x["y"])]
    for k in range(sum(n.endswith(".b_f") for n in p)):
        h = lstm(h, p, f"rnn.{k}.")[0]
    return decoded(np.array(h), x, p["U"], p["a"])


@oracle
def TiedWordRNN(x: Data, p: Data) -> float:
    return WordRNN(x, {**p, "U": p["E"].T @ p["P"]})


@oracle
def Tagger(x: Data, p: Data) -> float:
    return decoded(bilstm(x["x"], p, "rnn."), x, p["U"], p["a"])


@oracle
def WordTagger(x: Data, p: Data) -> float:
    return Tagger({**x, "x": p["E"].T[x["w"]]}, p)


@oracle
def VectorInitial(x: Data, p: Data) -> float:
    start = np.tanh(p["A"] @ x["v"] + p["a_0"])
    return decoded(gru(shifted(x["y"]), p, "rnn.", start), x, p["U"], p["a"])


@oracle
def VectorEveryStep(x: Data, p: Data) -> float:
    e = [column(p["E"], y) + p["A"] @ x["v"] for y in shifted(x["y"])]
    return decoded(gru(e, p, "rnn."), x, p["U"], p["a"])


@oracle
def VectorBoth(x: Data, p: Data) -> float:
    e = [column(p["E"], y) + p["C"] @ x["v"] for y in shifted(x["y"])]
    return decoded(gru(e, p, "rnn.", np.tanh(p["A"] @ x["v"])), x, p["U"], p["a"])


@oracle
def Caption(x: Data, p: Data) -> float:
    e = [p["W_I"] @ x["v"], *[p["W_e"][:, y] for y in x["y"][:-1]]]
    return decoded(lstm(e, p, "rnn.")[0], x, p["U"], p["a"])


@oracle
def Luong(x: Data, p: Data) -> float:
    enc, cells = lstm(x["x"], p, "enc.")
    h, c, m, total = enc[-1], cells[-1], np.zeros(len(enc[0])), 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        hs, cs = lstm([column(p["E"], last) + p["M"] @ m], p, "dec.", h, c)
        h, c = hs[0], cs[0]
        weights = softmax(enc @ p["W_a"].T @ h)
        m = np.tanh(p["W_c"] @ np.concatenate([weights @ enc, h]))
        total += surprise(p["W_s"] @ m + p["a"], y)
    return total / len(x["y"])


@oracle
def LocationAware(x: Data, p: Data) -> float:
    enc = gru(x["x"], p, "enc.")
    F = np.array([p["F_l"], p["F_m"], p["F_r"]])
    d, a, total = np.zeros(len(p["b_d"])), np.zeros(len(enc)), 0.0
    for last, y in zip(shifted(x["y"]), x["y"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, 1), 3)
        a = softmax(np.tanh(enc @ p["V"].T + p["W"] @ d + windows @ F + p["b"]) @ p["v"])
        d = np.tanh(column(p["W_y"], last) + p["W_g"] @ (a @ enc) + p["W_d"] @ d + p["b_d"])
        total += surprise(p["W_o"] @ d + p["b_o"], y)
    return total / len(x["y"])
